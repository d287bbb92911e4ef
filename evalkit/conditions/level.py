"""Level: gain, and clipping at full scale."""

from dataclasses import dataclass

import numpy as np

from evalkit.audio import Audio
from evalkit.conditions.base import InputCondition


@dataclass(frozen=True)
class Gain(InputCondition):
    """Nothing is clipped: what exceeds full scale goes to the codec as it is."""

    kind = "gain"
    about = "The recording is made louder or quieter."

    db: float
    """Above 0 for louder."""
    reference: str = "input"

    def degrade(self, audio: Audio, rng: np.random.Generator, utterance: str) -> Audio:
        return Audio(audio.wav * np.float32(10 ** (self.db / 20)), audio.sample_rate)


@dataclass(frozen=True)
class Clipping(InputCondition):
    """The level stays what it was: only the peaks are flattened."""

    kind = "clip"
    about = "Peaks are cut off at a level below the recording's own peak."

    db: float = 12.0
    """How far below the peak."""
    reference: str = "input"

    def check(self) -> None:
        super().check()
        self.require(self.db > 0, "db must be above 0")

    def degrade(self, audio: Audio, rng: np.random.Generator, utterance: str) -> Audio:
        limit = np.float32(np.max(np.abs(audio.wav), initial=0) * 10 ** (-self.db / 20))
        return Audio(np.clip(audio.wav, -limit, limit), audio.sample_rate)
