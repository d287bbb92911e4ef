"""What tests share: speech that the project ships, and signals made from a seed."""

import os
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import settings

from evalkit import plugins
from evalkit.datasets import load_dataset
from evalkit.environment.extras import load_torchaudio

# As evalkit's own command does: threads that wait do not spin. Before anything imports torch.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

settings.register_profile("evalkit", deadline=None)  # a busy machine is slow, and no test is about time
settings.load_profile("evalkit")

RATE = 16_000


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache for every test."""
    folder = tmp_path / "evalkit-cache"
    monkeypatch.setenv("EVALKIT_CACHE", str(folder))
    return folder


@pytest.fixture(autouse=True)
def own_registry(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a test registers is gone after it."""
    monkeypatch.setattr(plugins, "_REGISTERED", dict(plugins._REGISTERED))


@pytest.fixture(scope="session", autouse=True)
def loadable_torchaudio() -> None:
    """What tests ask of transformers directly imports torchaudio, where that is installed, and it may not load."""
    if find_spec("torchaudio"):
        load_torchaudio()


@pytest.fixture(scope="session")
def speech() -> np.ndarray:
    """About 5 s of synthesized speech [T] at 16 kHz, float32."""
    return load_dataset("builtin").utterances[0].audio().at(RATE).wav


@pytest.fixture(scope="session")
def speech_file(speech: np.ndarray, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`speech` as a file."""
    path = tmp_path_factory.mktemp("speech") / "speech.wav"
    soundfile.write(path, speech, RATE, subtype="FLOAT")
    return path


@pytest.fixture(scope="session")
def bursts() -> np.ndarray:
    """60 short bursts of noise [T] at 16 kHz: more utterances than the C code of PESQ has room for."""
    rng = np.random.default_rng(0)
    burst = np.concatenate([0.3 * rng.standard_normal(RATE // 2), np.zeros(int(1.1 * RATE))])
    return np.tile(burst, 60).astype(np.float32)


@pytest.fixture
def empty_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of the hub, and no network."""
    folder = tmp_path / "hub"
    monkeypatch.setenv("HF_HUB_CACHE", str(folder))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    return folder


@pytest.fixture(scope="session")
def one_thread() -> Iterator[None]:
    """Narrow models gain nothing from threads, and lose much where something else runs on the machine."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
