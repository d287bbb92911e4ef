"""Training audio: excerpts cut, resampled and augmented on the fly, each a function of seed, step and row alone.

So a resumed run needs no saved position, and N processes see what one would.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import soxr
from torch.utils.data import DataLoader, Dataset

from nanocodec.training.augment import equalize, reverberate
from nanocodec.training.config import ConfigError, DataConfig, TrainConfig

AUDIO_SUFFIXES = {".wav", ".flac", ".ogg", ".opus", ".mp3"}
SILENCE = 1e-4  # RMS below which a file, or -- relative to its file's -- an excerpt, is taken as silent
TRIES = 4


class DataError(Exception):
    """Training data that is missing or unreadable; the message names the folder or file and a remedy."""


@dataclass(frozen=True)
class Utterance:
    """One file (or a stretch of one): its name, sampling rate, first sample, samples and, where measured, their RMS."""

    name: str
    rate: int
    start: int
    length: int
    rms: float | None

    @property
    def held_out(self) -> bool:
        """Whether the name's hash puts it among the 1 in 32 that validation uses and training never sees."""
        return hashlib.sha256(Path(self.name).name.encode()).digest()[0] < 8


@dataclass(frozen=True)
class _Entry:
    """What a source lists before anything is read: a name, the stretch in seconds (None for all), and its content."""

    name: str
    offset: float
    duration: float | None
    content: Path | int  # a file, or a row of the hub's table


class Source:
    """Utterances of one folder, manifest or hub data set, with the share of excerpts drawn from it.

    Args:
        text: a folder (all audio below it); a manifest, CSV with a column `path` or JSON lines with `audio_filepath`
            and optionally `offset` and `duration` in seconds (NeMo's), paths relative to the manifest; or
            `hub:ID[@REVISION][#SPLIT]`, read through `datasets`.
        cache: folder where the index of lengths and levels is kept.
        share: relative to the other sources' shares.
        levels: measure each utterance's level and leave out silent ones, which decodes everything once; otherwise the
            files' headers do.
    """

    def __init__(self, text: str, cache: Path, share: float = 1.0, levels: bool = True):
        self.text, self.share, self.levels = text, share, levels
        self._table: Any = None
        entries = self._hub(text[4:]) if text.startswith("hub:") else _listing(Path(text))
        contents = [entry.content for entry in entries]
        sizes = (e.content.stat().st_size if isinstance(e.content, Path) else text for e in entries)
        listing = "\n".join(f"{e.name} {e.offset} {e.duration} {s}" for e, s in zip(entries, sizes, strict=True))
        index = cache / f"{hashlib.sha256(f'{levels} {listing}'.encode()).hexdigest()[:16]}.json"
        if not index.exists():
            cache.mkdir(parents=True, exist_ok=True)
            found = [self._measure(entry) for entry in entries]
            temporary = index.with_suffix(".tmp")
            temporary.write_text(json.dumps([asdict(item) for item in found]))
            temporary.replace(index)
        measured = [Utterance(**item) for item in json.loads(index.read_text())]
        self._content = dict(zip(measured, contents, strict=True))
        self.utterances = [item for item in measured if item.rms is None or item.rms > SILENCE]
        if not self.utterances:
            raise DataError(f"{text}: every file is silent")

    def _hub(self, text: str) -> list[_Entry]:
        name, _, split = text.partition("#")
        name, _, revision = name.partition("@")
        try:
            import datasets

            table = datasets.load_dataset(name, split=split or "train", revision=revision or None)
            column = next(key for key, kind in table.features.items() if isinstance(kind, datasets.Audio))
        except ImportError:
            raise DataError("hub data needs the package datasets: pip install 'nanocodec-evalkit[models]'") from None
        except StopIteration:
            raise DataError(f"hub:{text}: has no audio column") from None
        except Exception as error:  # the hub's many ways to fail share no base class
            raise DataError(f"hub:{text}: cannot be loaded ({type(error).__name__}: {error})") from error
        self._table = table.cast_column(column, datasets.Audio(decode=False)).select_columns([column])
        self._column = column
        return [_Entry(str(row), 0.0, None, row) for row in range(len(self._table))]

    def _open(self, content: Path | int) -> soundfile.SoundFile:
        if isinstance(content, Path):
            return soundfile.SoundFile(content)
        audio = self._table[content][self._column]
        return soundfile.SoundFile(io.BytesIO(audio["bytes"]) if audio["bytes"] else audio["path"])

    def _measure(self, entry: _Entry) -> Utterance:
        try:
            with self._open(entry.content) as file:
                start = min(int(entry.offset * file.samplerate), file.frames)
                length = file.frames - start
                if entry.duration is not None:
                    length = min(length, int(entry.duration * file.samplerate))
                rms = None
                if self.levels:
                    file.seek(start)
                    audio = file.read(length, dtype="float32", always_2d=True).mean(axis=1)
                    rms = float(np.sqrt(np.mean(np.square(audio)))) if length else 0.0
                return Utterance(entry.name, file.samplerate, start, length, rms)
        except (RuntimeError, OSError) as error:
            raise DataError(f"{entry.content}: not readable as audio ({error})") from error

    def read(self, item: Utterance, offset: int, length: int) -> np.ndarray:
        """Mono float32 samples [<= length] at the utterance's own rate, from `offset` within it."""
        with self._open(self._content[item]) as file:
            file.seek(item.start + offset)
            audio = file.read(min(length, item.length - offset), dtype="float32", always_2d=True)
        return audio.mean(axis=1)


