"""The run directory: rows, provenance, summary. Rows are the product; everything else reads them.

RUN/
  rows.parquet    one row a codec, utterance and metric (COLUMNS)
  summary.csv     means with n and n_failed
  run.json        provenance: versions, hashes, command, hardware, times
  audio/          decoded audio and the originals, where it was asked for: CODEC/UTTERANCE.wav, reference/UTTERANCE.wav
  rows.jsonl      while the run goes on: every row as soon as it is known
"""

import json
import os
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import IO, Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from evalkit.codecs import Codes
from evalkit.errors import UsageError
from evalkit.stats import summarize

COLUMNS = (
    "codec",
    "bitrate_kbps",
    "dataset",
    "utterance",
    "language",
    "speaker",
    "metric",
    "value",
    "reason",
)
REFERENCE_FOLDER = "reference"
"""Of the originals, in RUN/audio."""
CORPUS = "*"
"""The `utterance` of rows about a whole dataset, such as the pooled bitrate."""

FORMAT = 1
"""Of the run directory; readers refuse a newer one."""


@dataclass(frozen=True)
class Row:
    """One answer of one metric. `value` is null exactly where `reason` is not."""

    codec: str
    dataset: str
    utterance: str
    metric: str
    value: float | None
    reason: str | None = None
    bitrate_kbps: float | None = None
    language: str | None = None
    speaker: str | None = None
    extra: Mapping[str, str] = field(default_factory=dict)
    """Further columns that a manifest brought along."""

    def __post_init__(self) -> None:
        if (self.value is None) == (self.reason is None):
            raise ValueError(f"a row has either a value or a reason: {self}")

    def as_dict(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in COLUMNS} | dict(self.extra)


@dataclass(frozen=True)
class Coded:
    """The codes of one utterance and its duration."""

    codec: str
    dataset: str
    utterance: str
    seconds: float
    codes: Codes

    def as_dict(self) -> dict[str, Any]:
        codes = self.codes
        return {
            "codec": self.codec,
            "dataset": self.dataset,
            "utterance": self.utterance,
            "seconds": self.seconds,
            "bits": codes.bits,
            "length": codes.length,
            "codebook_sizes": list(codes.codebook_sizes),
            "indices": None if codes.indices is None else codes.indices.reshape(-1).tolist(),
        }


CODES_SCHEMA = pa.schema(
    [
        ("codec", pa.string()),
        ("dataset", pa.string()),
        ("utterance", pa.string()),
        ("seconds", pa.float64()),
        ("bits", pa.float64()),
        ("length", pa.int64()),
        ("codebook_sizes", pa.list_(pa.int32())),
        ("indices", pa.list_(pa.int32())),
    ]
)
"""Of codes.parquet; `indices` is the [K, N] array row by row, null for bitstreams without codebooks."""


