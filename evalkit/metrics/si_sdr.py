"""SI-SDR: how closely the decoded waveform itself follows the reference."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from evalkit.audio import Wave
from evalkit.metrics.base import Pair, PairMetric
from evalkit.metrics.checks import require_length, require_sound

LIMIT = 100.0
"""dB. Beyond it float32 samples carry no information: identity is +100, orthogonal signals are -100."""
SHORTEST = 160
"""Samples, 10 ms. Without their means, two samples are always a multiple of two others, and score 100."""
BLOCK = 1 << 22
"""Samples that are float64 at once, 4 minutes: bounds the memory for long audio."""


@dataclass(frozen=True)
class ScaleInvariantSDR(PairMetric):
    """Scale-invariant signal-to-distortion ratio, clipped to [-100, 100] dB.

    With the means removed from reference s and decoded d, both [T]:

        t = (<d, s> / <s, s>) s        SI-SDR = 10 log10(|t|^2 / |d - t|^2)

    Scaling or inverting either signal, or adding a constant to it, changes nothing.

    Range:
        dB, -100 to 100. Higher is better.

    Source:
        Le Roux, Wisdom, Erdogan, Hershey, "SDR - half-baked or well done?", ICASSP 2019 (zero-mean form).

    Misses:
        Audible quality: a codec that does not preserve phase scores low at any quality. NanoCodec at 12.5 frames/s
        inverts the polarity *within* an utterance, inaudibly, and the formula cannot undo that. The value then does not
        measure quality and must not rank such a codec against others.

    Undefined:
        Below 10 ms, and where either signal is silent or constant.

    Example:
        >>> from evalkit.testing import example_pair
        >>> round(SI_SDR.score(example_pair(snr=20)))
        20
    """

    ranks: ClassVar[bool] = False
    note: ClassVar[str] = (
        "SI-SDR does not measure quality: it is low for any codec that does not preserve the waveform."
    )

    def score(self, pair: Pair) -> float:
        """dB of `pair`.

        Args:
            pair: Reference and decoded audio [T] at 16 kHz.

        Returns:
            -100 to 100.

        Raises:
            UndefinedScore: Either side is too short, silent, constant, or not finite.
        """
        require_length(pair, SHORTEST, "too few samples for SI-SDR")
        require_sound(pair)
        means = [sum(float(part.sum()) for part in _blocks(wav)) / len(wav) for wav in (pair.reference, pair.decoded)]
        products = np.sum([(d @ s, s @ s) for s, d in _centred(pair, means)], axis=0)
        gain = products[0] / products[1]
        energies = np.zeros(2)
        for reference, decoded in _centred(pair, means):
            target = gain * reference
            distortion = decoded - target
            energies += target @ target, distortion @ distortion
        with np.errstate(divide="ignore"):  # an energy of zero is +-infinite dB, and clipped
            ratio = 10 * (np.log10(energies[0]) - np.log10(energies[1]))
        return float(np.clip(ratio, -LIMIT, LIMIT))


def _centred(pair: Pair, means: list[float]) -> Iterator[tuple[NDArray[np.float64], NDArray[np.float64]]]:
    """Reference and decoded audio without their means, in blocks."""
    for reference, decoded in zip(_blocks(pair.reference), _blocks(pair.decoded), strict=True):
        yield reference - means[0], decoded - means[1]


def _blocks(wav: Wave) -> Iterator[NDArray[np.float64]]:
    return (wav[start : start + BLOCK].astype(np.float64) for start in range(0, len(wav), BLOCK))


SI_SDR = ScaleInvariantSDR(
    name="si-sdr",
    label="SI-SDR",
    direction="up",
    unit="dB",
    low=-LIMIT,
    high=LIMIT,
    version="1",
    decimals=2,
)
