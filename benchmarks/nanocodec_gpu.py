"""NanoCodec on a GPU: are codes and samples the processor's, how fast are batches, what does a streamed frame cost?

The yardstick is the plain folded modules as PyTorch runs them by itself, which lets cuDNN round fp32 to TF32. Seconds
are medians over the rounds of `evalkit bench`, which is for whole codecs; here are the parts of this one.

    python benchmarks/nanocodec_gpu.py [--variant 1.78k] [--batches 1,8,32] [--streams 1,16,64]
"""

from __future__ import annotations

import argparse
import copy
import statistics
import sys
from collections.abc import Callable
from unittest import mock

import torch
from nanocodec_speed import models

from evalkit.bench.timing import rounds
from nanocodec.inference import Precision
from nanocodec.model import NanoCodec
from nanocodec.streaming import StreamingDecoder
from nanocodec.testing import seeded_audio

Job = Callable[[], torch.Tensor]


def measure(jobs: dict[str, Job], count: int) -> dict[str, float]:
    """Median seconds of every job over `count` rounds, each to the end of what the device does."""

    def waiting(job: Job) -> Job:
        def run() -> torch.Tensor:
            made = job()
            torch.cuda.synchronize()
            return made

        return run

    taken = list(rounds({name: waiting(job) for name, job in jobs.items()}, count))
    return {name: statistics.median(one[name].wall for one in taken) for name in jobs}


def exactness(here: NanoCodec, there: NanoCodec, audio: torch.Tensor) -> torch.Tensor:
    """Print how codes and samples differ from the processor's; return the codes."""
    codes, wav = here.encode(audio)[0], audio.cuda()
    decoded = here.decode(codes)
    rounded = there.vector_quantizer.encode(there.audio_encoder(wav[:, None]))
    found = {"encode()": there.encode(wav)[0], "plain modules, TF32": rounded}
    print(f"\ncodes unlike the processor's, of {codes.numel()}")
    for name, other in found.items():
        print(f"{name:<36}{int((other.cpu() != codes).sum()):>12}")
    sounds = {
        "decode()": there.decode(codes.cuda()),
        "plain modules, TF32": there.audio_decoder(there.vector_quantizer.decode(codes.cuda()))[:, 0],
        'decode(precision="bf16")': there.decode(codes.cuda(), precision="bf16"),
    }
    print(f"\nsamples: largest difference from the processor's, whose loudest is {float(decoded.abs().max()):.2f}")
    for name, sound in sounds.items():
        print(f"{name:<36}{float((sound.cpu() - decoded).abs().max()):>12.1e}")
    return codes


def throughput(model: NanoCodec, audio: torch.Tensor, codes: torch.Tensor, batch: int, rounds: int) -> None:
    """Print seconds, seconds of audio per second, and the memory of each way, for `batch` recordings at once."""
    wav = audio[:1].cuda().expand(batch, -1).contiguous()
    tokens = codes[:1].cuda().expand(batch, -1, -1).contiguous()
    latent = model.vector_quantizer.decode(tokens)
    jobs: dict[str, Job] = {
        "plain encoder, TF32": lambda: model.audio_encoder(wav[:, None]),
        "encode()": lambda: model.encode(wav)[0],
        "plain decoder, TF32": lambda: model.audio_decoder(latent),
        "decode()": lambda: model.decode(tokens),
        'decode(precision="bf16")': lambda: model.decode(tokens, precision="bf16"),
    }
    seconds = batch * audio.shape[1] / model.sample_rate
    for name, taken in measure(jobs, rounds).items():
        torch.cuda.reset_peak_memory_stats()
        jobs[name]()
        memory = torch.cuda.max_memory_allocated() / 2**30
        print(f"{batch:>6} {name:<30}{taken * 1e3:>10.1f}{seconds / taken:>13.0f}{memory:>9.1f}", flush=True)


def frame_by_frame(model: NanoCodec, codes: torch.Tensor, streams: int, precision: Precision, rounds: int) -> None:
    """Print what a frame costs, streamed with and without CUDA graphs and as part of the whole."""
    tokens = codes[:1].cuda().expand(streams, -1, -1).contiguous()
    frames = tokens.split(1, dim=2)
    recorded, launched = (model.streaming_decoder(streams, precision) for _ in range(2))

    def push(stream: StreamingDecoder) -> torch.Tensor:
        stream.reset()
        return torch.cat([stream.push(frame) for frame in frames], 1)

    def push_unrecorded() -> torch.Tensor:
        with mock.patch.object(StreamingDecoder, "_on_gpu", StreamingDecoder._step):
            return push(launched)

    jobs: dict[str, Job] = {
        "the whole": lambda: model.decode(tokens, precision=precision),
        "CUDA graph": lambda: push(recorded),
        "launched one by one": push_unrecorded,
    }
    times = measure(jobs, rounds)
    difference = float((jobs["CUDA graph"]() - jobs["the whole"]()).abs().max())
    cells = "".join(f"{taken * 1e3 / len(frames):>22.3f}" for taken in times.values())
    print(f"{streams:>8} {precision:<6}{cells}{difference:>12.1e}", flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--variant", default="1.78k", help="default: 1.78k")
    parser.add_argument("--seconds", type=float, default=10.0, help="of audio in a recording (default 10)")
    parser.add_argument("--batches", default="1,8,32", help="recordings at once (default 1,8,32)")
    parser.add_argument("--streams", default="1,16,64", help="streams at once (default 1,16,64)")
    parser.add_argument("--rounds", type=int, default=5, help="timed rounds (default 5)")
    arguments = parser.parse_args()
    if not torch.cuda.is_available():
        print("no GPU that torch can use here; benchmarks/nanocodec_speed.py measures on the processor")
        return 3
    torch.set_grad_enabled(False)
    _, here, _ = models(arguments.variant)
    there = copy.deepcopy(here).cuda()
    length = round(arguments.seconds * here.frame_rate) * here.hop
    audio = torch.stack([seeded_audio(length, seed) for seed in range(4)])
    print(f"{torch.cuda.get_device_name()}, torch {torch.__version__}, {arguments.variant}, {arguments.seconds:g} s")
    codes = exactness(here, there, audio)
    print(f"\n{'batch':>6} {'':<30}{'ms':>10}{'x real time':>13}{'GiB':>9}")
    for batch in map(int, arguments.batches.split(",")):
        throughput(there, audio, codes, batch, arguments.rounds)
    print(f"\n{'streams':>8} {'ms a frame':<6}{'the whole':>18}{'CUDA graph':>22}{'one by one':>22}{'difference':>12}")
    for streams in map(int, arguments.streams.split(",")):
        for precision in ("fp32", "bf16"):
            frame_by_frame(there, codes, streams, precision, 3)  # type: ignore[arg-type]
    return 0


if __name__ == "__main__":
    sys.exit(main())
