"""Weights on disk: a safetensors file or folder of ours, or NVIDIA's `.nemo`.

Names, shapes and types are strict in both directions: a file either holds exactly the model or is refused with the
tensors in question named. Neither format can make the loader run code, nor use more memory than the file has bytes.
"""

from __future__ import annotations

import json
from importlib import resources
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from nanocodec import nemo, releases
from nanocodec.atomic import replacing
from nanocodec.config import VARIANTS, CodecConfig
from nanocodec.errors import CheckpointError, MismatchError, MissingWeightsError
from nanocodec.layers import fold_tensors, folded_weights, order_for_decoding
from nanocodec.model import NanoCodec
from nanocodec.quantizer import GroupFiniteScalarQuantizer

FORMAT = "nanocodec-1"
WEIGHTS_NAME = "model.safetensors"  # of a folder of weights


def resolve(source: str | Path) -> Path:
    """Find the file that holds weights.

    Args:
        source: a file, a folder that holds model.safetensors, the name of weights that ship with the package, or that
            of a release, which is downloaded if need be.

    Returns:
        The file.

    Raises:
        MissingWeightsError: nothing there; the message says what exists and how to get it.
        CheckpointError: a downloaded file that is not the one that was pinned.
    """
    name, path = str(source), Path(source)
    if path.is_dir():
        if (path / WEIGHTS_NAME).is_file():
            return path / WEIGHTS_NAME
        raise MissingWeightsError(f"{path}: a folder without {WEIGHTS_NAME}; `nanocodec convert` writes one")
    if path.is_file():
        return path
    builtin = Path(str(resources.files("nanocodec").joinpath("weights", f"{name}.safetensors")))
    if name in VARIANTS and builtin.is_file():
        return builtin
    if name in releases.RELEASES:
        return releases.fetch(name)
    exist = f"built in: {', '.join(builtin_names()) or 'none'}; released: {', '.join(releases.RELEASES)}"
    if name in VARIANTS:
        raise MissingWeightsError(f"variant {name!r} has no public weights ({VARIANTS[name].note}); {exist}")
    raise MissingWeightsError(f"{path}: no such file, nor the name of weights ({exist})")


def builtin_names() -> list[str]:
    """Names of the weights that ship with the package."""
    folder = Path(str(resources.files("nanocodec").joinpath("weights")))
    return sorted(path.stem for path in folder.glob("*.safetensors")) if folder.is_dir() else []


def save(model: NanoCodec, path: str | Path, *, half: bool = False) -> None:
    """Write a model's weights and configuration.

    Args:
        model: on any device, weight-normed or folded.
        path: the `.safetensors` file to write or replace.
        half: store fp16, which `load` widens to fp32 again.
    """
    tensors = {}
    for name, tensor in model.state_dict().items():
        tensor = tensor.detach().cpu().contiguous()
        tensors[name] = tensor.half() if half and tensor.is_floating_point() else tensor
    metadata = {"format": FORMAT, "config": json.dumps(model.config.to_dict())}
    with replacing(Path(path)) as temporary:
        save_file(tensors, temporary, metadata=metadata)


@torch.inference_mode(False)  # the weights are ordinary tensors wherever they are loaded
def load(path: str | Path) -> NanoCodec:
    """Read a model: folded, in eval mode, fp32 on the CPU.

    Args:
        path: a `.safetensors` file that `save` wrote, a folder that holds one, or a `.nemo` archive.

    Returns:
        The model.

    Raises:
        CheckpointError: not such a file, or one whose tensors differ from what its configuration calls for.
    """
    path = resolve(path)
    config, tensors = nemo.read(path) if nemo.is_nemo(path) else _read_safetensors(path)
    return assemble(config, tensors, path)


