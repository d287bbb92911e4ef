"""What was computed before, by content: no score and no decoding is done twice.

Everything is named by a hash of all that could change it: the samples that went in, the codec with its weights and
settings, the metric with its version and settings, the resampler. Names and places of files play no part.

    CACHE/
      cache.sqlite    scores; codes; what models infer from references; hashes of audio files
      audio/ab/…      decoded audio

The folder is `EVALKIT_CACHE`, or `evalkit` in the user's cache folder. Several runs may use it at once: SQLite's
write-ahead log keeps them apart, and a process that is killed loses at most the answer it was writing.
"""

import errno
import hashlib
import io
import json
import os
import shutil
import sqlite3
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evalkit.audio import Audio, write
from evalkit.codecs import Codes

SCHEMA = """
CREATE TABLE IF NOT EXISTS scores (key TEXT PRIMARY KEY, value REAL, reason TEXT) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS decoded (key TEXT PRIMARY KEY, pcm TEXT NOT NULL, codes BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS features (key TEXT PRIMARY KEY, features BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS files (digest TEXT PRIMARY KEY, pcm TEXT NOT NULL) WITHOUT ROWID;
"""
WAIT = 60.0
"""Seconds to wait for another run that is writing."""
CHUNK = 500
"""Keys in one query; SQLite has a limit of its own."""


def content_key(**parts: Any) -> str:
    """A name for what `parts` (JSON values) determine: equal parts, equal key."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True, allow_nan=False).encode()).hexdigest()


@dataclass(frozen=True)
class Decoded:
    """A codec's output that was kept: its codes, the file of its audio and the hash of that audio's samples."""

    codes: Codes
    path: Path
    pcm: str


class Cache:
    """The cache in `folder`; with None, one that is in memory, keeps no audio and is gone with the process."""

    def __init__(self, folder: Path | None) -> None:
        self.folder = folder
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
        target = ":memory:" if folder is None else folder / "cache.sqlite"
        self._database = sqlite3.connect(target, timeout=WAIT)
        self._database.execute("PRAGMA journal_mode=WAL")
        self._database.execute("PRAGMA synchronous=NORMAL")
        self._database.executescript(SCHEMA)

    def __enter__(self) -> "Cache":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._database.close()

    def scores(self, keys: Sequence[str]) -> dict[str, tuple[float | None, str | None]]:
        """(value, reason) of those of `keys` that are known."""
        found: dict[str, tuple[float | None, str | None]] = {}
        for start in range(0, len(keys), CHUNK):
            part = keys[start : start + CHUNK]
            marks = ",".join("?" * len(part))
            rows = self._database.execute(f"SELECT key, value, reason FROM scores WHERE key IN ({marks})", part)
            found |= {key: (value, reason) for key, value, reason in rows}
        return found

    def keep_scores(self, scores: Mapping[str, tuple[float | None, str | None]]) -> None:
        self._write("scores", [(key, value, reason) for key, (value, reason) in scores.items()])

    def pcm_of(self, digests: Iterable[str]) -> dict[str, str]:
        """Hash of the samples by sha256 of the file, for those of `digests` that are known."""
        query = "SELECT pcm FROM files WHERE digest = ?"
        rows = ((digest, self._database.execute(query, (digest,)).fetchone()) for digest in digests)
        return {digest: row[0] for digest, row in rows if row}

    def keep_pcm(self, pcm_of: Mapping[str, str]) -> None:
        self._write("files", list(pcm_of.items()))

    def decoded(self, key: str) -> Decoded | None:
        """What was kept under `key`, if it is still all there."""
        row = self._database.execute("SELECT pcm, codes FROM decoded WHERE key = ?", (key,)).fetchone()
        if row is None or self.folder is None or not (path := self._audio_path(key)).is_file():
            return None
        return Decoded(_unpack(row[1]), path, row[0])

    def keep_decoded(self, key: str, codes: Codes, audio: Audio) -> None:
        """Keep a codec's output; the audio first, so that what the database names is there."""
        if self.folder is None:
            return
        path = self._audio_path(key)
        partial = path.with_name(f".{path.stem}-{uuid.uuid4().hex}.wav")
        try:
            write(partial, audio)
            os.replace(partial, path)
        finally:
            partial.unlink(missing_ok=True)
        self._write("decoded", [(key, audio.pcm_hash(), _pack(codes))])

    def features(self, key: str) -> NDArray[Any] | None:
        """Features that a model inferred from a reference; None where they are not in the cache."""
        row = self._database.execute("SELECT features FROM features WHERE key = ?", (key,)).fetchone()
        return None if row is None else np.load(io.BytesIO(row[0]), allow_pickle=False)

    def store_features(self, key: str, features: NDArray[Any]) -> None:
        buffer = io.BytesIO()
        np.save(buffer, features, allow_pickle=False)
        self._write("features", [(key, buffer.getvalue())])

    def info(self) -> dict[str, Any]:
        """Folder, number of entries and bytes on disk."""
        assert self.folder is not None
        tables = {"scores": "scores", "decoded utterances": "decoded", "features of references": "features"}
        counts = {
            label: self._database.execute(f"SELECT count(*) FROM {table}").fetchone()[0]
            for label, table in tables.items()
        }
        size = sum(path.stat().st_size for path in self.folder.rglob("*") if path.is_file())
        return {"folder": str(self.folder), **counts, "bytes": size}

    def clear(self) -> None:
        """Forget everything. A run that is under way goes on; it computes anew what it needs."""
        with self._database:
            for table in ("scores", "decoded", "features", "files"):
                self._database.execute(f"DELETE FROM {table}")
        self._database.execute("VACUUM")
        if self.folder is not None:
            shutil.rmtree(self.folder / "audio", ignore_errors=True)

    def _write(self, table: str, rows: Sequence[tuple[object, ...]]) -> None:
        if not rows:
            return
        marks = ", ".join("?" * len(rows[0]))
        try:
            with self._database:
                self._database.executemany(f"INSERT OR REPLACE INTO {table} VALUES ({marks})", rows)
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode == sqlite3.SQLITE_FULL:
                raise OSError(errno.ENOSPC, "no space left for the cache", str(self.folder)) from error
            raise

    def _audio_path(self, key: str) -> Path:
        assert self.folder is not None
        return self.folder / "audio" / key[:2] / f"{key}.wav"


def _pack(codes: Codes) -> bytes:
    """`codes` without its payload, which nothing reads again: its bits are what counts."""
    buffer = io.BytesIO()
    indices: dict[str, Any] = {} if codes.indices is None else {"indices": codes.indices}
    np.savez_compressed(
        buffer, length=codes.length, sizes=np.array(codes.codebook_sizes, np.int64), bits=codes.payload_bits, **indices
    )
    return buffer.getvalue()


def _unpack(packed: bytes) -> Codes:
    with np.load(io.BytesIO(packed), allow_pickle=False) as arrays:
        return Codes(
            length=int(arrays["length"]),
            indices=arrays.get("indices"),
            codebook_sizes=tuple(int(size) for size in arrays["sizes"]),
            payload_bits=int(arrays["bits"]),
        )
