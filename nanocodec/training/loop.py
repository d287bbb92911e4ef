"""The training loop, on Lightning Fabric: one process or many, CPU or GPU, float32 or bf16.

A step's batch and noise depend on the seed and the step alone, and the whole state (weights, their average,
optimizers) is saved: a run that is killed and resumed gives the same weights, bit for bit, as one that was not, on the
same machine and number of processes; with another number of processes, to numerical noise.
"""

from __future__ import annotations

import json
import pickle
import shlex
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning_fabric import Fabric
from torch import Tensor

from nanocodec.atomic import replacing
from nanocodec.checkpoint import save
from nanocodec.model import NanoCodec
from nanocodec.training.config import ConfigError, Phase, TrainConfig
from nanocodec.training.data import AudioSource, DataError, Excerpts
from nanocodec.training.discriminators import build_discriminators
from nanocodec.training.optim import build_optimizer, set_learning_rate
from nanocodec.training.paper_losses import discriminator_loss, feature_matching_loss, generator_loss
from nanocodec.training.speaker import SpeakerConsistencyLoss, SpeakerEncoder
from nanocodec.training.training_model import (
    TrainingModel,
    averaged_codec,
    copy_weights,
    initialize,
    latent_moments,
)
from nanocodec.training.validation import code_statistics, load_scorer, score

CALIBRATION_STEP = 2**31  # a batch that no run trains on
CALIBRATION_EXCERPTS = 32
CODE_STEPS = 200  # the log's codebook statistics are over the codes of so many steps


