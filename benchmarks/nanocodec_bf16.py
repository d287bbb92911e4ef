"""What decoding with bf16 convolutions costs in quality: PESQ-WB of every utterance, beside decoding in fp32.

Both decode the same codes, which the encoder made in fp32. Exits with 1 where the means lie further apart than 0.02.

    python benchmarks/nanocodec_bf16.py [--model mini-1.1k] [--dataset builtin | folder:DIR]
"""

from __future__ import annotations

import argparse
import sys

import numpy as np
import torch

from evalkit.audio import Audio
from evalkit.datasets import load_dataset
from evalkit.metrics.base import SCORE_RATE, Pair
from evalkit.metrics.pesq import PESQ_WB
from nanocodec import NanoCodec

ALLOWED = 0.02


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="mini-1.1k", help="weights by name or file (default: the built-in ones)")
    parser.add_argument("--dataset", default="builtin", help="as for `evalkit run` (default: builtin)")
    arguments = parser.parse_args()
    model = NanoCodec.from_pretrained(arguments.model)
    scores = []
    print(f"{'utterance':<32}{'fp32':>8}{'bf16':>8}{'drift':>9}")
    for utterance in load_dataset(arguments.dataset):
        wav = utterance.audio().at(model.sample_rate).wav
        reference = utterance.audio().at(SCORE_RATE).wav
        with torch.inference_mode():
            codes, _ = model.encode(torch.from_numpy(wav)[None])
            decoded = [model.decode(codes, precision=precision)[0, : len(wav)] for precision in ("fp32", "bf16")]
        resampled = [Audio(sound.numpy(), model.sample_rate).at(SCORE_RATE).wav for sound in decoded]
        length = min(len(reference), *map(len, resampled))
        scores.append([PESQ_WB.score(Pair(reference[:length], sound[:length])) for sound in resampled])
        exact, rounded = scores[-1]
        print(f"{utterance.id:<32}{exact:>8.4f}{rounded:>8.4f}{rounded - exact:>+9.4f}", flush=True)
    exact, rounded = np.mean(scores, axis=0)
    print(f"{f'mean of {len(scores)}':<32}{exact:>8.4f}{rounded:>8.4f}{rounded - exact:>+9.4f}")
    return int(abs(rounded - exact) > ALLOWED)


if __name__ == "__main__":
    sys.exit(main())
