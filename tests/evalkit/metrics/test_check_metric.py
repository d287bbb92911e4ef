"""`check_metric` finds what is wrong with a metric, and names it: the attribute, the input, the value."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import Any, ClassVar

import numpy as np
import pytest

from evalkit.codecs import Availability, Codes
from evalkit.errors import UndefinedScore, UsageError
from evalkit.metrics.base import CodesMetric, Pair, PairMetric
from evalkit.metrics.checks import require_length, require_sound
from evalkit.metrics.contract import example_pair
from evalkit.metrics.model import ModelMetric, Scorer
from evalkit.testing import check_metric

ABOUT: dict[str, Any] = {
    "name": "error", "label": "Error", "direction": "down", "unit": "", "low": 0.0, "high": float("inf"),
    "version": "1", "decimals": 3,
}  # fmt: skip


@dataclass(frozen=True)
class Error(PairMetric):
    """Mean absolute difference of samples, from 0 on."""

    def score(self, pair: Pair) -> float:
        require_length(pair, 1)
        return float(np.abs(pair.reference - pair.decoded).mean())


@dataclass(frozen=True)
class Frees(Error):
    """Changes the reference."""

    def score(self, pair: Pair) -> float:
        require_length(pair, 1)
        pair.reference[:] = 0
        return 0.0


@dataclass(frozen=True)
class Fails(Error):
    """Divides by the level."""

    def score(self, pair: Pair) -> float:
        return super().score(pair) / float(f"{pair.decoded.std():.3f}") if len(pair.decoded) else 0.0


@dataclass(frozen=True)
class Refuses(Error):
    """Takes no speech."""

    def score(self, pair: Pair) -> float:
        raise UndefinedScore("only music")


@dataclass(frozen=True)
class Wordless(Error):
    """Refuses without a reason."""

    def score(self, pair: Pair) -> float:
        if len(pair.decoded) < 2:
            raise UndefinedScore
        return super().score(pair)


@dataclass(frozen=True)
class Random(Error):
    """Is another number each time."""

    def score(self, pair: Pair) -> float:
        return super().score(pair) + float(np.random.default_rng().uniform())


@dataclass(frozen=True)
class Text(Error):
    """Is no number."""

    def score(self, pair: Pair) -> float:
        return "0.5"  # type: ignore[return-value]


@dataclass(frozen=True)
class NotANumber(Error):
    """Is NaN for silence."""

    def score(self, pair: Pair) -> float:
        value = super().score(pair)
        return value if pair.decoded.std() else float("nan")


@dataclass(frozen=True)
class Unranked(Error):
    """Ranks nothing and does not say why."""

    ranks: ClassVar[bool] = False


@dataclass(frozen=True)
class Absent(Error):
    """Is not here, and does not say what to do."""

    def availability(self, languages: Sequence[str] = ()) -> Availability:
        return Availability("needs extra", "")


class Undocumented(Error):
    __doc__ = None


@dataclass(frozen=True)
class Counts(CodesMetric):
    """Number of utterances."""

    def score(self, codes: Sequence[Codes], seconds: float) -> Mapping[str, float]:
        return {"count": float(len(codes))}


class Loud(Scorer):
    def infer(self, wavs, language):
        return [np.array([np.abs(wav).max()]) for wav in wavs]

    def score(self, metric, pair):
        require_length(pair, 1)
        require_sound(pair)
        return {"peak": float(self.features(pair.decoded)[0])}


@dataclass(frozen=True)
class Peak(ModelMetric):
    """Peak of the decoded audio."""

    @property
    def model(self) -> str:
        return "peak"

    def open(self, device: str) -> Loud:
        return Loud()


FINE = Error(**ABOUT)
BESIDE = {name: getattr(FINE, name) for name in ("ranks", "note", "uses_reference", "rate", "max_seconds")}


def test_a_metric_that_keeps_the_contract_passes() -> None:
    check_metric(FINE)
    check_metric(Peak(**ABOUT | {"name": "peak", "direction": "none"}, files=(), packages=()))


@pytest.mark.parametrize(
    ("metric", "message"),
    [
        (SimpleNamespace(name="mine", label="Mine"), "mine: direction, unit, low, high, version, decimals, .* missing"),
        (SimpleNamespace(**BESIDE, **ABOUT), "SimpleNamespace derives from none of PairMetric, ModelMetric, CodesM"),
        (replace(FINE, name="my error"), "name must be a string without spaces, commas and @, not 'my error'"),
        (replace(FINE, low=1.0, high=1.0), "high must be a number above low, 1.0, not 1.0"),
        (Unranked(**ABOUT), "note must be a string where ranks is False, not ''"),
        (Undocumented(**ABOUT), "__doc__ missing: say what Undocumented computes"),
        (Absent(**ABOUT), "availability\\(\\) is 'needs extra' without a remedy"),
        (Frees(**ABOUT), "ValueError for speech: .*read-only.*a metric must not change them"),
        (Fails(**ABOUT), "ZeroDivisionError for one sample: float division by zero"),
        (Refuses(**ABOUT), "no value for speech: only music"),
        (Wordless(**ABOUT), "UndefinedScore without a reason for no samples"),
        (Random(**ABOUT), "the same speech gave 0.* first and 0.* the second time"),
        (Text(**ABOUT), "must be a finite number or UndefinedScore, not '0.5' \\(speech\\)"),
        (NotANumber(**ABOUT), "must be a finite number or UndefinedScore, not nan"),
        (replace(FINE, high=1e-6), "for speech lies outside of low and high, 0 to 1e-06"),
        (replace(FINE, direction="up"), "direction is 'up', but a perfect copy has 0.0 and worse audio 0"),
        (Counts(**ABOUT | {"name": "utterances"}), "utterances: no row of its own name among \\['count'\\]"),
        (Counts(**ABOUT | {"name": "count"}), "count: {'count': 0.0} where nothing was encoded; raise UndefinedScore"),
        (Peak(**ABOUT, files=("weights.pt",), packages=()), "files must be a tuple of File, but has 'weights.pt'"),
        (Peak(**ABOUT, files=(), packages=()), "rows are \\['error'\\], but speech gave \\['peak'\\]"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named(metric: Any, message: str) -> None:
    with pytest.raises(AssertionError, match=message):
        check_metric(metric)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"direction": "higher"}, "direction must be 'up', 'down' or 'none', not 'higher'"),
        ({"version": ""}, "version must be a string, not ''"),
        ({"decimals": 2.5}, "decimals must be 0 to .*, not 2.5"),
        ({"unit": None}, "unit must be a string, not None"),
    ],
)
def test_what_is_wrong_from_the_start_is_refused(changed: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        replace(FINE, **changed)


def test_the_example_pair_is_speech_with_noise_of_the_level_that_was_asked_for() -> None:
    pair = example_pair(seconds=1.5, snr=10, rate=24_000)
    assert len(pair.reference) == len(pair.decoded) == 36_000 and pair.reference.dtype == np.float32
    noise = pair.decoded - pair.reference
    assert 10 * np.log10(np.mean(pair.reference**2) / np.mean(noise**2)) == pytest.approx(10, abs=0.1)
    assert pair.transcript and pair.language == "en" and not pair.decoded.flags.writeable
