"""Audio that someone else's codec made: finding reference and decoded files, and scoring them.

Either two folders whose files match by name, or a manifest: a CSV with the columns `utterance`, `reference`, `decoded`
and, optionally, `system`, `language`, `speaker`, `transcript`, `bitrate_kbps` and any others, which the rows keep.
"""

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from evalkit.audio import SUFFIXES, duration
from evalkit.cache import Cache
from evalkit.environment.machine import check_device
from evalkit.errors import MissingError, UsageError
from evalkit.pipeline.jobs import Candidate, Job, Source
from evalkit.pipeline.plan import device_here, missing_metrics
from evalkit.pipeline.pooled import pooled_rows
from evalkit.pipeline.run import Advance
from evalkit.pipeline.schedule import model_metrics, pair_metrics, score_all
from evalkit.pipeline.shards import Shard
from evalkit.pipeline.workers import Executor
from evalkit.results import provenance
from evalkit.results.run_directory import COLUMNS, Row, RunWriter

REQUIRED = ("utterance", "reference", "decoded")
OPTIONAL = ("system", "language", "speaker", "transcript", "bitrate_kbps")


@dataclass(frozen=True)
class FilePair:
    """A reference file and what `system` made of it. `decoded` is None where there is no such file."""

    utterance: str
    reference: Path
    decoded: Path | None
    system: str
    language: str | None = None
    speaker: str | None = None
    transcript: str | None = None
    bitrate_kbps: float | None = None
    extra: dict[str, str] = field(default_factory=dict)


def from_folders(reference: Path, decoded: Path) -> list[FilePair]:
    """A pair for every reference file; the decoded file has the same path below its folder, with any audio suffix.

    A reference without one gives a pair whose `decoded` is None. Raises UsageError where a folder is missing or has no
    audio, where two files have the same name, or where no names match.
    """
    references, candidates = _audio_files(reference), _audio_files(decoded)
    if not references.keys() & candidates.keys():
        raise UsageError(
            f"no file in {decoded} has the name of a file in {reference}: "
            f"for instance {min(candidates)!r} and {min(references)!r}. Files match by their path without the suffix."
        )
    return [
        FilePair(name, path, candidates.get(name), decoded.resolve().name) for name, path in sorted(references.items())
    ]


def _audio_files(folder: Path) -> dict[str, Path]:
    if not folder.is_dir():
        raise UsageError(f"{folder} is not a folder")
    found: dict[str, Path] = {}
    for path in sorted(folder.rglob("*")):
        if path.suffix.lower() in SUFFIXES and path.is_file() and not path.name.startswith("."):
            name = path.relative_to(folder).with_suffix("").as_posix()
            if name in found:
                raise UsageError(f"{found[name]} and {path} have the same name: keep one of them")
            found[name] = path
    if not found:
        raise UsageError(f"{folder} holds no audio ({', '.join(SUFFIXES)})")
    return found


