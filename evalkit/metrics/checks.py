"""What has to hold before a pair can be scored, with the reasons in plain words."""

import numpy as np

from evalkit.audio import Wave
from evalkit.errors import UndefinedScore
from evalkit.metrics.base import SCORE_RATE, Metric, Pair

LOUDEST = 2.0
"""Times full scale. Decoders overshoot by less; beyond it the scale itself is wrong, as in integers read as floats."""


def require_length(pair: Pair, samples: int, why: str = "", rate: int = SCORE_RATE) -> None:
    """Refuse a pair that is too short.

    Args:
        pair: Both sides [T] at `rate` Hz.
        samples: The least T.
        why: What needs that many, for the reason.
        rate: Hz, for the reason in seconds.

    Raises:
        UndefinedScore: T is below `samples`.
        ValueError: The two sides differ in length, which is the caller's mistake.
    """
    length = len(pair.reference)
    if length != len(pair.decoded):
        raise ValueError(f"reference and decoded differ in length: {length} and {len(pair.decoded)} samples")
    if length < samples:
        reason = "no samples" if length == 0 else f"shorter than {samples / rate:.4g} s ({length} samples)"
        raise UndefinedScore(f"{reason}{why and ': '}{why}")


def require_at_most(pair: Pair, metric: Metric) -> None:
    """Raise UndefinedScore where the pair is longer than the metric's `max_seconds`."""
    if too_long(pair, metric):
        raise UndefinedScore(
            f"{len(pair.reference) / metric.rate:.0f} s long: {metric.name} accepts at most {metric.max_seconds:g} "
            f"s, to limit memory and time. Cut the recording into utterances"
        )


def too_long(pair: Pair, metric: Metric) -> bool:
    """Whether the pair is longer than the metric's `max_seconds`."""
    return len(pair.reference) > metric.max_seconds * metric.rate


def require_finite(pair: Pair) -> None:
    """Raise UndefinedScore where either side holds NaN or infinite samples."""
    for wav, what in _sides(pair):
        if not np.isfinite(wav.sum(dtype=np.float64)):
            raise UndefinedScore(f"the {what} holds NaN or infinite samples")


def require_sound(pair: Pair) -> None:
    """Raise UndefinedScore where either side is the same value throughout (digital silence, or nothing but DC) or is
    not finite."""
    for wav, what in _sides(pair):
        low, high = wav.min(), wav.max()
        if not np.isfinite(low) or not np.isfinite(high):
            raise UndefinedScore(f"the {what} holds NaN or infinite samples")
        if low == high:
            raise UndefinedScore(f"the {what} is " + ("digital silence" if low == 0 else "a constant (DC only)"))


def require_playable(pair: Pair) -> None:
    """`require_sound`, and neither side far beyond full scale: for metrics whose value depends on the level.

    Raises:
        UndefinedScore: A side is constant, not finite, or peaks above LOUDEST.
    """
    require_sound(pair)
    require_scale(pair)


def require_scale(pair: Pair) -> None:
    """Raise UndefinedScore where either side peaks above LOUDEST: that is no overshoot of a decoder, but another
    scale."""
    for wav, what in _sides(pair):
        _require_scale(wav, what)


def clipped(wav: Wave, what: str = "decoded audio") -> Wave:
    """`wav` [T] as any player gives it, for models that take nothing beyond full scale.

    Returns:
        Samples in [-1, 1], those beyond it clipped.

    Raises:
        UndefinedScore: The peak is above LOUDEST: that is no overshoot of a decoder, but another scale.
    """
    _require_scale(wav, what)
    return np.clip(wav, -1, 1)


def _require_scale(wav: Wave, what: str) -> None:
    peak = max(abs(float(wav.max())), abs(float(wav.min())))
    if peak > LOUDEST:
        raise UndefinedScore(f"the {what} reaches {peak:.4g} times full scale: floats must be between -1 and 1")


def _sides(pair: Pair) -> tuple[tuple[Wave, str], tuple[Wave, str]]:
    return (pair.reference, "reference"), (pair.decoded, "decoded audio")
