"""Rows: what a run measured. Everything that reads a run reads these."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from evalkit.audio import AudioIdentity
from evalkit.codecs import Codes
from evalkit.results.pairing import Pairing

COLUMNS = (
    "codec",
    "bitrate_kbps",
    "dataset",
    "condition",
    "utterance",
    "language",
    "speaker",
    "metric",
    "value",
    "reason",
)
NUMBERS = ("bitrate_kbps", "value")
"""Columns of numbers; the others are text."""
CLEAN = "clean"
"""The `condition` of rows for which nothing was done to audio, codes or codec."""
KEYS = ("codec", "dataset", "condition", "utterance", "metric")
"""Columns that together name a row."""
CORPUS = "*"
"""The `utterance` of rows about a whole dataset, such as the pooled bitrate."""


PairKey = tuple[str, str, str]
"""Codec, condition and utterance of a pair."""


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
    condition: str = CLEAN
    """What was done to audio, codes or codec (evalkit/conditions)."""

    def __post_init__(self) -> None:
        if (self.value is None) == (self.reason is None):
            raise ValueError(f"a row has either a value or a reason: {self}")

    def as_dict(self) -> dict[str, Any]:
        """A record of rows.parquet."""
        return {name: getattr(self, name) for name in COLUMNS} | dict(self.extra)


@dataclass(frozen=True)
class Coded:
    """The codes of one utterance and its duration."""

    codec: str
    dataset: str
    utterance: str
    seconds: float
    codes: Codes
    condition: str = CLEAN

    def as_dict(self) -> dict[str, Any]:
        """A record of codes.parquet."""
        codes = self.codes
        return {
            "codec": self.codec,
            "dataset": self.dataset,
            "condition": self.condition,
            "utterance": self.utterance,
            "seconds": self.seconds,
            "bits": None if codes.latents is not None else codes.bits,
            "extra_bits": codes.extra_bits,
            "latents": None if codes.latents is None else codes.latents.shape[0],
            "length": codes.length,
            "codebook_sizes": list(codes.codebook_sizes),
            "indices": None if codes.indices is None else codes.indices.reshape(-1).tolist(),
        }


CODES_SCHEMA = pa.schema(
    [
        ("codec", pa.string()),
        ("dataset", pa.string()),
        ("condition", pa.string()),
        ("utterance", pa.string()),
        ("seconds", pa.float64()),
        ("bits", pa.float64()),
        ("extra_bits", pa.int64()),
        ("latents", pa.int32()),
        ("length", pa.int64()),
        ("codebook_sizes", pa.list_(pa.int32())),
        ("indices", pa.list_(pa.int32())),
    ]
)
"""Of codes.parquet; `indices` is the [K, N] array row by row, null for bitstreams without codebooks. `bits` holds those
of the side information, `extra_bits`; it is null for continuous codecs, whose `latents` are so many numbers a frame."""
PAIRINGS_SCHEMA = pa.schema(
    [(name, pa.string()) for name in ("codec", "dataset", "condition", "utterance")]
    + [(name, pa.float64()) for name in ("lag_ms", "polarity", "gain_db", "correlation", "envelope_correlation")]
    + [(name, pa.float64()) for name in ("clipped", "peak", "bandwidth_hz", "reference_bandwidth_hz")]
    + [("problems", pa.string())]
)
"""Of pairing.parquet: the fields of Pairing, and what they say is wrong; "" for nothing."""
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
NULLABLE = (
    "bits", "extra_bits", "latents", "indices", "lag_ms", "gain_db", "correlation", "envelope_correlation",
)  # fmt: skip
"""Columns of these tables that need no value."""


def to_frame(rows: Iterable[Row], codecs: Sequence[str], conditions: Sequence[str] = ()) -> pd.DataFrame:
    """Rows as a table with COLUMNS first, codecs and conditions in the order given and the rest sorted, so that the
    same rows give the same file in whatever order they came."""
    frame = typed([row.as_dict() for row in rows])
    orders = {
        "codec": {codec: position for position, codec in enumerate(codecs)},
        "condition": {name: position for position, name in enumerate(conditions or sorted(set(frame["condition"])))},
    }
    return frame.sort_values(
        list(KEYS),
        key=lambda column: column.map(orders[str(column.name)]) if column.name in orders else column,
        kind="stable",
        ignore_index=True,
    )


def to_rows(frame: pd.DataFrame) -> list[Row]:
    """The rows that `frame` holds, as they were before `to_frame`."""
    own = [name for name in COLUMNS if name in frame.columns]
    rows = []
    for record in frame.astype(object).where(frame.notna(), None).to_dict("records"):
        extra = {str(name): value for name, value in record.items() if name not in COLUMNS}
        rows.append(Row(**{name: record[name] for name in own}, extra=extra))
    return rows


def with_condition(name: str, condition: str) -> str:
    """`name`, of a codec or a dataset, with the condition that it was measured under."""
    return name if condition == CLEAN else f"{name} ({condition})"


def by_condition(rows: pd.DataFrame, column: str) -> pd.DataFrame:
    """`rows` with the condition, where it is not clean, in the names of `column`, as `with_condition` writes it."""
    changed = rows["condition"] != CLEAN
    if not changed.any():
        return rows
    return rows.assign(**{column: rows[column].mask(changed, rows[column] + " (" + rows["condition"] + ")")})


def failed_utterances(rows: Iterable[Row]) -> dict[str, dict[str, str]]:
    """Per codec and condition, the utterances with a metric that has no value, and the first reason. What has none is
    left out, and so are rows about a whole dataset."""
    failed: dict[str, dict[str, str]] = {}
    for row in rows:
        if row.reason is not None and row.utterance != CORPUS:
            failed.setdefault(with_condition(row.codec, row.condition), {}).setdefault(
                row.utterance, f"{row.metric}: {row.reason}"
            )
    return failed


def typed(records: list[dict[str, Any]]) -> pd.DataFrame:
    """Records of rows as a DataFrame with the columns and types of rows.parquet."""
    columns = list(dict.fromkeys([*COLUMNS, *(name for record in records for name in record)]))
    types = {name: "float64" if name in NUMBERS else "string" for name in columns}
    return pd.DataFrame.from_records(records, columns=columns).astype(types)


def codes_table(coded: Iterable[Coded]) -> pa.Table:
    """Codes as codes.parquet holds them, in an order of their own."""
    ordered = sorted(coded, key=lambda one: (one.codec, one.dataset, one.condition, one.utterance))
    return pa.Table.from_pylist([one.as_dict() for one in ordered], schema=CODES_SCHEMA)


def coded_from(record: dict[str, Any]) -> Coded:
    """The codes in a record of codes.parquet, as far as it keeps them."""
    sizes, flat = tuple(record["codebook_sizes"]), record["indices"]
    length, extra = record["length"], record.get("extra_bits") or 0
    if (width := record.get("latents")) is not None:
        codes = Codes(length, latents=np.zeros((width, 0), np.float32), extra_bits=extra)  # their values are not kept
    elif flat is None:
        codes = Codes(length, payload_bits=int(record["bits"]) - extra, extra_bits=extra)
    else:
        codes = Codes(length, np.array(flat, np.int64).reshape(len(sizes), -1), sizes, extra_bits=extra)
    condition = record.get("condition", CLEAN)  # older runs have none
    return Coded(record["codec"], record["dataset"], record["utterance"], record["seconds"], codes, condition)


def references_table(dataset: str, references: Mapping[str, AudioIdentity]) -> pa.Table:
    """What names the references, as utterances.parquet holds it.

    Args:
        dataset: Its name.
        references: By utterance.

    Returns:
        The table, sorted by utterance.
    """
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


def pairings_table(dataset: str, pairings: Mapping[PairKey, Pairing]) -> pa.Table:
    """Of pairing.parquet."""
    return pa.Table.from_pylist(
        [
            {"codec": codec, "dataset": dataset, "condition": condition, "utterance": utterance, **one.as_dict()}
            | {"problems": "; ".join(one.problems())}
            for (codec, condition, utterance), one in sorted(pairings.items())
        ],
        schema=PAIRINGS_SCHEMA,
    )


def with_problems(rows: Sequence[Row], pairings: Mapping[PairKey, Pairing]) -> list[Row]:
    """`rows`, where decoded audio does not seem to belong to its reference with a column `pairing` that says why."""
    said = {key: "; ".join(found) for key, one in pairings.items() if (found := one.problems())}
    return [
        replace(row, extra={**row.extra, "pairing": said[key]})
        if (key := (row.codec, row.condition, row.utterance)) in said
        else row
        for row in rows
    ]
