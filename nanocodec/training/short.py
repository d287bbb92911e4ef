"""One short run on one GPU, by the clock: packed speech in, averaged weights out.

    python -m nanocodec.training.short pack/ runs/short --seconds 660 --start mini.safetensors

The learning rate follows the time that is left, and the last part of it falls to zero, so that a run of any length ends
well; the number of steps is whatever the card gives. Everything but the clock comes from the recipe in the packed
folder: the first phase of it, its losses, its optimizer. Discriminators and auxiliary heads take no part. Needs torch,
numpy, safetensors and soundfile alone.

In the run's folder: `codec.safetensors`, the averaged weights as they ship (fp16); `state/`, to go on with, in files of
at most 16 MiB and 64 MiB together; `log.jsonl`. `--resume` finishes a run that was cut off, or, after one that ended,
begins another of `--seconds`, whose learning rate rises and falls again.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from nanocodec.atomic import replacing
from nanocodec.checkpoint import save
from nanocodec.errors import CheckpointError
from nanocodec.model import NanoCodec
from nanocodec.training.config import ConfigError, TrainConfig, load_config
from nanocodec.training.optim import build_optimizer, set_learning_rate
from nanocodec.training.packed import RECIPE, PackedSpeech
from nanocodec.training.training_model import (
    ForwardOutput,
    TrainingModel,
    averaged_codec,
    copy_weights,
    initialize,
    latent_moments,
)
from nanocodec.training.validation import code_statistics

WARMUP = 0.03  # of the time
ENDING = 4.0  # seconds kept for saving
SAVE_EVERY = 120.0  # seconds
LARGEST_FILE, LARGEST_STATE = 16 * 2**20, 64 * 2**20  # bytes
CODE_BATCHES = 8  # whose codes the log's statistics are over
Inputs = tuple[Tensor, Tensor, Tensor]


def learning_rate_factor(share: float, decay: float) -> float:
    """What the learning rate is multiplied by once a share of the time is over.

    Args:
        share: from 0 to 1.
        decay: share of the time, at its end, in which the factor falls to zero.
    """
    return max(0.0, min(1.0, (share + 1e-3) / WARMUP, (1 - share) / decay))


class Gradients:
    """Forward and backward pass of one batch: launched operation by operation, or recorded once as a CUDA graph.

    Args:
        model: its parameters get gradients.
        bf16: convolutions in bfloat16.
    """

    def __init__(self, model: TrainingModel, bf16: bool) -> None:
        self.model, self.bf16 = model, bf16
        self.compiled: Callable[..., ForwardOutput] = model
        self._graph: Any = None

    def __call__(self, inputs: Inputs) -> ForwardOutput:
        """Gradients of one batch, in place of those before: audio [B, T], noise [B, D, N], pick [B, 1, 1]."""
        if self._graph is not None:
            for static, value in zip(self._inputs, inputs, strict=True):
                static.copy_(value)
            self._graph.replay()
            return self._output
        self._forget()
        return self._run(inputs)

    def compile(self) -> None:
        """Let torch.compile fuse the forward pass; it takes a minute or more at the first batch."""
        self.compiled = torch.compile(self.model, dynamic=False)

    def record(self, inputs: Inputs) -> None:
        """Record the passes for batches of this shape, which then cost one launch."""
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        audio, noise, pick = inputs
        self._inputs = audio.clone(), noise.clone(), pick.clone()
        with torch.cuda.stream(stream):
            for _ in range(3):
                self._forget()
                self._run(self._inputs)
        torch.cuda.current_stream().wait_stream(stream)
        self._forget()  # so that the recorded backward pass makes gradients instead of adding to them
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            self._output = self._run(self._inputs)
        self._graph = graph

    def _forget(self) -> None:
        for parameter in self.model.parameters():
            parameter.grad = None

    def _run(self, inputs: Inputs) -> ForwardOutput:
        kind = self.model.latent_mean.device.type
        with torch.autocast(kind, torch.bfloat16, enabled=self.bf16, cache_enabled=False):
            output: ForwardOutput = self.compiled(*inputs, True, False, False)
        output.loss.backward()
        return output


class ShortRun:
    """One run in one folder.

    Args:
        config: the recipe.
        speech: what to train on.
        run: the run's folder.
        start: a trained codec to begin from, of the recipe's architecture or narrower; None for random weights.
        decay: share of the time in which the learning rate falls to zero.
        clock: seconds since some time.
    """

    def __init__(
        self,
        config: TrainConfig,
        speech: PackedSpeech,
        run: Path,
        start: NanoCodec | None = None,
        decay: float = 0.4,
        clock: Callable[[], float] = time.monotonic,
    ):
        self.config, self.speech, self.run, self.decay, self.clock = config, speech, run, decay, clock
        self.phase, self.device = config.phases[0], speech.device
        self.model = TrainingModel(config)
        initialize(self.model.codec, torch.Generator().manual_seed(config.seed))
        if start is not None:
            copy_weights(start, self.model.codec)
            if config.standardize:
                self.model.unfold_standardization()
        self.model.to(self.device)
        self.parameters = list(self.model.parameters())
        self.average = [p.detach().clone() for p in self.parameters]
        self.optimizer = build_optimizer(config, self.model)
        self.gradients = Gradients(self.model, config.precision == "bf16-mixed")
        self.step, self.audio_seconds, self.share = 0, 0.0, 0.0
        self._codes: list[Tensor] = []
        self._fresh = start is None
        run.mkdir(parents=True, exist_ok=True)

    def inputs(self) -> Inputs:
        """The batch of the current step, with the noise and the choice of excerpts that are quantized."""
        phase, generator = self.phase, torch.Generator(self.device).manual_seed(self.config.seed + self.step)
        shape = (phase.batch, self.config.model.latent_dim, phase.frames)
        noise = torch.rand(shape, generator=generator, device=self.device) - 0.5
        pick = torch.rand((phase.batch, 1, 1), generator=generator, device=self.device) < phase.quantized
        return self.speech.batch(self.step, phase.batch), noise, pick

    def train_step(self, factor: float) -> dict[str, Tensor]:
        """Do one optimizer step at `factor` times the recipe's learning rate; its losses, on the device."""
        config = self.config
        set_learning_rate(self.optimizer, config.lr * factor, config.adam_lr_scale)
        inputs = self.inputs()
        output = self.gradients(inputs)
        values = {"loss": output.loss.detach(), **output.parts}
        if config.clip:
            values["grad_norm"] = torch.nn.utils.clip_grad_norm_(self.parameters, config.clip, foreach=True)
        self.optimizer.step()
        if config.standardize:
            mean, square = latent_moments(output.latent)
            self.model.track(mean, square, first=self._fresh and self.step == 0)
        with torch.no_grad():
            weight = 1 - min(config.ema, (self.step + 1) / (self.step + 10))
            torch._foreach_lerp_(self.average, [p.detach() for p in self.parameters], weight)
        self._codes = [*self._codes[1 - CODE_BATCHES :], output.codes.clone()]
        self.step += 1
        self.audio_seconds += self.phase.batch * inputs[0].shape[1] / config.model.sample_rate
        return {name: value.clone() for name, value in values.items()}  # a graph writes over its own

    def train(self, seconds: float, begun: float | None = None, progress: Callable[[str], None] = print) -> None:
        """Train until the time is over, and save.

        Args:
            seconds: wall clock, saving included.
            begun: time of the run's clock from which they count; None for now.
            progress: is called with a line of text at every `log_every` steps.
        """
        begun = self.clock() if begun is None else begun
        first = self.share  # of a run that is finished
        audio = self.audio_seconds
        self._log("validation", begun, self.validate(), progress)
        saved = marked = start = self.clock()  # the learning rate rises from here, however long loading took
        available = max(1e-6, seconds - (start - begun) - (ENDING if seconds > 2 * ENDING else 0.0))
        while (share := first + (1 - first) * (self.clock() - start) / available) < 1:
            self.share = share
            losses = self.train_step(learning_rate_factor(share, self.decay))
            if self.step % self.config.log_every == 0:
                row = {name: float(value) for name, value in losses.items()}  # waits for the device
                coverage, bits = self._statistics()
                now = self.clock()
                row |= {
                    "code_coverage": coverage,
                    "entropy_bits": bits,
                    "steps_per_s": self.config.log_every / (now - marked),
                }
                row["audio_s_per_s"] = (self.audio_seconds - audio) / (now - marked)
                self._log("train", begun, row, progress)
                marked, audio = now, self.audio_seconds
                if not np.isfinite(row["loss"]):
                    raise ConfigError(
                        f"the loss is {row['loss']} at step {self.step}: lower lr, and resume from the saved state"
                    )
            if self.step % self.config.validate_every == 0:
                self._log("validation", begun, self.validate(), progress)
            if self.clock() - saved > SAVE_EVERY:
                self.save()
                saved = self.clock()
        self.share = 1.0
        self.save()
        self._log("validation", begun, self.validate(), progress)

    @torch.no_grad()
    def validate(self) -> dict[str, float]:
        """Loss of the current weights over excerpts that training never sees; nothing where none was packed."""
        audio = self.speech.held_out()
        if not len(audio):
            return {}
        noise = torch.zeros((len(audio), self.config.model.latent_dim, self.phase.frames), device=self.device)
        pick = torch.ones((len(audio), 1, 1), dtype=torch.bool, device=self.device)
        output = self.model(audio, noise, pick, True, False, False)
        return {name: float(value) for name, value in {"loss": output.loss, **output.parts}.items()}

    def _statistics(self) -> tuple[float, float]:
        codes = torch.stack(self._codes).permute(2, 0, 1, 3).flatten(1).cpu().numpy()
        return code_statistics(codes, self.config.model.codebook_size)

    def _log(self, kind: str, begun: float, row: Mapping[str, float], progress: Callable[[str], None]) -> None:
        if not row:
            return
        numbers = {name: float(f"{value:.6g}") for name, value in row.items()}
        seconds = round(self.clock() - begun, 2)
        line = {"kind": kind, "step": self.step, "seconds": seconds, **numbers}
        line["lr"] = self.config.lr * learning_rate_factor(self.share, self.decay)
        line["audio_seconds"] = round(self.audio_seconds, 1)
        with (self.run / "log.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
        progress("  ".join(f"{name} {value}" for name, value in line.items()))

    # ------------------------------------------------------------------ state

    def averaged(self) -> NanoCodec:
        """The codec with its averaged weights, on the CPU."""
        return averaged_codec(self.model, self.average, lambda: self.speech.batch(2**31, 32).cpu())

    def save(self) -> None:
        """Write weights and state; a kill at any moment leaves the previous ones, or the new ones, whole."""
        save(self.averaged(), self.run / "codec.safetensors", half=True)
        kept, left_out = _fitting(self._units())
        about = {"step": self.step, "audio_seconds": self.audio_seconds, "share": self.share, "left_out": left_out}
        new, current, old = (self.run / name for name in ("state.new", "state", "state.old"))
        shutil.rmtree(new, ignore_errors=True)
        new.mkdir()
        for number, tensors in enumerate(kept):
            save_file(tensors, new / f"state-{number:02d}.safetensors")
        with replacing(new / "state.json") as temporary:
            temporary.write_text(json.dumps(about), encoding="utf-8")
        shutil.rmtree(old, ignore_errors=True)
        if current.exists():
            current.rename(old)
        new.rename(current)
        shutil.rmtree(old, ignore_errors=True)

    def _units(self) -> Iterator[tuple[str, dict[str, Tensor]]]:
        """What belongs to a state, the most needed first, in units that are kept or left out whole."""
        for name, tensor in self.model.state_dict().items():
            yield f"model {name}", {f"model.{name}": tensor}
        for number, state in self.optimizer.state_dict()["state"].items():
            tensors = {f"optimizer.{number}.{name}": torch.as_tensor(value) for name, value in state.items()}
            yield f"optimizer {number}", tensors
        for number, tensor in enumerate(self.average):
            yield f"average {number}", {f"average.{number}": tensor}

    def resume(self) -> bool:
        """Go on from `state/`; False where there is none. An average that was left out begins at the weights.

        Raises:
            ConfigError: a damaged state, or one of another model.
        """
        folder = next((self.run / name for name in ("state", "state.old") if (self.run / name).is_dir()), None)
        if folder is None:
            return False
        try:
            about = json.loads((folder / "state.json").read_text(encoding="utf-8"))
            tensors: dict[str, Tensor] = {}
            for path in sorted(folder.glob("*.safetensors")):
                tensors |= load_file(path, device=str(self.device))
            parts: dict[str, dict[str, Tensor]] = {"model": {}, "optimizer": {}, "average": {}}
            for key, tensor in tensors.items():
                kind, _, name = key.partition(".")
                parts[kind][name] = tensor
            self.model.load_state_dict(parts["model"])
            with torch.no_grad():
                for number, average in enumerate(self.average):
                    average.copy_(parts["average"].get(str(number), self.parameters[number]))
            state: dict[int, dict[str, Any]] = {}
            for name, tensor in parts["optimizer"].items():
                place, _, leaf = name.partition(".")
                counts = leaf == "step" and self.config.optimizer == "muon"  # torch's own Adam keeps a tensor
                state.setdefault(int(place), {})[leaf] = int(tensor) if counts else tensor
            groups = self.optimizer.state_dict()["param_groups"]
            self.optimizer.load_state_dict({"state": state, "param_groups": groups})
            self.step, self.audio_seconds = int(about["step"]), float(about["audio_seconds"])
            self.share = 0.0 if about["share"] >= 1 else float(about["share"])
        except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise ConfigError(f"{folder}: cannot be resumed ({reason}); name another run folder") from error
        self._fresh = False
        return True


def _fitting(units: Iterator[tuple[str, dict[str, Tensor]]]) -> tuple[list[dict[str, Tensor]], list[str]]:
    """The tensors of the first units that fit, by file, and the names of those that do not."""
    files: list[dict[str, Tensor]] = [{}]
    left_out: list[str] = []
    size = total = 0
    for unit, tensors in units:
        copies = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
        needed = sum(tensor.nbytes + 256 for tensor in copies.values())  # 256: its part of a file's header
        if needed > LARGEST_FILE or total + needed > LARGEST_STATE:
            left_out.append(unit)
            continue
        if size + needed > LARGEST_FILE:
            files.append({})
            size = 0
        files[-1] |= copies
        size, total = size + needed, total + needed
    return files, left_out


def _count(run: ShortRun, steps: int) -> str:
    """Steps per second, measured over `steps` after two that do not count, and what took the time, by torch's
    profiler. Uses up as many steps of training, at a learning rate of zero."""
    for _ in range(2):
        run.train_step(0.0)
    _wait(run.device)
    begun = time.monotonic()
    for _ in range(steps):
        run.train_step(0.0)
    _wait(run.device)
    taken = time.monotonic() - begun
    from torch.profiler import ProfilerActivity, profile

    kinds = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if run.device.type == "cuda" else [])]
    with profile(activities=kinds) as profiler:
        run.train_step(0.0)
        _wait(run.device)
    order = "self_cuda_time_total" if run.device.type == "cuda" else "self_cpu_time_total"
    table = profiler.key_averages().table(sort_by=order, row_limit=12, max_name_column_width=48)
    audio = steps * run.phase.batch * run.speech.length / run.speech.sample_rate
    return f"{table}\n{steps / taken:.3f} steps/s, {audio / taken:.1f} s of audio a second"


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()


