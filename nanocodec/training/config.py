"""Training configurations: what a run depends on besides its data, as YAML and as frozen dataclasses."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass, field, fields, replace
from importlib import resources
from pathlib import Path
from typing import Any, Literal

from nanocodec.config import CodecConfig, UnknownVariantError, get_config
from nanocodec.training.discriminators import DiscriminatorConfig
from nanocodec.training.loudness import RATE, SHORTEST

BASE = "paper"  # the built-in configuration that others extend, without a model of its own


class ConfigError(Exception):
    """A training configuration or a --data argument that cannot be used."""


@dataclass(frozen=True)
class Phase:
    """What steps up to `until` train on.

    Attributes:
        until: last step of the phase (exclusive).
        batch: excerpts per step, over all processes.
        frames: codec frames per excerpt.
        waveform: train the waveform losses; without them only the auxiliary heads' losses count, at half the cost.
        auxiliary_heads: train the auxiliary heads, where the configuration has any.
        quantized: probability that an excerpt is quantized (straight-through). The others keep continuous latents
            with uniform noise of half a quantization step, so gradients are exact.
        adversarial: train against the discriminators, where the configuration has any.
        lr_scale: factor on the learning rate.
        freeze_encoder: at its start all weights become their averages; from then on the decoder alone learns, from
            codes that no longer move, and a step is cheaper.
    """

    until: int
    batch: int
    frames: int
    waveform: bool = True
    auxiliary_heads: bool = True
    quantized: float = 1.0
    adversarial: bool = True
    lr_scale: float = 1.0
    freeze_encoder: bool = False


@dataclass(frozen=True)
class LossWeights:
    """Factors on the generator's losses; 0 leaves one out. The defaults are the paper's.

    Attributes:
        mel, stft, adversarial, feature_matching: the paper's, see `nanocodec.training.paper_losses`.
        speaker: the paper's speaker-consistency loss (0.1 there); needs `TrainConfig.speaker_encoder`.
        spectral: this project's `SpectralLoss`, which is more sensitive to quiet sounds and costs less.
        loudness: `LoudnessLoss`, PESQ's own disturbance; PESQ overstates a codec that was trained with it.
    """

    mel: float = 1.0
    stft: float = 20.0
    adversarial: float = 1.0
    feature_matching: float = 1.0
    speaker: float = 0.0
    spectral: float = 0.0
    loudness: float = 0.0


@dataclass(frozen=True)
class AuxiliaryWeights:
    """Factors on the losses of `nanocodec.training.training_model.AuxiliaryHeads`, which short runs need.

    Attributes:
        mel: log-mel spectrum read off the encoder and off the decoder's first stage.
        harmonics: fine spectrum below 1 kHz, read off the same stages: it carries the pitch, which mel bands blur.
        waveform: band-limited waveform read off the decoder's next two stages, sample by sample.
        spectral: the same waveforms' spectra.
    """

    mel: float = 0.5
    harmonics: float = 0.5
    waveform: float = 0.3
    spectral: float = 0.5


@dataclass(frozen=True)
class DataConfig:
    """How excerpts are drawn; see `nanocodec.training.data.Excerpts`.

    Attributes:
        level: RMS that an utterance is brought to before the random gain; 0 leaves levels as they are.
        gain_db: the random gain is uniform in +- this many dB.
        speed: pitch and tempo are multiplied by a factor drawn from [1 / speed, speed].
        eq_db: random low and high shelves of up to this many dB; 0 for none.
        room: probability of a random synthetic room.
        loaders: processes that read and augment; 0 reads in the training process.
    """

    level: float = 0.0
    gain_db: float = 0.0
    speed: float = 1.0
    eq_db: float = 0.0
    room: float = 0.0
    loaders: int = 1


@dataclass(frozen=True)
class TrainConfig:
    """One run. The defaults are the paper's recipe; configs/training/ holds complete examples.

    Attributes:
        optimizer: "adam", or "muon" for the convolutions' matrices with Adam for the rest.
        lr: Adam's learning rate, or Muon's, with `adam_lr_scale` for the rest.
        gamma, gamma_every: exponential decay, by this factor every so many steps.
        decay: the last so many steps fall linearly to zero.
        clip: largest norm of the generator's gradient; 0 for no limit.
        ema: decay of the averaged weights, which are what is validated and kept.
        weight_norm: train with weight normalisation, as upstream; plain weights cost less.
        standardize: keep the latent's spread with running statistics (see `TrainingModel.standardize`).
        auxiliary_heads: heads on inner stages, dropped at export; None for none.
        discriminators: None trains without adversarial losses.
        discriminator_every: discriminators learn on every so many steps.
        discriminator_lr: their Adam's learning rate; its schedule is the generator's.
        precision: Lightning Fabric's name, "32-true" or "bf16-mixed".
        scorer: `MODULE:FUNCTION` that scores validation speech, see `nanocodec.training.validation.Scorer`; None leaves
            the codes' statistics.
    """

    model: CodecConfig
    phases: tuple[Phase, ...]
    seed: int = 0
    optimizer: Literal["adam", "muon"] = "adam"
    lr: float = 2e-4
    betas: tuple[float, float] = (0.8, 0.99)
    adam_lr_scale: float = 1.0
    weight_decay: float = 0.0
    warmup: int = 1
    gamma: float = 0.998
    gamma_every: int = 1000
    decay: int = 0
    clip: float = 0.0
    ema: float = 0.999
    weight_norm: bool = True
    standardize: bool = False
    losses: LossWeights = field(default_factory=LossWeights)
    n_ffts: tuple[int, ...] = (2048, 1024, 512, 256)
    n_mels: tuple[int, ...] = (80, 80, 40, 20)
    auxiliary_heads: AuxiliaryWeights | None = None
    discriminators: DiscriminatorConfig | None = None
    discriminator_every: int = 2
    discriminator_lr: float = 2e-4
    speaker_encoder: str | None = None
    precision: Literal["32-true", "bf16-mixed"] = "32-true"
    data: DataConfig = field(default_factory=DataConfig)
    save_every: int = 250
    log_every: int = 10
    validate_every: int = 500
    validation_utterances: int = 12
    scorer: str | None = None

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
            if not phase.waveform and not (phase.auxiliary_heads and self.auxiliary_heads):
                raise ValueError("a phase without waveform has nothing to learn from unless there are auxiliary_heads")
        if self.optimizer not in ("adam", "muon"):
            raise ValueError(f"optimizer must be adam or muon, got {self.optimizer!r}")
        if self.optimizer == "muon" and self.weight_norm:
            raise ValueError("muon trains plain weights: set weight_norm: false")
        if self.precision not in ("32-true", "bf16-mixed"):
            raise ValueError(f"precision must be 32-true or bf16-mixed, got {self.precision!r}")
        if min(self.log_every, self.save_every, self.validate_every, self.discriminator_every, self.gamma_every) < 1:
            raise ValueError("log_every, save_every, validate_every, discriminator_every, gamma_every must be >= 1")
        for part in (self, self.losses, self.auxiliary_heads, self.data):
            for item in fields(part) if part else ():
                value = getattr(part, item.name)
                if item.type == "float" and not isinstance(value, int | float):
                    raise ValueError(f"{item.name} must be a number, got {value!r}")
        if self.discriminators is not None:
            self.discriminators.validate()
        if not self.lr > 0 or self.warmup < 1:
            raise ValueError("lr must be positive, warmup at least 1")
        shortest = min((phase.frames for phase in self.phases if phase.waveform), default=0) * self.model.hop
        if self.losses.loudness and not self.model.sample_rate * SHORTEST <= shortest:
            raise ValueError(f"losses.loudness needs excerpts of at least {SHORTEST} s: raise the phases' frames")
        if self.losses.loudness and self.model.sample_rate < RATE:
            raise ValueError(f"losses.loudness needs audio of at least {RATE} Hz: the model's sample_rate is too low")
        if self.losses.speaker and not self.speaker_encoder:
            raise ValueError("losses.speaker needs speaker_encoder: the path of an H/ASP checkpoint")

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
        """Learning rate of a step: warmup, exponential decay, the phase's factor and the linear end."""
        fade = min(1.0, (self.steps - step) / self.decay) if self.decay else 1.0
        shape = min(1.0, (step + 1) / self.warmup) * self.gamma ** (step // self.gamma_every)
        return self.lr * self.phase(step).lr_scale * shape * fade


_PARTS = {"losses": LossWeights, "auxiliary_heads": AuxiliaryWeights, "data": DataConfig}


def builtin_configs() -> dict[str, Path]:
    """The configurations that ship with the package (configs/training/ of the checkout), by name."""
    folder = Path(str(resources.files("nanocodec.training.configs")))
    return {path.stem: path for path in sorted(folder.glob("*.yaml"), key=lambda path: path.stem)}


def load_config(source: str | Path) -> TrainConfig:
    """Read a YAML (or JSON) file whose keys are `TrainConfig`'s fields.

    `model` is a variant's name or a whole codec configuration. `extends: other.yaml` (relative to this file, or the
    name of a built-in configuration) takes that file's keys first; mappings are merged, everything else is replaced.
    `discriminators: small` is for CPUs.

    Args:
        source: a file, or the name of a configuration that is built in, such as `mini-1.1k`.

    Raises:
        ConfigError: missing file, bad YAML, or an unknown, missing or ill-typed key; the message names it.
    """
    path = _find(str(source), Path())
    data = resolved(path)
    _check_keys(path, data, TrainConfig)
    for key in ("model", "phases"):
        if not data.get(key):
            raise ConfigError(f"{path}: {key!r} is missing")
    try:
        values: dict[str, Any] = {key: _tuples(value) for key, value in data.items()}
        model = data["model"]
        values["model"] = CodecConfig.from_dict(model) if isinstance(model, dict) else get_config(str(model))
        values["phases"] = tuple(Phase(**phase) for phase in data["phases"])
        for key, kind in _PARTS.items():
            if isinstance(part := data.get(key), dict):
                _check_keys(path, part, kind)
                values[key] = kind(**{name: _tuples(value) for name, value in part.items()})
        discriminators = data.get("discriminators")
        if discriminators == "small":
            values["discriminators"] = DiscriminatorConfig.small()
        elif discriminators is not None:
            values["discriminators"] = DiscriminatorConfig.from_dict(discriminators)
        config = TrainConfig(**values)
        config.validate()
    except (TypeError, ValueError, UnknownVariantError) as error:
        raise ConfigError(f"{path}: {error}") from error
    return config


def resolved(source: str | Path) -> dict[str, Any]:
    """What a configuration says, with everything that it extends, as `load_config` would read it.

    Args:
        source: as of `load_config`.

    Raises:
        ConfigError: missing file or bad YAML.
    """
    return _read(_find(str(source), Path()), ())


def _find(name: str, folder: Path) -> Path:
    """A file in `folder`, or the built-in one of that name."""
    path = folder / name
    return path if path.is_file() else builtin_configs().get(name, path)


def _read(path: Path, seen: tuple[Path, ...]) -> dict[str, Any]:
    if path.resolve() in seen:
        raise ConfigError(f"{path}: extends itself")
    try:
        data = _parse(path.read_text(encoding="utf-8"), path.suffix)
    except FileNotFoundError:
        names = ", ".join(name for name in builtin_configs() if name != BASE)
        raise ConfigError(f"{path}: no such file, nor the name of a built-in configuration ({names})") from None
    except (ValueError, OSError) as error:
        raise ConfigError(f"{path}: not readable as YAML ({error})") from error
    if not isinstance(data, dict):
        raise ConfigError(f"{path}: must be a mapping with the keys model and phases")
    if "extends" not in data:
        return data
    base = _read(_find(str(data.pop("extends")), path.parent), (*seen, path.resolve()))
    for key, value in data.items():
        both = isinstance(value, dict) and isinstance(base.get(key), dict)
        base[key] = {**base[key], **value} if both else value
    return base


def _parse(text: str, suffix: str) -> Any:
    """Raises ValueError where `text` is neither."""
    if suffix == ".json":  # so that a machine for training does without yaml
        return json.loads(text)
    import yaml

    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ValueError(str(error)) from error


def _check_keys(path: Path, data: dict[str, Any], kind: type) -> None:
    known = [item.name for item in dataclasses.fields(kind)]
    if unknown := sorted(map(str, set(data) - set(known))):
        raise ConfigError(f"{path}: unknown key {unknown[0]!r}; known: {', '.join(known)}")


def _tuples(value: Any) -> Any:
    return tuple(_tuples(item) for item in value) if isinstance(value, list) else value
