"""Long audio: the same values in blocks as at once, in bounded memory, or a reason; and the rate that a metric asks
for."""

import subprocess
import sys

import numpy as np
import pytest

from evalkit.audio import Audio
from evalkit.metrics import lsd, mel, pitch, si_sdr, stft, stoi
from evalkit.metrics.base import Pair, PairMetric
from evalkit.metrics.load import load_metric
from evalkit.metrics.pesq import PESQ
from evalkit.pipeline.jobs import Candidate, Job, Source
from evalkit.pipeline.score import score_jobs


@pytest.mark.parametrize(
    ("metric", "module", "block"),
    [
        (si_sdr.SI_SDR, si_sdr, 1_000), (lsd.LSD, lsd, 7), (lsd.MCD, lsd, 7), (pitch.F0_RMSE, pitch, 11),
        (pitch.VOICING, pitch, 11), (mel.PAPER, mel, 5_000), (mel.NEMO, mel, 5_000), (stft.STFT_DAC, stft, 5_000),
        (stoi.STOI, stoi, 7), (stoi.ESTOI, stoi, 7), (stoi.ESTOI, stoi, 1),
    ],
    ids=lambda value: getattr(value, "name", ""),
)  # fmt: skip
def test_blocks_change_no_value(
    metric: PairMetric, module, block: int, pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = metric.score(pair)
    monkeypatch.setattr(module, "BLOCK", block)
    pitch._TRACKS.clear()
    assert metric.score(pair) == pytest.approx(whole, rel=1e-6 if module in (mel, stft) else 1e-12)
    pitch._TRACKS.clear()


HOUR = """
import resource, sys, numpy as np
from evalkit.metrics.base import Pair
from evalkit.metrics.load import load_metric
rng = np.random.default_rng(0)
tone = np.tile((0.3 * np.sin(np.arange(16_000) / 20)).astype(np.float32), 1800)
noisy = tone + np.tile((0.01 * rng.standard_normal(16_000)).astype(np.float32), 1800)
load_metric(sys.argv[1]).score(Pair(tone[:32_000], noisy[:32_000]))
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
load_metric(sys.argv[1]).score(Pair(tone, noisy))
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024 / tone.nbytes)
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["si-sdr", "lsd-2048", "mcd-mel80", "f0-rmse-yin", "mel-2048-80-ln1p", "stft-dac", "estoi"]
)
def test_half_an_hour_takes_a_few_times_the_audio(name: str) -> None:
    """Before: 5 to 20 times as much as one side of the pair has, and more for LSD."""
    done = subprocess.run([sys.executable, "-c", HOUR, name], capture_output=True, text=True, check=True)
    assert float(done.stdout) < 5


def job(*metrics: str, rate: int = 16_000, seconds: float = 2.0) -> Job:
    wav = (0.1 * np.random.default_rng(0).standard_normal(round(rate * seconds))).astype(np.float32)
    return Job(Source(Audio(wav, rate)), (Candidate(0, Source(Audio(0.5 * wav, rate)), metrics),))


def test_what_is_too_long_for_a_metric_costs_its_row_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(PESQ, "max_seconds", 1.5)
    refused, kept = score_jobs((job("pesq-wb", "si-sdr"),)).scores
    assert refused.value is None and refused.settled
    assert "2 s long: pesq-wb accepts at most 1.5 s" in str(refused.reason)
    assert kept.metric == "si-sdr" and kept.value is not None


def test_a_pair_comes_at_the_rate_that_the_metric_asks_for(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict[str, int] = {}
    wide, narrow = load_metric("visqol-audio"), load_metric("si-sdr")
    for metric in (wide, narrow):
        monkeypatch.setattr(
            type(metric), "score", lambda self, pair: seen.setdefault(self.name, len(pair.decoded)) * 0.0
        )
    answers = score_jobs((job("visqol-audio", "si-sdr", rate=44_100, seconds=0.5),)).scores
    assert [answer.value for answer in answers] == [0, 0]
    assert seen == {"visqol-audio": 24_000, "si-sdr": 8_000}
