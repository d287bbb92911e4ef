"""The exported codec answers as the model does, at batches and lengths it was not traced with."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from nanocodec.checkpoint import save
from nanocodec.cli import main
from nanocodec.config import CodecConfig, DecoderConfig
from nanocodec.testing import seeded_audio, seeded_model, tiny

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

from nanocodec.export import run  # noqa: E402

NON_CAUSAL = replace(
    tiny(),
    encoder=replace(tiny().encoder, pad_mode="reflect"),
    decoder=DecoderConfig(
        24, (3,), (1,), causal=False, activation="lrelu", output_activation="tanh", pad_mode="reflect",
        grouped_upsampling=False,
    ),
)  # fmt: skip


@pytest.mark.parametrize("config", [tiny(), NON_CAUSAL], ids=["causal", "as LFSC"])
def test_export_from_the_command_line(config: CodecConfig, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = seeded_model(config)
    save(model, tmp_path / "m.safetensors")
    assert main(["export", str(tmp_path / "onnx"), "--model", str(tmp_path / "m.safetensors")]) == 0
    assert "in ONNX Runtime" in capsys.readouterr().out
    for batch, frames in ((1, 50), (4, 6)):
        audio = torch.stack([seeded_audio(frames * model.hop, seed) for seed in range(batch)])
        with torch.inference_mode():
            codes, _ = model.encode(audio)
            decoded = model.decode(codes)
        assert len(codes.unique()) > 5
        assert torch.equal(torch.from_numpy(run(tmp_path / "onnx" / "encoder.onnx", audio)), codes)
        made = torch.from_numpy(run(tmp_path / "onnx" / "decoder.onnx", codes.long()))
        assert (made - decoded).abs().max() <= 1e-4
    props = {p.key: p.value for p in onnx.load(tmp_path / "onnx" / "decoder.onnx").metadata_props}
    assert CodecConfig.from_dict(json.loads(props["nanocodec.config"])) == config
