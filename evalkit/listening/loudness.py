"""Integrated loudness of mono audio at 48 kHz: ITU-R BS.1770-4, with its two gates."""

from math import inf, log10

import numpy as np

from evalkit.audio import Wave

SAMPLE_RATE = 48_000
SHELF = (
    (1.53512485958697, -2.69169618940638, 1.19839281085285),
    (1.0, -1.69065929318241, 0.73248077421585),
)
HIGH_PASS = ((1.0, -2.0, 1.0), (1.0, -1.99004745483398, 0.99007225036621))
"""Numerator and denominator of the two stages of the K-weighting at 48 kHz: tables 1 and 2 of the Recommendation."""
BLOCK, STEP = SAMPLE_RATE * 4 // 10, SAMPLE_RATE // 10
"""Samples: blocks of 400 ms that overlap by three quarters."""
ABSOLUTE, RELATIVE = -70.0, -10.0
"""Gates, in LUFS and in LU below the loudness of what passed the first."""


def loudness(wav: Wave) -> float:
    """LUFS of `wav` [T] at 48 kHz; minus infinity for silence, and for less than 400 ms."""
    from scipy.signal import lfilter

    weighted = lfilter(*HIGH_PASS, lfilter(*SHELF, wav.astype(np.float64)))
    energy = np.concatenate([[0.0], np.cumsum(weighted**2)])
    starts = np.arange(0, len(wav) - BLOCK + 1, STEP)
    powers = (energy[starts + BLOCK] - energy[starts]) / BLOCK
    passed = powers[powers > 10 ** ((ABSOLUTE + 0.691) / 10)]
    if not len(passed):
        return -inf
    passed = passed[passed > passed.mean() * 10 ** (RELATIVE / 10)]
    return -0.691 + 10 * log10(passed.mean())
