"""Open a `.nemo` file, NVIDIA NeMo's archive of a model, without NeMo and without trusting whoever made it.

Such a file is a tar (or tar.gz) that holds `model_config.yaml` and `model_weights.ckpt`, a PyTorch zip whose pickle
names the tensors. A hostile one may carry a pickle that runs a program, names that lead out of the folder, links, or
a few bytes that unpack to many. Therefore: nothing is ever extracted; the two members are found by exact name and
read in place; whatever a size field says is checked against the bytes that are really there; the pickle may use only
what `torch.save` writes for a state dict, and is then read with `weights_only=True`.

Format: NeMo's `SaveRestoreConnector` and the modules of `AudioCodecModel`, whose arguments `_config` translates.
"""

from __future__ import annotations

import gzip
import io
import pickletools
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import torch
from torch import Tensor

from nanocodec.config import VARIANTS, CodecConfig, DecoderConfig, EncoderConfig
from nanocodec.errors import CheckpointError

MAX_BYTES = 1 << 30  # of a whole file, unpacked; the largest release, LFSC, has 619 MB
MAX_RATIO = 20  # gzip of trained weights saves a tenth; a bomb expands a thousandfold
MAX_MEMBERS = 1000
MAX_YAML = 1 << 18
MAX_PICKLE = 1 << 22

CONFIG, WEIGHTS = "model_config.yaml", "model_weights.ckpt"
PREFIXES = ("audio_encoder.", "vector_quantizer.", "audio_decoder.")  # the rest serves training

_BLOCK = 512
# What torch.save needs for a dictionary of tensors, and nothing else.
_GLOBALS = {
    "collections OrderedDict",
    "torch._utils _rebuild_tensor_v2",
    "torch._utils _rebuild_parameter",
    *(f"torch {kind}Storage" for kind in ("Float", "Half", "BFloat16", "Double", "Int", "Long", "Bool")),
}
_OPCODES = {
    "PROTO", "STOP", "GLOBAL", "REDUCE", "BUILD", "BINPERSID", "MARK",
    "EMPTY_DICT", "EMPTY_LIST", "EMPTY_TUPLE", "TUPLE", "TUPLE1", "TUPLE2", "TUPLE3",
    "SETITEM", "SETITEMS", "APPEND", "APPENDS", "BINPUT", "LONG_BINPUT", "BINGET", "LONG_BINGET",
    "BINUNICODE", "BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT", "NONE", "NEWTRUE", "NEWFALSE",
}  # fmt: skip


def is_nemo(path: Path) -> bool:
    """Whether a file looks like a `.nemo` archive, by its name or its first bytes."""
    with path.open("rb") as file:
        head = file.read(_BLOCK)
    return path.suffix == ".nemo" or head[:2] == b"\x1f\x8b" or head[257:262] == b"ustar"


def read(path: Path) -> tuple[CodecConfig, dict[str, Tensor]]:
    """Read a `.nemo` file.

    Args:
        path: the file, which may be damaged or hostile.

    Returns:
        The codec's configuration, and the tensors of encoder, quantizer and decoder under upstream's names.

    Raises:
        CheckpointError: for anything that is not a NeMo codec, and every kind of damage or malice; nothing in the
            file has been executed and nothing has been written.
    """
    try:
        with path.open("rb") as raw:
            file, size = _unpacked(raw)
            found = _members(file, size)
            config = _config(_yaml(_bytes(file, *found[CONFIG], MAX_YAML)))
            return config, _tensors(_Part(file, *found[WEIGHTS]))
    except CheckpointError as error:
        raise CheckpointError(f"{path}: {error}") from error
    except FileNotFoundError:
        raise CheckpointError(f"{path}: no such file") from None
    except Exception as error:  # a damaged archive makes tar, zip, YAML and pickle readers raise whatever they like
        raise CheckpointError(f"{path}: damaged, or not a NeMo archive ({type(error).__name__}: {error})") from error


class _Part(io.RawIOBase):
    """A stretch of an open file, as a file of its own."""

    def __init__(self, file: IO[bytes], offset: int, size: int) -> None:
        self._file, self._offset, self.size, self._position = file, offset, size, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self.size}[whence]
        if base + offset < 0:
            raise ValueError("seek before the start")
        self._position = base + offset
        return self._position

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer).cast("B")
        view = view[: max(0, min(len(view), self.size - self._position))]
        self._file.seek(self._offset + self._position)
        count = self._file.readinto(view)  # type: ignore[attr-defined]
        self._position += count
        return count


