"""A run with audio, for figures, pages and the leaderboard."""

from pathlib import Path

import numpy as np
import pytest

from evalkit.audio import Audio
from evalkit.files import slug
from evalkit.results.rows import CORPUS, Row
from evalkit.results.run import Run, read_run
from evalkit.results.run_directory import RunWriter
from evalkit.soundfiles import write

METRICS = {
    "pesq-wb": {"label": "PESQ-WB", "direction": "up", "unit": "MOS-LQO", "version": "1", "decimals": 3},
    "mel": {"label": "Mel", "direction": "down", "unit": "", "version": "1", "decimals": 3},
    "bitrate": {"label": "bit/s", "direction": "none", "unit": "bit/s", "version": "1", "decimals": 1},
}
CODECS = {"opus@6k": (6.0, 2.0), "opus@12k": (12.0, 3.0), "codec<2>@1.2k": (1.2, 1.5)}
RATE = 16_000


@pytest.fixture
def run_with_audio(tmp_path: Path) -> Run:
    """Three codecs on 12 utterances in two languages; decoded audio and originals of all."""
    rng = np.random.default_rng(0)
    path = tmp_path / "run"
    with RunWriter(path, list(CODECS), {"metrics": METRICS, "dataset": {"name": "set", "n": 12}}) as writer:
        for i in range(12):
            wav = (0.3 * np.sin(2 * np.pi * (200 + 40 * i) * np.arange(RATE) / RATE)).astype(np.float32)
            write(path / "audio" / "reference" / f"u{i:02}.wav", Audio(wav, RATE))
            for codec, (kbps, quality) in CODECS.items():
                about = {"language": "de" if i % 2 else "en", "bitrate_kbps": kbps}
                values = {"pesq-wb": quality + 0.1 * i, "mel": 0.5 - 0.1 * quality + 0.01 * rng.standard_normal()}
                writer.add(Row(codec, "set", f"u{i:02}", m, float(v), **about) for m, v in values.items())  # type: ignore[arg-type]
                noisy = wav + 0.1 / quality * rng.standard_normal(RATE).astype(np.float32)
                write(path / "audio" / slug(codec) / f"u{i:02}.wav", Audio(noisy, RATE))
        writer.add(Row(codec, "set", CORPUS, "bitrate", 1000 * kbps + 20) for codec, (kbps, _) in CODECS.items())
    return read_run(path)
