"""What was computed before, by content: no score and no decoding is done twice.

Everything is named by a hash of all that could change it: the samples that went in, the codec with its weights and
settings, the metric with its version and settings, the resampler. Names and places of files play no part.

    CACHE/
      cache.sqlite    scores; codes; features that models infer from references; what names the audio in files
      audio/ab/…      decoded audio
      in-use.lock     held by runs, so that nobody clears the cache beneath them

The folder is `EVALKIT_CACHE`, or `evalkit` in the user's cache folder. Several runs may use it at once: SQLite's
write-ahead log keeps them apart, and a process that is killed loses at most the answer it was writing. A cache that
cannot be used costs time, never a run: one sentence says so, and everything is computed.
"""

import errno
import hashlib
import io
import json
import shutil
import sqlite3
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from types import TracebackType
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from evalkit.audio import Audio, AudioIdentity
from evalkit.codecs import Codes
from evalkit.errors import MissingError, UsageError
from evalkit.soundfiles import read, write

SCHEMA = """
CREATE TABLE IF NOT EXISTS scores (key TEXT PRIMARY KEY, value REAL, reason TEXT) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS decoded (key TEXT PRIMARY KEY, pcm TEXT NOT NULL, codes BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS features (key TEXT PRIMARY KEY, features BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS pairings (key TEXT PRIMARY KEY, found TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS recordings
    (digest TEXT PRIMARY KEY, pcm TEXT NOT NULL, sample_rate INTEGER NOT NULL, samples INTEGER NOT NULL) WITHOUT ROWID;
"""
TABLES = {"scores": "scores", "decoded utterances": "decoded", "features of references": "features"}
"""What `info` counts, by its label."""
WAIT = 60.0
"""Seconds to wait for another run that is writing."""
CHUNK = 500
"""Keys in one query; SQLite has a limit of its own."""


def content_key(**parts: Any) -> str:
    """A name for what `parts` (JSON values) determine: equal parts, equal key."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True, allow_nan=False).encode()).hexdigest()


@dataclass(frozen=True)
class Decoded:
    """A codec's output that was cached: its codes, the file of its audio, and what names that audio."""

    codes: Codes
    path: Path
    identity: AudioIdentity


