"""What codecs are measured on: named sets of utterances, whose audio is read only when it is needed."""

import inspect
import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from evalkit import plugins
from evalkit.datasets.base import Dataset, DatasetLoader, Utterance, read_manifest, require_sense
from evalkit.datasets.tables import read_list
from evalkit.environment.contained import opening
from evalkit.errors import MissingError, UsageError
from evalkit.files import expanded, nfc, shown

__all__ = [
    "Dataset",
    "DatasetLoader",
    "Selection",
    "Utterance",
    "load_dataset",
    "loader",
    "read_manifest",
    "usage_lines",
]


@dataclass(frozen=True)
class Selection:
    """Which utterances of a dataset to take, in the dataset's own order. What is drawn depends on the ids and the seed
    alone, not on the order of files."""

    limit: int | None = None
    """So many, drawn from all."""
    per_language: int | None = None
    """So many of each language; a language that has fewer gives all it has."""
    ids: Path | None = None
    """A text file with an id a line: exactly these."""
    seed: int = 0

    def of(self, dataset: Dataset) -> Dataset:
        """The part of `dataset` that it takes.

        Raises:
            UsageError: a listed id is not in `dataset`, or none is listed.
        """
        chosen = list(dataset.utterances)
        if self.ids is not None:
            path = expanded(self.ids)
            wanted = {nfc(id) for id in read_list(path)}
            if not wanted:
                raise UsageError(f"{shown(path)} holds no ids")
            absent = wanted - {nfc(u.id) for u in chosen}
            if absent:
                raise UsageError(
                    f"{shown(path)}: {len(absent)} of its {len(wanted)} ids are not in {dataset.name}, "
                    f"for instance {min(absent)!r}"
                )
            chosen = [u for u in chosen if nfc(u.id) in wanted]
        if self.per_language is not None:
            kept: set[str] = set()
            for language in dataset.languages:
                of_it = sorted(u.id for u in chosen if u.language == language)
                count = min(self.per_language, len(of_it))
                kept.update(random.Random(f"{self.seed}:{language}").sample(of_it, count))
            chosen = [u for u in chosen if u.id in kept]
        if self.limit is not None and self.limit < len(chosen):
            drawn = sorted(random.Random(self.seed).sample(range(len(chosen)), self.limit))
            chosen = [chosen[i] for i in drawn]
        return replace(dataset, utterances=tuple(chosen), selection=self.describe())

    def describe(self) -> dict[str, object]:
        """What was asked for, for the provenance of a run; empty where everything was."""
        asked = {"limit": self.limit, "per_language": self.per_language, "ids": self.ids and str(self.ids)}
        given: dict[str, object] = {name: value for name, value in asked.items() if value is not None}
        drawn = self.limit is not None or self.per_language is not None
        return given | {"seed": self.seed} if drawn else given


def loader(name: str) -> DatasetLoader:
    """The loader that is registered as `name`; a plain function will do for one.

    Raises:
        UsageError: there is none of that name.
        MissingError: the package behind it cannot be imported.
    """
    found: DatasetLoader | Callable[..., Dataset] = plugins.load("dataset", name)
    return found if isinstance(found, DatasetLoader) else DatasetLoader(name, found)


def usage_lines() -> list[str]:
    """A line for every kind of data: how it is named, and what it is."""
    lines = []
    for name in plugins.names("dataset"):
        try:
            one = loader(name)
            lines.append((one.usage or name, one.about))
        except MissingError as error:
            lines.append((name, str(error)))
    width = max(len(usage) for usage, _ in lines)
    return [f"{usage:{width}}  {about}" for usage, about in lines]


def load_dataset(
    spec: str,
    limit: int | None = None,
    seed: int = 0,
    *,
    per_language: int | None = None,
    ids: Path | None = None,
) -> Dataset:
    """The dataset that `spec` names, or a part of it.

    Args:
        spec: `NAME[:SOURCE][,OPTION=VALUE…]`, as `evalkit run --dataset` takes it.
        limit: So many utterances, drawn from all; None for all.
        seed: Of what is drawn.
        per_language: So many utterances of each language.
        ids: A text file with an id a line: exactly these.

    Raises:
        UsageError: An unknown name, option or id, or no utterances.
        MissingError: Its files are not on this machine.
    """
    name, source, options = plugins.split_spec(spec)
    load = loader(name).load
    arguments = () if source is None else (source,)
    try:
        inspect.signature(load).bind(*arguments, **options)
    except TypeError as error:
        raise UsageError(f"dataset {spec!r}: {error}. It takes {_takes(name, load)}.") from error
    with opening(f"dataset {spec!r} cannot be loaded"):
        dataset = require_sense(load(*arguments, **options))
    if not len(dataset):
        raise UsageError(f"dataset {spec!r} holds no utterances")
    return Selection(limit, per_language, ids, seed).of(dataset)


def _takes(name: str, load: Callable[..., Dataset]) -> str:
    parameters = inspect.signature(load).parameters.values()
    options = [f"{p.name.replace('_', '-')}=…" for p in parameters if p.kind is p.KEYWORD_ONLY]
    source = [f"{name}:SOURCE"] if any(p.kind is not p.KEYWORD_ONLY for p in parameters) else [f"{name} alone"]
    return ", ".join([*source, *options])
