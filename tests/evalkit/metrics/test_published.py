"""The recovered Mel distance and PESQ on the audio that the NanoCodec authors published (45 MLS utterances).

Not part of the project: set EVALKIT_AUTHORS_DEMO to a folder with those files and a `manifest.csv` (columns utterance,
system, kbps, frames_per_second, file; the system `reference` is the original) to run these tests.
"""

import csv
import os
from pathlib import Path

import numpy as np
import pytest

from evalkit.metrics.base import SCORE_RATE, Pair
from evalkit.metrics.mel import PAPER
from evalkit.metrics.pesq import PESQ_WB
from evalkit.soundfiles import read

FOLDER = os.environ.get("EVALKIT_AUTHORS_DEMO", "")
pytestmark = pytest.mark.skipif(not FOLDER, reason="EVALKIT_AUTHORS_DEMO does not name the authors' audio")

MEL_PUBLISHED = {
    ("lfsc", "1.89", "21.5"): 0.147,
    ("nanocodec", "1.78", "12.5"): 0.143,
    ("nanocodec", "0.6", "12.5"): 0.205,
    ("mimi", "1.1", "12.5"): 0.238,
    ("wavtokenizer", "0.9", "75"): 0.207,
    ("taae", "0.7", "25"): 0.320,
}
"""NanoCodec paper and model cards, on all of MLS: 1600 utterances, of which 45 are here. LFSC and NanoCodec 0.6 are
first-hand, the others come from a summary of the paper."""

PESQ_MEASURED = {("mimi", "1.1", "12.5"): 2.120, ("nanocodec", "0.6", "12.5"): 1.991}
"""On these files with the soxr resampler, by another script around the `pesq` package."""


@pytest.fixture(scope="module")
def pairs() -> dict[tuple[str, str, str], list[Pair]]:
    with (Path(FOLDER) / "manifest.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))

    def load(row: dict[str, str]) -> np.ndarray:
        return read(Path(FOLDER) / row["file"]).at(SCORE_RATE).wav

    references = {row["utterance"]: load(row) for row in rows if row["system"] == "reference"}
    found: dict[tuple[str, str, str], list[Pair]] = {}
    for row in rows:
        system = (row["system"], row["kbps"], row["frames_per_second"])
        if system in MEL_PUBLISHED:
            reference, decoded = references[row["utterance"]], load(row)
            length = min(len(reference), len(decoded))
            found.setdefault(system, []).append(Pair(reference[:length], decoded[:length]))
    return found


@pytest.mark.parametrize("system", MEL_PUBLISHED, ids="-".join)
def test_mel_reproduces_the_published_tables(system, pairs):
    mean = np.mean([PAPER.score(pair) for pair in pairs[system]])
    assert mean == pytest.approx(MEL_PUBLISHED[system], rel=0.03)


@pytest.mark.parametrize("system", PESQ_MEASURED, ids="-".join)
def test_pesq_repeats_what_was_measured(system, pairs):
    mean = np.mean([PESQ_WB.score(pair) for pair in pairs[system]])
    assert mean == pytest.approx(PESQ_MEASURED[system], abs=0.015)
