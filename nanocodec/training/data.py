"""Training audio: folders of files, decoded once into a cache, cut into excerpts on demand.

Every batch is a function of the seed and the step alone, so a resumed run needs no saved position.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
import soxr

AUDIO_SUFFIXES = {".wav", ".flac", ".ogg", ".opus", ".mp3"}


class DataError(Exception):
    """Training data that is missing or unreadable; the message names the folder or file and a remedy."""


def find_audio(folder: Path) -> list[Path]:
    """All audio files below `folder`, sorted."""
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder; give --data a folder of audio files")
    files = sorted(path for path in folder.rglob("*") if path.suffix.lower() in AUDIO_SUFFIXES)
    if not files:
        raise DataError(f"{folder}: holds no audio ({', '.join(sorted(AUDIO_SUFFIXES))})")
    return files


def load_audio(path: Path, sample_rate: int) -> np.ndarray:
    """Mono float32 [T] at `sample_rate`."""
    try:
        audio, rate = soundfile.read(path, dtype="float32", always_2d=True)
    except (RuntimeError, OSError) as error:
        raise DataError(f"{path}: not readable as audio ({error})") from error
    return soxr.resample(audio.mean(axis=1), rate, sample_rate, quality="HQ").astype(np.float32)


@dataclass(frozen=True)
class Utterance:
    """Where one file lies in the cache, and the RMS of its samples."""

    name: str
    start: int
    length: int
    rms: float

    @property
    def held_out(self) -> bool:
        """Whether the name's hash puts it among the 1 in 32 that validation uses and training never sees."""
        return hashlib.sha256(Path(self.name).name.encode()).digest()[0] < 8


class AudioCache:
    """A folder's audio as one int16 array on disk, memory-mapped; built on first use, reused while files match."""

    def __init__(self, folder: Path, cache: Path, sample_rate: int):
        files = find_audio(folder)
        listing = "\n".join(f"{path.relative_to(folder)} {path.stat().st_size}" for path in files)
        key = hashlib.sha256(f"{sample_rate}\n{listing}".encode()).hexdigest()[:16]
        index = cache / f"{key}.json"
        if not index.exists():
            cache.mkdir(parents=True, exist_ok=True)
            self._build(folder, files, cache / f"{key}.npy", index, sample_rate)
        self.utterances = [Utterance(**item) for item in json.loads(index.read_text())]
        self.samples: np.ndarray = np.load(cache / f"{key}.npy", mmap_mode="r")

    @staticmethod
    def _build(folder: Path, files: Sequence[Path], array: Path, index: Path, sample_rate: int) -> None:
        pieces: list[np.ndarray] = []
        entries = []
        start = 0
        for path in files:
            audio = load_audio(path, sample_rate)
            rms = float(np.sqrt(np.mean(np.square(audio)))) if len(audio) else 0.0
            if rms < 1e-4:
                continue
            pieces.append((audio.clip(-1, 1) * 32767).round().astype(np.int16))
            entries.append({"name": str(path.relative_to(folder)), "start": start, "length": len(audio), "rms": rms})
            start += len(audio)
        if not pieces:
            raise DataError(f"{folder}: every file is silent")
        np.save(array, np.concatenate(pieces))
        index.write_text(json.dumps(entries))  # last: its presence says that the array is whole

    def read(self, utterance: Utterance, offset: int, length: int) -> np.ndarray:
        """Float32 samples [<= length] from `offset` within the utterance."""
        begin = utterance.start + offset
        end = min(begin + length, utterance.start + utterance.length)
        return self.samples[begin:end].astype(np.float32) / 32768


@dataclass(frozen=True)
class Source:
    """One cached folder and the share of excerpts drawn from it."""

    cache: AudioCache
    share: float


class Excerpts:
    """Random excerpts: source by share, utterance by length, then speed, level and position at random.

    Args:
        level: RMS that an utterance is brought to, before the random gain.
        gain_db: the random gain is uniform in +- this many dB.
        speed: pitch and tempo are multiplied by a factor uniform in [1 / speed, speed].
    """

    def __init__(
        self,
        sources: Sequence[Source],
        sample_rate: int,
        seed: int,
        level: float = 0.06,
        gain_db: float = 6.0,
        speed: float = 1.12,
    ):
        self.sources = sources
        self.sample_rate = sample_rate
        self.seed = seed
        self.level, self.gain_db, self.speed = level, gain_db, speed
        self._choices = []
        for source in sources:
            kept = [item for item in source.cache.utterances if not item.held_out]
            weights = np.array([item.length for item in kept], dtype=np.float64)
            self._choices.append((kept, np.cumsum(weights / weights.sum())))
        self._shares = np.cumsum([source.share for source in sources]) / sum(s.share for s in sources)

    def batch(self, step: int, size: int, length: int) -> np.ndarray:
        """Float32 [size, length], the same for the same seed and step."""
        rng = np.random.default_rng([self.seed, step])
        return np.stack([self._excerpt(rng, length) for _ in range(size)])

    def _excerpt(self, rng: np.random.Generator, length: int) -> np.ndarray:
        which = int(np.searchsorted(self._shares, rng.random(), side="right").clip(max=len(self.sources) - 1))
        kept, cumulative = self._choices[which]
        item = kept[int(np.searchsorted(cumulative, rng.random(), side="right").clip(max=len(kept) - 1))]
        factor = self.speed ** rng.uniform(-1, 1)
        wanted = int(np.ceil(length * factor)) + 16
        offset = int(rng.integers(0, max(1, item.length - wanted + 1)))
        audio = self.sources[which].cache.read(item, offset, wanted)
        audio = soxr.resample(audio, self.sample_rate * factor, self.sample_rate, quality="MQ")[:length]
        gain = self.level / item.rms * 10 ** (rng.uniform(-1, 1) * self.gain_db / 20)
        audio = np.pad(audio, (0, length - len(audio))) * gain
        return (audio / max(1.0, float(np.abs(audio).max()))).astype(np.float32)

    def held_out(self, count: int, seconds: float) -> list[np.ndarray]:
        """The first `seconds` of up to `count` held-out utterances of the first source, at the training level."""
        cache = self.sources[0].cache
        chosen = [item for item in cache.utterances if item.held_out][:count]
        length = int(seconds * self.sample_rate)
        return [cache.read(item, 0, length) * (self.level / item.rms) for item in chosen]
