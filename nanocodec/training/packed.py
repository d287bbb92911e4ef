"""Packed speech in a device's memory, where excerpts are cut, resampled and augmented, a batch at once.

What `nanocodec.training.data` and `nanocodec.training.augment` do to one excerpt, read from its file: here nothing is
read after the start, so that a GPU never waits. `nanocodec.training.pack` makes the folder. Needs torch, numpy and
soundfile alone.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import torch
from torch import Tensor

from nanocodec.training.config import ConfigError, DataConfig

RATE = 16_000  # Hz, of what is packed
INDEX, RECIPE = "index.json", "recipe.json"
TAPS = 16  # of the interpolation, on either side
BLOCK = 1600  # samples between the places where excerpts may begin, from which they are moved on at random
QUIET = 0.1  # of its recording's level: an excerpt below it teaches little
LONGEST_TAIL = 0.5  # seconds, of a room's reverberation


class PackedSpeech:
    """Every recording of a folder, decoded once, as 16-bit numbers on a device.

    Args:
        folder: what `nanocodec.training.pack` wrote.
        config: how excerpts are varied; recordings were brought to its level when they were packed.
        sample_rate: of the excerpts, Hz; at least `RATE * config.speed`, for nothing keeps aliases out.
        length: of an excerpt, in samples.
        seed: of the draws.
        device: where the samples lie and excerpts are made.

    Raises:
        ConfigError: the folder is not such a one, or nothing in it is long or loud enough.
    """

    def __init__(
        self, folder: Path, config: DataConfig, sample_rate: int, length: int, seed: int, device: torch.device
    ):
        if sample_rate < RATE * config.speed:
            raise ConfigError(f"excerpts of {sample_rate} Hz would alias: lower data.speed, now {config.speed:g}")
        self.folder, self.config, self.sample_rate, self.length = folder, config, sample_rate, length
        self.seed, self.device = seed, device
        index = _index(folder)
        parts = _decoded([folder / name for name in index["parts"]])
        need = math.ceil(length * config.speed * RATE / sample_rate) + 2 * TAPS + BLOCK
        waves: list[np.ndarray] = []
        starts: list[list[np.ndarray]] = [[] for _ in index["shares"]]
        held_out: list[int] = []
        samples = 0
        for one in index["recordings"]:
            wave = parts[one["part"]][one["start"] : one["start"] + one["length"]]
            wave = np.pad(wave, (TAPS, max(TAPS, need - TAPS - len(wave))))
            places = samples + _places(wave, need)
            if not one["held_out"]:
                starts[one["source"]].append(places)
            elif len(places):
                held_out.append(int(places[len(places) // 2]))
            waves.append(wave)
            samples += len(wave)
        found = [np.concatenate(of_source) if of_source else np.empty(0, np.int64) for of_source in starts]
        if not all(map(len, found)):
            raise ConfigError(f"{folder}: a source has nothing to train on; pack more of it")
        self.hours = sum(one["length"] for one in index["recordings"] if not one["held_out"]) / RATE / 3600
        self.samples = torch.from_numpy(np.concatenate(waves)).to(device)
        self._starts = torch.from_numpy(np.concatenate(found)).to(device)
        counts = np.array([len(of_source) for of_source in found])
        self._counts = torch.from_numpy(counts).to(device)
        self._first = torch.from_numpy(np.cumsum(counts) - counts).to(device)
        self._shares = torch.from_numpy(np.cumsum(index["shares"]) / np.sum(index["shares"])).float().to(device)
        self._held_out = torch.tensor(held_out[:32], dtype=torch.int64, device=device)

    def batch(self, step: int, size: int) -> Tensor:
        """Excerpts, float32 [size, length] in [-1, 1]: the same for the same seed, step and device."""
        config, device = self.config, self.device
        generator = torch.Generator(device).manual_seed(self.seed * 1_000_003 + step)
        draws = torch.rand((11, size, 1), generator=generator, device=device)
        source = torch.searchsorted(self._shares, draws[0, :, 0], right=True).clamp(max=len(self._counts) - 1)
        within = (draws[1, :, 0] * self._counts[source]).long().minimum(self._counts[source] - 1)
        start = self._starts[self._first[source] + within] + (draws[2, :, 0] * BLOCK).long()
        factor = config.speed ** (2 * draws[3] - 1)
        audio = interpolate(self.samples, start, factor * (RATE / self.sample_rate), self.length)
        if config.eq_db:
            low, high = ((2 * one - 1) * config.eq_db for one in draws[4:6])
            centre = math.log(200) + draws[6] * math.log(25)
            audio = equalize(audio, self.sample_rate, low, high, centre, 0.2 + 0.6 * draws[7])
        if config.room:
            tail = int(LONGEST_TAIL * self.sample_rate)
            noise = torch.randn((size, tail), generator=generator, device=device)
            wet = reverberate(audio, self.sample_rate, 0.1 + 0.4 * draws[8], 6 + 14 * draws[9], noise)
            audio = torch.where(torch.rand((size, 1), generator=generator, device=device) < config.room, wet, audio)
        audio = audio * 10 ** ((2 * draws[10] - 1) * (config.gain_db / 20))
        return audio / audio.abs().amax(1, keepdim=True).clamp(min=1.0)

    def held_out(self) -> Tensor:
        """An excerpt of each of up to 32 recordings that training never sees, as they are, [n, length]."""
        pace = torch.full((len(self._held_out), 1), RATE / self.sample_rate, device=self.device)
        return interpolate(self.samples, self._held_out, pace, self.length)


def interpolate(samples: Tensor, start: Tensor, pace: Tensor, length: int) -> Tensor:
    """Read a long recording at fractional places, by a sinc under a Hann window of 2 `TAPS`.

    Args:
        samples: int16 [S].
        start: int64 [B], where each excerpt begins, less `TAPS`.
        pace: float [B, 1], samples from one of the excerpt's to the next, at most 1: nothing keeps aliases out.
        length: samples of an excerpt.

    Returns:
        float32 [B, length], full scale being 1.
    """
    place = TAPS + torch.arange(length, device=samples.device, dtype=torch.float64) * pace.double()
    below = place.floor()
    part = (place - below).float()
    index = start[:, None] + below.long()
    out = torch.zeros_like(part)
    for tap in range(1 - TAPS, TAPS + 1):
        distance = part - tap
        weight = torch.sinc(distance) * torch.cos(math.pi / (2 * TAPS) * distance).square()
        out.addcmul_(samples[index + tap].float(), weight)
    return out / 32768


def equalize(audio: Tensor, sample_rate: int, low: Tensor, high: Tensor, centre: Tensor, width: Tensor) -> Tensor:
    """`nanocodec.training.augment.equalize` for a batch.

    Args:
        audio: float [B, T].
        sample_rate: Hz.
        low, high: gains of the shelves in dB, [B, 1].
        centre: between them, in ln Hz, [B, 1].
        width: of the way from one to the other, in ln Hz, [B, 1].

    Returns:
        float [B, T].
    """
    hz = torch.fft.rfftfreq(audio.shape[1], 1 / sample_rate, device=audio.device).clamp(min=1.0)
    mix = torch.sigmoid((hz.log() - centre) / width)
    gain = 10 ** ((low + (high - low) * mix) / 20)
    return torch.fft.irfft(torch.fft.rfft(audio) * gain, audio.shape[1])


def reverberate(audio: Tensor, sample_rate: int, rt60: Tensor, below: Tensor, noise: Tensor) -> Tensor:
    """`nanocodec.training.augment.reverberate` for a batch.

    Args:
        audio: float [B, T].
        sample_rate: Hz.
        rt60: seconds in which the tail falls by 60 dB, and after which it ends, [B, 1].
        below: dB by which the tail lies below the direct sound, [B, 1].
        noise: of the tail, at least as long as the longest of `rt60`, [B, R].

    Returns:
        float [B, T] with the energy of `audio`.
    """
    sample = torch.arange(noise.shape[1], device=audio.device)
    tail = noise * 10 ** (-3 * sample / sample_rate / rt60) * (sample < (rt60 * sample_rate).floor())
    tail = tail * 10 ** (-below / 20) / tail.square().sum(1, keepdim=True).sqrt()
    tail = torch.where(sample < int(0.002 * sample_rate), 0.0, tail)  # the first reflection arrives later
    tail[:, 0] = 1.0
    size = 1 << (audio.shape[1] + noise.shape[1] - 1).bit_length()
    wet = torch.fft.irfft(torch.fft.rfft(audio, size) * torch.fft.rfft(tail, size), size)[:, : audio.shape[1]]
    energy = wet.square().sum(1, keepdim=True).clamp(min=1e-12)
    return wet * (audio.square().sum(1, keepdim=True) / energy).sqrt()


def _places(wave: np.ndarray, need: int) -> np.ndarray:
    """Where excerpts of `need` samples may begin in a recording: all within it, and not all but silent."""
    energy = np.concatenate([[0.0], np.cumsum(np.square(wave, dtype=np.float64))])
    places = np.arange(0, len(wave) - need + 1, BLOCK)
    level = energy[-1] / len(wave)
    return places[energy[places + need] - energy[places] > QUIET**2 * level * need]


def _index(folder: Path) -> Mapping[str, Any]:
    try:
        index = json.loads((folder / INDEX).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"{folder}: not packed speech ({error}); `python -m nanocodec.training.pack` makes it"
        ) from None
    return index


def _decoded(paths: list[Path]) -> list[np.ndarray]:
    """int16 samples of each part, decoded side by side: libsndfile needs no lock of Python's."""

    def read(path: Path) -> np.ndarray:
        try:
            samples, rate = soundfile.read(path, dtype="int16")
        except RuntimeError as error:
            raise ConfigError(f"{path}: cannot be read ({error}); copy the packed folder again") from error
        if rate != RATE or samples.ndim != 1:
            raise ConfigError(f"{path}: is not mono at {RATE} Hz; pack again")
        return samples

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return list(pool.map(read, paths))
