"""How fast the codec is, what each optimisation gives, and what streaming costs.

Everything is timed in the rounds of `evalkit bench` (evalkit/bench/timing.py), which is for whole codecs; here are the
parts of this one. Wall and CPU seconds are medians over the rounds. Where NVIDIA NeMo is installed (the
environment that `make oracle` makes) its own class is the yardstick, otherwise the plain modules as they are trained.
`--others` adds what was tried and not taken: torch.compile, ONNX Runtime and OpenVINO, those that are installed.

    python benchmarks/nanocodec_speed.py --others
    PYTHONPATH=. .venv-oracle/bin/python benchmarks/nanocodec_speed.py --variant 1.78k --threads 2
"""

from __future__ import annotations

import argparse
import copy
import importlib.util
import math
import shutil
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from unittest import mock

import numpy as np
import torch

from evalkit.bench.timing import rounds
from nanocodec.checkpoint import assemble
from nanocodec.config import get_config
from nanocodec.export import export_onnx
from nanocodec.model import NanoCodec
from nanocodec.testing import attenuate, calibrate, seeded_audio, seeded_tensors
from nanocodec.threads import SecondThread

Job = Callable[[], torch.Tensor]
Jobs = dict[str, Job]

IN_TURN = "the same, branches in turn"
TORCH = "the same, torch's operations alone"
ENCODE = "without detours: encode()"
DECODE = "in blocks, fused: decode()"
BF16 = 'decode() in bf16: precision="bf16"'
ONE_FRAME = "streaming, 1 frame at a time"


def measure(jobs: Jobs, count: int) -> tuple[dict[str, tuple[float, float]], dict[str, torch.Tensor]]:
    """Median wall and CPU seconds of every job over `count` rounds, and what it gave."""
    taken = list(rounds(jobs, count))
    times = {name: [(one[name].wall, one[name].cpu) for one in taken] for name in jobs}
    medians = {name: tuple(np.median(values, axis=0)) for name, values in times.items()}
    return medians, {name: job() for name, job in jobs.items()}  # type: ignore[return-value]


def models(variant: str) -> tuple[NanoCodec, NanoCodec, dict[str, torch.Tensor]]:
    """One random model twice, weight-normed as in training and folded, with its weights; neither silent nor clipped."""
    config = get_config(variant)
    tensors = seeded_tensors(config)
    model = assemble(config, tensors, variant)
    audio = seeded_audio(config.sample_rate, seed=1)[None]
    calibrate(tensors, model.encode_latent(audio)[0])
    model = assemble(config, tensors, variant)
    stages = model.audio_decoder
    activation, stages.output_activation = stages.output_activation, "tanh"
    latent = model.vector_quantizer.decode(model.encode(audio)[0])
    attenuate(tensors, torch.atanh(stages(latent).clamp(-0.999, 0.999)))
    stages.output_activation = activation
    normed = NanoCodec(config).eval()
    normed.load_state_dict(tensors)
    return normed, assemble(config, tensors, variant), tensors


def plain(model: NanoCodec) -> NanoCodec:
    """A copy whose weights lie in memory as torch makes them."""
    model = copy.deepcopy(model)
    for parameter in model.parameters():
        parameter.data = parameter.data.contiguous()
    return model


def streaming(model: NanoCodec, codes: torch.Tensor, chunk: int) -> Job:
    """Decoding chunk by chunk, by a decoder that exists already."""
    decoder = model.streaming_decoder(codes.shape[0])

    def job() -> torch.Tensor:
        decoder.reset()
        return torch.cat([decoder.push(part) for part in codes.split(chunk, dim=2)], 1)

    return job


def in_turn(job: Job) -> Job:
    """The same with a layer's branches one after another, each with all threads."""

    def one_after_another(_: torch.device, work: Callable[[SecondThread], torch.Tensor]) -> torch.Tensor:
        return work(partial)

    def run() -> torch.Tensor:
        with mock.patch("nanocodec.inference.with_second_thread", one_after_another):
            return job()

    return run


def torch_alone(make: Callable[[], Job]) -> Job:
    """The same without the compiled kernels."""

    def run() -> torch.Tensor:
        with mock.patch("nanocodec.kernels._library", lambda: None):
            return job()

    with mock.patch("nanocodec.kernels._library", lambda: None):
        job = make()
    return run


