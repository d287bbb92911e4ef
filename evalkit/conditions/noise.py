"""Additive noise at a signal-to-noise ratio: white, babble of the dataset's own speakers, or recordings of a folder."""

from dataclasses import dataclass, field, replace
from typing import Self

import numpy as np

from evalkit.audio import Audio, Wave
from evalkit.audio_files import audio_files
from evalkit.conditions.base import InputCondition
from evalkit.datasets.base import Dataset, Utterance
from evalkit.errors import AudioError
from evalkit.files import expanded

TALKERS = 6
"""Voices of babble, as far as the dataset has them."""


@dataclass(frozen=True)
class Noise(InputCondition):
    """The noise is as loud as `snr` says over the whole recording, by mean power; the sum is not clipped."""

    kind = "noise"
    about = "Noise is added at a signal-to-noise ratio, measured as mean power over the recording."

    snr: float
    """dB."""
    type: str = "white"
    """white, babble (other speakers of the dataset), or a folder of recordings, music for instance."""
    reference: str = "input"

    _others: tuple[Utterance, ...] = field(default=(), init=False, repr=False, compare=False)

    def bind(self, dataset: Dataset) -> Self:
        if self.type == "white":
            return self
        if self.type == "babble":
            self.require(len(dataset) > 1, "babble needs a second utterance in the dataset")
            return self._with(tuple(dataset))
        folder = expanded(self.type)
        files = audio_files(folder).files if folder.is_dir() else {}
        self.require(bool(files), f"{self.type} is neither white, babble nor a folder of audio")
        return self._with(tuple(Utterance(name, paths[0]) for name, paths in sorted(files.items())))

    def degrade(self, audio: Audio, rng: np.random.Generator, utterance: str) -> Audio:
        noise = self._noise(audio, rng, utterance)
        speech, level = (float(np.mean(np.square(wav, dtype=np.float64))) for wav in (audio.wav, noise))
        if speech == 0 or level == 0:
            raise AudioError("the speech or the noise is silent, so there is no signal-to-noise ratio")
        gain = np.sqrt(speech / level / 10 ** (self.snr / 10))
        return Audio((audio.wav + gain * noise).astype(np.float32), audio.sample_rate)

    def _noise(self, audio: Audio, rng: np.random.Generator, utterance: str) -> Wave:
        length = len(audio.wav)
        if self.type == "white":
            return rng.standard_normal(length).astype(np.float32)
        others = [one for one in self._others if one.id != utterance or self.type != "babble"]
        count = min(TALKERS if self.type == "babble" else 1, len(others))
        voices = []
        for index in rng.choice(len(others), count, replace=False):
            wav = others[index].audio().at(audio.sample_rate).wav
            power = float(np.sqrt(np.mean(np.square(wav, dtype=np.float64)))) if len(wav) else 0.0
            if power > 0:
                voices.append(np.resize(np.roll(wav, -int(rng.integers(len(wav)))), length) / power)
        return np.sum(voices, axis=0).astype(np.float32) if voices else np.zeros(length, np.float32)

    def _with(self, others: tuple[Utterance, ...]) -> Self:
        bound = replace(self)
        object.__setattr__(bound, "_others", others)
        return bound
