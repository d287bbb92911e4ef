"""Content: two speakers one after the other, and a pause."""

from dataclasses import dataclass, field, replace
from typing import Self

import numpy as np

from evalkit.audio import Audio
from evalkit.conditions.base import Condition, Reference
from evalkit.datasets.base import Dataset, Utterance


@dataclass(frozen=True)
class Concat(Condition):
    """Another utterance follows, of another speaker where the dataset names any. Scored as a whole."""

    kind = "concat"
    about = "An utterance of another speaker is appended without a pause."
    keeps_text = False

    _all: tuple[Utterance, ...] = field(default=(), init=False, repr=False, compare=False)

    @property
    def against(self) -> Reference:
        return "input"

    def bind(self, dataset: Dataset) -> Self:
        self.require(len(dataset) > 1, "it needs a second utterance in the dataset")
        bound = replace(self)
        object.__setattr__(bound, "_all", tuple(dataset))
        return bound

    def degrade(self, audio: Audio, rng: np.random.Generator, utterance: str) -> Audio:
        speaker = next((one.speaker for one in self._all if one.id == utterance), "")
        others = [one for one in self._all if one.id != utterance]
        others = [one for one in others if one.speaker != speaker] or others
        second = others[int(rng.integers(len(others)))].audio().at(audio.sample_rate)
        return Audio(np.concatenate([audio.wav, second.wav]), audio.sample_rate)

    def offset(self, codec: object) -> None:
        return None


@dataclass(frozen=True)
class Pause(Condition):
    """Digital silence, which no microphone records: the hardest input for codecs that normalise."""

    kind = "silence"
    about = "A pause of digital silence is inserted in the middle of the recording."

    seconds: float = 1.0

    @property
    def against(self) -> Reference:
        return "input"

    def check(self) -> None:
        self.require(0 < self.seconds <= 60, "seconds must be above 0 and at most 60")

    def degrade(self, audio: Audio, rng: np.random.Generator, utterance: str) -> Audio:
        first, second = np.array_split(audio.wav, 2)
        pause = np.zeros(round(self.seconds * audio.sample_rate), np.float32)
        return Audio(np.concatenate([first, pause, second]), audio.sample_rate)

    def offset(self, codec: object) -> None:
        return None
