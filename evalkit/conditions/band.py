"""Bandwidth and speed: what a resampler does to the recording before the codec gets it."""

from dataclasses import dataclass

import numpy as np

from evalkit.audio import Audio, resample
from evalkit.conditions.base import Condition, InputCondition, Reference, fitted


@dataclass(frozen=True)
class Band(InputCondition):
    """Resampled to `rate` and back, as a telephone line or a file of a lower rate would have been."""

    kind = "band"
    about = "The recording is resampled to a lower rate and back, which removes everything above half that rate."

    rate: int = 8_000
    """Hz; twice the highest frequency that is left."""
    reference: str = "input"

    def check(self) -> None:
        super().check()
        self.require(self.rate >= 1_000, "rate must be 1000 Hz or more")

    def degrade(self, audio: Audio, rng: np.random.Generator, utterance: str) -> Audio:
        if self.rate >= audio.sample_rate:
            return audio
        back = resample(resample(audio.wav, audio.sample_rate, self.rate), self.rate, audio.sample_rate)
        return Audio(fitted(back, len(audio.wav)), audio.sample_rate)


@dataclass(frozen=True)
class Speed(Condition):
    """Pitch and tempo change together, as on a tape."""

    kind = "speed"
    about = "The recording is played faster or slower, pitch and tempo alike."

    factor: float
    """Above 1 for faster."""

    @property
    def against(self) -> Reference:
        return "input"

    def check(self) -> None:
        self.require(0.25 <= self.factor <= 4, "factor must be from 0.25 to 4")

    def degrade(self, audio: Audio, rng: np.random.Generator, utterance: str) -> Audio:
        wav = resample(audio.wav, round(audio.sample_rate * self.factor), audio.sample_rate)
        return Audio(wav, audio.sample_rate)

    def offset(self, codec: object) -> None:
        return None
