"""What every metric owes the rest of the program: its registered name, a cheap import, and to be picklable."""

import pickle
import subprocess
import sys
import tomllib
from importlib import import_module
from pathlib import Path

import pytest

from evalkit.metrics.base import CodesMetric, PairMetric
from evalkit.metrics.model import ModelMetric

PROJECT = tomllib.loads((Path(__file__).parents[3] / "pyproject.toml").read_text())
REGISTERED = PROJECT["project"]["entry-points"]["evalkit.metrics"]
OURS = {name: target for name, target in REGISTERED.items() if target.startswith("evalkit.metrics.")}
LIGHT = ("pesq", "stoi", "mel", "si_sdr", "tokens", "mms", "secs", "squim")


@pytest.mark.parametrize(("name", "target"), OURS.items())
def test_registered_metrics_keep_the_contract(name, target):
    module, attribute = target.split(":")
    metric = getattr(import_module(module), attribute)
    assert metric.name == name
    assert isinstance(metric, PairMetric | CodesMetric | ModelMetric)
    assert metric.direction in ("up", "down", "none")
    assert metric.low < metric.high
    assert metric.version
    assert type(metric).__doc__
    assert pickle.loads(pickle.dumps(metric)) == metric


def test_importing_the_metrics_loads_nothing_heavy():
    modules = ", ".join(f"evalkit.metrics.{name}" for name in LIGHT)
    heavy = {
        "torch",
        "transformers",
        "torchaudio",
        "librosa",
        "pesq",
        "pystoi",
        "pandas",
        "torchmetrics",
        "scipy.signal",
    }
    code = f"import sys, {modules}; print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