def from_manifest(path: Path) -> list[FilePair]:
    """The pairs of a CSV file; its paths are relative to its own folder.

    Raises UsageError for a file that cannot be read, missing columns, empty cells, duplicates and wrong numbers, with
    the line.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            columns = reader.fieldnames or []
            lines = [(reader.line_num, row) for row in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UsageError(f"{path} cannot be read as a CSV manifest: {error}") from error
    missing = [name for name in REQUIRED if name not in columns]
    if missing:
        raise UsageError(f"{path} lacks the column(s) {', '.join(missing)}; it has: {', '.join(columns) or 'none'}")
    if not lines:
        raise UsageError(f"{path} has a header and no rows")
    clash = sorted(set(columns) & (set(COLUMNS) - set(REQUIRED) - set(OPTIONAL)))
    if clash:
        raise UsageError(f"{path}: the column(s) {', '.join(clash)} are evalkit's own: rename them")
    pairs = [_pair(path, number, row) for number, row in lines]
    seen: dict[tuple[str, str], int] = {}
    for (number, _), pair in zip(lines, pairs, strict=True):
        key = (pair.utterance, pair.system)
        if key in seen:
            raise UsageError(f"{path}, lines {seen[key]} and {number}: the same utterance and system, {key}")
        seen[key] = number
    return pairs


def _pair(manifest: Path, number: int, row: dict[str, str]) -> FilePair:
    empty = [name for name in REQUIRED if not row.get(name)]
    if empty or None in row:
        problem = f"no value for {', '.join(empty)}" if empty else "more cells than the header has columns"
        raise UsageError(f"{manifest}, line {number}: {problem}")
    try:
        kbps = float(row["bitrate_kbps"]) if row.get("bitrate_kbps") else None
    except ValueError as error:
        raise UsageError(f"{manifest}, line {number}: bitrate_kbps {row['bitrate_kbps']!r} is not a number") from error
    folder = manifest.parent
    return FilePair(
        utterance=row["utterance"],
        reference=folder / row["reference"],
        decoded=folder / row["decoded"],
        system=row.get("system") or "decoded",
        language=row.get("language") or None,
        speaker=row.get("speaker") or None,
        transcript=row.get("transcript") or None,
        bitrate_kbps=kbps,
        extra={name: value or "" for name, value in row.items() if name not in REQUIRED + OPTIONAL},
    )


def score_pairs(
    pairs: Sequence[FilePair],
    dataset: str,
    metrics: Sequence[str],
    output: Path,
    cache: Cache,
    advance: Advance,
    *,
    overwrite: bool = False,
    workers: Executor | None = None,
    device: str = "cpu",
    batch: int = 1,
    shard: Shard | None = None,
) -> list[Row]:
    """Score `pairs`, or the part that `shard` takes (by reference), and write a run directory; the rows are returned
    as well. Models of metrics run on `device` and hear `batch` recordings at once; `advance` counts pairs."""
    languages = tuple(dict.fromkeys(pair.language for pair in pairs if pair.language))
    if problems := missing_metrics(metrics, languages):
        raise MissingError("\n".join(problems))
    check_device(device_here(device, workers))
    systems = list(dict.fromkeys(pair.system for pair in pairs))
    description = provenance.describe(
        metrics,
        codecs={system: {} for system in systems},
        dataset={"name": dataset, "n": len(pairs)},
        **({"shard": str(shard)} if shard else {}),
    )
    if shard is not None:
        pairs = shard.take(pairs, [pair.reference for pair in pairs])
    with RunWriter(output, systems, description, overwrite) as writer:

        def row(pair: FilePair, metric: str, value: float | None, reason: str | None) -> Row:
            return Row(
                pair.system, dataset, pair.utterance, metric, value, reason,
                pair.bitrate_kbps, pair.language, pair.speaker, pair.extra,
            )  # fmt: skip

        for pair in pairs:
            if pair.decoded is None:
                reason = f"no decoded file has the name of {pair.reference}"
                writer.add(row(pair, metric, None, reason) for metric in metrics)
                advance(pair.system, 1)
        unfinished = dict.fromkeys(range(len(pairs)), len(metrics))
        scored = (*pair_metrics(metrics), *model_metrics(metrics))
        for answers in score_all(list(_jobs(pairs, scored, device)), cache, workers, batch):
            writer.add(row(pairs[a.key], a.metric, a.value, a.reason) for a in answers)
            for answer in answers:
                unfinished[answer.key] -= answer.metric in metrics
                if answer.metric in metrics and not unfinished[answer.key]:
                    advance(pairs[answer.key].system, 1)
        writer.add(pooled_rows(metrics, systems, dataset, writer.rows))
        return writer.rows


def _jobs(pairs: Sequence[FilePair], metrics: tuple[str, ...], device: str) -> Iterator[Job]:
    """One job a reference, so that it is read and resampled once for all systems."""
    groups: dict[tuple[Path, str | None], list[Candidate]] = {}
    for key, pair in enumerate(pairs):
        if pair.decoded is not None:
            candidate = Candidate(key, Source(pair.decoded), metrics)
            groups.setdefault((pair.reference, pair.transcript), []).append(candidate)
    for (reference, transcript), candidates in groups.items():
        language = pairs[candidates[0].key].language
        seconds = duration(reference) if model_metrics(metrics) else 0.0
        yield Job(Source(reference), tuple(candidates), transcript, language, device, seconds)
