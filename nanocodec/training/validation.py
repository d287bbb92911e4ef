"""Quality on held-out training speech, to steer by: evalkit's PESQ-WB, ESTOI and Mel distance."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import soxr
import torch

from nanocodec.model import NanoCodec


def code_statistics(codes: np.ndarray, size: int) -> tuple[float, float]:
    """Share of codes in use and entropy in bits, averaged over codebooks, of codes [K, n].

    Both are biased low by a small sample: n frames use at most n codes and show at most log2(n) bits.
    """
    used, bits = [], []
    for column in codes:
        counts = np.bincount(column, minlength=size)
        p = counts[counts > 0] / counts.sum()
        used.append(len(p) / min(size, len(column)))
        bits.append(float(-(p * np.log2(p)).sum()))
    return float(np.mean(used)), float(np.mean(bits))


def score(codec: NanoCodec, waves: Sequence[np.ndarray]) -> tuple[dict[str, float], list[np.ndarray]]:
    """Encode, decode and score mono waves at the codec's rate.

    Returns:
        Means over the utterances, each metric's over those that it is defined for (left out where there are none):
        `pesq_wb` (1 to 4.64), `estoi` (up to 1), `mel` (from 0); over codebooks `utilisation` and `entropy_bits`. And
        the decoded waves.
    """
    from evalkit.errors import UndefinedScore
    from evalkit.metrics.base import SCORE_RATE, Pair
    from evalkit.metrics.mel import PAPER
    from evalkit.metrics.pesq import PESQ_WB
    from evalkit.metrics.stoi import ESTOI

    metrics = {"pesq_wb": PESQ_WB, "estoi": ESTOI, "mel": PAPER}
    scores: dict[str, list[float]] = {name: [] for name in metrics}
    codes, decoded = [], []
    for wave in waves:
        with torch.inference_mode():
            code, _ = codec.encode(torch.from_numpy(np.ascontiguousarray(wave, dtype=np.float32))[None])
            decoded.append(codec.decode(code)[0, : len(wave)].numpy())
        codes.append(code[0].numpy())
        pair = Pair(*(soxr.resample(x, codec.sample_rate, SCORE_RATE, quality="HQ") for x in (wave, decoded[-1])))
        for name, metric in metrics.items():
            try:
                scores[name].append(metric.score(pair))
            except UndefinedScore:
                continue
    means = {name: float(np.mean(values)) for name, values in scores.items() if values}
    if codes:
        used, bits = code_statistics(np.concatenate(codes, axis=1), codec.config.codebook_size)
        means |= {"utilisation": used, "entropy_bits": bits}
    return means, decoded
