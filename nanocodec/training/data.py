"""Training audio: excerpts cut, resampled and augmented on the fly, each a function of seed, step and row alone.

So a resumed run needs no saved position, and N processes draw what one would.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import math
import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import soxr
from torch.utils.data import DataLoader, Dataset

from nanocodec.atomic import replacing
from nanocodec.files import AUDIO_SUFFIXES
from nanocodec.training.augment import equalize, reverberate
from nanocodec.training.config import ConfigError, DataConfig, TrainConfig

RATES = (4_000, 768_000)  # Hz; a header that says otherwise is damaged
BLOCK = 1 << 20  # numbers in memory at once, whatever a header announces
SILENCE = 1e-4  # RMS below which a file, or, relative to its file's, an excerpt is taken as silent
TRIES = 4
VERSION = 2  # of the index


class DataError(Exception):
    """Training data that is missing or unreadable; the message names the folder or file and a remedy."""


@dataclass(frozen=True)
class Segment:
    """A file, or a stretch of one.

    Attributes:
        name: path or row within its source.
        rate: sampling rate in Hz.
        start: first sample.
        length: samples.
        rms: level, full scale being 1; None where it was not measured.
    """

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
class _Item:
    """What a source lists before anything is read: a name, the stretch in seconds (None for all), and its content."""

    name: str
    offset: float
    duration: float | None
    content: Path | int  # a file, or a row of the hub's table


class AudioSource:
    """Audio of one folder, manifest or hub data set, with the share of excerpts drawn from it.

    Args:
        text: a folder (all audio below it, links followed); a manifest, CSV with a column `path` or JSON lines with
            `audio_filepath` (NeMo's), either with `offset` and `duration` in seconds if need be, paths relative to the
            manifest; or `hub:ID[@REVISION][#SPLIT]`, read through `datasets`.
        cache: folder where the index of lengths and levels is kept.
        share: relative to the other sources' shares.
        levels: measure each file's level and leave out silent ones, which decodes everything once; otherwise the
            files' headers are trusted.

    Attributes:
        segments: what is taken.
        found: how many files or rows there are.
        passed_over: name of each of the others, and why it is not taken: the reason, with details in parentheses.

    Raises:
        DataError: no such source, a manifest that is not one, or nothing that can be taken.
    """

    def __init__(self, text: str, cache: Path, share: float = 1.0, levels: bool = True):
        self.text, self.share, self.levels = text, share, levels
        self._table: Any = None
        self.passed_over: list[tuple[str, str]] = []
        items = self._listing()
        self.found = len(items) + len(self.passed_over)
        if not items:
            raise DataError(f"{text}: holds no audio: {self.summary}")
        self.segments: list[Segment] = []
        self._content: dict[Segment, Path | int] = {}
        for item, segment in zip(items, self._indexed(items, cache), strict=True):
            if isinstance(segment, str):
                self.passed_over.append((item.name, segment))
            else:
                self.segments.append(segment)
                self._content[segment] = item.content
        if not self.segments:
            raise DataError(f"{text}: no usable audio: {self.summary}")

    @property
    def seconds(self) -> float:
        """Length of all segments together."""
        return sum(segment.length / segment.rate for segment in self.segments)

    @property
    def summary(self) -> str:
        """How many files were found and taken, and why the others were not, in one line."""
        kinds: dict[str, list[tuple[str, str]]] = {}
        for name, reason in self.passed_over:
            kinds.setdefault(reason.split(" (")[0], []).append((name, reason))
        parts = [f"{self.found:,} found, {self.found - len(self.passed_over):,} taken"]
        for kind, cases in kinds.items():
            name, reason = cases[0]
            parts.append(f"{len(cases):,} {kind}: {name}, ..." if len(cases) > 1 else f"{name}: {reason}")
        return "; ".join(parts)

    def read(self, segment: Segment, offset: int, length: int) -> np.ndarray:
        """Read a part of a segment.

        Args:
            segment: one of `segments`.
            offset: first sample within the segment, at its own rate.
            length: samples; fewer come where the segment ends before.

        Returns:
            Mono float32 [<= length] at the segment's rate; channels are averaged.
        """
        with self._open(self._content[segment]) as file:
            _skip(file, segment.start + offset)
            audio = file.read(min(length, segment.length - offset), dtype="float32", always_2d=True)
        return audio.mean(axis=1)

    # ------------------------------------------------------------------ what there is

    def _listing(self) -> list[_Item]:
        if self.text.startswith("hub:"):
            return self._hub(self.text[4:])
        path = Path(self.text)
        if path.is_dir():
            return self._folder(path)
        if path.is_file():
            return _manifest(path)
        raise DataError(f"{path}: no such folder or manifest; give --data a folder of audio files")

    def _folder(self, path: Path) -> list[_Item]:
        """Every audio file below a folder; linked folders count as folders, each once."""
        files, seen = [], set()

        def refuse(error: OSError) -> None:
            raise DataError(f"{error.filename}: cannot be listed ({error.strerror})")

        for folder, below, names in os.walk(path, followlinks=True, onerror=refuse):
            if (real := os.path.realpath(folder)) in seen:  # a second link to it, or one to a folder above
                below.clear()
                continue
            seen.add(real)
            below.sort()
            files += [Path(folder, name) for name in names]
        items = []
        for file in sorted(files):
            name = str(file.relative_to(path))
            if file.suffix.lower() not in AUDIO_SUFFIXES:
                self.passed_over.append((name, f"without an audio suffix ({file.suffix or 'none'})"))
            elif not file.is_file():
                self.passed_over.append((name, "a link to a file that is not there"))
            else:
                items.append(_Item(name, 0.0, None, file))
        return items

    def _hub(self, text: str) -> list[_Item]:
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
        return [_Item(str(row), 0.0, None, row) for row in range(len(self._table))]

    # ------------------------------------------------------------------ what is in it

    def _open(self, content: Path | int) -> soundfile.SoundFile:
        if isinstance(content, Path):
            return soundfile.SoundFile(content)
        audio = self._table[content][self._column]
        return soundfile.SoundFile(io.BytesIO(audio["bytes"]) if audio["bytes"] is not None else audio["path"])

    def _indexed(self, items: Sequence[_Item], cache: Path) -> list[Segment | str]:
        """Each item's segment, or why it has none; from the cache where the same files were measured before."""
        sizes = (item.content.stat().st_size if isinstance(item.content, Path) else self.text for item in items)
        listing = "\n".join(f"{i.name} {i.offset} {i.duration} {size}" for i, size in zip(items, sizes, strict=True))
        index = cache / f"{hashlib.sha256(f'{VERSION} {self.levels} {listing}'.encode()).hexdigest()[:16]}.json"
        if not index.exists():
            cache.mkdir(parents=True, exist_ok=True)
            measured = [self._measure(item) for item in items]
            with replacing(index) as temporary:
                temporary.write_text(json.dumps([x if isinstance(x, str) else asdict(x) for x in measured]))
        return [entry if isinstance(entry, str) else Segment(**entry) for entry in json.loads(index.read_text())]

    def _measure(self, item: _Item) -> Segment | str:
        """The segment that an item stands for, or why it cannot be taken."""
        try:
            with self._open(item.content) as file:
                rate = file.samplerate
                if not RATES[0] <= rate <= RATES[1]:
                    return f"sampling rate out of range ({rate} Hz)"
                start = min(int(item.offset * rate), file.frames)
                length = file.frames - start
                if item.duration is not None:
                    length = min(length, int(item.duration * rate))
                rms = None
                if self.levels:
                    _skip(file, start)
                    length, rms = _level(file, length)
        except (RuntimeError, OSError, TypeError) as error:  # TypeError: a row of the hub without audio
            return f"not readable as audio ({error})"
        if length == 0:
            return "without samples" if start == 0 else "shorter than its offset"
        if rms is not None and not math.isfinite(rms):
            return "samples that are not finite"
        if rms is not None and rms <= SILENCE:
            return "silent"
        return Segment(item.name, rate, start, length, rms)


def _skip(file: soundfile.SoundFile, samples: int) -> None:
    """Go on by so many samples, in files that cannot be searched too."""
    if file.seekable():
        file.seek(samples)
    else:
        _level(file, samples)


def _level(file: soundfile.SoundFile, length: int) -> tuple[int, float]:
    """How many of the next `length` samples there really are, and the RMS of their channels' mean."""
    samples, energy = 0, 0.0
    while samples < length:
        block = file.read(min(BLOCK // file.channels, length - samples), dtype="float32", always_2d=True)
        if not len(block):
            break
        samples += len(block)
        energy += float(np.square(block.mean(axis=1), dtype=np.float64).sum())
    return samples, math.sqrt(energy / samples) if samples else 0.0


WANTED = "CSV with a column path, or JSON lines with audio_filepath"


def _manifest(path: Path) -> list[_Item]:
    """Every row of a manifest, whose files must all be there; a row that is not understood is an error."""
    rows, column = (_csv_rows, "path") if path.suffix.lower() == ".csv" else (_json_rows, "audio_filepath")
    items = []
    try:
        for line, row in rows(path):
            name, offset, duration = row.get(column), _seconds(line, row, "offset"), _seconds(line, row, "duration")
            if not isinstance(name, str) or not name:
                raise ValueError(f"line {line}: no {column}")
            if duration == 0:
                raise ValueError(f"line {line}: duration is 0")
            if not (path.parent / name).is_file():
                raise DataError(f"{path}, line {line}: names {path.parent / name}, which is not there")
            items.append(_Item(name, offset or 0.0, duration, path.parent / name))
    except (ValueError, OSError) as error:
        raise DataError(f"{path}: not a manifest ({error}); wanted is {WANTED}") from error
    if not items:
        raise DataError(f"{path}: lists no audio")
    return items


def _csv_rows(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.DictReader(file, strict=True)
        try:
            columns = reader.fieldnames or []
            if "path" not in columns or len(set(columns)) < len(columns):
                raise ValueError(f"line 1: the columns are {', '.join(columns) or 'none'}")
            for row in reader:
                if any("\n" in cell for cell in row.values() if isinstance(cell, str)):  # it may have swallowed rows
                    raise ValueError(
                        f"line {reader.line_num}: a cell continues from an earlier line: close its quotation marks"
                    )
                if None in row or None in row.values():
                    raise ValueError(f"line {reader.line_num}: {len(columns)} columns, but another number of cells")
                yield reader.line_num, row
        except csv.Error as error:
            raise ValueError(f"line {reader.line_num + 1}: {error}") from None  # where the row begins


def _json_rows(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    with path.open(encoding="utf-8-sig") as file:
        for number, text in enumerate(file, start=1):
            if not text.strip():
                continue
            try:
                row = json.loads(text)
            except ValueError as error:
                raise ValueError(f"line {number}: {error}") from None
            if not isinstance(row, dict):
                raise ValueError(f"line {number}: not an object")
            yield number, row


def _seconds(line: int, row: dict[str, Any], column: str) -> float | None:
    """A cell as seconds; None where it is empty."""
    if (cell := row.get(column)) in (None, ""):
        return None
    try:
        seconds = float(cell)
    except (TypeError, ValueError):
        seconds = math.nan
    if not 0 <= seconds < math.inf:
        raise ValueError(f"line {line}: {column} is {cell!r}")
    return seconds


def parse_source(text: str) -> tuple[str, float]:
    """Read a `--data` argument.

    Args:
        text: `SOURCE` or `SOURCE:SHARE`.

    Returns:
        The source, and its share of the excerpts (1 where none is given).

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
    """Random excerpts: source by share, segment by length, position, then speed, level and surroundings.

    An excerpt far quieter than its segment is drawn again, a few times: silence teaches little.

    Args:
        sources: where from; validation uses the first.
        sample_rate: of the excerpts, Hz.
        seed: of the draws.
        config: how they are varied.

    Raises:
        DataError: a source of which nothing is left to train on once the held-out files are set aside.
    """

    def __init__(self, sources: Sequence[AudioSource], sample_rate: int, seed: int, config: DataConfig):
        self.sources, self.sample_rate, self.seed, self.config = sources, sample_rate, seed, config
        self._choices = []
        for source in sources:
            kept = [segment for segment in source.segments if not segment.held_out]
            if not kept:
                raise DataError(f"{source.text}: has too few files to train on; add more")
            seconds = np.array([segment.length / segment.rate for segment in kept])
            self._choices.append((kept, np.cumsum(seconds / seconds.sum())))
        self._shares = np.cumsum([source.share for source in sources]) / sum(s.share for s in sources)

    def __getitem__(self, key: tuple[int, int, int]) -> np.ndarray:
        """Float32 [length] in [-1, 1] of (step, row, length), the same for the same seed, step and row."""
        step, row, length = key
        rng = np.random.default_rng([self.seed, step, row])
        for _ in range(TRIES):
            audio, segment = self._draw(rng, length)
            if np.sqrt(np.mean(np.square(audio))) > (10 * SILENCE if segment.rms is None else 0.1 * segment.rms):
                break
        config = self.config
        if config.eq_db:
            audio = equalize(audio, self.sample_rate, config.eq_db, rng)
        if config.room and rng.random() < config.room:
            audio = reverberate(audio, self.sample_rate, rng)
        audio = audio * self._gain(segment) * 10 ** (rng.uniform(-1, 1) * config.gain_db / 20)
        return (audio / max(1.0, float(np.abs(audio).max()))).astype(np.float32)

    def _draw(self, rng: np.random.Generator, length: int) -> tuple[np.ndarray, Segment]:
        which = int(np.searchsorted(self._shares, rng.random(), side="right").clip(max=len(self.sources) - 1))
        kept, cumulative = self._choices[which]
        segment = kept[int(np.searchsorted(cumulative, rng.random(), side="right").clip(max=len(kept) - 1))]
        factor = self.config.speed ** rng.uniform(-1, 1)
        wanted = int(np.ceil(length * factor * segment.rate / self.sample_rate)) + 16
        offset = int(rng.integers(0, max(1, segment.length - wanted + 1)))
        audio = self.sources[which].read(segment, offset, wanted)
        if segment.rate * factor != self.sample_rate:
            audio = soxr.resample(audio, segment.rate * factor, self.sample_rate, quality="MQ")
        return np.pad(audio[:length], (0, max(0, length - len(audio)))), segment

    def batch(self, step: int, size: int, length: int) -> np.ndarray:
        """Float32 [size, length] in [-1, 1]: the whole batch of a step."""
        return np.stack([self[step, row, length] for row in range(size)])

    def loader(self, config: TrainConfig, first_step: int, rank: int, world: int) -> DataLoader[np.ndarray]:
        """This process's part of the batches.

        Args:
            config: of the run, which says how many excerpts of which length.
            first_step: where to begin.
            rank: of this process.
            world: processes.

        Returns:
            A loader of one tensor a step, float [batch / world, T] in [-1, 1].
        """

        def batches() -> Iterator[list[tuple[int, int, int]]]:
            for step in range(first_step, config.steps):
                phase = config.phase(step)
                share = phase.batch // world
                yield [(step, row, phase.frames * config.model.hop) for row in range(rank * share, (rank + 1) * share)]

        return DataLoader(self, batch_sampler=batches(), num_workers=config.data.loaders)

    def held_out(self, count: int, seconds: float) -> list[np.ndarray]:
        """Speech to validate by, from the first source.

        Args:
            count: recordings at most.
            seconds: of each at most, from its beginning.

        Returns:
            Held-out segments, float [T] each, at the excerpts' sampling rate and level.
        """
        source = self.sources[0]
        chosen = [segment for segment in source.segments if segment.held_out][:count]
        waves = [soxr.resample(source.read(s, 0, int(seconds * s.rate)), s.rate, self.sample_rate) for s in chosen]
        return [wave * self._gain(segment) for wave, segment in zip(waves, chosen, strict=True)]

    def _gain(self, segment: Segment) -> float:
        return self.config.level / segment.rms if self.config.level and segment.rms else 1.0