class Cache:
    """The cache in `folder`; with None, one that is in memory, keeps no audio and is gone with the process."""

    def __init__(self, folder: Path | None) -> None:
        self.folder = folder
        self._in_use: IO[bytes] | None = None
        if folder is not None:
            if not folder.is_dir() and folder.exists():
                raise UsageError(f"the cache folder {folder} is a file: set EVALKIT_CACHE, or use --no-cache")
            try:
                folder.mkdir(parents=True, exist_ok=True)
                self._in_use = _share(folder)
                self._database = _connect(folder / "cache.sqlite")
                return
            except (OSError, sqlite3.Error) as error:
                self._give_up(error)
        self._database = _connect(":memory:")

    def __enter__(self) -> "Cache":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._database.close()
        if self._in_use is not None:
            self._in_use.close()

    def scores(self, keys: Sequence[str]) -> dict[str, tuple[float | None, str | None]]:
        """(value, reason) of those of `keys` that are known."""
        found: dict[str, tuple[float | None, str | None]] = {}
        for start in range(0, len(keys), CHUNK):
            part = keys[start : start + CHUNK]
            marks = ",".join("?" * len(part))
            rows = self._read(f"SELECT key, value, reason FROM scores WHERE key IN ({marks})", part)
            found |= {key: (value, reason) for key, value, reason in rows if _is_score(value, reason)}
        return found

    def store_scores(self, scores: Mapping[str, tuple[float | None, str | None]]) -> None:
        """Keep (value, reason) by key."""
        self._write("scores", [(key, value, reason) for key, (value, reason) in scores.items()])

    def file(self, digest: str) -> AudioIdentity | None:
        """What names the audio in the file with the sha256 `digest`; None where that is not known."""
        rows = self._read("SELECT pcm, sample_rate, samples FROM recordings WHERE digest = ?", (digest,))
        if not rows or not isinstance(rows[0][0], str) or not all(isinstance(n, int) and n >= 0 for n in rows[0][1:]):
            return None
        return AudioIdentity(*rows[0])

    def store_files(self, files: Mapping[str, AudioIdentity]) -> None:
        """Keep what names the audio in files, by their sha256."""
        self._write("recordings", [(digest, one.pcm, one.sample_rate, one.samples) for digest, one in files.items()])

    def pairing(self, key: str) -> dict[str, Any] | None:
        """What was found of a pair of recordings; None where that is not in the cache."""
        rows = self._read("SELECT found FROM pairings WHERE key = ?", (key,))
        try:
            found = json.loads(rows[0][0]) if rows else None
        except (ValueError, TypeError, RecursionError):  # damaged: it is found anew
            return None
        return found if isinstance(found, dict) else None

    def store_pairings(self, pairings: Mapping[str, Mapping[str, Any]]) -> None:
        """Keep what was found of pairs, by key."""
        self._write("pairings", [(key, json.dumps(found)) for key, found in pairings.items()])

    def decoded(self, key: str) -> Decoded | None:
        """The output that is cached under `key`, if it is still there and, to the last sample, what was written."""
        rows = self._read("SELECT pcm, codes FROM decoded WHERE key = ?", (key,))
        if not rows or self.folder is None:
            return None
        path = self._audio_path(key)
        try:
            identity = read(path).identity()
            codes = _unpack(rows[0][1])
        except Exception:  # gone, or damaged in one of many ways: it is made anew
            return None
        return Decoded(codes, path, identity) if identity.pcm == rows[0][0] else None

    def store_decoded(self, key: str, codes: Codes, audio: Audio) -> None:
        """Keep a codec's output; the audio first, so that what the database names is there."""
        if self.folder is None:
            return
        path = self._audio_path(key)
        try:
            if not (path.is_file() or path.is_dir()):
                path.unlink(missing_ok=True)  # a pipe in its place would be written to, and wait for a reader
            write(path, audio)
        except OSError as error:
            if error.errno == errno.ENOSPC:
                raise
            self._give_up(error)
            return
        self._write("decoded", [(key, audio.pcm_hash(), _pack(codes))])

    def features(self, key: str) -> NDArray[Any] | None:
        """Features that a model inferred from a reference; None where they are not in the cache."""
        rows = self._read("SELECT features FROM features WHERE key = ?", (key,))
        try:
            return np.load(io.BytesIO(rows[0][0]), allow_pickle=False) if rows else None
        except Exception:  # damaged: they are inferred anew
            return None

    def store_features(self, key: str, features: NDArray[Any]) -> None:
        """Keep what a model inferred from a reference."""
        buffer = io.BytesIO()
        np.save(buffer, features, allow_pickle=False)
        self._write("features", [(key, buffer.getvalue())])

    def info(self) -> dict[str, Any]:
        """Folder, number of entries and bytes on disk."""
        counts = {label: self._read(f"SELECT count(*) FROM {table}", ())[0][0] for label, table in TABLES.items()}
        files = self.folder.rglob("*") if self.folder else ()
        return {"folder": str(self.folder), **counts, "bytes": sum(p.stat().st_size for p in files if p.is_file())}

    def _read(self, query: str, values: Sequence[object]) -> list[tuple[Any, ...]]:
        try:
            return self._database.execute(query, values).fetchall()
        except sqlite3.Error as error:
            self._give_up(error)
            return self._database.execute(query, values).fetchall()

    def _write(self, table: str, rows: Sequence[tuple[object, ...]]) -> None:
        if not rows:
            return
        marks = ", ".join("?" * len(rows[0]))
        try:
            with self._database:
                self._database.executemany(f"INSERT OR REPLACE INTO {table} VALUES ({marks})", rows)
        except sqlite3.Error as error:
            if getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL:
                raise OSError(errno.ENOSPC, "no space left for the cache", str(self.folder)) from error
            self._give_up(error)

    def _give_up(self, error: Exception) -> None:
        """Go on without the folder."""
        if self.folder is not None:
            print(
                f"evalkit: the cache in {self.folder} cannot be used ({error}), so everything is computed again. "
                f"`evalkit cache clear` creates a new one; EVALKIT_CACHE=FOLDER puts it elsewhere.",
                file=sys.stderr,
            )
        self.folder = None
        self._database = _connect(":memory:")

    def _audio_path(self, key: str) -> Path:
        assert self.folder is not None
        return self.folder / "audio" / key[:2] / f"{key}.wav"


