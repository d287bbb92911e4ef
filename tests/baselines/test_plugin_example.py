"""The example of a codec in a package of its own, docs/plugin, installed and run as its reader would."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

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


def test_it_keeps_the_protocol(installed: dict[str, str]) -> None:
    readme = (PLUGIN / "README.md").read_text()
    code = "\n".join(line[4:] for line in readme.splitlines() if line.startswith("    ") and "pip" not in line)
    code = code[code.index("from evalkit.testing") :]
    run(installed, "-c", f"{code}\ntest_it_keeps_the_protocol()")
