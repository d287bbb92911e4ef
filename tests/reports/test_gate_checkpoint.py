"""The gate on the built-in checkpoint: the same one passes, one with 5 % of its weights perturbed fails."""

import re
from importlib.resources import files
from pathlib import Path

import pytest

from evalkit.cli import main
from evalkit.results.run import read_run


@pytest.mark.slow
def test_a_perturbed_checkpoint_is_stopped(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import torch
    from safetensors import safe_open
    from safetensors.torch import save_file

    source = files("nanocodec") / "weights" / "mini-1.1k.safetensors"
    if not source.is_file():
        pytest.skip("no built-in weights in this checkout")
    generator = torch.Generator().manual_seed(0)
    with safe_open(str(source), "pt") as file:
        metadata, tensors = file.metadata(), {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    for name, tensor in tensors.items():
        if tensor.is_floating_point() and tensor.numel() > 1:
            values = tensor.float()
            struck = torch.rand(values.shape, generator=generator) < 0.05
            noise = values.std() * torch.randn(values.shape, generator=generator)
            tensors[name] = torch.where(struck, values + noise, values).to(tensor.dtype).contiguous()
    save_file(tensors, str(tmp_path / "perturbed.safetensors"), metadata)

    common = [
        "--codec",
        "nanocodec@1.1k",
        "--limit",
        "10",
        "--metrics",
        "pesq-wb,mel-2048-80-ln1p,bitrate",
        "--no-cache",
    ]
    for name, more in (
        ("good", []),
        ("again", []),
        ("perturbed", ["--weights", f"nanocodec={tmp_path / 'perturbed.safetensors'}"]),
    ):
        assert main(["run", *common, *more, "--output", str(tmp_path / name)]) == 0
    baseline = str(tmp_path / "baseline.json")
    assert main(["gate", str(tmp_path / "good"), "--baseline", baseline, "--update"]) == 0
    assert main(["gate", str(tmp_path / "again"), "--baseline", baseline]) == 0
    capsys.readouterr()
    codec = read_run(tmp_path / "perturbed").rows["codec"].iloc[0]
    assert main(["gate", str(tmp_path / "perturbed"), "--baseline", baseline, "--codec", codec]) == 1
    printed = capsys.readouterr().out
    assert re.search(r"FAILED .*Mel 0\.\d+ -> \d\.\d+, \d\.\d+ worse on 10 utterances \(margin", printed)
    assert re.search(r"\n +\S+: 0\.\d+ -> \d\.\d+\n", printed), "it names the utterances that lost most"
