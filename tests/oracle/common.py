"""What the comparisons with upstream's own code share: the audio, the comparison, and the golden vectors."""

import argparse
import resource
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from evalkit.baselines.testing import seeded
from evalkit.codecs import Codes
from evalkit.testing import speech

TOLERANCE = 1e-4
"""Largest difference of a sample, as a part of the loudest one."""
NUDGE = 1e-6
"""Golden tokens stay what they are where the input moves by this part of itself, so that they hold on any machine."""
STRIDE = 31
"""Every so many samples of golden audio are kept."""


@dataclass(frozen=True)
class Upstream:
    """Upstream's model: tokens [K, N] of audio [T], and audio [T'] of tokens."""

    tokens: Callable[[Tensor], Tensor]
    audio: Callable[[Tensor], Tensor]


def noise(length: int) -> Tensor:
    """Seeded noise [length] that swells and fades."""
    return 0.3 * seeded("audio", (length,), 0) * torch.sin(torch.arange(length) / 3000)


@torch.inference_mode()
def compare(label: str, theirs: Upstream, ours, lengths: Iterable[int]) -> bool:
    """Whether both make the same tokens of audio of each length, and the same samples of upstream's tokens; prints what
    was found. The audio is speech, and for the longest length noise, too."""
    lengths = sorted(lengths)
    voice = torch.from_numpy(speech(max(lengths) / ours.sample_rate, ours.sample_rate))
    inputs = [voice[:length] for length in lengths] + [noise(lengths[-1])]
    same, count, distance, peak, seconds = 0, 0, 0.0, 0.0, {"upstream": 0.0, "encode": 0.0, "decode": 0.0}
    seen: set[int] = set()
    for wav in inputs:
        start = time.process_time()
        expected = theirs.tokens(wav)
        sound = theirs.audio(expected)
        middle = time.process_time()
        found = ours.encode(wav.numpy()).indices
        later = time.process_time()
        wave = ours.decode(Codes(len(sound), expected.numpy().astype(np.int64), ours.codebook_sizes))
        seconds["upstream"] += middle - start
        seconds["encode"] += later - middle
        seconds["decode"] += time.process_time() - later
        assert found.shape == tuple(expected.shape), (label, len(wav), found.shape, tuple(expected.shape))
        same, count = same + int((found == expected.numpy()).sum()), count + found.size
        seen |= set(found.flatten().tolist())
        distance = max(distance, float(np.abs(wave - sound.numpy()).max()))
        peak = max(peak, float(sound.abs().max()))
    audio = sum(map(len, inputs)) / ours.sample_rate
    print(
        f"{label}: {same} of {count} tokens equal ({len(seen)} distinct), {len(inputs)} inputs; audio within "
        f"{distance:.1e} of peak {peak:.3g}; core seconds a second: encode {seconds['encode'] / audio:.2f}, decode "
        f"{seconds['decode'] / audio:.2f}, upstream both ways {seconds['upstream'] / audio:.2f}; "
        f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:.1f} GiB at most"
    )
    return same == count and len(seen) >= 10 and distance <= TOLERANCE * peak


@torch.inference_mode()
def golden(path: Path, seconds: float, models: Sequence[tuple[str, Upstream, int]]) -> None:
    """What each of `models` (name, upstream's model, sample rate) makes of speech: tokens, and some of the samples."""
    arrays: dict[str, np.ndarray] = {"stride": np.array(STRIDE)}
    for name, model, rate in models:
        wav = torch.from_numpy(speech(seconds, rate))
        tokens = model.tokens(wav)
        for seed in range(4):
            if not torch.equal(model.tokens(wav * (1 + NUDGE * seeded("nudge", (len(wav),), seed))), tokens):
                raise SystemExit(f"{name}: tokens change where the input moves by {NUDGE}: too near for golden vectors")
        audio = model.audio(tokens)
        print(f"{name}: {tuple(tokens.shape)} tokens, {len(tokens.unique())} distinct; peak {audio.abs().max():.3g}")
        arrays |= {
            f"{name}-seconds": np.array(seconds), f"{name}-tokens": tokens.numpy().astype(np.int32),
            f"{name}-samples": np.array(len(audio)), f"{name}-audio": audio[::STRIDE].numpy(),
        }  # fmt: skip
    np.savez_compressed(path, **arrays)
    print(f"{path}: {path.stat().st_size:,} bytes")


def arguments(doc: str | None, *checkouts: str) -> argparse.Namespace:
    """The command line of a comparison: checkouts, `--golden FILE`, and `--narrow`; checkouts are put on the path."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in checkouts:
        parser.add_argument(name, type=Path)
    parser.add_argument("--golden", type=Path, metavar="FILE", help="write the golden vectors of the ordinary tests")
    parser.add_argument("--narrow", action="store_true", help="leave out the models of published width")
    args = parser.parse_args()
    sys.path[:0] = [str(getattr(args, name).resolve()) for name in checkouts]
    torch.set_num_threads(1)
    return args
