"""One run on many machines: `--shard i/n` does a part, `evalkit merge` joins the parts.

Parts are by utterance, and a merged run has the same rows.parquet, byte for byte, as one that did it all.
"""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from evalkit.errors import UsageError
from evalkit.pipeline.pooled import corpus_rows, pooled_rows
from evalkit.results.run_directory import CORPUS, Row, Run, RunWriter, read_codes, read_run, to_rows

Item = TypeVar("Item")

SAME = ("evalkit", "score_rate", "resampler", "metrics", "codecs", "dataset", "seed")
"""Parts of the provenance in which the shards of one run agree."""


@dataclass(frozen=True)
class Shard:
    """Part `index` of `count`, counted from 1."""

    index: int
    count: int

    def __str__(self) -> str:
        return f"{self.index}/{self.count}"

    def take(self, items: Sequence[Item], groups: Sequence[Hashable]) -> list[Item]:
        """The items of this part; items of one group (`groups` has one for each item) stay together."""
        number = {group: position for position, group in enumerate(dict.fromkeys(groups))}
        return [item for item, group in zip(items, groups, strict=True) if number[group] % self.count == self.index - 1]


def parse_shard(text: str) -> Shard:
    """The shard that `i/n` names; raises UsageError for anything else."""
    index, _, count = text.partition("/")
    if not (index.isdecimal() and count.isdecimal() and 1 <= int(index) <= int(count)):
        raise UsageError(f"--shard {text!r} is not i/n with i from 1 to n: write 1/4, 2/4, 3/4 and 4/4")
    return Shard(int(index), int(count))


def merge(paths: Sequence[Path], output: Path, overwrite: bool = False) -> list[Row]:
    """Join the shards of one run into `output`; the rows are returned as well.

    Raises UsageError where a shard did not finish, is missing or comes twice, or where they are of different runs.
    """
    runs = sorted((read_run(path) for path in paths), key=lambda run: _shard(run).index)
    _check(runs)
    first = runs[0].provenance
    coded = [one for run in runs for one in read_codes(run.path)]
    description = {key: value for key, value in first.items() if key not in ("shard", "state")}
    description["shards"] = [
        {key: run.provenance.get(key) for key in ("shard", "started", "platform", "processor", "git")} for run in runs
    ]
    description["notes"] = list(dict.fromkeys(note for run in runs for note in run.provenance.get("notes", ())))
    metrics = [name for name, about in first["metrics"].items() if "of" not in about]
    codecs, dataset = list(first["codecs"]), first["dataset"]["name"]
    with RunWriter(output, codecs, description, overwrite) as writer:
        for run in runs:
            writer.add(to_rows(run.rows[run.rows["utterance"] != CORPUS]))
        for one in coded:
            writer.add_codes(one)
        if coded:
            writer.add(corpus_rows(metrics, codecs, dataset, coded))
        writer.add(pooled_rows(metrics, codecs, dataset, writer.rows))
        return writer.rows


def _shard(run: Run) -> Shard:
    if "shard" not in run.provenance:
        raise UsageError(f"{run.path} is a whole run, not a shard of one (`--shard i/n`)")
    return parse_shard(run.provenance["shard"])


def _check(runs: Sequence[Run]) -> None:
    if not runs:
        raise UsageError("there is nothing to merge")
    first = runs[0]
    for run in runs:
        if run.provenance["state"] != "finished":
            raise UsageError(f"{run.path}: {run.provenance['state']}. Run its command again before you merge.")
        for part in SAME:
            if run.provenance.get(part) != first.provenance.get(part):
                raise UsageError(f"{first.path} and {run.path} are not shards of one run: they differ in {part!r}")
    count = _shard(first).count
    found = [_shard(run).index for run in runs]
    if {_shard(run).count for run in runs} != {count} or found != list(range(1, count + 1)):
        parts = ", ".join(run.provenance["shard"] for run in runs)
        raise UsageError(f"each shard from 1/{count} to {count}/{count} is needed once; given: {parts}")
