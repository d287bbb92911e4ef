"""How fast the codec is, what each optimisation gave, and what streaming costs, in fp32 and with bf16 convolutions.

Everything is timed in one process, in rounds that take each contender in turn, so that whatever else the machine does
meets all of them alike; wall and CPU seconds are medians over the rounds. Where NVIDIA NeMo is installed (the
environment that `make oracle` makes) its own class is the yardstick, otherwise the plain modules as they are trained.

    python benchmarks/nanocodec_speed.py
    PYTHONPATH=. .venv-oracle/bin/python benchmarks/nanocodec_speed.py --variant 1.78k --threads 2
"""

from __future__ import annotations

import argparse
import importlib.util
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from nanocodec.checkpoint import assemble
from nanocodec.config import get_config
from nanocodec.model import NanoCodec
from nanocodec.streaming import Precision
from nanocodec.testing import attenuate, calibrate, seeded_audio, seeded_tensors

Job = Callable[[], torch.Tensor]


def cpu() -> float:
    """CPU seconds of this process so far, all threads."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def measure(jobs: dict[str, Job], rounds: int) -> tuple[dict[str, tuple[float, float]], dict[str, torch.Tensor]]:
    """Median wall and CPU seconds of every job, and what it gave. The first round warms up and does not count."""
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in jobs}
    results = {}
    for number in range(rounds + 1):
        for name, job in jobs.items():
            wall, used = time.perf_counter(), cpu()
            results[name] = job()
            if number:
                times[name].append((time.perf_counter() - wall, cpu() - used))
    return {name: tuple(np.median(values, axis=0)) for name, values in times.items()}, results  # type: ignore[misc]


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


def stream(model: NanoCodec, codes: torch.Tensor, chunk: int, precision: Precision = "fp32") -> torch.Tensor:
    """Decode chunk by chunk."""
    decoder = model.streaming_decoder(codes.shape[0], precision)
    return torch.cat([decoder.push(part) for part in codes.split(chunk, dim=2)], 1)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--variant", default="1.78k", help="default: 1.78k")
    parser.add_argument("--seconds", type=float, default=10.0, help="of audio (default 10)")
    parser.add_argument("--rounds", type=int, default=5, help="timed rounds (default 5)")
    parser.add_argument("--threads", type=int, default=2, help="default 2")
    parser.add_argument("--bf16", action="store_true", help="also bf16 convolutions: minutes where the CPU has none")
    parser.add_argument("--compile", action="store_true", help="also torch.compile of the plain folded decoder")
    parser.add_argument("--onnx", action="store_true", help="also ONNX Runtime, on a fresh export")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.set_grad_enabled(False)
    normed, model, tensors = models(arguments.variant)
    audio = seeded_audio(int(arguments.seconds * model.sample_rate))[None]
    codes, _ = model.encode(audio)
    causal = model.config.decoder.causal

    def plain_decode(module: NanoCodec) -> torch.Tensor:
        return module.audio_decoder(module.vector_quantizer.decode(codes))[:, 0]

    def plain_encode(module: NanoCodec) -> torch.Tensor:
        whole = torch.nn.functional.pad(audio, (0, -audio.shape[1] % module.hop))
        return module.vector_quantizer.encode(module.audio_encoder(whole[:, None]))

    encoders: dict[str, Job] = {
        "as trained": lambda: plain_encode(normed),
        "folded": lambda: plain_encode(model),
        "folded, without detours: encode()": lambda: model.encode(audio)[0],
    }
    decoders: dict[str, Job] = {
        "as trained": lambda: plain_decode(normed),
        "folded": lambda: plain_decode(model),
    }
    if causal:
        decoders["folded, in blocks: decode()"] = lambda: model.decode(codes)
        decoders["streaming, 1 frame at a time"] = lambda: stream(model, codes, 1)
        decoders["streaming, 4 frames at a time"] = lambda: stream(model, codes, 4)
    if causal and arguments.bf16:
        decoders["bf16 convolutions"] = lambda: stream(model, codes, codes.shape[2], "bf16")
    if importlib.util.find_spec("nemo"):
        sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "oracle"))
        from compare import upstream_model

        theirs = upstream_model(model.config, tensors)
        length = torch.tensor([audio.shape[1]])
        frames = torch.tensor([codes.shape[2]])
        encoders = {"upstream": lambda: theirs.encode(audio=audio, audio_len=length)[0]} | encoders
        decoders = {"upstream": lambda: theirs.decode(tokens=codes, tokens_len=frames)[0]} | decoders
    if arguments.compile:
        compiled = torch.compile(model.audio_decoder)
        decoders["folded, torch.compile"] = lambda: compiled(model.vector_quantizer.decode(codes))[:, 0]
    with tempfile.TemporaryDirectory() as folder:
        if arguments.onnx:
            import onnxruntime

            from nanocodec.export import export_onnx

            made = export_onnx(model, folder)
            options = onnxruntime.SessionOptions()
            options.intra_op_num_threads = arguments.threads
            sessions = [onnxruntime.InferenceSession(path, options) for path in (made.encoder, made.decoder)]
            whole = torch.nn.functional.pad(audio, (0, -audio.shape[1] % model.hop)).numpy()
            encoders["ONNX Runtime"] = lambda: torch.from_numpy(sessions[0].run(None, {"audio": whole})[0])
            tokens = codes.long().numpy()
            decoders["ONNX Runtime"] = lambda: torch.from_numpy(sessions[1].run(None, {"codes": tokens})[0])
        report("encode", encoders, arguments)
        report("decode", decoders, arguments)
    return 0


def report(what: str, jobs: dict[str, Job], arguments: argparse.Namespace) -> None:
    """Print a table; ratios are to the first line."""
    times, results = measure(jobs, arguments.rounds)
    first = next(iter(jobs))
    print(f"\n{what}, {arguments.variant}, {arguments.seconds:g} s of audio, {arguments.threads} threads, "
          f"{arguments.rounds} rounds")  # fmt: skip
    print(f"{'':<36}{'wall s':>8}{'CPU s':>8}{'x real time':>13}{'ratio':>7}{'CPU ratio':>11}{'difference':>12}")
    for name, (wall, used) in times.items():
        made, reference = results[name], results[first]
        if made.is_floating_point():
            difference = f"{float((made - reference).abs().max()):.1e}"
        else:
            difference = f"{int((made != reference).sum())} codes"
        print(
            f"{name:<36}{wall:>8.2f}{used:>8.2f}{arguments.seconds / wall:>13.1f}{times[first][0] / wall:>7.2f}"
            f"{times[first][1] / used:>11.2f}{difference:>12}",
            flush=True,
        )


if __name__ == "__main__":
    sys.exit(main())