def assemble(config: CodecConfig, tensors: dict[str, torch.Tensor], where: object) -> NanoCodec:
    """Make the model that a configuration describes and give it weights.

    Args:
        config: of the codec.
        tensors: the model's state dict, weight-normed or folded, under upstream's names.
        where: what an error names as their origin.

    Returns:
        The model: folded, in eval mode, fp32.

    Raises:
        MismatchError: the tensors are not exactly the model's.
        CheckpointError: a configuration that no codec can have.
    """
    if config.num_codebooks > 1024 or len(config.strides) > 16 or config.codebook_size >= 1 << 31:
        raise CheckpointError(f"{where}: its configuration describes no codec: {str(config)[:300]}")
    try:
        quantizer = GroupFiniteScalarQuantizer(config.levels, config.num_codebooks)
        with torch.device("meta"), folded_weights():  # shapes only: a stranger's configuration takes no memory yet
            model = NanoCodec(config)
    except (ValueError, TypeError, RuntimeError, OverflowError) as error:
        raise CheckpointError(f"{where}: its configuration cannot be used: {error}") from error
    model.vector_quantizer = quantizer
    tensors = fold_tensors(tensors)
    for name, buffer in quantizer.state_dict(prefix="vector_quantizer.").items():
        tensors.setdefault(name, buffer)  # derived from the configuration, so a file may leave them out
    load_strictly(model, tensors, where)
    if config.decoder.causal:
        order_for_decoding(model.audio_decoder)
    return model.eval()


def _read_safetensors(path: Path) -> tuple[CodecConfig, dict[str, torch.Tensor]]:
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{path}: not a readable safetensors file ({error})") from error
    if metadata.get("format") != FORMAT or "config" not in metadata:
        raise CheckpointError(f"{path}: a safetensors file, but without a nanocodec configuration in its metadata")
    try:
        return CodecConfig.from_dict(json.loads(metadata["config"])), tensors
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        raise CheckpointError(f"{path}: its configuration cannot be used: {error}") from error


def load_strictly(model: NanoCodec, tensors: dict[str, torch.Tensor], where: object) -> None:
    """Give a model these tensors after checking that names, shapes, types and finiteness agree in full.

    Args:
        model: folded; on the meta device it takes over the tensors themselves.
        tensors: by name.
        where: what an error names as their origin.

    Raises:
        MismatchError: holding the name of every missing, unexpected and wrong tensor.
    """
    wanted = model.state_dict()
    wrong = []
    for name in sorted(wanted.keys() & tensors.keys()):
        have, want = tensors[name], wanted[name]
        if have.shape != want.shape:
            wrong.append(f"{name} has shape {list(have.shape)} instead of {list(want.shape)}")
        elif have.is_floating_point() != want.is_floating_point():
            wrong.append(f"{name} is {have.dtype} instead of {want.dtype}")
        elif not want.is_floating_point() and not torch.equal(have, want):
            wrong.append(f"{name} contradicts the configuration's FSQ levels")
        elif not torch.isfinite(have).all():
            wrong.append(f"{name} holds numbers that are not finite")
    missing, unexpected = sorted(wanted.keys() - tensors.keys()), sorted(tensors.keys() - wanted.keys())
    if missing or unexpected or wrong:
        raise MismatchError(where, model.config.name, missing, unexpected, wrong)
    on_meta = any(tensor.is_meta for tensor in wanted.values())
    model.load_state_dict(tensors, assign=on_meta)


def convert(source: str | Path, folder: str | Path) -> Path:
    """Write weights as a folder of `model.safetensors` (folded) and a readable `config.json`.

    Args:
        source: whatever `load` reads.
        folder: made if need be.

    Returns:
        The safetensors file.

    Raises:
        CheckpointError: as `load`, or a folder that cannot be written.
    """
    model, folder = load(source), Path(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        save(model, folder / WEIGHTS_NAME)
        (folder / "config.json").write_text(json.dumps(model.config.to_dict(), indent=2) + "\n")
    except OSError as error:
        raise CheckpointError(f"{folder}: cannot be written ({error})") from error
    return folder / WEIGHTS_NAME


__all__ = [
    "CheckpointError",
    "MismatchError",
    "MissingWeightsError",
    "assemble",
    "builtin_names",
    "convert",
    "load",
    "load_strictly",
    "resolve",
    "save",
]
