"""Audio that someone else's codec made: finding reference and decoded files, and scoring them.

Either folders whose files match by name, Kaldi's lists (`ID PATH` a line, `*.scp`) in their place, or a manifest: CSV,
TSV or JSON lines with the columns `utterance`, `reference`, `decoded` and, optionally, `system`, `language`, `speaker`,
`transcript`, `bitrate_kbps` and any others, which the rows keep.
"""

import os
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import overload

from evalkit.audio import duration
from evalkit.audio_files import audio_files
from evalkit.cache import Cache
from evalkit.datasets.tables import Line, read_keyed, read_table
from evalkit.environment.machine import check_device
from evalkit.errors import MissingError, UsageError
from evalkit.files import expanded, locate, nfc, shown
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
SAME_NAME = "{name}"


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
    place: str = ""
    """Where it was listed, for messages: `pairs.csv, line 3`."""


class Pairs(Sequence[FilePair]):
    """Pairs that were found, and sentences on what was passed over."""

    def __init__(self, pairs: Sequence[FilePair], notes: Sequence[str] = ()) -> None:
        self._pairs = tuple(pairs)
        self.notes = tuple(notes)

    def __len__(self) -> int:
        return len(self._pairs)

    @overload
    def __getitem__(self, index: int) -> FilePair: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[FilePair]: ...
    def __getitem__(self, index: int | slice) -> FilePair | Sequence[FilePair]:
        return self._pairs[index]


def from_folders(
    reference: Path | str, decoded: Path | str | Sequence[Path | str] | Mapping[str, Path | str], match: str = SAME_NAME
) -> Pairs:
    """A pair for every reference and system; the decoded file has the same path below its folder, with any suffix.

    Args:
        reference: A folder, or a list `*.scp` of lines `ID PATH`, whose ids are then the names.
        decoded: One folder (or list) for each system. A system is named by the key, by what stands before it in
            `NAME=DIR`, or else as its folder.
        match: How a decoded file is named after its reference: `{name}_dec` for `en/1_dec.wav` beside `en/1.wav`.

    Returns:
        The pairs, by system and utterance; a reference without a decoded file gives one whose `decoded` is None. The
        notes count what was passed over: files that are no audio, decoded files without a reference.

    Raises:
        UsageError: where a folder is missing or has no audio, where two files or two systems have the same name, where
            `match` is no such pattern, or where no names match.
    """
    references, notes = _named_files(reference)
    pairs: list[FilePair] = []
    for system, folder in _systems(decoded).items():
        candidates, more = _named_files(folder)
        wanted = {name: _decoded_name(name, match) for name in references}
        surplus = sorted(candidates.keys() - set(wanted.values()))
        hint = _near_miss([name for name in references if wanted[name] not in candidates], surplus)
        if len(surplus) == len(candidates):
            raise UsageError(
                f"no file in {shown(folder)} has the name of a file in {shown(reference)}: "
                f"for instance {min(candidates)!r} and {min(references)!r}. Files match by their path without the "
                f"suffix{'' if match == SAME_NAME else f', which --match makes {match!r}'}. {hint}"
            )
        notes += more
        absent = sum(name not in candidates for name in wanted.values())
        if surplus or absent:
            notes.append(
                f"{shown(folder)}: {len(references) - absent} of {len(references)} references have a decoded file; "
                f"{len(surplus)} of {len(candidates)} decoded files have no reference"
                f"{f', for instance {surplus[0]}' if surplus else ''}.{f' {hint}' if surplus and absent else ''}"
            )
        pairs += [FilePair(n, references[n], candidates.get(wanted[n]), system) for n in sorted(references)]
    return Pairs(pairs, notes)


def _systems(decoded: Path | str | Sequence[Path | str] | Mapping[str, Path | str]) -> dict[str, Path | str]:
    """Name -> folder or list."""
    if isinstance(decoded, Mapping):
        return dict(decoded)
    named: dict[str, Path | str] = {}
    for folder in [decoded] if isinstance(decoded, (str, Path)) else decoded:
        name, equals, given = str(folder).partition("=")
        if equals and name and not os.path.exists(expanded(folder)):
            folder = given
        else:
            path = expanded(folder).resolve()
            name = shown(path.stem if _is_list(path) else path.name)
        if name in named:
            raise UsageError(
                f"{shown(named[name])} and {shown(folder)} would both be the system {name!r}: name them, NAME=DIR"
            )
        named[name] = folder
    return named


def _is_list(path: Path | str) -> bool:
    return expanded(path).suffix.lower() == ".scp" and not os.path.isdir(expanded(path))