def _unpacked(raw: IO[bytes]) -> tuple[IO[bytes], int]:
    """The tar inside an open file, seekable, and its size; gzip is unpacked in memory, up to a limit."""
    size = raw.seek(0, io.SEEK_END)
    raw.seek(0)
    if size > MAX_BYTES:
        raise CheckpointError(f"{size:,} bytes; more than {MAX_BYTES:,} are not a codec's weights")
    if raw.read(2) != b"\x1f\x8b":
        return raw, size
    raw.seek(0)
    limit = min(MAX_BYTES, MAX_RATIO * size + (1 << 20))
    memory = io.BytesIO()
    with gzip.GzipFile(fileobj=raw) as stream:
        while piece := stream.read(1 << 20):
            if memory.tell() + len(piece) > limit:
                raise CheckpointError(f"unpacks to more than {limit:,} bytes, too many for weights: a gzip bomb")
            memory.write(piece)
    return memory, memory.tell()


def _headers(file: IO[bytes], size: int) -> Iterator[tuple[str, bytes, int, int]]:
    """Name, type, offset and length of each member of a tar; lengths are checked against the file's end."""
    offset = 0
    for _ in range(MAX_MEMBERS):
        if offset == size:
            return
        header = _bytes(file, offset, min(_BLOCK, size - offset), _BLOCK)
        if not header.strip(b"\0"):
            return
        checksum = sum(header) - sum(header[148:156]) + 8 * ord(" ")
        if len(header) < _BLOCK or _octal(header[148:156]) != checksum:
            raise CheckpointError("damaged, or not a NeMo archive (no tar header where one belongs)")
        prefix, name = (header[part].split(b"\0")[0] for part in (slice(345, 500), slice(0, 100)))
        length = _octal(header[124:136])
        offset += _BLOCK
        if offset + length > size:
            raise CheckpointError(f"truncated: {length:,} bytes declared, {size - offset:,} left")
        joined = prefix + b"/" + name if prefix and header[257:263] == b"ustar\0" else name
        yield joined.decode("utf-8", "replace"), header[156:157], offset, length
        offset = min(size, offset + -(-length // _BLOCK) * _BLOCK)
    raise CheckpointError(f"more than {MAX_MEMBERS} members, where two are expected")


def _octal(field: bytes) -> int:
    digits = field.split(b"\0")[0].strip()
    if not digits or digits.strip(b"01234567"):
        raise CheckpointError("damaged, or not a NeMo archive (an invalid tar number)")
    return int(digits, 8)


def _members(file: IO[bytes], size: int) -> dict[str, tuple[int, int]]:
    """Offset and length of the configuration and of the weights, both plain files that occur once."""
    found: dict[str, tuple[int, int]] = {}
    for name, kind, offset, length in _headers(file, size):
        short = name.removeprefix("./")
        if short not in (CONFIG, WEIGHTS):
            continue
        if kind not in (b"0", b"\0"):
            raise CheckpointError(f"{short} is not a plain file in the archive (type {kind!r})")
        if short in found:
            raise CheckpointError(f"{short} occurs twice in the archive")
        found[short] = offset, length
    if missing := [name for name in (CONFIG, WEIGHTS) if name not in found]:
        raise CheckpointError(f"not a NeMo archive: it has no {' and no '.join(missing)}")
    return found


def _bytes(file: IO[bytes], offset: int, length: int, limit: int) -> bytes:
    if length > limit:
        raise CheckpointError(f"a member of {length:,} bytes, more than the plausible {limit:,}")
    file.seek(offset)
    return file.read(length)


def _yaml(text: bytes) -> dict[str, Any]:
    import yaml  # here: weights in safetensors load without it

    class Loader(yaml.SafeLoader):
        """SafeLoader without aliases, with which a short text can describe an enormous structure."""

        def compose_node(self, parent: Any, index: Any) -> Any:
            if self.check_event(yaml.AliasEvent):
                raise CheckpointError(f"{CONFIG} uses YAML aliases, which NeMo does not write")
            return super().compose_node(parent, index)

    data = yaml.load(text, Loader)
    if not isinstance(data, dict):
        raise CheckpointError(f"{CONFIG} is not a configuration")
    return data


def _tensors(part: _Part) -> dict[str, Tensor]:
    """The model's tensors from a checkpoint, after its zip and its pickle have been looked through."""
    with zipfile.ZipFile(part) as archive:
        infos = archive.infolist()
        names = [info.filename for info in infos]
        pickles = [info for info in infos if info.filename.endswith("/data.pkl") and info.filename.count("/") == 1]
        if archive.comment or len(set(names)) != len(names) or len(pickles) != 1:
            raise CheckpointError(f"{WEIGHTS} is not a PyTorch checkpoint (its zip does not have exactly one data.pkl)")
        if any(info.compress_type != zipfile.ZIP_STORED for info in infos):
            raise CheckpointError(f"{WEIGHTS} is compressed inside, which PyTorch never does: a zip bomb")
        if sum(info.file_size for info in infos) > part.size:
            raise CheckpointError(f"{WEIGHTS} declares more bytes than it contains: a zip bomb")
        if pickles[0].file_size > MAX_PICKLE:
            raise CheckpointError(f"{WEIGHTS} has an index of {pickles[0].file_size:,} bytes")
        _check_pickle(archive.read(pickles[0]))
    part.seek(0)
    state = torch.load(io.BufferedReader(part), map_location="cpu", weights_only=True)
    if not isinstance(state, dict):
        raise CheckpointError(f"{WEIGHTS} holds a {type(state).__name__}, not a state dict")
    tensors = {name: value for name, value in state.items() if isinstance(name, str) and name.startswith(PREFIXES)}
    announced = 0
    for name, tensor in tensors.items():
        if not isinstance(tensor, Tensor) or tensor.layout != torch.strided or tensor.is_meta:
            raise CheckpointError(f"{name[:200]} is not a tensor")
        announced += tensor.numel() * tensor.element_size()
    if announced > part.size:  # views that repeat a few bytes, or several names for the same ones
        raise CheckpointError(f"{WEIGHTS} declares tensors of {announced:,} bytes, but has {part.size:,}")
    _check_sums(tensors, {(info.file_size, info.CRC) for info in infos})
    return {name: tensor.detach() for name, tensor in tensors.items()}


def _check_sums(tensors: dict[str, Tensor], sums: set[tuple[int, int]]) -> None:
    """Refuse bytes that the zip has no checksum for, as torch does not look; in memory, so as to read the file once."""
    checked = set()
    for name, tensor in tensors.items():
        storage = tensor.untyped_storage()
        if storage.data_ptr() in checked:
            continue
        checked.add(storage.data_ptr())
        data = torch.empty(0, dtype=torch.uint8).set_(storage).numpy()
        if (data.nbytes, zlib.crc32(data.data)) not in sums:
            raise CheckpointError(f"{WEIGHTS} is damaged: the checksum of {name[:200]} is wrong; fetch it again")


def _check_pickle(data: bytes) -> None:
    """Refuse a pickle that does more than list tensors; reads its instructions without carrying them out."""
    for opcode, argument, _ in pickletools.genops(data):
        if opcode.name not in _OPCODES:
            raise CheckpointError(f"{WEIGHTS} refused: its pickle uses {opcode.name}, which no state dict needs")
        if opcode.name == "GLOBAL" and argument not in _GLOBALS:
            raise CheckpointError(f"{WEIGHTS} refused: its pickle asks for {str(argument)[:100]!r}")


# NeMo builds its modules from these arguments; defaults are those of the classes' constructors.
_ENCODER = {
    "encoded_dim": None, "down_sample_rates": (2, 2, 8, 8), "base_channels": 32, "in_kernel_size": 7,
    "out_kernel_size": 7, "resblock_kernel_sizes": (3, 7, 11), "resblock_dilation_sizes": (1, 3, 5),
    "activation": "lrelu", "pad_mode": "reflect",
}  # fmt: skip
_DECODER = {
    "input_dim": None, "up_sample_rates": (8, 8, 2, 2), "base_channels": 512, "in_kernel_size": 7,
    "out_kernel_size": 3, "resblock_kernel_sizes": (3, 7, 11), "resblock_dilation_sizes": (1, 3, 5),
    "activation": "lrelu", "output_activation": "tanh",
}  # fmt: skip
_DECODERS: dict[str, dict[str, Any]] = {
    "CausalHiFiGANDecoder": {**_DECODER, "pad_mode": "zeros", "n_groups_equal_to_out_channels": True},
    "HiFiGANDecoder": {**_DECODER, "pad_mode": "reflect", "n_groups_equal_to_out_channels": False},
}


def _section(data: dict[str, Any], name: str, classes: dict[str, dict[str, Any]]) -> tuple[str, dict[str, Any]]:
    """A module's class and its arguments, defaults filled in; every argument is known, of its type and modest."""
    given = data.get(name)
    if not isinstance(given, dict):
        raise CheckpointError(f"{CONFIG} has no {name}: not a codec")
    given = dict(given)
    target = str(given.pop("_target_", given.pop("cls", ""))).rsplit(".", 1)[-1]
    if target not in classes:
        raise CheckpointError(f"{CONFIG}: {name} is a {target[:100]!r}, and only {' and '.join(classes)} are supported")
    defaults = classes[target]
    if unknown := [str(key)[:100] for key in given if key not in defaults]:
        raise CheckpointError(f"{CONFIG}: {name} has unknown settings: {', '.join(sorted(unknown)[:10])}")
    values = defaults | {key: tuple(value) if isinstance(value, list) else value for key, value in given.items()}
    for key, value in values.items():
        default = defaults[key]
        good = (
            isinstance(value, tuple) and 0 < len(value) <= 16 and all(_count(item) for item in value)
            if isinstance(default, tuple)
            else _count(value) if default is None or type(default) is int
            else type(value) is type(default)
        )  # fmt: skip
        if not good:
            raise CheckpointError(f"{CONFIG}: {name}.{key} is missing or has no usable value: {str(value)[:100]!r}")
    return target, values


def _count(value: object) -> bool:
    return type(value) is int and 0 < value < 1 << 16


def _config(data: dict[str, Any]) -> CodecConfig:
    """NeMo's configuration as ours; named after the variant that it equals, else `custom`."""
    _, encoder = _section(data, "audio_encoder", {"HiFiGANEncoder": _ENCODER})
    target, decoder = _section(data, "audio_decoder", _DECODERS)
    _, quantizer = _section(
        data, "vector_quantizer",
        {"GroupFiniteScalarQuantizer": {"num_groups": None, "num_levels_per_group": (1,), "eps": 1e-3}},
    )  # fmt: skip
    rate = data.get("sample_rate")
    if not isinstance(rate, int) or not 0 < rate < 1 << 20:
        raise CheckpointError(f"{CONFIG}: sample_rate is {str(rate)[:100]!r}")
    try:
        config = CodecConfig(
            "custom",
            quantizer["num_levels_per_group"],
            quantizer["num_groups"],
            encoder["down_sample_rates"],
            EncoderConfig(
                encoder["base_channels"],
                encoder["resblock_kernel_sizes"],
                encoder["resblock_dilation_sizes"],
                encoder["in_kernel_size"],
                encoder["out_kernel_size"],
                encoder["pad_mode"],
            ),
            DecoderConfig(
                decoder["base_channels"],
                decoder["resblock_kernel_sizes"],
                decoder["resblock_dilation_sizes"],
                decoder["in_kernel_size"],
                decoder["out_kernel_size"],
                target == "CausalHiFiGANDecoder",
                decoder["activation"],
                decoder["output_activation"],
                decoder["pad_mode"],
                decoder["n_groups_equal_to_out_channels"],
            ),
            rate,
        )
        config.validate()
    except ValueError as error:
        raise CheckpointError(f"{CONFIG}: {error}") from error
    unsupported = {
        "the encoder's activation": encoder["activation"] == "lrelu",
        "the decoder's activation": decoder["activation"] in ("lrelu", "half_snake"),
        "the output's activation": decoder["output_activation"] in ("tanh", "clamp"),
        "pad_mode": {encoder["pad_mode"], decoder["pad_mode"]} <= {"zeros", "replicate", "reflect"},
        "the quantizer's eps": quantizer["eps"] == 1e-3,
        "upsampling that is not the encoder's downsampling reversed": (
            decoder["up_sample_rates"] == config.strides[::-1]
        ),
        "a latent that the quantizer does not fill": (
            encoder["encoded_dim"] == decoder["input_dim"] == config.latent_dim
        ),
        "samples_per_frame": data.get("samples_per_frame") == config.hop,
        "an output_sample_rate of its own": data.get("output_sample_rate", rate) == rate,
        "a semantic codec": not data.get("semantic_codec"),
    }
    if wrong := [what for what, fine in unsupported.items() if not fine]:
        raise CheckpointError(f"{CONFIG} describes a codec that is not supported: {', '.join(wrong)}")
    for variant in VARIANTS.values():
        named = CodecConfig(**{**vars(config), "name": variant.name, "note": variant.note})
        if named == variant:
            return named
    return config
