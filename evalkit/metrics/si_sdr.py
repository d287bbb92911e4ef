"""SI-SDR: how closely the decoded waveform itself follows the reference."""

from dataclasses import dataclass

import numpy as np

from evalkit.metrics.base import Pair, PairMetric
from evalkit.metrics.checks import require_length, require_sound

LIMIT = 100.0
"""dB. Beyond it float32 samples carry no information: identity is +100, orthogonal signals are -100."""


@dataclass(frozen=True)
class ScaleInvariantSDR(PairMetric):
    """Scale-invariant signal-to-distortion ratio in dB, clipped to [-100, 100].

    With the means removed from reference s and decoded d, both [T]:

        t = (<d, s> / <s, s>) s        SI-SDR = 10 log10(|t|^2 / |d - t|^2)

    A gain or a constant added to either signal changes nothing, nor does inverting it as a whole.

    Source: Le Roux, Wisdom, Erdogan, Hershey, "SDR - half-baked or well done?", ICASSP 2019 (zero-mean form).

    It judges waveforms, not sound: a codec that is free in its phase scores low at any quality. NanoCodec at 12.5
    frames a second does not keep polarity: it turns over *within* an utterance, inaudibly, and nothing in the formula
    undoes that. The value is then no measure of quality and must not rank such a codec against others.

    Undefined where either signal is silent or constant.
    """

    def score(self, pair: Pair) -> float:
        """dB of `pair`."""
        require_length(pair, 1)
        require_sound(pair)
        reference = _zero_mean(pair.reference)
        decoded = _zero_mean(pair.decoded)
        target = (decoded @ reference) / (reference @ reference) * reference
        distortion = decoded - target
        with np.errstate(divide="ignore"):  # an energy of zero is +-infinite dB, and clipped
            ratio = 10 * (np.log10(target @ target) - np.log10(distortion @ distortion))
        return float(np.clip(ratio, -LIMIT, LIMIT))


def _zero_mean(wav: np.ndarray) -> np.ndarray:
    wav = wav.astype(np.float64)
    return wav - wav.mean()


SI_SDR = ScaleInvariantSDR(
    name="si-sdr",
    label="SI-SDR",
    direction="up",
    unit="dB",
    low=-LIMIT,
    high=LIMIT,
    version="1",
    decimals=2,
    ranks=False,
)