def exported(model: NanoCodec, audio: torch.Tensor, codes: torch.Tensor, threads: int) -> tuple[Jobs, Jobs]:
    """The ONNX export of encoder and decoder, in the runtimes that are installed."""
    encoders: Jobs = {}
    decoders: Jobs = {}
    sides = ((encoders, "audio", audio.numpy()), (decoders, "codes", codes.long().numpy()))
    with tempfile.TemporaryDirectory() as folder:
        try:
            made = export_onnx(model, folder)
        except ImportError as error:
            print(error)
            return encoders, decoders
        for (jobs, name, given), path in zip(sides, (made.encoder, made.decoder), strict=True):
            import onnxruntime

            options = onnxruntime.SessionOptions()
            options.intra_op_num_threads = threads
            session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
            jobs["ONNX Runtime"] = lambda run=session.run, feed={name: given}: torch.from_numpy(run(None, feed)[0])
            if importlib.util.find_spec("openvino"):
                import openvino

                settings = {"INFERENCE_NUM_THREADS": threads, "INFERENCE_PRECISION_HINT": "f32"}
                network = openvino.Core().compile_model(path, "CPU", settings)
                jobs["OpenVINO"] = lambda network=network, given=given: torch.from_numpy(network([given])[0])
            else:
                print("OpenVINO is not installed: pip install openvino")
    return encoders, decoders


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--variant", default="1.78k", help="default: 1.78k")
    parser.add_argument("--seconds", type=float, default=10.0, help="of audio (default 10)")
    parser.add_argument("--rounds", type=int, default=5, help="timed rounds (default 5)")
    parser.add_argument("--threads", type=int, default=2, help="default 2")
    parser.add_argument("--others", action="store_true", help="also torch.compile, ONNX Runtime, OpenVINO (minutes)")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.set_grad_enabled(False)
    normed, model, tensors = models(arguments.variant)
    folded = plain(model)
    audio = seeded_audio(math.ceil(arguments.seconds * model.sample_rate / model.hop) * model.hop)[None]
    codes, _ = model.encode(audio)

    def encoder(module: NanoCodec, run: Callable[..., torch.Tensor] | None = None) -> Job:
        run = module.audio_encoder if run is None else run
        return lambda: module.vector_quantizer.encode(run(audio[:, None]))

    def decoder(module: NanoCodec, run: Callable[..., torch.Tensor] | None = None) -> Job:
        run = module.audio_decoder if run is None else run
        return lambda: run(module.vector_quantizer.decode(codes))[:, 0]

    encoders: Jobs = {"as trained": encoder(normed), "folded": encoder(folded)}
    decoders: Jobs = {"as trained": decoder(normed), "folded": decoder(folded)}
    if importlib.util.find_spec("nemo") and isinstance(model.config.encoder.dilations[0], int):  # it knows no others
        sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "oracle"))
        from compare import upstream_model

        theirs = upstream_model(model.config, tensors)
        length, frames = torch.tensor([audio.shape[1]]), torch.tensor([codes.shape[2]])
        encoders = {"upstream": lambda: theirs.encode(audio=audio, audio_len=length)[0]} | encoders
        decoders = {"upstream": lambda: theirs.decode(tokens=codes, tokens_len=frames)[0]} | decoders
    if arguments.others:
        if shutil.which("c++"):
            encoders["folded, torch.compile"] = encoder(folded, torch.compile(folded.audio_encoder))
            decoders["folded, torch.compile"] = decoder(folded, torch.compile(folded.audio_decoder))
        else:
            print("torch.compile needs a C++ compiler")
        for jobs, more in zip((encoders, decoders), exported(model, audio, codes, arguments.threads), strict=True):
            jobs.update(more)
    encoders[ENCODE] = lambda: model.encode(audio)[0]
    encoders[IN_TURN] = in_turn(encoders[ENCODE])
    if model.config.decoder.causal:
        decoders["folded, channels last"] = decoder(model)
        decoders[DECODE] = lambda: model.decode(codes)
        decoders[IN_TURN] = in_turn(decoders[DECODE])
        decoders[TORCH] = torch_alone(lambda: decoders[DECODE])
        decoders[BF16] = lambda: model.decode(codes, precision="bf16")
        decoders[f"{TORCH} (bf16)"] = torch_alone(lambda: decoders[BF16])
        decoders[ONE_FRAME] = streaming(model, codes, 1)
        decoders[f"{IN_TURN} (1 frame)"] = in_turn(streaming(model, codes, 1))
        decoders[f"{TORCH} (1 frame)"] = torch_alone(lambda: streaming(model, codes, 1))
        decoders["streaming, 4 frames at a time"] = streaming(model, codes, 4)
    encoding, decoding = report("encode", encoders, arguments), report("decode", decoders, arguments)
    if model.config.decoder.causal:
        first = next(iter(encoders))
        theirs_wall, theirs_cpu = np.add(encoding[first], decoding[first])
        wall, used = np.add(encoding[ENCODE], decoding[DECODE])
        print(f"\nboth ways: {theirs_wall / wall:.2f} times as fast as {first}, CPU {theirs_cpu / used:.2f}")
        wall, used = np.divide(decoding[first], decoding[BF16])
        print(f"decoding in bf16: {wall:.2f} times as fast as {first} in fp32, CPU {used:.2f}")
        wall, used = np.divide(decoding[ONE_FRAME], decoding[DECODE])
        print(f"a frame streamed by itself costs {wall:.2f} times a frame of decode(), CPU {used:.2f};")
        wall, used = np.divide(decoding[ONE_FRAME], decoding[first])
        print(f"{wall:.2f} times a frame of what {first} decodes, CPU {used:.2f}")
    return 0


def report(what: str, jobs: Jobs, arguments: argparse.Namespace) -> dict[str, tuple[float, float]]:
    """Print a table, ratios to its first line; return wall and CPU seconds."""
    times, results = measure(jobs, arguments.rounds)
    first = next(iter(jobs))
    print(f"\n{what}, {arguments.variant}, {arguments.seconds:g} s of audio, {arguments.threads} threads, "
          f"{arguments.rounds} rounds")  # fmt: skip
    print(f"{'':<44}{'wall s':>8}{'CPU s':>8}{'x real time':>13}{'ratio':>7}{'CPU ratio':>11}{'difference':>12}")
    for name, (wall, used) in times.items():
        made, reference = results[name], results[first]
        if made.is_floating_point():
            difference = f"{float((made - reference).abs().max()):.1e}"
        else:
            difference = f"{int((made != reference).sum())} codes"
        print(
            f"{name:<44}{wall:>8.2f}{used:>8.2f}{arguments.seconds / wall:>13.1f}{times[first][0] / wall:>7.2f}"
            f"{times[first][1] / used:>11.2f}{difference:>12}",
            flush=True,
        )
    return times


if __name__ == "__main__":
    sys.exit(main())
