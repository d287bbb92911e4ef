"""One run on many machines: `--shard i/n` does a part, `evalkit merge` joins the parts.

Parts are by utterance, and a merged run has the same rows.parquet, byte for byte, as one that did it all.
"""

from collections.abc import Mapping, Sequence, Set
from dataclasses import replace
from pathlib import Path

import pandas as pd

from evalkit.errors import UsageError
from evalkit.pipeline.pooled import corpus_rows, pooled_rows
from evalkit.pipeline.shard import Shard, parse_shard
from evalkit.results.provenance import CodecInfo, DatasetInfo
from evalkit.results.rows import CLEAN, CORPUS, Coded, Row, to_rows, with_condition
from evalkit.results.run import Run, read_codes, read_pairings, read_references, read_run
from evalkit.results.run_directory import RunWriter

SAME = (
    "evalkit",
    "score_rate",
    "resampler",
    "metrics",
    "codecs",
    "dataset",
    "conditions",
    "seed",
    "device",
    "batch",
    "align",
)
"""Parts of the provenance in which the shards of one run agree."""

PARTICULAR = ("shard", "started", "platform", "processor", "git")
"""Parts in which they need not."""


_UTTERANCE = ["codec", "condition", "utterance"]
"""Columns that tell what was scored."""


def merge(paths: Sequence[Path], output: Path, overwrite: bool = False) -> list[Row]:
    """Join the shards of one run.

    Args:
        paths: Their run directories, all of them, in any order.
        output: The run directory of the whole.
        overwrite: Replace the run that it holds.

    Returns:
        The rows of the whole.

    Raises:
        UsageError: A shard did not finish, is missing or comes twice, or they are of different runs.
    """
    runs = sorted((read_run(path) for path in paths), key=lambda run: _shard(run).index)
    codes = _check(runs)
    first = runs[0].provenance
    provenance = replace(
        first,
        shard=None,
        shards=tuple({key: run.provenance.get(key) for key in PARTICULAR} for run in runs),
        notes=tuple(dict.fromkeys(note for run in runs for note in run.provenance.notes)),
    )
    metrics = [name for name, about in first.metrics.items() if not about.of]
    codecs, dataset = list(first.codecs), first.dataset.name
    systems = [(codec, condition) for codec in codecs for condition in first.conditions or (CLEAN,)]
    beside = [(read_references(run.path), read_pairings(run.path)) for run in runs]
    with RunWriter(output, codecs, provenance, overwrite) as writer:
        for run, (references, pairings), coded in zip(runs, beside, codes, strict=True):
            writer.add(to_rows(run.rows[run.rows["utterance"] != CORPUS]))
            writer.add_utterances(references)
            writer.add_pairings(pairings)
            for one in coded:
                writer.add_codes(one)
        writer.add(corpus_rows(metrics, systems, dataset, writer.coded))
        writer.add(pooled_rows(metrics, systems, dataset, writer.rows))
        return writer.rows


def _shard(run: Run) -> Shard:
    if run.provenance.shard is None:
        raise UsageError(f"{run.path} is a complete run, not a shard (`--shard i/n`)")
    return parse_shard(run.provenance.shard)


def _check(runs: Sequence[Run]) -> list[list[Coded]]:
    """The codes of each run; raises UsageError where `runs` are not the shards of one run, whole."""
    if not runs:
        raise UsageError("there is nothing to merge")
    first = runs[0]
    found = [_keys(run.rows[run.rows["utterance"] != CORPUS], "metric") for run in runs]
    measured = {(codec, condition, metric) for rows in found for codec, condition, _, metric in rows}
    codes = []
    for run, rows in zip(runs, found, strict=True):
        if run.provenance.state != "finished":
            raise UsageError(f"{run.path}: {run.provenance.state}. Finish it with the same command before you merge.")
        for part in SAME:
            if _same(run.provenance.get(part)) != _same(first.provenance.get(part)):
                raise UsageError(f"{first.path} and {run.path} are not shards of the same run: they differ in {part!r}")
        codes.append(read_codes(run.path))
        coded = {(one.codec, one.condition, one.utterance) for one in codes[-1]}
        _check_codes(run, coded)
        _check_rows(run, rows, coded, measured)
    count = _shard(first).count
    if {_shard(run).count for run in runs} != {count} or [_shard(run).index for run in runs] != [*range(1, count + 1)]:
        parts = ", ".join(str(run.provenance.shard) for run in runs)
        raise UsageError(f"each shard from 1/{count} to {count}/{count} must be given exactly once; given: {parts}")
    return codes


def _same(part: object) -> object:
    """What shards share of a part of the provenance: each has audio and codes of its own."""
    if isinstance(part, Mapping):
        return {
            name: replace(one, codes_sha256="") if isinstance(one, CodecInfo) else one for name, one in part.items()
        }
    return replace(part, audio_sha256="") if isinstance(part, DatasetInfo) else part


def _keys(rows: pd.DataFrame, *more: str) -> set[tuple[str, ...]]:
    """What each of `rows` is about: `_UTTERANCE` and the columns `more`."""
    return set(rows[[*_UTTERANCE, *more]].itertuples(index=False, name=None))


def _check_rows(
    run: Run, found: Set[tuple[str, ...]], coded: Set[tuple[str, ...]], measured: Set[tuple[str, str, str]]
) -> None:
    """Raise where rows are lost, of which there are `found`: every utterance of a codec has all metrics that any shard
    `measured` of that codec."""
    utterances = coded | {one[:3] for one in found}
    wanted = {
        (*one, metric) for one in utterances for codec, condition, metric in measured if (codec, condition) == one[:2]
    }
    if lost := sorted(wanted - found):
        codec, condition, utterance, metric = lost[0]
        raise UsageError(
            f"{run.path} lacks {len(lost)} of {len(wanted)} rows, such as {metric} of "
            f"{with_condition(utterance, condition)} of {codec} (rows.parquet): run its command again"
        )


def _check_codes(run: Run, coded: Set[tuple[str, ...]]) -> None:
    """Raise where codes are lost: a bitrate would come from a part of the data."""
    ran = [name for name, about in run.provenance.codecs.items() if not about.rendered]
    rows = run.rows[run.rows["bitrate_kbps"].notna() & run.rows["codec"].isin(ran)]
    measured = _keys(rows)
    if lost := sorted(measured - coded):
        codec, condition, utterance = lost[0]
        raise UsageError(
            f"{run.path} lacks the codes of {len(lost)} of {len(measured)} utterances, such as "
            f"{with_condition(utterance, condition)} of {codec} (codes.parquet): run its command again"
        )
