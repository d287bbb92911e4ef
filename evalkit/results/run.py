"""A run that was read back."""

import json
import os
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from evalkit.audio import AudioIdentity
from evalkit.errors import UsageError
from evalkit.files import is_special, no_folder, read_bytes
from evalkit.results.pairing import Pairing
from evalkit.results.provenance import FORMAT, Provenance
from evalkit.results.rows import (
    CLEAN,
    CODES_SCHEMA,
    COLUMNS,
    KEYS,
    NULLABLE,
    NUMBERS,
    PAIRINGS_SCHEMA,
    UTTERANCES_SCHEMA,
    Coded,
    PairKey,
    coded_from,
    typed,
)
from evalkit.stats import summarize

FILES = ("run.json", "rows.jsonl", "rows.parquet", "codes.parquet", "utterances.parquet", "pairing.parquet")
"""Of a run directory, those that are read."""


@dataclass(frozen=True)
class Run:
    """The contents of a run directory."""

    path: Path
    rows: pd.DataFrame
    """One row per codec, utterance and metric: a value, or the reason why there is none."""
    provenance: Provenance

    def __post_init__(self) -> None:
        if isinstance(self.provenance, dict):
            object.__setattr__(self, "provenance", Provenance.from_json(self.provenance))

    @property
    def summary(self) -> pd.DataFrame:
        """Means with their n, n_failed and intervals."""
        return summarize(self.rows)

    @property
    def codes(self) -> pd.DataFrame:
        """What each codec transmitted, one row per utterance: bits and, for codecs with codebooks, indices [K, N]."""
        return pd.DataFrame([one.as_dict() | {"indices": one.codes.indices} for one in read_codes(self.path)])

    @property
    def pairing(self) -> pd.DataFrame:
        """The pairing check of each pair: lag, level and problems; empty if it was not checked."""
        return _side_table(self.path / "pairing.parquet", PAIRINGS_SCHEMA).to_pandas()

    @property
    def references(self) -> pd.DataFrame:
        """Duration, sampling rate and sha256 of the samples of each reference; empty for runs of earlier versions."""
        return _side_table(self.path / "utterances.parquet", UTTERANCES_SCHEMA).to_pandas()

    def __repr__(self) -> str:
        about = self.provenance
        what = f"{', '.join(about.codecs)} on {about.dataset.name}, {about.state}"
        return f"{type(self).__name__}({str(self.path)!r}: {what})"


def is_run(path: Path) -> bool:
    """Whether `path` is a run directory, finished or not."""
    return (path / "run.json").is_file()


def read_run(path: Path) -> Run:
    """The run in the directory `path`, finished or not.

    Raises:
        UsageError: There is none that can be read.
    """
    if not is_run(path):
        there = os.path.lexists(path)
        raise UsageError(f"{path} is not a run directory: it has no run.json" if there else no_folder(path))
    if special := [name for name in FILES if is_special(path / name)]:
        raise UsageError(f"{path} cannot be read as a run: {special[0]} is not a regular file. Run its command again.")
    reading = "run.json"
    try:
        about = json.loads((path / reading).read_text(encoding="utf-8"))
        if about.get("format", 0) > FORMAT:
            raise UsageError(f"{path} was written by a newer evalkit ({about.get('evalkit')}): update evalkit")
        provenance = Provenance.from_json(about)
        reading = "rows.jsonl" if (path / "rows.jsonl").is_file() else "rows.parquet"
        rows = _read_journal(path / reading) if reading == "rows.jsonl" else _valid(path / reading).to_pandas()
        if "condition" not in rows and "dataset" in rows:  # written by an earlier version
            rows.insert(list(rows.columns).index("dataset") + 1, "condition", pd.array([CLEAN] * len(rows), "string"))
        _check_rows(rows)
    except UsageError:
        raise
    except Exception as error:  # pandas, pyarrow and json have one each for every kind of damage
        raise _unreadable(path, error, reading) from error
    return Run(path, rows, provenance)


