"""The run directory: rows, provenance, summary. Rows are the product; everything else reads them.

RUN/
  rows.parquet    one row a codec, utterance and metric (COLUMNS)
  summary.csv     means with n and n_failed
  run.json        provenance: versions, hashes, command, hardware, times
  codes.parquet   what codecs would transmit, utterance by utterance
  utterances.parquet  the references: duration, sampling rate and the hash of their samples
  audio/          decoded audio and the originals, where it was asked for: CODEC/UTTERANCE.wav, reference/UTTERANCE.wav
  errors.txt      the first traceback of each kind, where somebody else's code failed
  rows.jsonl      while the run goes on: every row as soon as it is known
"""

import errno
import hashlib
import json
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import TracebackType
from typing import IO, Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from evalkit.audio import AudioIdentity
from evalkit.codecs import Codes
from evalkit.errors import UsageError
from evalkit.results.lock import NAME as LOCK
from evalkit.results.lock import Lock
from evalkit.results.provenance import FORMAT, Provenance
from evalkit.stats import summarize
from nanocodec.atomic import replacing

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
NUMBERS = ("bitrate_kbps", "value")
"""Columns of numbers; the others are text."""
REFERENCE_FOLDER = "reference"
"""Of the originals, in RUN/audio."""
CORPUS = "*"
"""The `utterance` of rows about a whole dataset, such as the pooled bitrate."""


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
UTTERANCES_SCHEMA = pa.schema(
    [
        ("dataset", pa.string()),
        ("utterance", pa.string()),
        ("seconds", pa.float64()),
        ("sample_rate", pa.int64()),
        ("pcm_sha256", pa.string()),
    ]
)
"""Of utterances.parquet: the references that could be read."""


class RunWriter:
    """Writes a run directory; used in a `with` statement. Rows are on disk as soon as `add` returns, and whatever
    ends the block, what is finished stays there."""

    def __init__(
        self,
        path: Path,
        codecs: Sequence[str],
        provenance: Provenance | Mapping[str, Any],
        overwrite: bool = False,
    ) -> None:
        """`codecs` is the order of the rows; `provenance` may be what a run.json holds.

        Raises UsageError where `path` holds a finished run, unless `overwrite`, or something else than a run.
        """
        self.path = path
        self.codecs = codecs
        known = provenance if isinstance(provenance, Provenance) else Provenance.from_json(provenance)
        self.provenance = replace(known, state="running", format=FORMAT)
        self.rows: list[Row] = []
        self.coded: list[Coded] = []
        self._utterances: dict[str, AudioIdentity] = {}
        self._errors: set[str] = set()
        self._journal: IO[str] | None = None
        if is_run(path):
            if not overwrite and read_run(path).provenance.state == "finished":
                raise UsageError(f"{path} already holds a run: choose another --output, or add --overwrite")
        elif path.exists() and (not path.is_dir() or any(not _is_ours(entry) for entry in path.iterdir())):
            raise UsageError(f"{path} exists and is not a run directory: choose another --output")

    def __enter__(self) -> "RunWriter":
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            self._lock = Lock(self.path).__enter__()
            _remove_run(self.path)  # one that was cut off is begun again: the cache has what it had done
            self._write_provenance()
            self._journal = (self.path / "rows.jsonl").open("w", encoding="utf-8")
        except OSError as error:
            if error.errno == errno.ENOSPC:
                raise
            raise UsageError(f"{self.path} cannot be written: {error.strerror or error}") from error
        return self

    def add(self, rows: Iterable[Row]) -> None:
        """Record `rows`; they are on disk when this returns."""
        assert self._journal is not None
        for row in rows:
            self._journal.write(json.dumps(row.as_dict(), ensure_ascii=False, allow_nan=False) + "\n")
            self.rows.append(row)
        self._journal.flush()

    def add_codes(self, coded: Coded) -> None:
        """Record the codes of one utterance."""
        self.coded.append(coded)

    def add_utterances(self, references: Mapping[str, AudioIdentity]) -> None:
        """Record which audio stands behind the ids of utterances."""
        self._utterances |= references

    def add_error(self, kind: str, text: str) -> bool:
        """Keep the traceback `text` in errors.txt, if it is the first of its `kind`; whether it is."""
        if kind in self._errors:
            return False
        self._errors.add(kind)
        with (self.path / "errors.txt").open("a", encoding="utf-8", errors="backslashreplace") as file:
            file.write(f"{kind}\n{text.rstrip()}\n\n")
        return True

    def add_notes(self, notes: Iterable[str]) -> None:
        """Add sentences for readers to the provenance."""
        self.provenance = replace(self.provenance, notes=tuple(dict.fromkeys([*self.provenance.notes, *notes])))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._journal is not None
        try:
            self._journal.close()
            frame = to_frame(self.rows, self.codecs)
            _write(self.path / "rows.parquet", lambda target: frame.to_parquet(target, index=False))
            if self.coded:
                _write(self.path / "codes.parquet", lambda target: pq.write_table(_codes_table(self.coded), target))
            if self._utterances:
                table = _utterances_table(self.provenance.dataset.name, self._utterances)
                _write(self.path / "utterances.parquet", lambda target: pq.write_table(table, target))
            _write(self.path / "summary.csv", lambda target: summarize(frame).to_csv(target, index=False))
            state = "finished" if kind is None else f"stopped early ({kind.__name__})"
            dataset = replace(self.provenance.dataset, audio_sha256=_audio_hash(self._utterances))
            self.provenance = replace(self.provenance, state=state, dataset=dataset)
            self._write_provenance()
            (self.path / "rows.jsonl").unlink()
        finally:
            self._lock.__exit__(kind, error, trace)

    def _write_provenance(self) -> None:
        text = json.dumps(self.provenance.to_json(), indent=2, ensure_ascii=False, allow_nan=False) + "\n"
        _write(self.path / "run.json", lambda target: target.write_text(text, encoding="utf-8"))


