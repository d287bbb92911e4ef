"""Whether a decoded recording belongs to its reference: in time, in level, in polarity, and at all.

Metrics that compare a pair trust that it is one. A copy 20 ms late costs ESTOI a third of its range and PESQ nothing;
float samples in the range of int16 cost PESQ everything; no score says why. `check_pair` measures what a pair must have
in common and `Pairing.problems` says in words what it lacks. Nothing here changes a score.

How: the spectrum in eight bands up to 3.4 kHz, a frame every 8 ms, tells the lag of any codec within a few ms, also
of one that keeps neither phases nor polarity. Around that lag the waveforms themselves are correlated; where they
agree, they tell the lag exactly, and the polarity.

The thresholds come from 1742 pairs of 19 codec settings (NanoCodec at six rates, LFSC, Mimi, WavTokenizer, TAAE, TS3,
Opus, Codec 2, PCM) on speech in eight languages, read, spoken to a machine and synthesized, 1.6 s to 19 s long. "There"
below means those pairs.
"""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import scipy.fft
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from evalkit.audio import Wave

SCORE_RATE = 16_000
"""Hz at which pairs are looked at, as they are scored."""

Array = NDArray[Any]

VERSION = "1"
"""Changes whenever the same pair could be described otherwise."""

# What is looked at.
SEGMENT, SEGMENTS = 10 * SCORE_RATE, 6
"""Samples of a segment, and how many: of more than a minute, six segments of 10 s are looked at, evenly spaced."""
FRAME, HOP = 256, 128
"""Samples of a frame of the band energies and between two: 16 and 8 ms."""
EDGES = np.array([2, 5, 8, 12, 17, 23, 31, 41, 55])
"""Bins of FRAME between which the bands lie: 125 Hz to 3.4 kHz, which a telephone transmits, too."""
FLOOR = 0.03
"""Added to a band's energy, as a part of its mean, before the logarithm: what codecs make of pauses counts little."""
SHARED = 0.7
"""How much of what all bands do together is taken out before envelopes are compared: utterances that have no more in
common than where speech begins and ends are not alike."""
MAX_LAG = 2 * SCORE_RATE
"""Samples. Lags up to this, or half of the recording, are searched."""
BLOCK = 4096
"""Samples of a block of the waveform correlation."""
NEAR = 320
"""Samples around the envelopes' lag in which the waveforms' is searched: 20 ms."""
LOWEST = 18
"""Bins of BLOCK below it do not count when waveforms are compared: 70 Hz, hum and offsets."""
BAND = 64
"""Bins of BLOCK in a band of the bandwidth: 250 Hz."""
BAND_HZ = BAND * SCORE_RATE / BLOCK
TOP_BAND = 30
"""Bands above 7.5 kHz are the resampler's."""
TINY = 1e-20

# What is found. The numbers are of the pairs above, unless they say otherwise.
STRONG = 0.75
"""Waveform correlation, of either sign, from which on lag and polarity are read off the waveforms. NanoCodec, which
keeps no polarity, reaches -0.70 over a whole utterance, and its lags are wrong by up to 5.6 ms below 0.65. Above,
no pair is off by more than 0.5 ms."""
LATE_MS = 4.0
"""Where the waveforms agree. A copy late by 4 ms loses 0.07 of ESTOI, by 2 ms 0.02, which is a codec's delay."""
LATE_BY_ENVELOPE_MS = 10.0
"""Where they do not. Envelopes were off by 6.5 ms once (Codec 2 at 700 bit/s), else by less than 4 ms."""
SAME_UTTERANCE = 0.55
"""Envelope correlation. Codec 2 at 700 bit/s goes down to 0.67, everything else to 0.72; other utterances, of the same
speaker or another, up to 0.50, 0.33 but for one in a hundred."""
GAIN_DB = 5.0
"""Codec 2 at 700 bit/s goes down to -4.7 dB, everything else that does not set a level of its own from -3.7 to 2.4."""
CLIPPED = 0.001
"""No reference exceeds 0.00001. What neural codecs cut off at full scale begins at 0.0003, from loud originals."""
FULL_SCALE = 1.5
"""What a codec adds to full-scale audio stays below."""
SILENT_PEAK = 2.0**-12
"""Eight steps of int16: dither."""
PRESENT_DB, LOST_DB = -50.0, 15.0
"""The weakest band below 7 kHz that any reference has, beside its strongest, is 47 dB down. Codecs that code it keep it
within 14 dB; those that do not lose 20 dB and more."""
NARROWER = 0.8
"""Of the reference's bandwidth. Codecs at 16 kHz and above stay above 0.95; those at 8 kHz below 0.75."""


