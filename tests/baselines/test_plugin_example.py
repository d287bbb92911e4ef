"""The example of a codec in a package of its own, docs/plugin, installed and run as its reader would."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile

PLUGIN = Path(__file__).parents[2] / "docs" / "plugin"


@pytest.fixture(scope="module")
def installed(tmp_path_factory) -> dict[str, str]:
    """The environment of a process that sees the installed plugin."""
    pytest.importorskip("setuptools", reason="installing without a network needs setuptools here")
    root = tmp_path_factory.mktemp("plugin")
    shutil.copytree(PLUGIN, root / "source")
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    done = subprocess.run([*command, "--target", root / "site", root / "source"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return os.environ | {"PYTHONPATH": str(root / "site")}


def run(environment: dict[str, str], *arguments: str) -> str:
    done = subprocess.run([sys.executable, *arguments], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_codec_is_listed_and_run_and_scored(installed: dict[str, str], tmp_path: Path) -> None:
    listed = json.loads(run(installed, "-m", "evalkit.cli", "list", "codecs", "--json"))
    (one,) = [one for one in listed if one["codec"] == "mulaw@64k"]
    assert (one["state"], one["bit/s"], one["sample_rate"]) == ("ready", 64_000, 8000)
    output = tmp_path / "run"
    metrics = ["--metrics", "si-sdr,bitrate", "--limit", "2"]
    run(installed, "-m", "evalkit.cli", "run", "--codec", "mulaw", *metrics, "--output", str(output))
    lines = [line.split(",") for line in (output / "summary.csv").read_text().splitlines()]
    means = {line[lines[0].index("metric")]: float(line[lines[0].index("mean")]) for line in lines[1:]}
    assert means["bitrate"] == pytest.approx(64_000, rel=1e-3) and means["si-sdr"] > 10


def test_the_data_are_listed_and_run(installed: dict[str, str], tmp_path: Path) -> None:
    listed = json.loads(run(installed, "-m", "evalkit.cli", "list", "datasets", "--json"))
    assert [one["usage"] for one in listed if one["dataset"] == "corpus"] == ["corpus:DIR"]
    wav = 0.1 * np.sin(np.arange(16_000))
    for speaker in ("anna", "ben"):
        (tmp_path / "data" / speaker).mkdir(parents=True)
        soundfile.write(tmp_path / "data" / speaker / "1.wav", wav, 16_000)
    (tmp_path / "data" / "anna" / "1.txt").write_text("a tone\n")
    command = ["run", "--codec", "mulaw", "--dataset", f"corpus:{tmp_path / 'data'}", "--metrics", "si-sdr"]
    run(installed, "-m", "evalkit.cli", *command, "--output", str(tmp_path / "run"))
    rows = pd.read_parquet(tmp_path / "run" / "rows.parquet")
    assert sorted(zip(rows["utterance"], rows["speaker"], strict=True)) == [("anna/1", "anna"), ("ben/1", "ben")]


def test_it_keeps_the_protocol(installed: dict[str, str], tmp_path: Path) -> None:
    readme = (PLUGIN / "README.md").read_text()
    code = "\n".join(line[4:] for line in readme.splitlines() if line.startswith("    ") and "pip" not in line)
    code = code[code.index("from evalkit.testing") :]
    calls = f"test_it_keeps_the_protocol()\ntest_the_data_keep_the_contract(Path({str(tmp_path)!r}))"
    run(installed, "-c", f"{code}\n{calls}")
