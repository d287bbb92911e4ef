"""The training loop.

A step's batch and noise depend on the seed and the step alone, gradients of the parallel workers are summed in a
fixed order, and the whole state (weights, their average, optimizer) is saved: a run that is killed and resumed
gives the same weights, bit for bit, as one that was not, on the same machine and number of workers.

On a CPU the workers are threads that share the weights and run one core each. That beats one worker on all cores:
they meet once a step instead of once an operation, which matters on a busy machine.
"""

from __future__ import annotations

import json
import math
import pickle
import time
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nanocodec.config import CodecConfig
from nanocodec.model import NanoCodec
from nanocodec.training.data import AudioCache, DataError, Excerpts, Source
from nanocodec.training.losses import SpectralLoss, frame_aligned_log_mel
from nanocodec.training.optim import MuonAdam

N_GUIDE_MELS = 80
LATENT_SPREAD = 0.9  # tanh of a Gaussian this wide is close to uniform
CALIBRATION_STEP = 2**31  # a batch that no run trains on


@dataclass(frozen=True)
class Phase:
    """What steps up to `until` train on.

    Attributes:
        until: last step of the phase (exclusive).
        batch: excerpts per step, over all workers.
        frames: codec frames per excerpt.
        waveform: train the waveform losses; without them only the mel guides learn, which costs half.
        quantized: probability that an excerpt is quantized (straight-through). The others keep continuous latents
            with uniform noise of half a quantization step, so gradients are exact.
        lr_scale: factor on the learning rate.
        freeze_encoder: at its start all weights become their averages; from then on the decoder alone learns, from
            codes that no longer move, and a step is cheaper.
    """

    until: int
    batch: int
    frames: int
    waveform: bool = True
    quantized: float = 1.0
    lr_scale: float = 1.0
    freeze_encoder: bool = False


@dataclass(frozen=True)
class TrainConfig:
    """Everything a run depends on besides its data; see configs/training/mini-1.1k.yaml."""

    model: CodecConfig
    phases: tuple[Phase, ...]
    seed: int = 0
    workers: int = 2
    pieces: int = 4
    lr: float = 4e-3
    betas: tuple[float, float] = (0.9, 0.99)
    muon: bool = True
    adam_lr_scale: float = 0.3
    warmup: int = 20
    decay: int = 500
    clip: float = 1.0
    weight_decay: float = 0.1
    ema: float = 0.998
    n_ffts: tuple[int, ...] = (2048, 1024, 512, 256)
    n_mels: tuple[int, ...] = (80, 80, 40, 20)
    mel_weight: float = 1.0
    guide_weight: float = 0.5
    encoder_guide_weight: float = 0.25
    save_every: int = 250
    log_every: int = 10
    validate_every: int = 500
    validation_utterances: int = 12
    data: dict[str, Any] = field(default_factory=dict)

    @property
    def steps(self) -> int:
        """Length of the run."""
        return self.phases[-1].until

    def validate(self) -> None:
        """Raise ValueError or TypeError where a value cannot describe a run."""
        bounds = [phase.until for phase in self.phases]
        if bounds != sorted(set(bounds)) or bounds[0] < 1:
            raise ValueError(f"phases must end at increasing steps, got {bounds}")
        for phase in self.phases:
            if min(phase.batch, phase.frames) < 1 or not 0 <= phase.quantized <= 1:
                raise ValueError(f"a phase needs batch and frames of at least 1 and quantized in [0, 1]: {phase}")
        if min(self.workers, self.pieces, self.log_every, self.save_every, self.validate_every) < 1:
            raise ValueError("workers, pieces, log_every, save_every and validate_every must be at least 1")
        for name in ("lr", "adam_lr_scale", "clip", "ema", "weight_decay", "guide_weight", "encoder_guide_weight"):
            if not isinstance(getattr(self, name), int | float):
                raise ValueError(f"{name} must be a number, got {getattr(self, name)!r}")
        if not self.lr > 0 or min(self.warmup, self.decay) < 1:
            raise ValueError("lr must be positive, warmup and decay at least 1")

    def with_steps(self, steps: int) -> TrainConfig:
        """The same run ended at `steps`: later phases are cut off, or the last one is extended."""
        kept = [phase for phase in self.phases if phase.until < steps]
        last = self.phases[min(len(kept), len(self.phases) - 1)]
        kept = kept if last not in kept else kept[:-1]
        return replace(self, phases=(*kept, replace(last, until=steps)))

    def phase(self, step: int) -> Phase:
        """The phase that `step` belongs to."""
        return next(phase for phase in self.phases if step < phase.until)

    def lr_at(self, step: int) -> float:
        """Warm up, hold, and decay linearly to zero over the last `decay` steps."""
        fade = min(1.0, (self.steps - step) / self.decay)
        return self.lr * self.phase(step).lr_scale * min(1.0, (step + 1) / self.warmup) * fade