def clear(folder: Path) -> None:
    """Delete the cache in `folder`, damaged or not.

    Raises MissingError where a run is using it, or it cannot be deleted.
    """
    try:
        lock = _share(folder, alone=True) if folder.is_dir() else None
    except OSError as error:
        raise MissingError(f"the cache in {folder} is in use by a run: wait until it finishes") from error
    try:
        for name in ("cache.sqlite", "cache.sqlite-wal", "cache.sqlite-shm", "digests.json", "audio"):
            _remove(folder / name)
    except OSError as error:
        raise MissingError(f"the cache in {folder} cannot be cleared: {error}") from error
    finally:
        if lock is not None:
            lock.close()


def _remove(path: Path) -> None:
    """Delete `path`, whatever it is."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _share(folder: Path, alone: bool = False) -> IO[bytes] | None:
    """Say that the cache in `folder` is in use until the file is closed; with `alone`, raise OSError where
    others use it. None where this system has no such locks."""
    try:
        import fcntl
    except ImportError:
        return None
    file = (folder / "in-use.lock").open("ab")
    try:
        fcntl.flock(file, (fcntl.LOCK_EX if alone else fcntl.LOCK_SH) | fcntl.LOCK_NB)
    except OSError:
        file.close()
        if alone:
            raise
        return None  # it is being cleared at this moment
    return file


def _connect(target: Path | str) -> sqlite3.Connection:
    database = sqlite3.connect(target, timeout=WAIT)
    database.execute("PRAGMA journal_mode=WAL")
    database.execute("PRAGMA synchronous=NORMAL")
    database.executescript(SCHEMA)
    return database


def _pack(codes: Codes) -> bytes:
    """`codes` without side information, which nothing reads again: its bits are what counts."""
    buffer = io.BytesIO()
    arrays = {name: getattr(codes, name) for name in ("indices", "latents") if getattr(codes, name) is not None}
    if codes.payload:
        arrays["payload"] = np.frombuffer(b"".join(codes.payload), np.uint8)
        arrays["packets"] = np.array([len(packet) for packet in codes.payload])
    np.savez_compressed(
        buffer, length=codes.length, sizes=np.array(codes.codebook_sizes, np.int64), bits=codes.payload_bits,
        extra=codes.extra_bits, **arrays,
    )  # fmt: skip
    return buffer.getvalue()


def _unpack(packed: bytes) -> Codes:
    with np.load(io.BytesIO(packed), allow_pickle=False) as arrays:
        payload: tuple[bytes, ...] = ()
        if "packets" in arrays:
            ends = np.cumsum(arrays["packets"])
            payload = tuple(part.tobytes() for part in np.split(arrays["payload"], ends[:-1]))
        return Codes(
            length=int(arrays["length"]),
            indices=arrays.get("indices"),
            codebook_sizes=tuple(int(size) for size in arrays["sizes"]),
            payload=payload,
            payload_bits=int(arrays["bits"]),
            latents=arrays.get("latents"),
            extra_bits=int(arrays.get("extra", 0)),
        )


def _is_score(value: object, reason: object) -> bool:
    """Whether a row of the database is a score: SQLite takes any type into any column."""
    if value is None:
        return isinstance(reason, str)
    return isinstance(value, int | float) and isfinite(value) and reason is None
