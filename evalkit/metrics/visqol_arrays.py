"""The loops of visqol-python 3.8 as operations on arrays.

The package runs them sample by sample and patch by patch: with Numba fast, but its compiler takes up to a minute at the
first call and 0.2 GB of disk; without it ten times as long as here. The results are the same to rounding, and tests
hold them against the package's own.
"""

from types import FunctionType
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from evalkit.environment import extras

Array = NDArray[np.float64]

CORNER, EDGE, CENTRE = 0.0113033910173052, 0.0838251475442633, 0.619485845753726
"""The Gaussian window of 3 x 3 that weighs an element and its neighbours."""
C1, C3 = 0.01**2, 0.03**2 / 2
"""Constants of NSIM for an intensity range of 1 (Hines et al. 2012)."""
BLOCK = 256
"""Offsets of patches, or frames, that are worked on at once: what they take stays in the processor's cache."""


def without_loops(manager: Any) -> None:
    """Make the package's `VisqolManager`, once initialized, use what is here. Where Numba is installed, only for what
    it does not compile."""
    if manager.use_speech_mode:
        manager.patch_creator._get_voice_activity = voice_activity
    if not extras.load("visqol.numba_accel", "visqol").has_numba():
        manager.spect_builder._build_scipy = gammatone_spectrogram
        # The method names the function that it calls: a copy of it names ours, so that the package stays as it is.
        whole = type(manager.visqol_core).calculate_similarity
        names = {**whole.__globals__, "find_most_optimal_deg_patches": best_patches}
        copied = FunctionType(whole.__code__, names, argdefs=whole.__defaults__)
        manager.visqol_core.calculate_similarity = copied.__get__(manager.visqol_core)


