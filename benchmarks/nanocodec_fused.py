"""The decoder's last stages on a GPU: bytes that pass through memory, and time, with and without the Triton kernels.

Without a GPU it prints the bytes alone. They are counted by the operations, each of which reads and writes its tensors
once: caches make it less, strided access more. `--compile` compiles every kernel that decoding would launch on a GPU,
needs Triton but no GPU, and prints what each takes.

    python benchmarks/nanocodec_fused.py [--variant 1.78k] [--batch 32] [--seconds 10] [--compile sm_90]
"""

from __future__ import annotations

import argparse
import copy
import os
import re
import resource
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from functools import partial
from io import StringIO
from typing import Any
from unittest.mock import patch

import torch

from evalkit.bench.timing import rounds
from nanocodec import fused
from nanocodec.config import CodecConfig, get_config, stage_dilations
from nanocodec.fused import WIDEST
from nanocodec.inference import DTYPES, LatentDecoder, Precision
from nanocodec.layers import folded_weights
from nanocodec.model import NanoCodec
from nanocodec.streaming import StreamingDecoder
from nanocodec.testing import seeded_audio, seeded_model

PRECISIONS: tuple[Precision, ...] = ("fp32", "bf16")
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


def specialisations(config: CodecConfig, precision: Precision) -> dict[str, tuple[list[Any], dict[str, Any]]]:
    """The arguments of each kernel that Triton would compile to decode on a GPU, by what the kernel does.

    Nothing is computed: the tensors are on the device "meta", and launches are written down.
    """
    seen: dict[str, tuple[list[Any], dict[str, Any]]] = {}

    class Recorder:
        def __getitem__(self, grid: tuple[int, ...]) -> Callable[..., None]:
            def launch(*values: Any, **constants: Any) -> None:
                does = "convolution" + ", sum" * constants["SUM"] + ", half-snake" * constants["ACTIVE"]
                seen[f"{precision:<6}{constants['WIDTH']:>9}  {does:<30}"] = list(values), constants

            return launch

    with torch.device("meta"), folded_weights():
        decoder = NanoCodec(config).audio_decoder
        latent = torch.empty(1, config.latent_dim, 1)
    recorder = Recorder()
    with patch.dict(os.environ, NANOCODEC_FUSED="1"), patch("nanocodec.fused.kernel", lambda: recorder):
        LatentDecoder(decoder, 1, DTYPES[precision])(latent)
    return seen


def compile_ahead(config: CodecConfig, architecture: str) -> Iterator[str]:
    """Compile every kernel that decodes `config`, one after another, for a GPU that need not be there.

    Args:
        config: of the codec.
        architecture: such as `sm_90`.

    Yields:
        The lines of a table: seconds of processor time, a thread's registers and the bytes that did not fit them, and
        the shared memory of a program.
    """
    from triton import knobs
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource, compile

    kernel, types = fused.kernel(), {int: "i32", float: "fp32"}
    named = {dtype: name for name, dtype in DTYPES.items()}
    knobs.compilation.always_compile = knobs.nvidia.dump_ptxas_log = True
    target = GPUTarget("cuda", int(architecture.removeprefix("sm_")), 32)
    yield f"{'':<6}{'channels':>9}  {'kernel':<30}{'CPU s':>7}{'registers':>11}{'spilled B':>11}{'shared B':>10}"
    for precision in PRECISIONS:
        for name, (values, constants) in specialisations(config, precision).items():
            options = {"num_warps": constants.pop("num_warps")}
            signature = dict.fromkeys(kernel.arg_names, "constexpr")
            aligned = {}
            for position, value in enumerate(values):
                pointer = isinstance(value, torch.Tensor)
                signature[kernel.arg_names[position]] = f"*{named[value.dtype]}" if pointer else types[type(value)]
                if pointer:
                    aligned[position,] = [["tt.divisibility", 16]]  # as torch allocates
            before = processor_time()
            with redirect_stdout(StringIO()) as log:
                made = compile(ASTSource(kernel, signature, constants, aligned), target, options)
            taken = processor_time() - before
            registers, *spilled = (
                sum(map(int, re.findall(rf"(\d+) {what}", log.getvalue())))
                for what in ("registers", "bytes spill stores", "bytes spill loads")
            )
            yield f"{name}{taken:>7.1f}{registers:>11}{sum(spilled):>11}{made.metadata.shared:>10}"


def processor_time() -> float:
    """Seconds of this process and of those that it waited for: ptxas is one."""
    usages = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


@contextmanager
def phase(doing: str) -> Iterator[None]:
    """Say what is done before it begins, and how long it took: a run that is cut off shows where."""
    print(f"{doing}: ", end="", flush=True)
    begun = time.perf_counter()
    yield
    print(f"{time.perf_counter() - begun:.1f} s", flush=True)


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
    parser.add_argument(
        "--compile", metavar="sm_N", help="compile the kernels for this GPU architecture, without a GPU"
    )
    arguments = parser.parse_args()
    config = get_config(arguments.variant)
    torch.set_grad_enabled(False)
    if arguments.compile:
        for line in compile_ahead(config, arguments.compile):
            print(line, flush=True)
        return 0
    print(f"{arguments.variant}, {arguments.batch} x {arguments.seconds:g} s, bf16")
    print(table(config, arguments.batch, arguments.seconds))
    if not torch.cuda.is_available():
        print("no GPU that torch can use: nothing was timed")
        return 0
    print(f"{torch.cuda.get_device_name()}, torch {torch.__version__}", flush=True)
    with phase("making weights and codes"):
        here = seeded_model(config)
        there = copy.deepcopy(here).cuda()
        frames = round(arguments.seconds * config.frame_rate)
        tokens = here.encode(seeded_audio(frames * config.hop)[None])[0].cuda()
        tokens = tokens.expand(arguments.batch, -1, -1).contiguous()
        frame = tokens[:1, :, :1].expand(arguments.streams, -1, -1).contiguous()

    for precision in PRECISIONS:
        decodes: dict[str, Callable[[], torch.Tensor]] = {}
        pushes: dict[str, Callable[[], torch.Tensor]] = {}
        for name, switch in (("torch", "0"), ("kernels", "1")):
            decodes[name] = partial(decode, there, tokens, precision, switch)
            pushes[name] = partial(push, stream_of(there, arguments.streams, precision, switch), frame)
        with phase(f"{precision:<6}torch's first decoding"):
            expected = decodes["torch"]()
        with phase(f"{precision:<6}compiling the kernels"):
            found = decodes["kernels"]()
        print(f"{precision:<6}largest difference {float((expected - found).abs().max()):.1e}")
        with phase(f"{precision:<6}timing whole recordings"):
            timed = medians(decodes, arguments.rounds)
        for name, seconds in timed.items():
            speed = arguments.batch * arguments.seconds / seconds
            print(f"{precision:<6}{name:<10}{seconds * 1e3:>9.1f} ms{speed:>9.0f} x real time", flush=True)
        with phase(f"{precision:<6}timing streams"):
            timed = medians(pushes, 5 * arguments.rounds)
        for name, seconds in timed.items():
            print(
                f"{precision:<6}{name:<10}{seconds * 1e3:>9.2f} ms a frame of {arguments.streams} streams", flush=True
            )
    return 0


if __name__ == "__main__":
    sys.exit(main())
