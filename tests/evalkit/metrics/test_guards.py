"""Bad audio gives every metric of the field a reason, or a value that is true of it; never a number out of the air.

Metrics whose weights are in packages run as they are. Those that are downloaded run around a model that fails the test
if it is asked about audio that the metric has to refuse.
"""

from collections.abc import Callable, Mapping

import numpy as np
import pytest

from evalkit.audio import Wave
from evalkit.errors import UndefinedScore
from evalkit.metrics import hubert_asr, scoreq, secs, speechbertscore, utmos, utmosv2, whisper_asr
from evalkit.metrics.base import Pair, PairMetric
from evalkit.metrics.contract import scoring
from evalkit.metrics.load import load_metric
from evalkit.metrics.model import ModelMetric
from evalkit.pipeline.suites import metric_suites
from evalkit.testing import example_pair

NAMES = sorted({name for suite in ("field", "field-extra", "offline") for name in metric_suites()[suite]} - {"bitrate"})
SCORERS = {
    utmos.Utmos22: utmos.UtmosModel,
    utmosv2.Utmosv2Metric: utmosv2.Utmosv2Model,
    scoreq.Scoreq: scoreq.ScoreqModel,
    scoreq.ScoreqDistance: scoreq.ScoreqModel,
    speechbertscore.SpeechBertScore: speechbertscore.WavlmFrames,
    hubert_asr.HubertWer: hubert_asr.HubertRecognizer,
    whisper_asr.WhisperWer: whisper_asr.WhisperRecognizer,
    secs.WavlmLargeSimilarity: secs.SpeakerModel,
    secs.WavlmBaseSimilarity: secs.SpeakerModel,
}
"""What opens the model of metrics whose weights are downloaded."""
LEVEL_IS_NOTHING = {"pesq-wb", "pesq-nb-16k", "stoi", "estoi"}
"""A factor changes no value of theirs."""
DISTANCES = {"mel-dac", "stft-dac"}
"""Silence and level have a distance."""


def score_of(metric: PairMetric | ModelMetric) -> Callable[[Pair], Mapping[str, float]]:
    if type(metric) not in SCORERS:
        if not metric.availability(["en"]).ready:
            pytest.skip(metric.availability(["en"]).remedy)
        return scoring(metric)

    class Refused(SCORERS[type(metric)]):  # type: ignore[misc]
        def __init__(self) -> None:
            self._stored = {}

        def infer(self, wavs: object, language: str) -> None:
            raise AssertionError(f"{metric.name}: the model was given audio that the metric has to refuse")

    scorer = Refused()
    return lambda pair: scorer.score(metric, pair)


@pytest.fixture(params=NAMES)
def metric(request: pytest.FixtureRequest) -> PairMetric | ModelMetric:
    found = load_metric(request.param)
    assert isinstance(found, PairMetric | ModelMetric)
    return found


def spoilt(change: Callable[[Wave], Wave], rate: int) -> list[Pair]:
    """Speech whose decoded side, whose reference, and both of whose sides are changed."""
    good = example_pair(seconds=1.2, rate=rate)
    a, b = good.reference, good.decoded
    return [Pair(x, y, good.transcript, "en") for x, y in ((a, change(b)), (change(a), b), (change(a), change(b)))]


def test_silence(metric: PairMetric | ModelMetric) -> None:
    score = score_of(metric)
    decoded, reference, both = spoilt(np.zeros_like, metric.rate)
    if metric.name in DISTANCES:
        assert score(decoded)[metric.name] > score(both)[metric.name] == 0
        return
    for pair in (decoded, both) if metric.name.startswith("wer-") else (decoded, reference, both):
        if metric.name.startswith("wer-"):
            assert score(pair)[metric.name] == 100, "every word is lost"
        elif not metric.uses_reference and pair is reference:
            continue  # the reference is not looked at, or refused as well: both are true of it
        elif metric.name.startswith("dwer-") and pair is decoded:
            continue  # every word that the model finds in the original is lost: it has to be asked
        else:
            with pytest.raises(UndefinedScore, match=r"silence|no speech|a constant|patch"):
                score(pair)


@pytest.mark.parametrize("samples", [1, 50, 300])
def test_too_short(metric: PairMetric | ModelMetric, samples: int) -> None:
    score = score_of(metric)
    for pair in spoilt(lambda wav: wav, metric.rate)[:1]:
        with pytest.raises(UndefinedScore, match=r".+"):
            score(Pair(pair.reference[:samples], pair.decoded[:samples], pair.transcript, "en"))


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_not_finite(metric: PairMetric | ModelMetric, bad: float) -> None:
    def change(wav: Wave) -> Wave:
        return np.where(np.arange(len(wav)) == 1000, np.float32(bad), wav)

    score = score_of(metric)
    for pair in spoilt(change, metric.rate):
        with pytest.raises(UndefinedScore, match="NaN or infinite"):
            score(pair)


def test_integers_that_were_read_as_floats(metric: PairMetric | ModelMetric) -> None:
    score = score_of(metric)
    decoded, reference, _ = spoilt(lambda wav: wav * np.float32(32768), metric.rate)
    if metric.name in LEVEL_IS_NOTHING:
        expected = score(example_pair(seconds=1.2))[metric.name]
        assert score(decoded)[metric.name] == pytest.approx(expected, abs=1e-3)
    elif metric.name in DISTANCES:
        assert score(decoded)[metric.name] > score(example_pair(seconds=1.2))[metric.name]
    else:
        with pytest.raises(UndefinedScore, match="times full scale"):
            score(decoded)
        if metric.uses_reference:
            with pytest.raises(UndefinedScore, match="times full scale"):
                score(reference)
