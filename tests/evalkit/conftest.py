"""A metric with a model, installed as somebody else's package would be, for processes that a test starts."""

import os
from pathlib import Path

import pytest

EAR = '''
"""Hears how loud a recording is. What it does is written to the file EAR_LOG."""
import os
import signal
import time
from dataclasses import dataclass

import numpy as np

from evalkit.metrics.model import ModelMetric, Scorer


def log(*words):
    with open(os.environ["EAR_LOG"], "a") as file:
        print(os.getpid(), *words, file=file)


def logged(word):
    with open(os.environ["EAR_LOG"]) as file:
        return file.read().count(f" {word} ")


class Ear(Scorer):
    def __init__(self, name):
        super().__init__()
        self.name = name
        log("opened", name)
        while logged("opened") < int(os.environ.get("EAR_TOGETHER", 0)):
            time.sleep(0.1)

    def infer(self, wavs, language):
        lengths = [len(wav) for wav in wavs]
        log("heard", self.name, *lengths)
        if KILLS in lengths:
            os.kill(os.getpid(), signal.SIGKILL)
        if FAILS in lengths or len(wavs) > int(os.environ.get("EAR_MEMORY", 9)):
            import torch

            raise torch.OutOfMemoryError("out of memory, and no more to have")
        return [np.abs(wav).mean(keepdims=True) for wav in wavs]

    def reference(self, metric, pair):
        return pair.reference

    def score(self, metric, pair):
        return {metric.name: float(self.features(pair.decoded)[0] - self.features(pair.reference)[0])}


KILLS, FAILS = 9000, 9001


@dataclass(frozen=True)
class Loudness(ModelMetric):
    @property
    def model(self):
        return self.name

    def open(self, device):
        return Ear(self.name)


class Patient(Loudness):
    """Does not mind padding."""

    pads = True


ABOUT = dict(
    label="Ear", direction="down", unit="", low=-1.0, high=1.0, version="1", decimals=3, files=(), packages=()
)
EAR = Loudness(name="ear", **ABOUT)
PADS = Patient(name="ear-pads", **ABOUT)
'''


@pytest.fixture
def ear_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The metrics `ear` and `ear-pads` are there for processes started from now on; what they write down goes here."""
    package = tmp_path / "site" / "ear-1.dist-info"
    package.mkdir(parents=True)
    (package / "METADATA").write_text("Metadata-Version: 2.1\nName: ear\nVersion: 1\n")
    (package / "entry_points.txt").write_text("[evalkit.metrics]\near = ear:EAR\near-pads = ear:PADS\n")
    (package.parent / "ear.py").write_text(EAR)
    before = os.environ.get("PYTHONPATH")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(package.parent), *([before] if before else [])]))
    monkeypatch.setenv("EAR_LOG", str(tmp_path / "ear.log"))
    return tmp_path / "ear.log"