def _unreadable(path: Path, error: Exception, file: str = "") -> UsageError:
    """What is wrong with `file` of the run in `path`, or with `path` itself."""
    reason = (str(error).strip().splitlines() or [""])[0]
    said = f"{file}: {type(error).__name__}: {reason[:200]}".removeprefix(": ")
    return UsageError(f"{path} cannot be read as a run: {said}. Run its command again.")


def _check_rows(rows: pd.DataFrame) -> None:
    absent = [name for name in COLUMNS if name not in rows]
    if absent:
        raise ValueError(f"there is no column {', '.join(absent)}")
    for name in COLUMNS:
        numeric = pd.api.types.is_float_dtype(rows[name])
        if numeric != (name in NUMBERS) or not (numeric or pd.api.types.is_string_dtype(rows[name].dropna())):
            raise ValueError(f"the column {name} is of type {rows[name].dtype}")
    if rows[list(KEYS)].isna().any(axis=None):
        raise ValueError("there is a row without codec, dataset, utterance or metric")
    if rows.duplicated(list(KEYS)).any():
        raise ValueError("there are two rows for one codec, utterance and metric")
    if (rows["value"].isna() == rows["reason"].isna()).any() or np.isinf(rows["value"]).any():
        raise ValueError("there is a row with neither a value nor a reason, with both, or with an infinite value")


def _valid(path: Path) -> pa.Table:
    """The table in `path`, read whole: text that is no UTF-8 would show only where it is used."""
    table = pq.read_table(pa.BufferReader(read_bytes(path)))  # pyarrow takes no path that is not UTF-8
    table.validate(full=True)
    return table


def _side_table(path: Path, schema: pa.Schema) -> pa.Table:
    """The table in `path`, with the columns of `schema`; empty where there is no such file. Raises UsageError where it
    is damaged."""
    if not path.is_file():
        return schema.empty_table()
    try:
        table = _valid(path)
        if "condition" in schema.names and "condition" not in table.column_names:  # written by an earlier version
            table = table.append_column("condition", pa.array([CLEAN] * len(table), pa.string()))
        table = table.select(schema.names).cast(schema)
        for name in schema.names:
            if name not in NULLABLE and table[name].null_count:
                raise ValueError(f"there is a row without {name}")
        return table
    except Exception as error:  # as in `read_run`
        raise _unreadable(path, error) from error


def read_codes(path: Path) -> list[Coded]:
    """What codes.parquet of the run in `path` holds; nothing where there is no such file."""
    table = _side_table(path / "codes.parquet", CODES_SCHEMA)
    try:
        return [coded_from(record) for record in table.to_pylist()]
    except Exception as error:
        raise _unreadable(path / "codes.parquet", error) from error


def read_references(path: Path) -> dict[str, AudioIdentity]:
    """What utterances.parquet of the run in `path` holds, by utterance; nothing where there is no such file."""
    found = {}
    table = _side_table(path / "utterances.parquet", UTTERANCES_SCHEMA)
    try:
        for row in table.to_pylist():
            samples = round(row["seconds"] * row["sample_rate"])
            found[row["utterance"]] = AudioIdentity(row["pcm_sha256"], row["sample_rate"], samples)
    except Exception as error:
        raise _unreadable(path / "utterances.parquet", error) from error
    return found


def _read_journal(path: Path) -> pd.DataFrame:
    *lines, _ = path.read_bytes().split(b"\n")  # what follows the last end of a line was cut off with the run
    return typed([json.loads(line) for line in lines])


def read_pairings(path: Path) -> dict[PairKey, Pairing]:
    """What pairing.parquet of the run in `path` holds; nothing where there is no such file."""
    names = [item.name for item in fields(Pairing)]
    table = _side_table(path / "pairing.parquet", PAIRINGS_SCHEMA)
    try:
        return {
            (row["codec"], row["condition"], row["utterance"]): Pairing(
                **{name: row[name] for name in names} | {"polarity": int(row["polarity"])}
            )
            for row in table.to_pylist()
        }
    except Exception as error:
        raise _unreadable(path / "pairing.parquet", error) from error
