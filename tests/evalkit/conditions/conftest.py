"""A codec whose every property is known."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import soundfile

from evalkit.audio import Wave
from evalkit.codecs import Codes

RATE, HOP = 16_000, 160


class Levels:
    """The mean of every 10 ms, in two residual codebooks. Shift-invariant at whole hops."""

    name = "levels"
    sample_rate: int | None = RATE
    frame_rate: float | None = RATE / HOP
    codebook_sizes: tuple[int, ...] = (16, 16)
    streaming = True
    residual = True
    details: Mapping[str, object] = {}

    def encode(self, wav: Wave) -> Codes:
        frames = -(-len(wav) // HOP)
        means = np.pad(wav, (0, frames * HOP - len(wav))).reshape(frames, HOP).mean(1) + 1
        fine = np.clip(means / 2 * 256, 0, 255).astype(np.int64)
        return Codes(len(wav), np.stack([fine // 16, fine % 16]), self.codebook_sizes)

    def decode(self, codes: Codes) -> Wave:
        assert codes.indices is not None
        fine = codes.indices[0] * 16 + (codes.indices[1] if len(codes.indices) > 1 else 8)
        return np.repeat((fine / 128 - 1).astype(np.float32), HOP)[: codes.length]


@pytest.fixture
def codec() -> Levels:
    return Levels()


@pytest.fixture
def data(tmp_path: Path, speech: np.ndarray) -> str:
    """Three recordings of 2 s, of two speakers."""
    folder = tmp_path / "data"
    folder.mkdir()
    lines = ["id,file,speaker"]
    for number, speaker in enumerate("aab"):
        soundfile.write(folder / f"{number}.wav", speech[number * RATE // 2 :][: 2 * RATE], RATE, subtype="FLOAT")
        lines.append(f"u{number},{number}.wav,{speaker}")
    (folder / "set.csv").write_text("\n".join(lines) + "\n")
    return f"folder:{folder}"
