"""Speech to train on, or what passes for it."""

from pathlib import Path

import numpy as np
import pytest
import soundfile


@pytest.fixture(scope="session")
def speechlike(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of 40 harmonic sounds with gliding pitch, 1.5 s each at 16 kHz, some in a folder below."""
    folder = tmp_path_factory.mktemp("data")
    (folder / "more").mkdir()
    rng = np.random.default_rng(0)
    time = np.arange(24000) / 16000
    for index in range(40):
        pitch = rng.uniform(90, 250) * (1 + 0.2 * np.sin(2 * np.pi * rng.uniform(1, 4) * time))
        phase = 2 * np.pi * np.cumsum(pitch) / 16000
        wave = sum(np.sin(k * phase) / k for k in range(1, 12)) * (0.05 + 0.05 * np.sin(7 * time) ** 2)
        soundfile.write(folder / ("more" if index % 2 else ".") / f"{index}.flac", wave, 16000)
    return folder
