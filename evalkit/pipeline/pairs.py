"""Audio that someone else's codec made: finding reference and decoded files.

Either folders whose files match by name, Kaldi's lists (`ID PATH` a line, `*.scp`) in their place, or a manifest: CSV,
TSV or JSON lines with the columns `utterance`, `reference`, `decoded` and, optionally, `system`, `language`, `speaker`,
`transcript`, `bitrate_kbps` and any others, which the rows keep.
"""

import os
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, overload

from evalkit.audio_files import audio_files
from evalkit.datasets.base import Dataset, Utterance
from evalkit.datasets.tables import Line, TableFile, read_keyed, read_table, whole_text
from evalkit.errors import UsageError
from evalkit.files import expanded, locate, nfc, shown
from evalkit.pipeline.choice import RenderedChoice
from evalkit.results.rows import COLUMNS

if TYPE_CHECKING:
    import pandas as pd

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
                f"for example {min(candidates)!r} and {min(references)!r}. Files are matched by path without the "
                f"suffix{'' if match == SAME_NAME else f' and --match {match!r}'}. {hint}"
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
            name, folder = shown(name), given
        else:
            path = expanded(folder).resolve()
            name = shown(path.stem if _is_list(path) else path.name)
        if name in named:
            raise UsageError(
                f"{shown(named[name])} and {shown(folder)} would both be the system {name!r}: name them with NAME=DIR"
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
            raise UsageError(
                f"{line.place}: {text!r} is not the path of an audio file; commands and ark files are not supported"
            )
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
    return "If names follow no pattern, list the pairs in a manifest: --manifest FILE.csv."


def from_manifest(path: Path | str) -> Pairs:
    """The pairs of a CSV, TSV or JSON-lines file; its paths are relative to its own folder.

    What is said of an utterance in one line holds for its other systems, too: language, speaker and transcript need to
    stand there once.

    Raises:
        UsageError: for a file that cannot be read, missing columns, empty cells, duplicates, wrong numbers and lines
            that contradict each other, with the line.
    """
    return _listed(read_table(expanded(path), REQUIRED))


def from_frame(frame: "pd.DataFrame") -> Pairs:
    """The pairs of a DataFrame with the columns of a manifest; relative paths are relative to the working folder. What
    is missing in it (None, NaN) is an empty cell. Lines are counted from 1, the first row being 1.

    Raises:
        UsageError: as `from_manifest`.
    """
    columns = tuple(map(str, frame.columns))
    if twice := sorted({name for name in columns if columns.count(name) > 1}):
        raise UsageError(f"the DataFrame has the column(s) {', '.join(twice)} twice: keep one of each")
    here = Path("the DataFrame")
    lines = []
    for number, row in enumerate(frame.astype(object).where(frame.notna(), "").itertuples(index=False, name=None), 1):
        place = f"{here}, line {number}"
        cells = {name: whole_text(place, name, str(value)) for name, value in zip(columns, row, strict=True)}
        cells |= {name: os.path.abspath(expanded(cells[name])) for name in REQUIRED[1:] if cells.get(name)}
        lines.append(Line(here, number, cells))
    table = TableFile(here, "", columns, tuple(lines))
    table.require(REQUIRED)
    return _listed(table)


def _listed(table: TableFile) -> Pairs:
    """The pairs in the lines of `table`."""
    name = shown(table.path)
    if not table.lines:
        raise UsageError(f"{name} has a header and no rows")
    clash = sorted(set(table.columns) & (set(COLUMNS) - set(REQUIRED) - set(OPTIONAL) - {"condition"}))
    if clash:
        raise UsageError(f"{name}: the column(s) {', '.join(clash)} are evalkit's own: rename them")
    pairs = [_pair(line) for line in table]
    seen: dict[tuple[str, str], int] = {}
    for line, pair in zip(table, pairs, strict=True):
        key = (pair.utterance, pair.system)
        if key in seen:
            raise UsageError(f"{name}, lines {seen[key]} and {line.number}: the same utterance and system, {key}")
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
                    f"{what}s, {before!r} and {value!r}. An utterance can have only one {what}: give the other one a "
                    f"different id"
                )

    def of(pair: FilePair, what: str) -> str | None:
        return known.get((pair.utterance, what), (None, 0))[0]

    return [
        replace(pair, language=of(pair, "language"), speaker=of(pair, "speaker"), transcript=of(pair, "transcript"))
        for pair in pairs
    ]


def as_plan_parts(pairs: Pairs, name: str, place: str) -> tuple[Dataset, tuple[RenderedChoice, ...]]:
    """The references of `pairs` as a dataset called `name`, and the systems that decoded them; `place` is the folder or
    manifest where they were found."""
    utterances: dict[str, Utterance] = {}
    systems: dict[str, list[FilePair]] = {}
    for pair in pairs:
        about = (pair.language or "", pair.speaker or "", pair.transcript)
        utterances.setdefault(pair.utterance, Utterance(pair.utterance, pair.reference, *about))
        systems.setdefault(pair.system, []).append(pair)
    choices = tuple(
        RenderedChoice(
            spec=system,
            files={pair.utterance: pair.decoded for pair in mine},
            kbps={pair.utterance: pair.bitrate_kbps for pair in mine if pair.bitrate_kbps is not None},
            extra={pair.utterance: pair.extra for pair in mine},
            place=place,
        )
        for system, mine in systems.items()
    )
    return Dataset(name, tuple(utterances.values()), "", "", pairs.notes), choices
