"""The paper's numbers (reports/published/*.yaml), each with its source and kind, and how rows correspond to them.

Every file has a `kind`, a `source` and `values`; a value names the system, the set and, by the paper's column names,
numbers. names.yaml says which codecs, datasets and metrics of a run mean the same. What no source states is absent.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

import yaml

KINDS = ("seed", "model card", "demo page", "second-hand", "re-measured")
"""Kinds of sources, the most trusted first. "re-measured" are this project's own numbers, not the paper's."""


@dataclass(frozen=True)
class Published:
    """One number. `system`, `set` and `metric` are keys of names.yaml; `mode` a condition, where the source has one."""

    system: str
    set: str
    metric: str
    value: float
    kind: str
    source: str
    n: int | None = None
    mode: str | None = None


@dataclass(frozen=True)
class Place:
    """Where a dataset stands among the paper's sets; `caution` says what part of the set it is, if not all of it."""

    set: str
    label: str
    n: int | None
    caution: str | None = None


@cache
def names() -> dict[str, Any]:
    """names.yaml: systems, sets and metrics."""
    return _read("names.yaml")


@cache
def published() -> tuple[Published, ...]:
    """Every number of every source, in the order of KINDS."""
    found = [number for path in _folder().iterdir() if path.name != "names.yaml" for number in _numbers(path.name)]
    return tuple(sorted(found, key=lambda number: KINDS.index(number.kind)))


def system_of(codec: str) -> str | None:
    """The paper's system that a run's `codec` is, if it is one."""
    return next((key for key, about in names()["systems"].items() if codec in about["rows"]), None)


def place_of(dataset: str) -> Place | None:
    """The paper's set that `dataset` is, or is a part of."""
    for key, about in names()["sets"].items():
        caution = about.get("subsets", {}).get(dataset)
        if dataset in about["datasets"] or caution:
            return Place(key, about["label"], about.get("n"), caution)
    return None


def _numbers(file: str) -> Iterator[Published]:
    about = _read(file)
    columns = names()["metrics"]
    for line in about["values"]:
        unknown = set(line) - set(columns) - {"system", "set", "n", "mode"}
        if unknown or line["system"] not in names()["systems"] or line["set"] not in names()["sets"]:
            raise ValueError(f"reports/published/{file}: {line} has names that names.yaml does not know")
        for metric in columns:
            if metric in line:
                yield Published(
                    line["system"], line["set"], metric, float(line[metric]),
                    about["kind"], about["source"], line.get("n"), line.get("mode"),
                )  # fmt: skip


def _folder() -> Any:
    return files("evalkit.reports").joinpath("published")


def _read(file: str) -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load(_folder().joinpath(file).read_text(encoding="utf-8"))
    return content
