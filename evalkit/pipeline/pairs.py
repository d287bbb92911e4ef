"""Audio that someone else's codec made: finding reference and decoded files.

Either two folders whose files match by name, or a manifest: a CSV with the columns `utterance`, `reference`, `decoded`
and, optionally, `system`, `language`, `speaker`, `transcript`, `bitrate_kbps` and any others, which the rows keep.
"""

import csv
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from evalkit.audio import SUFFIXES
from evalkit.datasets.base import Dataset, Utterance
from evalkit.errors import UsageError
from evalkit.pipeline.choice import RenderedChoice
from evalkit.results.run_directory import COLUMNS

if TYPE_CHECKING:
    import pandas as pd

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


def from_frame(frame: "pd.DataFrame") -> list[FilePair]:
    """The pairs of a DataFrame with the columns of a manifest; relative paths are relative to the working folder."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "manifest.csv"
        absolute = frame.assign(
            **{
                name: [Path(str(one)).expanduser().resolve() for one in frame[name]]
                for name in ("reference", "decoded")
                if name in frame
            }
        )
        absolute.to_csv(path, index=False)
        return from_manifest(path)


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


def as_plan_parts(pairs: Sequence[FilePair], name: str, place: str) -> tuple[Dataset, tuple[RenderedChoice, ...]]:
    """The references of `pairs` as a dataset called `name`, and the systems that decoded them; `place` is the folder or
    manifest where they were found."""
    utterances: dict[str, Utterance] = {}
    systems: dict[str, list[FilePair]] = {}
    for pair in pairs:
        known = utterances.get(pair.utterance)
        utterances[pair.utterance] = Utterance(
            pair.utterance,
            pair.reference,
            (known and known.language) or pair.language or "",
            (known and known.speaker) or pair.speaker or "",
            known.transcript if known and known.transcript else pair.transcript,
        )
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
    return Dataset(name, tuple(utterances.values()), "", ""), choices
