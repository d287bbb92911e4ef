"""The paper's numbers (reports/published/*.yaml), each with its source and kind, and how rows correspond to them.

Every file has a `kind`, a `source` and `values`; a value names the system, the set and, by the paper's column names,
numbers. names.yaml says which codecs, datasets and metrics of a run mean the same. What no source states is absent.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

import yaml

if TYPE_CHECKING:
    from evalkit.results.run import Run

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


@dataclass(frozen=True, eq=False)
class Paper:
    """What a paper calls things, states and claims: the NanoCodec paper's here, any other's by papers.py."""

    title: str
    names: Mapping[str, Any]
    """systems, sets and metrics, as names.yaml has them."""
    published: tuple[Published, ...]
    """Every number of every source."""
    claims: tuple[Mapping[str, Any], ...]
    """As claims.yaml has them."""
    own: bool = False
    """Whether it is the NanoCodec paper, of whose claims benches answer some."""

    def system_of(self, codec: str) -> str | None:
        """The paper's system that a run's `codec` is, if it is one."""
        return next((key for key, about in self.names["systems"].items() if codec in about["rows"]), None)

    def row_names(self, runs: "Sequence[Run]") -> dict[str, str]:
        """For the codecs of `runs`, the names by which the paper may know them.

        A system is the paper's where its weights are, byte for byte, those of the release (or come from where it lies,
        if no sha256 of it is known), or where its audio came as rendered audio declared so. Other weights never go by a
        name of the paper, whatever their label.
        """
        known = {row for about in self.names["systems"].values() for row in about["rows"]}
        found: dict[str, str] = {}
        for run in runs:
            for codec, info in run.provenance.codecs.items():
                meant = (info.spec or codec).removesuffix(" (rendered)")
                name = meant if meant in known else codec
                if info.released is False:
                    name = f"{codec} (other weights)" if codec in known else codec
                found[codec] = codec if name in found.values() else name
        return found

    def place_of(self, dataset: str, loaded: bool = True) -> Place | None:
        """The paper's set that `dataset` is, or is a part of. Files that were given one by one are not `loaded`: they
        may be any part of the set whose name they have."""
        for key, about in self.names["sets"].items():
            caution = about.get("subsets", {}).get(dataset)
            if dataset in about["datasets"] and not loaded:
                caution = f"files given under the name {dataset}; which part of the dataset they are is not known"
            if dataset in about["datasets"] or caution:
                return Place(key, about["label"], about.get("n"), caution)
        return None

    def places_of(self, runs: "Sequence[Run]") -> dict[str, Place | None]:
        """For the datasets of `runs`, the paper's set that each is, or is a part of."""
        found = {}
        for run in runs:
            dataset, codecs = run.provenance.dataset, run.provenance.codecs.values()
            given = bool(codecs) and not dataset.revision and all(info.rendered for info in codecs)
            found[dataset.name] = self.place_of(dataset.name, loaded=not given)
        return found


@cache
def nanocodec_paper() -> Paper:
    """The NanoCodec paper, from the files of this folder and claims.yaml."""
    lines = yaml.safe_load(files("evalkit.reports").joinpath("claims.yaml").read_text(encoding="utf-8"))
    return Paper("the paper", names(), published(), tuple(lines), own=True)


@cache
def names() -> dict[str, Any]:
    """names.yaml: systems, sets and metrics."""
    return _read("names.yaml")


@cache
def published() -> tuple[Published, ...]:
    """Every number of every source, in the order of KINDS."""
    others = ("names.yaml", "field.yaml")  # which has another form: reports/field.py
    found = [number for path in _folder().iterdir() if path.name not in others for number in _numbers(path.name)]
    return tuple(sorted(found, key=lambda number: KINDS.index(number.kind)))


def system_of(codec: str) -> str | None:
    """As `Paper.system_of`, of the NanoCodec paper."""
    return nanocodec_paper().system_of(codec)


def paper_names(runs: "Sequence[Run]") -> dict[str, str]:
    """As `Paper.row_names`, of the NanoCodec paper."""
    return nanocodec_paper().row_names(runs)


def place_of(dataset: str, loaded: bool = True) -> Place | None:
    """As `Paper.place_of`, of the NanoCodec paper."""
    return nanocodec_paper().place_of(dataset, loaded)


def places_of(runs: "Sequence[Run]") -> dict[str, Place | None]:
    """As `Paper.places_of`, of the NanoCodec paper."""
    return nanocodec_paper().places_of(runs)


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
