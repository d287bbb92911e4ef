"""What has to hold before a pair can be scored, with the reasons in plain words."""

from evalkit.audio import Wave
from evalkit.errors import UndefinedScore
from evalkit.metrics.base import SCORE_RATE, Pair


def require_length(pair: Pair, samples: int, why: str = "") -> None:
    """UndefinedScore where the pair is shorter than `samples`; ValueError where its two lengths differ."""
    length = len(pair.reference)
    if length != len(pair.decoded):
        raise ValueError(f"reference and decoded differ in length: {length} and {len(pair.decoded)} samples")
    if length < samples:
        reason = "no samples" if length == 0 else f"shorter than {samples / SCORE_RATE:.4g} s ({length} samples)"
        raise UndefinedScore(f"{reason}{why and ': '}{why}")


def require_sound(pair: Pair) -> None:
    """UndefinedScore where either signal has the same value throughout: digital silence, or nothing but DC."""
    _require_variation(pair.reference, "reference")
    _require_variation(pair.decoded, "decoded audio")


def _require_variation(wav: Wave, what: str) -> None:
    low, high = wav.min(), wav.max()
    if low == high:
        raise UndefinedScore(f"the {what} is " + ("digital silence" if low == 0 else "a constant (DC only)"))
