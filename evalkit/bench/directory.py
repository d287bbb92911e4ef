"""The bench directory: `bench.parquet`, one row a measured or counted number, and `bench.json`, where they come from.

Whatever was timed has a row for each round, so that ratios of two codecs can be paired by round; what is counted has
one. Medians and intervals are the readers'.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from io import BytesIO
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

import pandas as pd

from evalkit.errors import UsageError, describe
from evalkit.files import read_bytes
from nanocodec.atomic import replacing

Kind = Literal["counted", "measured", "simulated", "analytic", "declared"]
Stage = Literal["encode", "decode", "both", "lm"]

FORMAT = 1
"""Of the bench directory; readers refuse a newer one."""
ROWS, ABOUT = "bench.parquet", "bench.json"
MACHINE = "*"
"""The `codec` of rows about the machine, such as the calibration kernel's."""
LEVELS = {"0": 0.0, "0.1%": 1e-3, "1%": 1e-2}
"""At which lookahead is measured, by the word in settings: parts of the peak; changes that are smaller do not count."""
WHOLE = "the whole utterance"
"""The reason of a lookahead that has no number because it is unbounded."""


@dataclass(frozen=True)
class Quantity:
    """What a number says. `unit` names its convention."""

    label: str
    unit: str
    decimals: int
    per_round: bool = False


QUANTITIES: Mapping[str, Quantity] = {
    "parameters": Quantity("parameters used", "", 0),
    "gmac": Quantity("GMAC/s", "10^9 multiply-accumulates / s of audio", 2),
    "rtf": Quantity("RTF", "s of processing / s of audio", 3, True),
    "cpu": Quantity("CPU", "CPU s / s of audio", 3, True),
    "energy": Quantity("energy", "J / s of audio", 2, True),
    "memory": Quantity("peak memory", "MB", 0),
    "memory-loaded": Quantity("memory when loaded", "MB", 0),
    "startup": Quantity("start-up", "s from process start to a loaded codec", 2),
    "first-call": Quantity("first call", "s", 2),
    "frame": Quantity("frame", "samples", 0),
    "lookahead": Quantity("lookahead", "samples", 0),
    "reach": Quantity("reach into the past", "samples", 0),
    "latency": Quantity("algorithmic latency", "ms", 1),
    "first-packet": Quantity("first packet", "ms", 1, True),
    "packet": Quantity("later packets, median", "ms", 1, True),
    "packet-p95": Quantity("later packets, 95th percentile", "ms", 1, True),
    "deadline-misses": Quantity("packets that took longer than their audio", "share", 3, True),
    "ttfa": Quantity("time to first audio", "s", 3, True),
    "steps": Quantity("LM steps", "1 / s", 1, True),
    "share": Quantity("share", "of the time", 3, True),
    "calibration": Quantity("calibration kernel", "s", 4, True),
}


@dataclass(frozen=True)
class Measurement:
    """One number, or the reason why there is none. `setting` holds whatever else it depends on."""

    codec: str
    stage: Stage
    quantity: str
    value: float | None
    kind: Kind
    reason: str | None = None
    setting: str = ""
    """`KEY=VALUE` pairs between spaces, in the order of the keys: see `setting`."""
    weights: str = ""
    """"own" or "random"; "" where there are none."""
    batch: int = 1
    round: int | None = None

    def __post_init__(self) -> None:
        if (self.value is None) == (self.reason is None):
            raise ValueError(f"a measurement has either a value or a reason: {self}")
        if self.quantity not in QUANTITIES:
            raise ValueError(f"unknown quantity: {self}")


def setting(**values: object) -> str:
    """`KEY=VALUE` pairs for a Measurement."""
    return " ".join(f"{key}={values[key]}" for key in sorted(values))


def read_setting(text: str) -> dict[str, str]:
    """What `setting` was made of."""
    return dict(pair.split("=", 1) for pair in text.split())


@dataclass(frozen=True)
class Bench:
    """A bench directory that was read back."""

    path: Path
    rows: pd.DataFrame
    provenance: dict[str, Any]


class BenchWriter:
    """Writes a bench directory; used in a `with` statement. Whatever ends the block, what was measured is kept."""

    def __init__(self, path: Path, provenance: Mapping[str, Any], overwrite: bool = False) -> None:
        """Raises UsageError where `path` holds something that must not be replaced."""
        self.path = path
        self.provenance = dict(provenance) | {"format": FORMAT, "state": "running", "notes": []}
        self.rows: list[Measurement] = []
        if is_bench(path):
            if not overwrite and read_bench(path).provenance["state"] == "finished":
                raise UsageError(f"{path} already holds a bench: choose another --output, or add --overwrite")
            (path / ROWS).unlink(missing_ok=True)
        elif path.exists() and (not path.is_dir() or any(path.iterdir())):
            raise UsageError(f"{path} exists and is not a bench directory: choose another --output")

    def __enter__(self) -> "BenchWriter":
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            self._write()
        except OSError as error:
            raise UsageError(f"{self.path} cannot be written: {error.strerror or error}") from error
        return self

    def add(self, rows: Iterable[Measurement]) -> None:
        """Keep `rows`."""
        self.rows += rows

    def note(self, text: str) -> None:
        """Keep a word to the reader, once."""
        if text not in self.provenance["notes"]:
            self.provenance["notes"].append(text)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.provenance["state"] = "finished" if kind is None else f"stopped early ({kind.__name__})"
        self._write()

    def _write(self) -> None:
        with replacing(self.path / ROWS) as rows:
            rows.write_bytes(to_frame(self.rows).to_parquet(index=False))
        with replacing(self.path / ABOUT) as about:
            text = json.dumps(self.provenance, indent=2, ensure_ascii=False, allow_nan=False)
            about.write_text(text + "\n", encoding="utf-8")


def to_frame(rows: Iterable[Measurement]) -> pd.DataFrame:
    """Rows as a table.

    Args:
        rows: Numbers, with or without a reason.

    Returns:
        A line for each, with its quantity's unit beside it.
    """
    records = [asdict(row) | {"unit": QUANTITIES[row.quantity].unit} for row in rows]
    columns = [*Measurement.__dataclass_fields__, "unit"]
    types = {"value": "float64", "batch": "int64", "round": "Int64"}
    return pd.DataFrame.from_records(records, columns=columns).astype(
        {name: types.get(name, "string") for name in columns}
    )


def is_bench(path: Path) -> bool:
    """Whether `path` is a bench directory, finished or not."""
    return (path / ABOUT).is_file()


def read_bench(path: Path) -> Bench:
    """Read a bench.

    Args:
        path: Its directory.

    Returns:
        Its rows and provenance.

    Raises:
        UsageError: There is none that can be read.
    """
    if not is_bench(path):
        raise UsageError(f"{path} is not a bench directory: it has no {ABOUT}")
    try:
        provenance = json.loads(read_bytes(path / ABOUT))
        if provenance.get("format", 0) > FORMAT:
            raise UsageError(f"{path} was written by a newer evalkit ({provenance.get('evalkit')}): update evalkit")
        rows = pd.read_parquet(BytesIO(read_bytes(path / ROWS)))
        if absent := [item.name for item in fields(Measurement) if item.name not in rows]:
            raise ValueError(f"{ROWS} has no column {', '.join(absent)}")
    except UsageError:
        raise
    except Exception as error:  # as for a run: pandas, pyarrow and json have one each for every kind of damage
        raise UsageError(f"{path} cannot be read as a bench: {describe(error)}") from error
    return Bench(path, rows, provenance)