@dataclass(frozen=True)
class Run:
    """A run directory that was read back."""

    path: Path
    rows: pd.DataFrame
    provenance: Provenance

    def __post_init__(self) -> None:
        if isinstance(self.provenance, dict):
            object.__setattr__(self, "provenance", Provenance.from_json(self.provenance))

    @property
    def references(self) -> pd.DataFrame:
        """utterances.parquet; empty for a run of an earlier version."""
        path = self.path / "utterances.parquet"
        return pd.read_parquet(path) if path.is_file() else UTTERANCES_SCHEMA.empty_table().to_pandas()


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
    """`name` as a file name: different names have different ones, on disks that ignore case as well. A name that is not
    plain, or long, is cut and ends in a hash of the whole."""
    plain = "".join(c if c.isascii() and (c.isalnum() or c in "-_.@") else "_" for c in name)
    if plain == name.lower() and len(name) <= LONGEST and not name.startswith(".") and not name.endswith("."):
        return name
    return f"{plain[:LONGEST].strip('.')}-{hashlib.sha256(name.encode(errors='surrogatepass')).hexdigest()[:10]}"


LONGEST = 100
"""Characters of a name that its file name keeps."""


def is_run(path: Path) -> bool:
    return (path / "run.json").is_file()


def read_run(path: Path) -> Run:
    """The run in `path`, finished or not; raises UsageError where there is none that can be read."""
    if not is_run(path):
        raise UsageError(f"{path} is not a run directory: it has no run.json")
    try:
        about = json.loads((path / "run.json").read_text(encoding="utf-8"))
        if about.get("format", 0) > FORMAT:
            raise UsageError(f"{path} was written by a newer evalkit ({about.get('evalkit')}): update evalkit")
        provenance = Provenance.from_json(about)
        journal = path / "rows.jsonl"
        rows = _read_journal(journal) if journal.is_file() else pd.read_parquet(path / "rows.parquet")
        _check_rows(rows)
    except UsageError:
        raise
    except Exception as error:  # pandas, pyarrow and json have one each for every kind of damage
        reason = str(error).strip().splitlines()[0:1] or [""]
        raise UsageError(
            f"{path} cannot be read as a run: {type(error).__name__}: {reason[0][:200]}. Run its command again."
        ) from error
    return Run(path, rows, provenance)


def _check_rows(rows: pd.DataFrame) -> None:
    absent = [name for name in COLUMNS if name not in rows]
    if absent:
        raise ValueError(f"rows.parquet has no column {', '.join(absent)}")
    for name in COLUMNS:
        numeric = pd.api.types.is_float_dtype(rows[name])
        if numeric != (name in NUMBERS):
            raise ValueError(f"rows.parquet: the column {name} is of type {rows[name].dtype}")


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
    types = {name: "float64" if name in NUMBERS else "string" for name in columns}
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


def _utterances_table(dataset: str, references: Mapping[str, AudioIdentity]) -> pa.Table:
    rows = [
        {
            "dataset": dataset,
            "utterance": utterance,
            "seconds": identity.seconds,
            "sample_rate": identity.sample_rate,
            "pcm_sha256": identity.pcm,
        }
        for utterance, identity in sorted(references.items())
    ]
    return pa.Table.from_pylist(rows, schema=UTTERANCES_SCHEMA)


def read_references(path: Path) -> dict[str, AudioIdentity]:
    """What utterances.parquet of the run in `path` holds, by utterance; nothing where there is no such file."""
    if not (path / "utterances.parquet").is_file():
        return {}
    found = {}
    for row in pq.read_table(path / "utterances.parquet").to_pylist():
        samples = round(row["seconds"] * row["sample_rate"])
        found[row["utterance"]] = AudioIdentity(row["pcm_sha256"], row["sample_rate"], samples)
    return found


def _audio_hash(references: Mapping[str, AudioIdentity]) -> str:
    """sha256 over the ids and samples of all references that could be read; the order does not matter."""
    digest = hashlib.sha256()
    for utterance, identity in sorted(references.items()):
        digest.update(f"{len(utterance)}:{utterance}:{identity.pcm}\n".encode(errors="surrogatepass"))
    return digest.hexdigest() if references else ""


def _read_journal(path: Path) -> pd.DataFrame:
    records = []
    with path.open(encoding="utf-8", newline="\n") as file:
        for line in file:
            try:
                records.append(json.loads(line))
            except ValueError:  # the line that was being written when the run was killed
                break
    return _typed(records)


def _write(path: Path, write: Callable[[Path], object]) -> None:
    with replacing(path) as partial:
        write(partial)


FILES = ("rows.parquet", "codes.parquet", "utterances.parquet", "rows.jsonl", "summary.csv", "errors.txt", "run.json")


def _is_ours(path: Path) -> bool:
    """Whether a run that was cut off at its very start may have left `path`."""
    return path.name in (LOCK, *FILES) or _is_partial(path)


def _is_partial(path: Path) -> bool:
    """Whether `nanocodec.atomic.replacing` left `path` when its process was killed."""
    return any(path.match(f".{Path(name).stem}-{'[0-9a-f]' * 32}{Path(name).suffix}") for name in FILES)


def _remove_run(path: Path) -> None:
    for name in FILES:
        (path / name).unlink(missing_ok=True)
    for entry in path.iterdir():
        if _is_partial(entry):
            entry.unlink(missing_ok=True)
    shutil.rmtree(path / "audio", ignore_errors=True)