def _listing(path: Path) -> list[_Entry]:
    if path.is_dir():
        files = sorted(file for file in path.rglob("*") if file.suffix.lower() in AUDIO_SUFFIXES)
        if not files:
            raise DataError(f"{path}: holds no audio ({', '.join(sorted(AUDIO_SUFFIXES))})")
        return [_Entry(str(file.relative_to(path)), 0.0, None, file) for file in files]
    if not path.is_file():
        raise DataError(f"{path}: no such folder or manifest; give --data a folder of audio files")
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
        rows = list(csv.DictReader(lines)) if path.suffix == ".csv" else [json.loads(line) for line in lines if line]
        entries = []
        for row in rows:
            name = row["path" if path.suffix == ".csv" else "audio_filepath"]
            duration = row.get("duration")
            offset = float(row.get("offset") or 0.0)
            entries.append(_Entry(name, offset, float(duration) if duration else None, path.parent / name))
    except (KeyError, ValueError, TypeError) as error:
        raise DataError(
            f"{path}: not a manifest ({error}); wanted CSV with a column path, or JSON lines with audio_filepath"
        ) from error
    if missing := [entry for entry in entries if not Path(str(entry.content)).is_file()]:
        raise DataError(f"{path}: names {missing[0].content}, which is not there")
    if not entries:
        raise DataError(f"{path}: lists no audio")
    return entries


def parse_source(text: str) -> tuple[str, float]:
    """`SOURCE` or `SOURCE:SHARE` to a source and its share of the excerpts.

    Raises:
        ConfigError: a share that is not positive.
    """
    source, colon, share = text.rpartition(":")
    if not colon or source == "hub" or Path(text).exists():
        return text, 1.0
    try:
        value = float(share)
    except ValueError:
        return text, 1.0
    if not value > 0:
        raise ConfigError(f"--data {text}: the share must be positive")
    return source, value


class Excerpts(Dataset[np.ndarray]):
    """Random excerpts: source by share, utterance by length, position, then speed, level and surroundings.

    An excerpt far quieter than its utterance is drawn again, a few times: silence teaches little.
    """

    def __init__(self, sources: Sequence[Source], sample_rate: int, seed: int, config: DataConfig):
        self.sources, self.sample_rate, self.seed, self.config = sources, sample_rate, seed, config
        self._choices = []
        for source in sources:
            kept = [item for item in source.utterances if not item.held_out]
            if not kept:
                raise DataError(f"{source.text}: has too few files to train on; add more")
            seconds = np.array([item.length / item.rate for item in kept])
            self._choices.append((kept, np.cumsum(seconds / seconds.sum())))
        self._shares = np.cumsum([source.share for source in sources]) / sum(s.share for s in sources)

    def __getitem__(self, key: tuple[int, int, int]) -> np.ndarray:
        """Float32 [length] of (step, row, length), the same for the same seed, step and row."""
        step, row, length = key
        rng = np.random.default_rng([self.seed, step, row])
        for _ in range(TRIES):
            audio, item = self._draw(rng, length)
            if np.sqrt(np.mean(np.square(audio))) > (10 * SILENCE if item.rms is None else 0.1 * item.rms):
                break
        config = self.config
        if config.eq_db:
            audio = equalize(audio, self.sample_rate, config.eq_db, rng)
        if config.room and rng.random() < config.room:
            audio = reverberate(audio, self.sample_rate, rng)
        audio = audio * self._gain(item) * 10 ** (rng.uniform(-1, 1) * config.gain_db / 20)
        return (audio / max(1.0, float(np.abs(audio).max()))).astype(np.float32)

    def _draw(self, rng: np.random.Generator, length: int) -> tuple[np.ndarray, Utterance]:
        which = int(np.searchsorted(self._shares, rng.random(), side="right").clip(max=len(self.sources) - 1))
        kept, cumulative = self._choices[which]
        item = kept[int(np.searchsorted(cumulative, rng.random(), side="right").clip(max=len(kept) - 1))]
        factor = self.config.speed ** rng.uniform(-1, 1)
        wanted = int(np.ceil(length * factor * item.rate / self.sample_rate)) + 16
        offset = int(rng.integers(0, max(1, item.length - wanted + 1)))
        audio = self.sources[which].read(item, offset, wanted)
        if item.rate * factor != self.sample_rate:
            audio = soxr.resample(audio, item.rate * factor, self.sample_rate, quality="MQ")
        return np.pad(audio[:length], (0, max(0, length - len(audio)))), item

    def batch(self, step: int, size: int, length: int) -> np.ndarray:
        """Float32 [size, length]: the whole batch of a step."""
        return np.stack([self[step, row, length] for row in range(size)])

    def loader(self, config: TrainConfig, first_step: int, rank: int, world: int) -> DataLoader[np.ndarray]:
        """This process's part of every batch from `first_step` on, as tensors [batch / world, T]."""

        def batches() -> Iterator[list[tuple[int, int, int]]]:
            for step in range(first_step, config.steps):
                phase = config.phase(step)
                share = phase.batch // world
                yield [(step, row, phase.frames * config.model.hop) for row in range(rank * share, (rank + 1) * share)]

        return DataLoader(self, batch_sampler=batches(), num_workers=config.data.loaders)

    def held_out(self, count: int, seconds: float) -> list[np.ndarray]:
        """The first `seconds` of up to `count` held-out utterances of the first source, at the training level."""
        source = self.sources[0]
        chosen = [item for item in source.utterances if item.held_out][:count]
        waves = [soxr.resample(source.read(i, 0, int(seconds * i.rate)), i.rate, self.sample_rate) for i in chosen]
        return [wave * self._gain(item) for wave, item in zip(waves, chosen, strict=True)]

    def _gain(self, item: Utterance) -> float:
        return self.config.level / item.rms if self.config.level and item.rms else 1.0