def voice_activity(signal: Any, start: int, count: int, frame: int) -> list[float]:
    """Which frames of `frame` samples have voice: 1 or 0 each."""
    detector = extras.load("visqol.patch_creator", "visqol").RmsVad()
    scaled = np.clip(signal.data[start : start + count] * 32768.0, -32768, 32767).astype(np.int16)
    for part in scaled[: len(scaled) // frame * frame].reshape(-1, frame):
        detector.process_chunk(part)
    found: list[float] = detector.get_vad_results()
    return found


def gammatone_spectrogram(signal: Array, window: Any, coefficients: Array, hop: int, frames: int, bands: int) -> Array:
    """Root mean square of each frame of `signal` [T] behind each filter, [bands, frames]. A filter is four sections in
    a row with poles in common, which start from silence in every frame; `coefficients` are [10, bands]."""
    from scipy.signal import sosfilt

    a0, *zeros, a2, b0, b1, b2, gain = coefficients
    sections = np.array([(a0, zero, a2, b0, b1, b2) for zero in zeros])
    sections[0, :3] /= gain
    windowed = sliding_window_view(signal, window.size)[::hop][:frames]
    powers = np.empty((bands, frames))
    for start in range(0, frames, BLOCK):
        part = windowed[start : start + BLOCK] * window.hann_window
        for band in range(bands):
            filtered = sosfilt(np.ascontiguousarray(sections[:, :, band]), part)
            powers[band, start : start + BLOCK] = np.einsum("ft,ft->f", filtered, filtered) / window.size
    return np.sqrt(powers)


def best_patches(
    references: list[Array], starts: list[int], decoded: Array, frame: float, radius: int = 60
) -> list[Any]:
    """Where each patch of the reference is found again, and how alike the two are.

    Of all sequences of offsets that go forward, the one with the largest sum of similarities; a patch that would only
    lower it counts as lost.

    Args:
        references: Patches [bands, frames], in dB.
        starts: The frame at which each begins, in order.
        decoded: The spectrogram that is searched [bands, frames], in dB.
        frame: Seconds of a frame.
        radius: How far from its start a patch is looked for, in patches.

    Returns:
        The package's PatchSimilarityResult of each patch.

    Raises:
        ValueError: The decoded audio is too short for any of them.
    """
    package = extras.load("visqol.patch_selector", "visqol")
    (bands, width), offsets = references[0].shape, decoded.shape[1]
    count = package._calc_max_num_patches(starts, offsets, width)
    if count == 0:
        raise ValueError("the decoded audio is too short for any patch of the reference")
    spans = [(max(0, at - radius * width), min(offsets - 1, at + radius * width) + 1) for at in starts[:count]]
    padded = np.pad(decoded, ((0, 0), (0, width - 1)))
    sums = _similarities(references[:count], spans, padded, offsets)
    before = _best_sums(sums, spans)

    found: list[Any] = [None] * count
    low, high = spans[-1]
    offset = low + int(np.argmax(sums[-1, low:high]))
    for index in reversed(range(count)):
        one = package.measure_patch_similarity(references[index], padded[:, offset : offset + width])
        one.ref_patch_start_time = starts[index] * frame
        one.ref_patch_end_time = one.ref_patch_start_time + width * frame
        previous = int(before[index, offset])
        if previous == offset:
            one.similarity, one.freq_band_means = 0.0, np.zeros(bands)
        else:
            one.deg_patch_start_time = offset * frame
            one.deg_patch_end_time = one.deg_patch_start_time + width * frame
        found[index], offset = one, previous
    return found


def _best_sums(sums: Array, spans: list[tuple[int, int]]) -> NDArray[np.int64]:
    """Turn similarities [patches, offsets] into the largest sum that ends with each; returns where the patch before it
    is then, or the same offset where this patch is lost."""
    before = np.full(sums.shape, -1, np.int64)
    for index in range(1, len(spans)):
        (low, high), lowest = spans[index], spans[index - 1][0]
        earlier = sums[index - 1, lowest:high]
        largest = np.maximum.accumulate(earlier)
        where = np.maximum.accumulate(np.where(earlier == largest, np.arange(lowest, high), -1))
        # Of the offsets before each: none is before the first.
        largest, where = np.append(-np.inf, largest)[low - lowest : -1], np.append(-1, where)[low - lowest : -1]
        candidate, lost = sums[index, low:high] + largest, sums[index - 1, low:high]
        before[index, low:high] = np.where(lost > candidate, np.arange(low, high), where)
        sums[index, low:high] = np.maximum(lost, candidate)
    return before


def _similarities(references: list[Array], spans: list[tuple[int, int]], padded: Array, offsets: int) -> Array:
    """NSIM of each patch [bands, width] with the frames of `padded` from each offset of its span on, 0 elsewhere."""
    width = references[0].shape[1]
    sums = np.zeros((len(references), offsets))
    own = [_local(reference[:, :, None]) for reference in references]
    for start in range(0, offsets, BLOCK):
        end = min(start + BLOCK, offsets)
        inside = [index for index, (low, high) in enumerate(spans) if low < end and start < high]
        if not inside:
            continue
        patches = np.ascontiguousarray(sliding_window_view(padded[:, start : end + width - 1], end - start, axis=1))
        mean, variance = _local(patches)
        for index in inside:
            own_mean, own_variance = own[index]
            product = own_mean * mean
            covariance = _smooth(references[index][:, :, None] * patches) - product
            spread = own_variance * variance
            spread = np.where(spread < 0, 0, np.sqrt(np.abs(spread)))
            likeness = (2 * product + C1) / (own_mean**2 + mean**2 + C1) * (covariance + C3) / (spread + C3)
            low, high = max(start, spans[index][0]), min(end, spans[index][1])
            sums[index, low:high] = likeness.mean(axis=(0, 1))[low - start : high - start]
    return sums


def _local(patches: Array) -> tuple[Array, Array]:
    """Weighted mean and variance around each element of `patches` [bands, width, patches]."""
    mean = _smooth(patches)
    return mean, _smooth(patches**2) - mean**2


def _smooth(patches: Array) -> Array:
    """Each element of `patches` [bands, width, patches] and its eight neighbours, weighted; edges are repeated."""
    wide = np.pad(patches, ((1, 1), (1, 1), (0, 0)), mode="edge")
    above_and_below = wide[:-2] + wide[2:]
    across = wide[1:-1]
    return (
        CORNER * (above_and_below[:, :-2] + above_and_below[:, 2:])
        + EDGE * (above_and_below[:, 1:-1] + across[:, :-2] + across[:, 2:])
        + CENTRE * across[:, 1:-1]
    )
