"""Quality on held-out training speech, to steer by: PESQ-WB and ESTOI."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import soxr
import torch

from nanocodec.model import NanoCodec

SCORE_RATE = 16000


def score(codec: NanoCodec, waves: Sequence[np.ndarray]) -> dict[str, float]:
    """Encode, decode and score mono waves at the codec's rate.

    Returns:
        Means over the utterances: `pesq_wb` (1 to 4.64), `estoi` (up to 1), and over codebooks `utilisation` and
        `entropy_bits`. Utterances that PESQ finds no speech in are left out of both; with none left, so are these.
    """
    from pesq import NoUtterancesError, pesq
    from pystoi import stoi

    from nanocodec.training.loop import code_statistics

    if not waves:
        return {}
    quality, intelligibility, all_codes = [], [], []
    for wave in waves:
        with torch.inference_mode():
            codes, _ = codec.encode(torch.from_numpy(np.ascontiguousarray(wave, dtype=np.float32))[None])
            decoded = codec.decode(codes)[0, : len(wave)].numpy()
        all_codes.append(codes[0].numpy())
        reference = soxr.resample(wave, codec.sample_rate, SCORE_RATE, quality="HQ")
        degraded = soxr.resample(decoded, codec.sample_rate, SCORE_RATE, quality="HQ")
        try:
            quality.append(pesq(SCORE_RATE, reference, degraded, "wb"))
        except NoUtterancesError:
            continue
        intelligibility.append(stoi(reference, degraded, SCORE_RATE, extended=True))
    used, bits = code_statistics(np.concatenate(all_codes, axis=1), codec.config.codebook_size)
    scores = {"pesq_wb": quality, "estoi": intelligibility} if quality else {}
    means = {name: round(float(np.mean(values)), 4) for name, values in scores.items()}
    return {**means, "utilisation": round(used, 4), "entropy_bits": round(bits, 3)}