def initialize(model: NanoCodec, generator: torch.Generator) -> None:
    """Variance-preserving weights; residual branches start small, so a layer starts near the identity."""
    for name, conv in model.named_modules():
        if isinstance(conv, nn.Conv1d | nn.ConvTranspose1d):
            fan_in = conv.weight[0].numel() if isinstance(conv, nn.Conv1d) else 4  # 2 channels x 2 frames
            gain = 0.3 if ".skip_conv." in name else math.sqrt(2) if ".input_conv." in name else 1.0
            with torch.no_grad():
                conv.weight.normal_(0, gain / math.sqrt(fan_in), generator=generator)
                if conv.bias is not None:
                    conv.bias.zero_()
    with torch.no_grad():
        model.audio_encoder.pre_conv.conv.weight.mul_(16)  # speech has an RMS near 1/16
        model.audio_decoder.post_conv.conv.weight.mul_(0.05)


class Trainee(nn.Module):
    """The codec and two throw-away linear heads that read the log-mel off its 87.5 Hz stages.

    The heads give encoder, latent and the decoder's first stages a short, smooth path for gradients; what is left
    for the rest of the decoder is a vocoder's work. They are dropped at export.
    """

    latent_mean: Tensor
    latent_std: Tensor

    def __init__(self, config: CodecConfig):
        super().__init__()
        self.codec = NanoCodec(config).fold()  # plain weights train as well and cost less
        width = config.encoder.base_channels * 2 ** (len(config.strides) - 1)
        self.encoder_guide = nn.Conv1d(width, N_GUIDE_MELS, 1)
        self.decoder_guide = nn.Conv1d(config.decoder.base_channels // 2, N_GUIDE_MELS, 1)
        self.guide_hop = math.prod(config.strides[:-1])
        self.register_buffer("latent_mean", torch.zeros(1, config.latent_dim, 1))
        self.register_buffer("latent_std", torch.ones(1, config.latent_dim, 1))
        self._spectral: SpectralLoss | None = None

    def standardize(self, latent: Tensor) -> Tensor:
        """Bring every latent dimension to mean 0 and a spread that uses all levels evenly after tanh.

        Left free, the latent saturates tanh and the codes collapse. The statistics are running ones, constants to
        the gradient, and `fold_standardization` moves their work into the encoder's last layer.
        """
        return (latent - self.latent_mean) * (LATENT_SPREAD / self.latent_std)

    @torch.no_grad()
    def track(self, latents: Sequence[Tensor], first: bool) -> None:
        """Update the running statistics with a step's raw latents, each [B, D, N]."""
        values = torch.cat([latent.transpose(1, 2).flatten(0, 1) for latent in latents])
        rate = 1.0 if first else 0.03
        self.latent_mean.lerp_(values.mean(0).view(1, -1, 1), rate)
        deviation = (values - self.latent_mean.view(1, -1)).square().mean(0).sqrt() + 1e-5
        self.latent_std.lerp_(deviation.view(1, -1, 1), rate)

    def latent(self, audio: Tensor) -> tuple[Tensor, Tensor]:
        """Audio [B, T] to the raw latent and to the encoder's features before its last stride."""
        encoder = self.codec.audio_encoder
        x = encoder.pre_conv(audio[:, None])
        layers = list(zip(encoder.res_layers, encoder.down_sample_conv_layers, strict=True))
        for residual, down in layers[:-1]:
            x = down(F.leaky_relu(residual(x), 0.01))
        residual, down = layers[-1]
        x = residual(x)
        return encoder.post_conv(F.leaky_relu(down(F.leaky_relu(x, 0.01)), 0.01)), x

    def decode(self, latent: Tensor, waveform: bool) -> tuple[Tensor | None, Tensor]:
        """Quantized latent to audio [B, T] before the clamp (None unless `waveform`) and first-stage features."""
        decoder = self.codec.audio_decoder
        x = decoder.pre_conv(latent)
        guide = None
        for activation, up, residual in zip(
            decoder.activations, decoder.up_sample_conv_layers, decoder.res_layers, strict=True
        ):
            x = residual(up(activation(x)))
            if guide is None:
                guide = x
                if not waveform:
                    return None, guide
        assert guide is not None
        return decoder.post_conv(decoder.post_activation(x))[:, 0], guide

    def losses(
        self, audio: Tensor, phase: Phase, config: TrainConfig, generator: torch.Generator
    ) -> tuple[Tensor, dict[str, Tensor], Tensor, Tensor]:
        """Total loss (a scalar), its parts, the codes [B, K, N] and the raw latent of the batch."""
        fsq = self.codec.vector_quantizer
        with torch.set_grad_enabled(torch.is_grad_enabled() and not phase.freeze_encoder):
            raw, features = self.latent(audio)
            latent = self.standardize(raw)
        mel = frame_aligned_log_mel(audio, config.model.sample_rate, self.guide_hop, 1024, N_GUIDE_MELS)
        codes = fsq.encode(latent.detach())
        noise = (torch.rand(latent.shape, generator=generator) - 0.5).to(latent.device)
        pick = torch.rand((len(audio), 1, 1), generator=generator).to(latent.device) < phase.quantized
        half = torch.cat([group.num_levels // 2 for group in fsq.quantizers()], 1)
        mixed = torch.where(pick, fsq(latent), fsq.squash(latent) + noise / half)
        decoded, first = self.decode(mixed, phase.waveform)
        parts = {"decoder_mel": (self.decoder_guide(first) - mel).abs().mean()}
        total = config.guide_weight * parts["decoder_mel"]
        if not phase.freeze_encoder:
            parts["encoder_mel"] = (self.encoder_guide(features) - mel).abs().mean()
            total = total + config.encoder_guide_weight * parts["encoder_mel"]
        if decoded is not None:
            if self._spectral is None:
                self._spectral = SpectralLoss(config.model.sample_rate, config.n_ffts, config.n_mels, config.mel_weight)
            parts["spectral"] = self._spectral(decoded, audio)
            total = total + parts["spectral"]
        return total, parts, codes, raw.detach()


@torch.no_grad()
def fold_standardization(codec: NanoCodec, audio: Tensor) -> None:
    """Scale and shift the last encoder layer so that the latent of `audio` [B, T] is standardized without help.

    Averaged weights need statistics of their own: their activations are smaller than those of any single step.
    """
    latent, _ = codec.encode_latent(audio)
    conv = codec.audio_encoder.post_conv.conv
    assert conv.bias is not None
    scale = LATENT_SPREAD / (latent.std(dim=(0, 2)) + 1e-5)
    conv.bias.sub_(latent.mean(dim=(0, 2))).mul_(scale)
    conv.weight.mul_(scale[:, None, None])


def code_statistics(codes: np.ndarray, size: int) -> tuple[float, float]:
    """Share of codes in use and entropy in bits, averaged over codebooks, of codes [K, n].

    Both are biased low by a small sample: n frames use at most n codes and show at most log2(n) bits.
    """
    used, bits = [], []
    for column in codes:
        counts = np.bincount(column, minlength=size)
        p = counts[counts > 0] / counts.sum()
        used.append(len(p) / min(size, len(column)))
        bits.append(float(-(p * np.log2(p)).sum()))
    return float(np.mean(used)), float(np.mean(bits))


class Trainer:
    """One run in one folder: `state.pt` (to resume), `log.jsonl`, and `codec.safetensors` (averaged weights).

    Args:
        config: what to train and how.
        data: (folder, share) pairs; validation utterances come from the first.
        run: the run's folder.
        cache: folder for decoded audio.
        device: "cpu" or "cuda".
    """

    def __init__(
        self, config: TrainConfig, data: list[tuple[Path, float]], run: Path, cache: Path, device: str = "cpu"
    ):
        self.config, self.run, self.device = config, run, torch.device(device)
        run.mkdir(parents=True, exist_ok=True)
        rate = config.model.sample_rate
        sources = [Source(AudioCache(folder, cache, rate), share) for folder, share in data]
        self.excerpts = Excerpts(sources, rate, config.seed, **config.data)
        self.trainee = Trainee(config.model)
        generator = torch.Generator().manual_seed(config.seed)
        initialize(self.trainee.codec, generator)
        for head in (self.trainee.encoder_guide, self.trainee.decoder_guide):
            nn.init.zeros_(head.weight)
            if head.bias is not None:
                nn.init.constant_(head.bias, 0.5)
        self.trainee.to(self.device)
        self.parameters = list(self.trainee.parameters())
        codec = self.trainee.codec
        matrices = [
            p
            for name, p in codec.named_parameters()
            if config.muon and name.endswith("conv.weight") and "up_sample" not in name and min(p.shape[:2]) > 1
        ]
        chosen = {id(p) for p in matrices}
        others = [p for p in self.parameters if id(p) not in chosen]
        self.optimizer = MuonAdam(matrices, others, lr=config.lr, betas=config.betas, weight_decay=config.weight_decay)
        self.average = [p.detach().clone() for p in self.parameters]
        self.step = 0
        self.audio_seconds = 0.0
        self.cpu_seconds = 0.0
        self._codes: list[np.ndarray] = []

    # ------------------------------------------------------------------ state

    def save(self) -> None:
        """Write state and averaged codec; a kill at any moment leaves the previous ones whole."""
        state = {
            "step": self.step,
            "audio_seconds": self.audio_seconds,
            "cpu_seconds": self.cpu_seconds,
            "trainee": self.trainee.state_dict(),
            "average": self.average,
            "optimizer": self.optimizer.state_dict(),
        }
        temporary = self.run / "state.pt.tmp"
        torch.save(state, temporary)
        temporary.replace(self.run / "state.pt")
        from nanocodec.checkpoint import save

        save(self.averaged(), self.run / "codec.safetensors")

    def resume(self) -> bool:
        """Continue from `state.pt` if there is one; False where there is none.

        Raises:
            DataError: a damaged state, or one of another model.
        """
        path = self.run / "state.pt"
        if not path.exists():
            return False
        try:
            state = torch.load(path, map_location=self.device, weights_only=True)
            self.trainee.load_state_dict(state["trainee"])
            self.optimizer.load_state_dict(state["optimizer"])
            self.average = [tensor.to(self.device) for tensor in state["average"]]
            self.step, self.audio_seconds = state["step"], state["audio_seconds"]
            self.cpu_seconds = state["cpu_seconds"]
        except (RuntimeError, ValueError, KeyError, EOFError, OSError, pickle.UnpicklingError) as error:
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise DataError(
                f"{path}: cannot be resumed with {self.config.model.name} ({reason}); choose another run folder"
            ) from error
        log = self.run / "log.jsonl"
        if log.exists():  # what a killed run logged after its last save happens again
            lines = log.read_text(encoding="utf-8").splitlines(keepends=True)
            log.write_text("".join(x for x in lines if json.loads(x)["step"] <= self.step), encoding="utf-8")
        return True

    def averaged(self) -> NanoCodec:
        """The codec with its weights' exponential moving average, on the CPU, in eval mode."""
        codec = NanoCodec(self.config.model).fold()
        names = {id(p): i for i, p in enumerate(self.parameters)}
        state = codec.state_dict()
        for name, p in self.trainee.codec.named_parameters():
            state[name] = self.average[names[id(p)]].detach().cpu().clone()
        codec.load_state_dict(state)
        fold_standardization(codec, self._calibration())
        return codec.eval()

    @torch.no_grad()
    def _adopt_average(self) -> None:
        """Continue from the averaged weights, with latent statistics of their own."""
        for p, average in zip(self.parameters, self.average, strict=True):
            p.copy_(average)
        raw, _ = self.trainee.latent(self._calibration().to(self.device))
        self.trainee.latent_mean.copy_(raw.mean(dim=(0, 2), keepdim=True))
        self.trainee.latent_std.copy_(raw.std(dim=(0, 2), keepdim=True) + 1e-5)

    def _calibration(self) -> Tensor:
        return torch.from_numpy(self.excerpts.batch(CALIBRATION_STEP, 32, 14 * self.config.model.hop))

    # ------------------------------------------------------------------ steps

    def _worker(self, index: int, audio: Tensor, phase: Phase) -> tuple[list[Tensor | None], dict, np.ndarray, Tensor]:
        generator = torch.Generator().manual_seed((self.config.seed * 1_000_003 + self.step) * 64 + index)
        total, parts, codes, raw = self.trainee.losses(audio, phase, self.config, generator)
        grads = torch.autograd.grad(total, self.parameters, allow_unused=True)
        values = {"loss": float(total.detach()), **{key: float(value.detach()) for key, value in parts.items()}}
        return list(grads), values, codes.transpose(0, 1).flatten(1).cpu().numpy(), raw

    def train_step(self, batch: np.ndarray, pool: ThreadPoolExecutor) -> dict[str, float]:
        """One optimizer step on [size, T] samples; the losses, averaged over workers."""
        phase = self.config.phase(self.step)
        if phase.freeze_encoder and not (self.step and self.config.phase(self.step - 1).freeze_encoder):
            self._adopt_average()
        pieces = torch.from_numpy(batch).to(self.device).chunk(self.config.pieces)
        results = list(pool.map(lambda pair: self._worker(pair[0], pair[1], phase), enumerate(pieces)))
        for p, *grads in zip(self.parameters, *(result[0] for result in results), strict=True):
            present = [g for g in grads if g is not None]
            p.grad = torch.stack(present).sum(0) / len(results) if present else None
        norm = torch.nn.utils.clip_grad_norm_(self.parameters, self.config.clip)
        lr = self.config.lr_at(self.step)
        for group in self.optimizer.param_groups:
            group["lr"] = lr if group["muon"] or not self.config.muon else lr * self.config.adam_lr_scale
        self.optimizer.step()
        if not phase.freeze_encoder:
            self.trainee.track([result[3] for result in results], first=self.step == 0)
        decay = min(self.config.ema, (self.step + 1) / (self.step + 10))
        with torch.no_grad():
            torch._foreach_lerp_(self.average, [p.detach() for p in self.parameters], 1 - decay)
        self._codes.append(np.concatenate([result[2] for result in results], axis=1))
        self.step += 1
        self.audio_seconds += batch.size / self.config.model.sample_rate
        values = {key: sum(r[1][key] for r in results) / len(results) for key in results[0][1]}
        return {**values, "grad_norm": float(norm), "lr": lr}

    def train(self, progress: Any = print) -> None:
        """Run from the current step to the end, saving, logging and validating on the way."""
        threads = torch.get_num_threads()
        if self.device.type == "cpu" and self.config.workers > 1:
            torch.set_num_threads(1)
        try:
            self._train(progress)
        finally:
            torch.set_num_threads(threads)

    def _train(self, progress: Any) -> None:
        config = self.config
        length = config.model.hop
        sums: dict[str, float] = {}
        count = 0
        seconds_before, wall = self.audio_seconds, time.monotonic()
        cpu = time.process_time() - self.cpu_seconds
        with ThreadPoolExecutor(config.workers) as pool, ThreadPoolExecutor(1) as loader:

            def prepare(step: int) -> Future[np.ndarray]:
                phase = config.phase(min(step, config.steps - 1))
                return loader.submit(self.excerpts.batch, step, phase.batch, phase.frames * length)

            upcoming = prepare(self.step)
            while self.step < config.steps:
                batch = upcoming.result()
                upcoming = prepare(self.step + 1)
                for key, value in self.train_step(batch, pool).items():
                    sums[key] = sums.get(key, 0.0) + value
                count += 1
                self.cpu_seconds = time.process_time() - cpu
                if self.step % config.log_every == 0:
                    codes = np.concatenate(self._codes[-200:], axis=1)
                    self._codes = self._codes[-200:]
                    used, bits = code_statistics(codes, config.model.codebook_size)
                    elapsed = time.monotonic() - wall
                    row = {key: round(value / count, 6) for key, value in sums.items()}
                    row |= {
                        "audio_seconds": round(self.audio_seconds, 1),
                        "audio_seconds_per_second": round((self.audio_seconds - seconds_before) / elapsed, 2),
                        "utilisation": round(used, 4),
                        "entropy_bits": round(bits, 3),
                    }
                    self.log("train", row, progress)
                    sums, count = {}, 0
                    seconds_before, wall = self.audio_seconds, time.monotonic()
                if self.step % config.save_every == 0 or self.step == config.steps:
                    self.save()
                if self.step % config.validate_every == 0 or self.step == config.steps:
                    self.log("validation", self.validate(), progress)
                    seconds_before, wall = self.audio_seconds, time.monotonic()

    def log(self, kind: str, row: dict[str, float], progress: Any) -> None:
        """Append one line to log.jsonl and show it."""
        line: dict[str, Any] = {"kind": kind, "step": self.step, **row}
        with (self.run / "log.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
        progress("  ".join(f"{key} {value}" for key, value in line.items()))

    def validate(self) -> dict[str, float]:
        """Averaged weights, real codes, held-out training speech: mean PESQ-WB, ESTOI and codebook statistics."""
        from nanocodec.training.validation import score

        codec = self.averaged()
        waves = self.excerpts.held_out(self.config.validation_utterances, 6.0)
        return score(codec, waves)