def _named_files(place: Path | str) -> tuple[dict[str, Path], list[str]]:
    """Name -> file of a folder or a list, and notes."""
    if not _is_list(place):
        found = audio_files(place)
        return found.by_name(), list(found.notes)
    listed = expanded(place)
    files = {}
    for line in read_keyed(listed, "ID, white space and a path", r"\S+"):
        text = line.get("text")
        if not text or text.endswith("|") or re.search(r"\.ark:\d+$", text):
            raise UsageError(f"{line.place}: {text!r} is not the path of an audio file; commands and arks are not read")
        files[nfc(line.get("key"))] = _beside(listed, text)
    if not files:
        raise UsageError(f"{shown(listed)} lists no audio")
    return files, []


def _beside(listed: Path, text: str) -> Path:
    """The file that a list names: relative to the list, as in manifests, or to the working folder, as Kaldi has it."""
    path = locate(listed.parent, text)
    here = locate(Path(), text)
    return here if not os.path.lexists(path) and os.path.lexists(here) else path


def _decoded_name(name: str, match: str) -> str:
    """The name of the decoded file of the reference `name`."""
    if match.count(SAME_NAME) != 1 or set(match.replace(SAME_NAME, "")) & set("{}") or ".." in match.split("/"):
        raise UsageError(f"--match {match!r}: write a name with {{name}} in it once, such as {{name}}_dec")
    path = PurePosixPath(name)
    return nfc((path.parent / match.replace(SAME_NAME, path.name)).as_posix())


def _near_miss(references: Sequence[str], surplus: Sequence[str]) -> str:
    """What pairs files whose names are not the same."""
    by_folder: dict[str, list[str]] = {}
    for name in surplus:
        folder, _, last = name.rpartition("/")
        by_folder.setdefault(folder, []).append(last)
    patterns: Counter[str] = Counter()
    for name in references[:1000]:
        folder, _, last = name.rpartition("/")
        others = by_folder.get(folder, ())[:1000]
        patterns.update({other.replace(last, SAME_NAME, 1) for other in others if last in other})
    for pattern, count in patterns.most_common(1):
        if count > len(references[:1000]) / 2:
            return f"--match '{pattern}' would pair {count} of them."
    return "Where names follow no pattern, list the pairs: --manifest FILE.csv."


def from_manifest(path: Path | str) -> Pairs:
    """The pairs of a CSV, TSV or JSON-lines file; its paths are relative to its own folder.

    What is said of an utterance in one line holds for its other systems, too: language, speaker and transcript need to
    stand there once.

    Raises:
        UsageError: for a file that cannot be read, missing columns, empty cells, duplicates, wrong numbers and lines
            that contradict each other, with the line.
    """
    manifest = expanded(path)
    table = read_table(manifest, REQUIRED)
    if not table.lines:
        raise UsageError(f"{shown(manifest)} has a header and no rows")
    clash = sorted(set(table.columns) & (set(COLUMNS) - set(REQUIRED) - set(OPTIONAL)))
    if clash:
        raise UsageError(f"{shown(manifest)}: the column(s) {', '.join(clash)} are evalkit's own: rename them")
    pairs = [_pair(line) for line in table]
    seen: dict[tuple[str, str], int] = {}
    for line, pair in zip(table, pairs, strict=True):
        key = (pair.utterance, pair.system)
        if key in seen:
            raise UsageError(
                f"{shown(manifest)}, lines {seen[key]} and {line.number}: the same utterance and system, {key}"
            )
        seen[key] = line.number
    return Pairs(_merged(table.lines, pairs))


def _pair(line: Line) -> FilePair:
    folder = line.path.parent
    return FilePair(
        utterance=nfc(line.get("utterance")),
        reference=locate(folder, line.get("reference")),
        decoded=locate(folder, line.get("decoded")),
        system=line.get("system") or "decoded",
        language=line.get("language") or None,
        speaker=line.get("speaker") or None,
        transcript=line.get("transcript") or None,
        bitrate_kbps=line.number_of("bitrate_kbps"),
        extra={name: value for name, value in line.cells.items() if name not in REQUIRED + OPTIONAL},
        place=line.place,
    )


def _merged(lines: Sequence[Line], pairs: Sequence[FilePair]) -> list[FilePair]:
    """`pairs` with what other lines say of the same utterance; raises UsageError where they contradict each other."""
    known: dict[tuple[str, str], tuple[str | None, int]] = {}
    for line, pair in zip(lines, pairs, strict=True):
        said = {"reference": os.path.abspath(pair.reference)}
        said |= {name: line.get(name) for name in ("language", "speaker", "transcript") if line.get(name)}
        for what, value in said.items():
            before, number = known.setdefault((pair.utterance, what), (value, line.number))
            if before != value:
                raise UsageError(
                    f"{shown(line.path)}, lines {number} and {line.number}: the utterance {pair.utterance!r} has two "
                    f"{what}s, {before!r} and {value!r}. One utterance has one {what}: give the other its own id"
                )

    def of(pair: FilePair, what: str) -> str | None:
        return known.get((pair.utterance, what), (None, 0))[0]

    return [
        replace(pair, language=of(pair, "language"), speaker=of(pair, "speaker"), transcript=of(pair, "transcript"))
        for pair in pairs
    ]


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