def _open(arguments: argparse.Namespace) -> ShortRun:
    device = torch.device(arguments.device or ("cuda" if torch.cuda.is_available() else "cpu"))
    if device.type == "cuda":
        torch.set_float32_matmul_precision("high")  # TF32: for learning it is exact enough
    config = load_config(arguments.packed / RECIPE)
    phase = replace(config.phases[0], batch=arguments.batch or config.phases[0].batch)
    config = replace(config, phases=(phase,), auxiliary_heads=None, discriminators=None)
    config = replace(config, precision=arguments.precision or config.precision)
    length = phase.frames * config.model.hop
    speech = PackedSpeech(arguments.packed, config.data, config.model.sample_rate, length, config.seed, device)
    start = NanoCodec.from_pretrained(arguments.start) if arguments.start else None
    run = ShortRun(config, speech, arguments.run, start, arguments.decay)
    print(
        f"{speech.hours:.1f} h of speech on {device}, torch {torch.__version__}, {config.precision}, "
        f"batches of {phase.batch}"
    )
    if arguments.resume:
        print(f"Resumed at step {run.step:,}" if run.resume() else f"{run.run}: no state yet; starting at step 0")
    elif (arguments.run / "state").exists():
        raise ConfigError(f"{arguments.run}: holds a run; add --resume to continue it")
    if arguments.compile:
        run.gradients.compile()
    if device.type == "cuda" and not arguments.no_graph:
        try:
            run.gradients.record(run.inputs())
        except RuntimeError as error:
            print(f"no CUDA graph ({str(error).splitlines()[0]}): operations are launched one by one", file=sys.stderr)
    return run