class RunWriter:
    """Writes a run directory; used in a `with` statement. Rows are on disk as soon as `add` returns, and whatever
    ends the block, what is finished stays there."""

    def __init__(
        self, path: Path, codecs: Sequence[str], provenance: Mapping[str, Any], overwrite: bool = False
    ) -> None:
        self.path = path
        self.codecs = codecs
        self.provenance = dict(provenance) | {"format": FORMAT, "state": "running"}
        self._rows: list[Row] = []
        self._coded: list[Coded] = []
        self._journal: IO[str] | None = None
        if is_run(path):
            if not overwrite and read_run(path).provenance["state"] == "finished":
                raise UsageError(f"{path} already holds a run: choose another --output, or add --overwrite")
            _remove_run(path)  # one that was cut off is begun again: the cache has what it had done
        elif path.exists() and (not path.is_dir() or any(path.iterdir())):
            raise UsageError(f"{path} exists and is not a run directory: choose another --output")

    def __enter__(self) -> "RunWriter":
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            self._write_provenance()
            self._journal = (self.path / "rows.jsonl").open("w", encoding="utf-8")
        except OSError as error:
            raise UsageError(f"{self.path} cannot be written: {error.strerror or error}") from error
        return self

    def add(self, rows: Iterable[Row]) -> None:
        assert self._journal is not None
        for row in rows:
            self._journal.write(json.dumps(row.as_dict(), ensure_ascii=False, allow_nan=False) + "\n")
            self._rows.append(row)
        self._journal.flush()

    def add_codes(self, coded: Coded) -> None:
        self._coded.append(coded)

    @property
    def rows(self) -> list[Row]:
        return self._rows

    @property
    def coded(self) -> list[Coded]:
        return self._coded

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._journal is not None
        self._journal.close()
        frame = to_frame(self._rows, self.codecs)
        _replace(self.path / "rows.parquet", lambda target: frame.to_parquet(target, index=False))
        if self._coded:
            _replace(self.path / "codes.parquet", lambda target: pq.write_table(_codes_table(self._coded), target))
        _replace(self.path / "summary.csv", lambda target: summarize(frame).to_csv(target, index=False))
        self.provenance["state"] = "finished" if kind is None else f"stopped early ({kind.__name__})"
        self._write_provenance()
        (self.path / "rows.jsonl").unlink()

    def _write_provenance(self) -> None:
        text = json.dumps(self.provenance, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
        _replace(self.path / "run.json", lambda target: target.write_text(text, encoding="utf-8"))


@dataclass(frozen=True)
class Run:
    """A run directory that was read back."""

    path: Path
    rows: pd.DataFrame
    provenance: dict[str, Any]


def to_rows(frame: pd.DataFrame) -> list[Row]:
    """The rows that `frame` holds, as they were before `to_frame`."""
    own = [name for name in COLUMNS if name in frame.columns]
    rows = []
    for record in frame.astype(object).where(frame.notna(), None).to_dict("records"):
        extra = {str(name): value for name, value in record.items() if name not in COLUMNS}
        rows.append(Row(**{name: record[name] for name in own}, extra=extra))
    return rows


def failed_utterances(rows: Iterable[Row]) -> dict[str, dict[str, str]]:
    """Per codec, the utterances with a metric that has no value, and the first reason. Codecs without any are left
    out, and so are rows about a whole dataset."""
    failed: dict[str, dict[str, str]] = {}
    for row in rows:
        if row.reason is not None and row.utterance != CORPUS:
            failed.setdefault(row.codec, {}).setdefault(row.utterance, f"{row.metric}: {row.reason}")
    return failed


def slug(name: str) -> str:
    """`name` as a file name."""
    return "".join(c if c.isalnum() or c in "-_.@" else "_" for c in name)


def is_run(path: Path) -> bool:
    return (path / "run.json").is_file()


def read_run(path: Path) -> Run:
    """The run in `path`, finished or not; raises UsageError where there is none that can be read."""
    if not is_run(path):
        raise UsageError(f"{path} is not a run directory: it has no run.json")
    try:
        provenance = json.loads((path / "run.json").read_text(encoding="utf-8"))
        if provenance.get("format", 0) > FORMAT:
            raise UsageError(f"{path} was written by a newer evalkit ({provenance.get('evalkit')}): update evalkit")
        journal = path / "rows.jsonl"
        rows = _read_journal(journal) if journal.is_file() else pd.read_parquet(path / "rows.parquet")
    except (ValueError, OSError) as error:
        raise UsageError(f"{path} cannot be read as a run: {error}") from error
    return Run(path, rows, provenance)


def to_frame(rows: Iterable[Row], codecs: Sequence[str]) -> pd.DataFrame:
    """Rows as a table with COLUMNS first, codecs in the order given and the rest sorted, so that the same rows give
    the same file in whatever order they came."""
    frame = _typed([row.as_dict() for row in rows])
    order = {codec: position for position, codec in enumerate(codecs)}
    return frame.sort_values(
        ["codec", "dataset", "utterance", "metric"],
        key=lambda column: column.map(order) if column.name == "codec" else column,
        kind="stable",
        ignore_index=True,
    )


def _typed(records: list[dict[str, Any]]) -> pd.DataFrame:
    columns = list(dict.fromkeys([*COLUMNS, *(name for record in records for name in record)]))
    numbers = ("bitrate_kbps", "value")
    types = {name: "float64" if name in numbers else "string" for name in columns}
    return pd.DataFrame.from_records(records, columns=columns).astype(types)


def _codes_table(coded: Iterable[Coded]) -> pa.Table:
    ordered = sorted(coded, key=lambda one: (one.codec, one.dataset, one.utterance))
    return pa.Table.from_pylist([one.as_dict() for one in ordered], schema=CODES_SCHEMA)


def read_codes(path: Path) -> list[Coded]:
    """What codes.parquet of the run in `path` holds; nothing where there is no such file."""
    if not (path / "codes.parquet").is_file():
        return []
    return [_coded(record) for record in pq.read_table(path / "codes.parquet").to_pylist()]


def _coded(record: dict[str, Any]) -> Coded:
    sizes, flat = tuple(record["codebook_sizes"]), record["indices"]
    codes = (
        Codes(record["length"], payload_bits=int(record["bits"]))
        if flat is None
        else Codes(record["length"], np.array(flat, np.int64).reshape(len(sizes), -1), sizes)
    )
    return Coded(record["codec"], record["dataset"], record["utterance"], record["seconds"], codes)


def _read_journal(path: Path) -> pd.DataFrame:
    records = []
    for line in path.read_text(encoding="utf-8").split("\n"):  # not splitlines: U+2028 ends no line
        try:
            records.append(json.loads(line))
        except ValueError:  # the line that was being written when the run was killed
            break
    return _typed(records)


def _replace(path: Path, write: Callable[[Path], object]) -> None:
    """Write beside `path` and rename, so that a reader never sees half a file."""
    partial = path.with_name(path.name + ".partial")
    write(partial)
    os.replace(partial, path)


def _remove_run(path: Path) -> None:
    for name in ("rows.parquet", "codes.parquet", "rows.jsonl", "summary.csv", "run.json"):
        (path / name).unlink(missing_ok=True)
    shutil.rmtree(path / "audio", ignore_errors=True)
