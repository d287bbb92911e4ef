"""Reverberation: a synthetic room, or impulse responses from a folder."""

from dataclasses import dataclass

import numpy as np

from evalkit.audio import Audio, Wave
from evalkit.audio_files import audio_files
from evalkit.conditions.base import InputCondition
from evalkit.errors import AudioError
from evalkit.files import expanded, shown
from evalkit.soundfiles import read

DIRECT_TO_REVERBERANT_DB = 5.0


@dataclass(frozen=True)
class Reverb(InputCondition):
    """The synthetic response is a direct path and noise that decays by 60 dB in `rt60` seconds, 5 dB weaker in all. A
    response is shifted so that its strongest sample comes first: the recording is not delayed."""

    kind = "reverb"
    about = "The recording is convolved with the impulse response of a room; its direct path is not delayed."

    rt60: float = 0.5
    """Seconds."""
    folder: str = ""
    """Of recorded impulse responses; one is drawn for each utterance."""
    reference: str = "input"

    def check(self) -> None:
        super().check()
        self.require(0.05 <= self.rt60 <= 10, "rt60 must be from 0.05 to 10 seconds")
        if self.folder:
            folder = expanded(self.folder)
            there = folder.is_dir() and bool(audio_files(folder).files)
            self.require(there, f"{self.folder} is not a folder of audio")

    def degrade(self, audio: Audio, rng: np.random.Generator, utterance: str) -> Audio:
        from scipy.signal import fftconvolve

        response = self._recorded(audio.sample_rate, rng) if self.folder else self._synthetic(audio.sample_rate, rng)
        wet = fftconvolve(audio.wav, response)[: len(audio.wav)]
        return Audio(wet.astype(np.float32), audio.sample_rate)

    def _synthetic(self, rate: int, rng: np.random.Generator) -> Wave:
        time = np.arange(1, round(self.rt60 * rate)) / rate
        tail = rng.standard_normal(len(time)) * 10 ** (-3 * time / self.rt60)
        tail *= 10 ** (-DIRECT_TO_REVERBERANT_DB / 20) / np.linalg.norm(tail)
        return np.concatenate([[1.0], tail]).astype(np.float32)

    def _recorded(self, rate: int, rng: np.random.Generator) -> Wave:
        paths = list(audio_files(expanded(self.folder)).by_name().values())
        path = paths[int(rng.integers(len(paths)))]
        response = read(path).at(rate).wav
        response = response[int(np.argmax(np.abs(response))) :]
        if not response.any():
            raise AudioError(f"{shown(path)}: the impulse response is silent")
        return response / np.max(np.abs(response))
