"""The codec as ONNX, for runtimes without PyTorch: an encoder and a decoder, batch and length free.

Each written file is run in ONNX Runtime, at another batch and length than it was traced with, and compared with the
model before it is called good. Needs the extra `export` (onnx, onnxruntime).
"""

from __future__ import annotations

import json
import warnings
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from nanocodec.config import CodecConfig
from nanocodec.model import NanoCodec

TOLERANCE = 1e-4
EXTRA = "pip install 'nanocodec-evalkit[export]'"


class ExportError(Exception):
    """A model that does not come out as it went in, or a place that cannot be written to."""


class _Encode(nn.Module):
    """Audio [B, N * hop] to codes [B, K, N]."""

    def __init__(self, model: NanoCodec) -> None:
        super().__init__()
        self.encoder, self.quantizer = model.audio_encoder, model.vector_quantizer

    def forward(self, audio: Tensor) -> Tensor:
        return self.quantizer.encode(self.encoder(audio[:, None]))


class _Decode(nn.Module):
    """Codes [B, K, N] to audio [B, N * hop]."""

    def __init__(self, model: NanoCodec) -> None:
        super().__init__()
        self.quantizer, self.decoder = model.vector_quantizer, model.audio_decoder

    def forward(self, codes: Tensor) -> Tensor:
        return self.decoder(self.quantizer.decode(codes))[:, 0]


@dataclass(frozen=True)
class Exported:
    """The two files, and how far each is from the model on test input: differing codes, and the farthest sample."""

    encoder: Path
    decoder: Path
    wrong_codes: int
    codes: int
    difference: float


def export_onnx(model: NanoCodec, folder: str | Path) -> Exported:
    """Write a codec as ONNX and check it in ONNX Runtime.

    Both files carry the codec's configuration in their metadata (`nanocodec.config`). The audio must fill whole frames:
    pad it with zeros; LFSC also needs at least 4 frames.

    Args:
        model: on the CPU; it is folded.
        folder: made if need be. It gets `encoder.onnx` (audio float32 [B, N * hop] to codes int32 [B, K, N]) and
            `decoder.onnx` (codes int64 [B, K, N] to audio float32 [B, N * hop]).

    Returns:
        The two files and how far each is from the model.

    Raises:
        ImportError: the extra `export` is not installed.
        ExportError: a result further than 1e-4 from the model's, or a folder that cannot be written.
    """
    try:
        import onnx  # noqa: F401
        import onnxruntime  # noqa: F401
    except ImportError as error:
        raise ImportError(f"exporting needs {error.name}: {EXTRA}") from error
    folder = Path(folder)
    config = model.config
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ExportError(f"{folder}: cannot be written ({error})") from error
    model = model.fold().eval()
    generator = torch.Generator().manual_seed(0)

    def inputs(batch: int, frames: int) -> tuple[Tensor, Tensor]:
        audio = 0.2 * torch.randn(batch, frames * config.hop, generator=generator)
        shape = (batch, config.num_codebooks, frames)
        return audio, torch.randint(0, config.codebook_size, shape, generator=generator)

    audio, codes = inputs(2, 5)
    encoder = _write(_Encode(model), audio, "audio", "codes", folder / "encoder.onnx", config)
    decoder = _write(_Decode(model), codes, "codes", "audio", folder / "decoder.onnx", config)
    wrong = total = 0
    difference = 0.0
    for batch, frames in ((1, 9), (3, 4)):
        audio, codes = inputs(batch, frames)
        with torch.inference_mode():
            expected_codes, expected_audio = _Encode(model)(audio), _Decode(model)(codes)
        made = torch.from_numpy(run(encoder, audio))
        wrong, total = wrong + int((made != expected_codes).sum()), total + made.numel()
        difference = max(difference, float((torch.from_numpy(run(decoder, codes)) - expected_audio).abs().max()))
    if difference > TOLERANCE or wrong > total // 200:  # a code may tip over where two levels are equally near
        raise ExportError(f"{folder}: ONNX Runtime differs by {difference:.1e} and in {wrong} of {total} codes")
    return Exported(encoder, decoder, wrong, total, difference)


def run(path: Path, tensor: Tensor) -> object:
    """What an exported file answers in ONNX Runtime, as a numpy array."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return session.run(None, {session.get_inputs()[0].name: tensor.numpy()})[0]


def _write(module: nn.Module, example: Tensor, given: str, made: str, path: Path, config: CodecConfig) -> Path:
    """Trace and save. By torch's older exporter: its graphs are half as large and take a tenth of the time to make."""
    import onnx

    free = {given: {0: "batch", example.dim() - 1: "n"}, made: {0: "batch"}}
    try:
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # tracing warns of every shape that it reads
            torch.onnx.export(
                module.eval(), (example,), str(path), dynamo=False, opset_version=17,
                input_names=[given], output_names=[made], dynamic_axes=free,
            )  # fmt: skip
        proto = onnx.load(path)
        onnx.helper.set_model_props(proto, {"nanocodec.config": json.dumps(config.to_dict())})
        onnx.save(proto, path)
    except (OSError, RuntimeError) as error:
        raise ExportError(f"{path}: cannot be written ({error})") from error
    return path
