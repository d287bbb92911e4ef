"""The decoder's last stages on a GPU: bytes that pass through memory, and time, with and without the Triton kernels.

Without a GPU it prints the bytes alone. They are counted by the operations, each of which reads and writes its tensors
once: caches make it less, strided access more.

    python benchmarks/nanocodec_fused.py [--variant 1.78k] [--batch 32] [--seconds 10]
"""

from __future__ import annotations

import argparse
import copy
import os
import statistics
import sys
from collections.abc import Callable
from functools import partial

import torch

from evalkit.bench.timing import rounds
from nanocodec.config import CodecConfig, get_config, stage_dilations
from nanocodec.fused import WIDEST
from nanocodec.inference import Precision
from nanocodec.model import NanoCodec
from nanocodec.streaming import StreamingDecoder
from nanocodec.testing import seeded_audio, seeded_model

SUM, ACTIVATION, CONVOLUTION, MEAN = 3.0, 5.5, 2.0, 8.0
"""Reads and writes of one activation tensor that torch needs: x + change in place; mul, sin, square and addcmul on half
of the channels and leaky ReLU on the others, one after another; a convolution; the mean of three branches."""
FIRST, HALF, WHOLE, LAST = 2.0, 2.0, 4.0, 3.0
"""The same for the kernels: the first activation; convolution and half-snake; convolution, sum and half-snake; the last
convolution and sum, after which nothing is activated."""


def passes(blocks: int, branches: int) -> tuple[float, float]:
    """How often a residual layer's activations pass through memory: by torch's operations, and by the kernels.

    Args:
        blocks: residual blocks of a branch.
        branches: of the layer.
    """
    plain = blocks * (SUM + 2 * ACTIVATION + 2 * CONVOLUTION)
    fused = FIRST + blocks * HALF + (blocks - 1) * WHOLE + LAST
    return branches * plain + MEAN, branches * fused + MEAN


def table(config: CodecConfig, batch: int, seconds: float) -> str:
    """Gigabytes of each stage in bf16, by torch and by the kernels where they are used."""
    spec, rate, channels = config.decoder, config.frame_rate, config.decoder.base_channels
    lines = [f"{'stage':>6}{'channels':>10}{'rate Hz':>10}{'torch GB':>10}{'kernels GB':>12}"]
    dilations = stage_dilations(spec.dilations, len(config.strides))
    for number, (stride, of_stage) in enumerate(zip(config.strides[::-1], dilations, strict=True), start=1):
        channels, rate = channels // 2, rate * stride
        plain, fused = passes(len(of_stage), len(spec.kernel_sizes))
        once = 2 * batch * channels * rate * seconds / 1e9
        used = f"{fused * once:>12.1f}" if channels <= WIDEST else f"{'-':>12}"
        lines.append(f"{number:>6}{channels:>10}{rate:>10.0f}{plain * once:>10.1f}{used}")
    return "\n".join(lines)


def decode(model: NanoCodec, tokens: torch.Tensor, precision: Precision, fused: str) -> torch.Tensor:
    """Decode by the kernels, where `fused` is 1, to the end of what the device does."""
    os.environ["NANOCODEC_FUSED"] = fused
    made = model.decode(tokens, precision=precision)
    torch.cuda.synchronize()
    return made


def stream_of(model: NanoCodec, streams: int, precision: Precision, fused: str) -> StreamingDecoder:
    """A stream that decodes by the kernels, where `fused` is 1."""
    os.environ["NANOCODEC_FUSED"] = fused
    return model.streaming_decoder(streams, precision)


def push(stream: StreamingDecoder, frame: torch.Tensor) -> torch.Tensor:
    """Decode one frame; the first few calls record the CUDA graph."""
    made = stream.push(frame)
    torch.cuda.synchronize()
    return made


def medians(jobs: dict[str, Callable[[], torch.Tensor]], count: int) -> dict[str, float]:
    """Median seconds of each job over `count` rounds, after five that do not count."""
    for job in jobs.values():
        for _ in range(5):
            job()
    taken = list(rounds(jobs, count))
    return {name: statistics.median(one[name].wall for one in taken) for name in jobs}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--variant", default="1.78k", help="default: 1.78k")
    parser.add_argument("--batch", type=int, default=32, help="recordings at once (default 32)")
    parser.add_argument("--seconds", type=float, default=10.0, help="of each recording (default 10)")
    parser.add_argument("--streams", type=int, default=64, help="streams at once (default 64)")
    parser.add_argument("--rounds", type=int, default=6, help="timed rounds (default 6)")
    arguments = parser.parse_args()
    config = get_config(arguments.variant)
    print(f"{arguments.variant}, {arguments.batch} x {arguments.seconds:g} s, bf16")
    print(table(config, arguments.batch, arguments.seconds))
    if not torch.cuda.is_available():
        print("no GPU that torch can use: nothing was timed")
        return 0
    torch.set_grad_enabled(False)
    here = seeded_model(config)
    there = copy.deepcopy(here).cuda()
    frames = round(arguments.seconds * config.frame_rate)
    tokens = here.encode(seeded_audio(frames * config.hop)[None])[0].cuda().expand(arguments.batch, -1, -1).contiguous()
    frame = tokens[:1, :, :1].expand(arguments.streams, -1, -1).contiguous()
    print(f"{torch.cuda.get_device_name()}, torch {torch.__version__}")

    precisions: tuple[Precision, ...] = ("fp32", "bf16")
    for precision in precisions:
        decodes: dict[str, Callable[[], torch.Tensor]] = {}
        pushes: dict[str, Callable[[], torch.Tensor]] = {}
        for name, fused in (("torch", "0"), ("kernels", "1")):
            decodes[name] = partial(decode, there, tokens, precision, fused)
            pushes[name] = partial(push, stream_of(there, arguments.streams, precision, fused), frame)
        difference = float((decodes["torch"]() - decodes["kernels"]()).abs().max())
        for name, seconds in medians(decodes, arguments.rounds).items():
            speed = arguments.batch * arguments.seconds / seconds
            print(f"{precision:<6}{name:<10}{seconds * 1e3:>9.1f} ms{speed:>9.0f} x real time")
        print(f"{precision:<6}largest difference {difference:.1e}")
        for name, seconds in medians(pushes, 5 * arguments.rounds).items():
            print(f"{precision:<6}{name:<10}{seconds * 1e3:>9.2f} ms a frame of {arguments.streams} streams")
    return 0


if __name__ == "__main__":
    sys.exit(main())