def main(argv: Sequence[str] | None = None) -> int:
    """Train; 2 where recipe, speech or state cannot be used."""
    begun = time.monotonic()
    parser = argparse.ArgumentParser(
        "python -m nanocodec.training.short", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("packed", type=Path, help="folder that nanocodec.training.pack wrote")
    parser.add_argument("run", type=Path, help="folder for weights, state and log")
    parser.add_argument("--seconds", type=float, default=660.0, help="total time in seconds (default: %(default)g)")
    parser.add_argument(
        "--decay",
        type=float,
        default=0.4,
        help="share of it in which the learning rate falls to zero (default: %(default)g)",
    )
    parser.add_argument("--start", metavar="FILE", help="trained weights to start from; a wider recipe widens them")
    parser.add_argument("--resume", action="store_true", help="continue from the state in the run's folder")
    parser.add_argument("--device", help="default: cuda where there is one, else cpu")
    parser.add_argument("--batch", type=int, help="excerpts per step, instead of the recipe's")
    parser.add_argument("--precision", choices=["32-true", "bf16-mixed"], help="instead of the recipe's")
    parser.add_argument("--compile", action="store_true", help="torch.compile the forward pass")
    parser.add_argument("--no-graph", action="store_true", help="record no CUDA graph")
    parser.add_argument("--count", type=int, metavar="N", help="time and profile N steps, and train nothing")
    arguments = parser.parse_args(argv)
    try:
        run = _open(arguments)
        if arguments.count:
            print(_count(run, arguments.count))
        else:
            run.train(arguments.seconds, begun)
    except (ConfigError, CheckpointError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