class Trainer:
    """One run in one folder: `state.pt` (to resume), `log.jsonl`, `codec.safetensors` (averaged weights), TensorBoard.

    Args:
        config: what to train and how.
        data: (source, share) pairs, see `nanocodec.training.data.AudioSource`; validation uses the first.
        run: the run's folder.
        cache: folder for the data's index.
        fabric: launched already; None for one process on the CPU.
        start: a trained codec to begin from, of the same architecture.

    Raises:
        ConfigError: a configuration that cannot be used here, or a start of another architecture.
        DataError: data that are missing or unreadable.
    """

    def __init__(
        self,
        config: TrainConfig,
        data: Sequence[tuple[str, float]],
        run: Path,
        cache: Path,
        fabric: Fabric | None = None,
        start: NanoCodec | None = None,
    ):
        self.config, self.run = config, run
        self.fabric = fabric = fabric or Fabric(accelerator="cpu", devices=1, precision=config.precision)
        if uneven := [phase.batch for phase in config.phases if phase.batch % fabric.world_size]:
            raise ConfigError(f"batches of {uneven[0]} cannot be shared evenly by {fabric.world_size} processes")
        self.scorer = load_scorer(config.scorer) if config.scorer else None
        rate = config.model.sample_rate
        with fabric.rank_zero_first():
            run.mkdir(parents=True, exist_ok=True)
            sources = [AudioSource(text, cache, share, levels=config.data.level > 0) for text, share in data]
        self.excerpts = Excerpts(sources, rate, config.seed, config.data)

        self.training_model = TrainingModel(config)
        initialize(self.training_model.codec, torch.Generator().manual_seed(config.seed))
        if start is not None:
            copy_weights(start, self.training_model.codec)
            if config.standardize:
                self.training_model.unfold_standardization()
        self.model, self.optimizer = fabric.setup(self.training_model, build_optimizer(config, self.training_model))
        self.parameters = list(self.training_model.parameters())
        self.average = [p.detach().clone() for p in self.parameters]
        self.speaker = None
        if config.losses.speaker and config.speaker_encoder:
            encoder = SpeakerEncoder().load(config.speaker_encoder)
            self.speaker = SpeakerConsistencyLoss(encoder, rate, config.losses.speaker)

        self.discriminators: Any = None
        if config.discriminators is not None:
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(config.seed)
                discriminators = build_discriminators(config.discriminators, rate)
            adam = torch.optim.Adam(discriminators.parameters(), lr=config.discriminator_lr, betas=config.betas)
            self.discriminators, self.discriminator_optimizer = fabric.setup(discriminators, adam)

        self.fresh = start is None
        self.step = 0
        self.audio_seconds = 0.0
        self._codes: list[np.ndarray] = []
        self._board = _tensorboard(run) if fabric.is_global_zero else None

    # ------------------------------------------------------------------ state

    def save(self) -> None:
        """Write state and averaged codec; a kill at any moment leaves the previous ones whole."""
        if self.fabric.is_global_zero:
            state = {
                "step": self.step,
                "audio_seconds": self.audio_seconds,
                "model": self.training_model.state_dict(),
                "average": self.average,
                "optimizer": self.optimizer.state_dict(),
            }
            if self.discriminators is not None:
                state |= {
                    "discriminators": self.discriminators.module.state_dict(),
                    "discriminator_optimizer": self.discriminator_optimizer.state_dict(),
                }
            with replacing(self.run / "state.pt") as temporary:
                torch.save(state, temporary)
            save(self.averaged(), self.run / "codec.safetensors")
        self.fabric.barrier()

    def resume(self) -> bool:
        """Continue from `state.pt` if there is one; False where there is none.

        Discriminators that the saved run did not have start anew.

        Raises:
            DataError: a damaged state, or one of another model.
        """
        path = self.run / "state.pt"
        if not path.exists():
            return False
        try:
            state = torch.load(path, map_location=self.fabric.device, weights_only=True)
            if "model" not in state:
                raise ValueError("an earlier version wrote it: start a new run with --start RUN/codec.safetensors")
            self.training_model.load_state_dict(state["model"])
            self.optimizer.load_state_dict(state["optimizer"])
            self.average = state["average"]
            self.step, self.audio_seconds = state["step"], state["audio_seconds"]
            if self.discriminators is not None and "discriminators" in state:
                self.discriminators.module.load_state_dict(state["discriminators"])
                self.discriminator_optimizer.load_state_dict(state["discriminator_optimizer"])
        except (RuntimeError, ValueError, KeyError, EOFError, OSError, pickle.UnpicklingError) as error:
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise DataError(
                f"{path}: cannot be resumed with {self.config.model.name} ({reason}); choose another run folder"
            ) from error
        if self.fabric.is_global_zero:
            self._shorten_log()
        return True

    def _shorten_log(self) -> None:
        """Drop what a killed run logged after its last save, which happens again, and a line that it did not finish."""
        log = self.run / "log.jsonl"
        if log.exists():
            *lines, _ = log.read_text(encoding="utf-8").split("\n")
            kept = [line for line in lines if json.loads(line)["step"] <= self.step]
            with replacing(log) as temporary:
                temporary.write_text("".join(f"{line}\n" for line in kept), encoding="utf-8")

    def averaged(self) -> NanoCodec:
        """The codec with its weights' exponential moving average, folded, on the CPU, in eval mode."""
        return averaged_codec(self.training_model, self.average, self._calibration)

    @torch.no_grad()
    def _adopt_average(self) -> None:
        """Continue from the averaged weights, with latent statistics of their own."""
        for p, average in zip(self.parameters, self.average, strict=True):
            p.copy_(average)
        raw, _ = self.training_model.encode(self._calibration().to(self.fabric.device))
        mean, square = latent_moments(raw)
        self.training_model.track(mean, square, first=True)

    def _calibration(self) -> Tensor:
        frames = self.config.phases[0].frames
        return torch.from_numpy(
            self.excerpts.batch(CALIBRATION_STEP, CALIBRATION_EXCERPTS, frames * self.config.model.hop)
        )

    # ------------------------------------------------------------------ steps

    def _randomness(self, rows: int, phase: Phase) -> tuple[Tensor, Tensor]:
        """This process's part of the step's noise [rows, D, N] and choice of quantized excerpts [rows, 1, 1]."""
        generator = torch.Generator().manual_seed(self.config.seed * 1_000_003 + self.step)
        mine = slice(self.fabric.global_rank * rows, (self.fabric.global_rank + 1) * rows)
        noise = torch.rand((phase.batch, self.config.model.latent_dim, phase.frames), generator=generator)[mine] - 0.5
        pick = torch.rand((phase.batch, 1, 1), generator=generator)[mine] < phase.quantized
        return noise.to(self.fabric.device), pick.to(self.fabric.device)

    def _discriminator_step(self, real: Tensor, generated: Tensor) -> Tensor:
        """One step of the discriminators; their loss."""
        scores, _ = self.discriminators(torch.cat([real, generated]))
        pairs = [score.chunk(2) for score in scores]
        loss = discriminator_loss([r for r, _ in pairs], [g for _, g in pairs])
        self.discriminator_optimizer.zero_grad()
        self.fabric.backward(loss)
        self.discriminator_optimizer.step()
        return loss.detach()

    def _adversarial(self, real: Tensor, generated: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """The generator's adversarial and feature-matching losses: their weighted sum, and each."""
        discriminators, weights = self.discriminators.module, self.config.losses
        discriminators.requires_grad_(False)
        with self.fabric.autocast():
            with torch.no_grad():
                _, real_maps = discriminators(real)
            scores, maps = discriminators(generated)
        discriminators.requires_grad_(True)
        parts = {"adversarial": generator_loss(scores), "feature_matching": feature_matching_loss(real_maps, maps)}
        total = weights.adversarial * parts["adversarial"] + weights.feature_matching * parts["feature_matching"]
        return total, {name: loss.detach() for name, loss in parts.items()}

    def train_step(self, audio: Tensor) -> dict[str, Tensor]:
        """Do one optimizer step.

        Args:
            audio: this process's part of the batch, float [rows, T] in [-1, 1], whole frames.

        Returns:
            The step's losses by name, scalars.
        """
        config, phase = self.config, self.config.phase(self.step)
        if phase.freeze_encoder and not (self.step and config.phase(self.step - 1).freeze_encoder):
            self._adopt_average()
        lr = config.lr_at(self.step)
        set_learning_rate(self.optimizer, lr, config.adam_lr_scale)

        # one by one: Fabric's wrapper takes no frozen dataclass
        trained = (phase.waveform, phase.auxiliary_heads, phase.freeze_encoder)
        output = self.model(audio, *self._randomness(len(audio), phase), *trained)
        total, parts = output.loss, output.parts
        if output.decoded is not None:
            if self.discriminators is not None and phase.adversarial:
                self.discriminator_optimizer.param_groups[0]["lr"] = config.discriminator_lr * lr / config.lr
                if self.step % config.discriminator_every == 0:
                    parts["discriminator"] = self._discriminator_step(audio, output.decoded.detach())
                loss, more = self._adversarial(audio, output.decoded)
                total, parts = total + loss, parts | more
            if self.speaker is not None:
                loss = self.speaker(output.decoded, audio)
                total, parts["speaker"] = total + loss, loss.detach()
        self.optimizer.zero_grad()
        self.fabric.backward(total)
        norm = None
        if config.clip:
            norm = self.fabric.clip_gradients(self.model, self.optimizer, max_norm=config.clip)
        self.optimizer.step()

        if config.standardize and not phase.freeze_encoder:
            mean, square = self.fabric.all_reduce(latent_moments(output.latent), reduce_op="mean")
            self.training_model.track(mean, square, first=self.fresh and self.step == 0)
        decay = min(config.ema, (self.step + 1) / (self.step + 10))
        with torch.no_grad():
            torch._foreach_lerp_(self.average, [p.detach() for p in self.parameters], 1 - decay)
        codes = output.codes.transpose(0, 1).flatten(1).cpu().numpy()
        self._codes = [*self._codes[1 - CODE_STEPS :], codes]
        self.step += 1
        self.audio_seconds += phase.batch * audio.shape[1] / config.model.sample_rate
        values = {"loss": total.detach(), **parts}
        return values if norm is None else {**values, "grad_norm": norm.detach()}

    def header(self) -> str:
        """What is about to be trained, on what and with what, in a few lines."""
        config, fabric = self.config, self.fabric
        processes = "1 process" if fabric.world_size == 1 else f"{fabric.world_size} processes"
        parts = {
            "codec": self.training_model.codec,
            "auxiliary heads": self.training_model.heads,
            "discriminators": self.discriminators,
        }
        counts = [
            f"{name} {sum(p.numel() for p in part.parameters()):,}" for name, part in parts.items() if part is not None
        ]
        lines = [("device", f"{fabric.device}, {processes}, {config.precision}")]
        for source in self.excerpts.sources:
            held_out = sum(segment.length / segment.rate for segment in source.segments if segment.held_out)
            hours = f"{(source.seconds - held_out) / 3600:.2f} h to train on, {held_out / 3600:.2f} h held out"
            lines.append(("data", f"{source.text}: {hours} ({source.summary})"))
        audio = self.audio_seconds + self._remaining_audio()
        lines += [
            ("model", f"{config.model.name}, {config.model.bitrate:.1f} bit/s"),
            ("parameters", ", ".join(counts)),
            ("steps", f"{self.step:,} done of {config.steps:,}, {audio / 3600:.1f} h of audio in all"),
            ("validation", f"{config.scorer or 'statistics of the codes'}, every {config.validate_every:,} steps"),
        ]
        if self._board is not None:
            lines.append(("curves", f"tensorboard --logdir {shlex.quote(str(self.run / 'tensorboard'))}"))
        else:
            lines.append(("curves", f"{self.run / 'log.jsonl'} (for TensorBoard: pip install tensorboard)"))
        return "\n".join(f"{name:<11}{text}" for name, text in lines)

    def train(self, progress: Callable[[str], None] = print) -> None:
        """Run from the current step to the end, saving, logging and validating on the way.

        Args:
            progress: is called with text, in the first process: what is trained on what, then a line after every
                `log_every` steps.
        """
        config, fabric = self.config, self.fabric
        if fabric.is_global_zero:
            progress(self.header())
        loader = self.excerpts.loader(config, self.step, fabric.global_rank, fabric.world_size)
        sums: dict[str, list[Tensor]] = {}
        seconds, wall = self.audio_seconds, time.monotonic()
        for audio in loader:
            for key, value in self.train_step(audio.to(fabric.device)).items():
                sums.setdefault(key, []).append(value)
            end = self.step == config.steps
            if self.step % config.log_every == 0 or end:
                row = {key: self._mean(values) for key, values in sums.items()}
                coverage, bits = code_statistics(np.concatenate(self._codes, axis=1), config.model.codebook_size)
                speed = (self.audio_seconds - seconds) / (time.monotonic() - wall)
                row |= {"code_coverage": coverage, "entropy_bits": bits, "audio_s_per_s": speed}
                self._log("train", row, progress, self._remaining_audio() / speed)
                sums = {}
                seconds, wall = self.audio_seconds, time.monotonic()
            if self.step % config.save_every == 0 or end:
                self.save()
            if self.step % config.validate_every == 0 or end:
                if fabric.is_global_zero:
                    self._log("validation", self.validate(), progress)
                fabric.barrier()
                wall = time.monotonic()

    def _mean(self, values: list[Tensor]) -> float:
        """Mean over steps and processes."""
        mean: Any = self.fabric.all_reduce(torch.stack(values).mean(), reduce_op="mean")
        return float(mean)

    def _remaining_audio(self) -> float:
        """Seconds of audio that the steps to come train on."""
        samples, done = 0, self.step
        for phase in self.config.phases:
            samples += max(0, phase.until - done) * phase.batch * phase.frames * self.config.model.hop
            done = max(done, phase.until)
        return samples / self.config.model.sample_rate

    def _log(
        self, kind: str, row: dict[str, float], progress: Callable[[str], None], remaining: float | None = None
    ) -> None:
        """Append one line to log.jsonl, show it with the `remaining` seconds, and draw it in TensorBoard."""
        if not self.fabric.is_global_zero:
            return
        numbers = {key: float(f"{value:.6g}") for key, value in row.items()}
        line: dict[str, Any] = {
            "kind": kind,
            "step": self.step,
            **numbers,
            "lr": self.config.lr_at(max(0, self.step - 1)),
            "audio_seconds": round(self.audio_seconds, 1),
        }
        with (self.run / "log.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
        if self._board is not None:
            for key, value in numbers.items():
                self._board.add_scalar(f"{kind}/{key}", value, self.step)
        shown = [f"step {self.step} of {self.config.steps}"]
        if remaining:
            shown.append(f"{duration(remaining)} left")
        shown += [f"{key} {value}" for key, value in line.items() if key not in ("kind", "step")]
        progress("  ".join(shown))

    def validate(self) -> dict[str, float]:
        """What `nanocodec.training.validation.score` says of the averaged weights on held-out training speech."""
        codec = self.averaged()
        waves = self.excerpts.held_out(self.config.validation_utterances, 6.0)
        scores, decoded = score(codec, waves, self.scorer)
        if self._board is not None:
            for i, (wave, other) in enumerate(zip(waves[:3], decoded[:3], strict=True)):
                self._board.add_audio(f"{i}/reference", wave[None], self.step, codec.sample_rate)
                self._board.add_audio(f"{i}/decoded", other[None], self.step, codec.sample_rate)
        return scores


def duration(seconds: float) -> str:
    """Seconds as a person reads them, rounded: `40 s`, `12 min`, `3 h 20 min`, `2 d 5 h`."""
    minutes = round(seconds / 60)
    if seconds < 90:
        return f"{seconds:.0f} s"
    if minutes < 120:
        return f"{minutes} min"
    hours = round(seconds / 3600)
    return f"{minutes // 60} h {minutes % 60} min" if hours < 48 else f"{hours // 24} d {hours % 24} h"


def _tensorboard(run: Path) -> Any:
    """A writer into the run's folder, or None where the package tensorboard is missing."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        return None
    return SummaryWriter(str(run / "tensorboard"))
