"""Quality on held-out training speech, to steer by.

The metrics come from outside: a configuration names the function that scores a reconstruction (`scorer`), and this
project's configurations name evalkit's.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch

from nanocodec.model import NanoCodec
from nanocodec.training.config import ConfigError

Scorer = Callable[[np.ndarray, np.ndarray, int], Mapping[str, float]]
"""From reference and decoded audio, float32 [T] each, and their sampling rate in Hz, to values by metric. A metric that
is undefined for the pair is left out."""


def load_scorer(name: str) -> Scorer:
    """Import the function that scores reconstructions.

    Args:
        name: `MODULE:FUNCTION`.

    Returns:
        The function.

    Raises:
        ConfigError: there is none; the message says what is missing.
    """
    module, _, function = name.partition(":")
    try:
        found = getattr(importlib.import_module(module), function)
    except (ImportError, AttributeError, ValueError, TypeError) as error:
        raise ConfigError(
            f"scorer {name}: cannot be loaded ({error}); install what it needs, or set scorer: null to validate by the "
            "codes' statistics alone"
        ) from error
    if not callable(found):
        raise ConfigError(f"scorer {name}: not a function")
    return found


def code_statistics(codes: np.ndarray, size: int) -> tuple[float, float]:
    """How much of each codebook is used, averaged over codebooks.

    Coverage is not evalkit's `utilisation`, which is the share of *all* entries: over the few codes of a training step
    that would mostly say how few they are.

    Args:
        codes: integers [K, n] in [0, size), n >= 1.
        size: entries of a codebook.

    Returns:
        Coverage in (0, 1]: distinct codes as a share of the most that n codes can show, min(size, n). And the entropy
        in bits, in [0, log2(min(size, n))], by the codes' relative frequencies (Shannon 1948), which is biased low by
        a small sample.
    """
    coverage, bits = [], []
    for column in codes:
        counts = np.bincount(column, minlength=size)
        p = counts[counts > 0] / counts.sum()
        coverage.append(len(p) / min(size, len(column)))
        bits.append(float(-(p * np.log2(p)).sum()))
    return float(np.mean(coverage)), float(np.mean(bits))


def score(
    codec: NanoCodec, waves: Sequence[np.ndarray], scorer: Scorer | None = None
) -> tuple[dict[str, float], list[np.ndarray]]:
    """Encode, decode and score recordings.

    Args:
        codec: in eval mode, on the CPU.
        waves: float [T] each, mono, at the codec's sampling rate.
        scorer: None for the codes' statistics alone.

    Returns:
        The scorer's values, each the mean over the recordings that it is defined for, and the codes' `code_coverage`
        and `entropy_bits` (see `code_statistics`); empty without recordings. And the decoded waves.
    """
    scores: dict[str, list[float]] = {}
    codes, decoded = [], []
    for wave in waves:
        wave = np.ascontiguousarray(wave, dtype=np.float32)
        with torch.inference_mode():
            code, _ = codec.encode(torch.from_numpy(wave)[None])
            decoded.append(codec.decode(code)[0, : len(wave)].numpy())
        codes.append(code[0].numpy())
        if scorer is not None:
            for name, value in scorer(wave, decoded[-1], codec.sample_rate).items():
                scores.setdefault(name, []).append(value)
    means = {name: float(np.mean(values)) for name, values in scores.items()}
    if codes:
        coverage, bits = code_statistics(np.concatenate(codes, axis=1), codec.config.codebook_size)
        means |= {"code_coverage": coverage, "entropy_bits": bits}
    return means, decoded