@dataclass(frozen=True)
class Pairing:
    """What `check_pair` measured.

    Lag, gain and the correlations are None where a side is all zeros or empty.
    """

    lag_ms: float | None
    """Positive where the decoded side is late: by the waveforms where they agree, else by the envelopes."""
    polarity: int
    """-1 where the waveforms agree with opposite signs, else 1."""
    gain_db: float | None
    """Mean magnitude of the decoded side over the reference's, 0.3 to 3.4 kHz."""
    correlation: float | None
    """Of the waveforms at their lag, -1 to 1."""
    envelope_correlation: float | None
    """Of the band envelopes at their lag, -1 to 1."""
    clipped: float
    """Fraction of decoded samples that equal the largest or the smallest one, beyond one each."""
    peak: float
    """Largest absolute decoded sample; full scale is 1."""
    bandwidth_hz: float
    """Upper edge of the highest 250 Hz band that the decoded side has: at most 15 dB weaker than in the reference."""
    reference_bandwidth_hz: float
    """Upper edge of the highest 250 Hz band of the reference that is at most 50 dB weaker than its strongest."""

    @property
    def same_waveform(self) -> bool:
        """Whether the waveforms agree well enough to tell lag and polarity."""
        return self.correlation is not None and abs(self.correlation) >= STRONG

    @property
    def offset_ms(self) -> float:
        """The lag where it is one that `problems` names, to be compensated; else 0."""
        if self.lag_ms is None or self._another_utterance:
            return 0.0
        return self.lag_ms if abs(self.lag_ms) >= (LATE_MS if self.same_waveform else LATE_BY_ENVELOPE_MS) else 0.0

    @property
    def _another_utterance(self) -> bool:
        like = self.envelope_correlation
        return like is not None and like < SAME_UTTERANCE and not self.same_waveform

    def problems(self) -> tuple[str, ...]:
        """What is wrong with the decoded side, as short phrases; empty where nothing is."""
        if self.peak < SILENT_PEAK:
            return ("silent",)
        found = []
        if self._another_utterance:
            found.append("probably another utterance")
        elif self.gain_db is not None:
            if self.offset_ms:
                found.append(f"{abs(self.offset_ms):.1f} ms {'late' if self.offset_ms > 0 else 'early'}")
            if self.polarity < 0:
                found.append("inverted")
            if abs(self.gain_db) >= GAIN_DB:
                found.append(f"{abs(self.gain_db):.1f} dB {'louder' if self.gain_db > 0 else 'quieter'}")
            if self.bandwidth_hz < NARROWER * self.reference_bandwidth_hz:
                found.append(f"band-limited to {self.bandwidth_hz / 1000:.1f} kHz")
        else:
            found.append("the reference is silent")
        if self.clipped >= CLIPPED:
            found.append(f"clipped ({100 * self.clipped:.2g} % of samples)")
        if self.peak > FULL_SCALE:
            hint = ": int16 range?" if 128 < self.peak <= 2 * 2**15 else ": integer samples?" if self.peak > 128 else ""
            found.append(f"beyond full scale (peak {self.peak:.{0 if hint else 1}f}{hint})")
        return tuple(found)

    def as_dict(self) -> dict[str, Any]:
        """The fields, for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> "Pairing":
        """The inverse of `as_dict`."""
        return cls(**fields)


def flat_top(wav: Wave) -> tuple[float, float]:
    """Largest absolute sample of `wav` [T], and the fraction of samples that are cut off at its top or bottom.

    To be asked of audio at its own rate: resampling rounds the corners of what was clipped. Samples count that equal
    the largest or the smallest one, beyond one each; a side counts that reaches half of the other.
    """
    if not len(wav):
        return 0.0, 0.0
    top, bottom = float(wav.max()), float(wav.min())
    peak = max(top, -bottom)
    if peak < SILENT_PEAK:
        return peak, 0.0
    cut = sum(int(np.count_nonzero(wav == level)) - 1 for level in (top, bottom) if abs(level) > peak / 2)
    return peak, cut / len(wav)


def align(decoded: Wave, sample_rate: int, lag_ms: float) -> Wave:
    """`decoded` [T], late by `lag_ms`, moved back by whole samples at `sample_rate`; zeros come in at the other end."""
    late = max(-len(decoded), min(len(decoded), round(lag_ms * sample_rate / 1000)))
    moved = np.zeros_like(decoded)
    if late >= 0:
        moved[: len(decoded) - late] = decoded[late:]
    else:
        moved[-late:] = decoded[:late]
    return moved


def check_pair(reference: Wave, decoded: Wave, peak: float | None = None, clipped: float | None = None) -> Pairing:
    """What `decoded` [T'] has in common with `reference` [T], both at SCORE_RATE.

    Args:
        reference: Compared as far as both reach; left as it is, like `decoded`.
        decoded: What a codec made of it.
        peak: `flat_top` of the decoded audio at its own rate; None takes it from `decoded`.
        clipped: Likewise.
    """
    own_peak, own_clipped = flat_top(decoded)
    peak, clipped = own_peak if peak is None else peak, own_clipped if clipped is None else clipped
    a, b = _segments(reference, decoded)
    energies = _band_energies(a), _band_energies(b)
    if not all(energy.any() for energy in energies):
        return Pairing(None, 1, None, None, None, round(clipped, 6), _short(peak), 0.0, 0.0)
    lag, likeness, gain = _compare_envelopes(*energies)
    waveform_lag, correlation, *spectra = _compare_waveforms(a, b, round(lag))
    bandwidth, reference_bandwidth = _bandwidths(*spectra)
    lag = waveform_lag if abs(correlation) >= STRONG else lag
    return Pairing(
        lag_ms=round(1000 * lag / SCORE_RATE, 2) + 0.0,
        polarity=-1 if correlation <= -STRONG else 1,
        gain_db=round(gain, 2) + 0.0,
        correlation=round(correlation, 4),
        envelope_correlation=round(likeness, 4),
        clipped=round(clipped, 6),
        peak=_short(peak),
        bandwidth_hz=bandwidth,
        reference_bandwidth_hz=reference_bandwidth,
    )


def _short(value: float) -> float:
    return float(f"{value:.6g}")


def _segments(reference: Wave, decoded: Wave) -> tuple[Array, Array]:
    """Both as [segments, samples]: whole, or SEGMENTS of them from what is long; short ones are padded to a frame."""
    length = min(len(reference), len(decoded))
    if length <= SEGMENT * SEGMENTS:
        pad = max(0, FRAME - length)
        a, b = (np.pad(np.asarray(wav[:length], np.float32), (0, pad))[None] for wav in (reference, decoded))
        return a, b
    starts = [index * (length - SEGMENT) // (SEGMENTS - 1) for index in range(SEGMENTS)]
    a, b = (np.stack([wav[s : s + SEGMENT] for s in starts]).astype(np.float32) for wav in (reference, decoded))
    return a, b


def _hann(length: int) -> Array:
    return np.float32(0.5) - np.float32(0.5) * np.cos(2 * np.pi * (np.arange(length) + 0.5) / length).astype(np.float32)


def _power(spectrum: Array) -> Array:
    return spectrum.real**2 + spectrum.imag**2


def _band_energies(segments: Array) -> Array:
    """[segments, frames, bands]."""
    frames = sliding_window_view(segments, FRAME, axis=1)[:, ::HOP] * _hann(FRAME)
    power = _power(scipy.fft.rfft(frames, axis=2)[..., : EDGES[-1]])
    return np.add.reduceat(power, EDGES[:-1], axis=2)


def _compare_envelopes(reference: Array, decoded: Array) -> tuple[float, float, float]:
    """Lag in samples, correlation there, and gain in dB there of band energies [segments, frames, bands]."""
    a, b = _envelopes(reference), _envelopes(decoded)
    frames = a.shape[1]
    limit = min(MAX_LAG // HOP, frames // 2)
    size = scipy.fft.next_fast_len(frames + limit, real=True)
    cross = (np.conj(scipy.fft.rfft(a, size, axis=1)) * scipy.fft.rfft(b, size, axis=1)).sum(axis=(0, 2))
    frame, lag = _highest(scipy.fft.irfft(cross, size), limit)
    a, b = (_centred(x - np.float32(SHARED) * x.mean(axis=2, keepdims=True)) for x in _overlap(a, b, frame))
    above_hum = (x[..., 1:].sum(axis=2) for x in _overlap(reference, decoded, frame))
    before, after = (np.sqrt(x).mean(dtype=np.float64) + TINY for x in above_hum)
    return lag * HOP, _cosine(a, b), float(20 * np.log10(after / before))


def _envelopes(energies: Array) -> Array:
    """Logarithms, over a floor and without their means: [segments, frames, bands]."""
    mean = energies.mean(axis=(0, 1)) + np.float32(TINY)
    return _centred(np.log(energies / mean + np.float32(FLOOR)))


def _centred(envelopes: Array) -> Array:
    return envelopes - envelopes.mean(axis=1, keepdims=True)


def _compare_waveforms(reference: Array, decoded: Array, near: int) -> tuple[float, float, Array, Array]:
    """Lag in samples within NEAR of `near`, correlation there, and both power spectra over BLOCK."""
    a, b = (scipy.fft.rfft(_blocks(x) * _hann(BLOCK), axis=1) for x in _overlap(reference, decoded, near))
    cross = (np.conj(a) * b).sum(axis=0)
    cross[:LOWEST] = 0
    powers = _power(a).sum(axis=0), _power(b).sum(axis=0)
    norm = math.sqrt(float(powers[0][LOWEST:].sum()) * float(powers[1][LOWEST:].sum())) * 2 / BLOCK
    correlation = scipy.fft.irfft(cross, BLOCK) / max(norm, TINY)
    negative = -correlation.min() > correlation.max()
    sample, lag = _highest(-correlation if negative else correlation, NEAR)
    return near + lag, float(correlation[sample]), *powers


def _blocks(segments: Array) -> Array:
    """[blocks, BLOCK]: those that fit, or one with zeros behind."""
    length = segments.shape[1]
    if length < BLOCK:
        return np.pad(segments, ((0, 0), (0, BLOCK - length)))
    return segments[:, : length - length % BLOCK].reshape(-1, BLOCK)


def _bandwidths(reference: Array, decoded: Array) -> tuple[float, float]:
    """Bandwidth in Hz of the decoded side and of the reference, by their power spectra over BLOCK."""
    levels = []
    for power in (reference, decoded):
        level = 10 * np.log10(power[1:].reshape(-1, BAND).mean(axis=1)[:TOP_BAND] + TINY)
        levels.append(level - level[1:].max())  # without the lowest band: a constant or hum says nothing
    a, b = levels
    present = a >= PRESENT_DB
    kept = b >= np.where(present, a - LOST_DB, PRESENT_DB)
    return _top(kept), _top(present)


def _top(bands: Array) -> float:
    """Upper edge in Hz of the highest band of those marked; that of TOP_BAND stands for all above."""
    highest = int(np.flatnonzero(bands).max(initial=-1)) + 1
    return SCORE_RATE / 2 if highest == TOP_BAND else highest * BAND_HZ


def _overlap(reference: Array, decoded: Array, late: int) -> tuple[Array, Array]:
    """What coincides along axis 1 where `decoded` is `late` by so many."""
    length = reference.shape[1] - abs(late)
    return reference[:, max(0, -late) :][:, :length], decoded[:, max(0, late) :][:, :length]


def _highest(correlation: Array, limit: int) -> tuple[int, float]:
    """Lag of the highest value of a circular correlation within `limit` of 0, and between samples, by a parabola."""
    lags = np.arange(-limit, limit + 1)
    values = correlation[lags].astype(np.float64)
    best = int(np.argmax(values))
    if not 0 < best < len(values) - 1:
        return int(lags[best]), float(lags[best])
    left, middle, right = values[best - 1 : best + 2]
    bend = left - 2 * middle + right
    return int(lags[best]), float(lags[best] + (0.5 * (left - right) / bend if bend < 0 else 0.0))


def _cosine(a: Array, b: Array) -> float:
    """Correlation of two arrays of one shape, 0 where one is all zeros."""
    norm = math.sqrt(float((a * a).sum()) * float((b * b).sum()))
    return float((a * b).sum()) / norm if norm > 0 else 0.0
