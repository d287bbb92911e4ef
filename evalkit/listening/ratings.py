"""What listeners answered: webMUSHRA's result files, the batch results of the P.808 toolkit, or a plain table.

webMUSHRA       mushra.csv, paired_comparison.csv (service/write.php at 07130f2)
P.808 toolkit   a batch result of Amazon Mechanical Turk: WorkerId, Input.Q0, Answer.Q0, …; `accept`, where it is there
a plain table   listener, clip or (item, stimulus), rating
"""

import csv
import io
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from urllib.parse import unquote, urlsplit

from evalkit.errors import UsageError
from evalkit.files import read_bytes
from evalkit.listening.kit import Kit

LISTENER = "listener"
"""The question on the last page of an exported test."""
QUESTION = re.compile(r"Input\.(q\d+)", re.IGNORECASE)
SCALES = {"mushra": (0.0, 100.0), "acr": (1.0, 5.0), "abx": (0.0, 1.0)}
ANSWERS = {"correct": 1.0, "incorrect": 0.0}
"""Of a forced choice: whether the stimulus was told from the reference."""


@dataclass(frozen=True)
class Rating:
    """One answer of one listener."""

    listener: str
    item: str
    stimulus: str
    score: float


@dataclass(frozen=True)
class Ratings:
    """All answers of a file."""

    ratings: tuple[Rating, ...]
    notes: tuple[str, ...] = ()
    """What was passed over, counted."""


def clip_name(item: str, stimulus: str) -> str:
    """The file name of a stimulus without its suffix."""
    return f"{item}_{stimulus}"


def read_ratings(path: Path, kit: Kit) -> Ratings:
    """The answers to the test `kit` in the file at `path`.

    Raises:
        UsageError: It is none of the known files, is of another test, or has an answer that cannot be; the message
            names the line.
    """
    try:
        text = read_bytes(path).decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}") from error
    lines = csv.DictReader(io.StringIO(text, newline=""))
    columns = list(lines.fieldnames or ())
    readers: Mapping[str, tuple[str, Callable[[dict[str, str]], Iterator[tuple[str, str, str, str]]]]] = {
        "rating_stimulus": ("mushra", _webmushra),
        "choice_answer": ("abx", _webmushra_pairs),
        "WorkerId": ("acr", _crowd),
        "rating": (kit.design, _plain),
    }
    kind = next((column for column in readers if column in columns), None)
    if kind is None:
        raise UsageError(
            f"{path}: its columns ({', '.join(columns)[:200]}) are those of neither webMUSHRA's mushra.csv or "
            "paired_comparison.csv, a batch result with WorkerId, nor a table with listener, clip and rating"
        )
    design, reader = readers[kind]
    if design != kit.design:
        raise UsageError(f"{path} holds answers to a test of the design {design}; the exported one is {kit.design}")
    clips = {clip_name(item, s): (item, s) for item in kit.items for s in kit.stimuli}
    found: dict[tuple[str, str, str], Rating] = {}
    foreign = refused = 0
    for line in lines:
        where = f"{path}, line {lines.line_num}"
        if None in line or None in line.values():
            raise UsageError(f"{where}: it has {'more' if None in line else 'fewer'} cells than the first line")
        test = line.get("session_test_id", kit.id)
        if test != kit.id:
            raise UsageError(f"{where}: this is an answer to the test {test}, not to {kit.id}")
        if line.get("accept", "1").strip().lower() in ("0", "false", "no"):
            refused += 1
            continue
        for listener, item, stimulus, answer in reader(line):
            if not stimulus:
                if item not in clips:
                    foreign += 1
                    continue
                item, stimulus = clips[item]
            if item not in kit.items or stimulus not in kit.stimuli:
                raise UsageError(f"{where}: the test has no stimulus {stimulus!r} of an item {item!r}")
            if not listener.strip():
                raise UsageError(f"{where}: it does not name a listener")
            key = (listener.strip(), item, stimulus)
            if key in found:
                raise UsageError(
                    f"{where}: {key[0]} rated {stimulus} of {item} before. Give each listener a different name, or "
                    f"remove one session"
                )
            found[key] = Rating(*key, _score(answer, kit.design, where))
    if not found:
        raise UsageError(f"{path} holds no answers to {kit.id}")
    notes = []
    if foreign:
        notes.append(f"{foreign} answers are about clips outside this test, such as gold and trapping clips.")
    if refused:
        notes.append(f"{refused} assignments that the P.808 toolkit did not accept are left out.")
    return Ratings(tuple(found.values()), tuple(notes))


def _score(answer: str, design: str, where: str) -> float:
    low, high = SCALES[design]
    try:
        score = ANSWERS[answer] if design == "abx" and answer in ANSWERS else float(answer)
    except ValueError:
        score = float("nan")
    if not low <= score <= high or (design != "mushra" and score != int(score)):
        raise UsageError(f"{where}: {answer!r} is not an answer on a scale from {low:g} to {high:g}")
    return score


def _webmushra(line: dict[str, str]) -> Iterator[tuple[str, str, str, str]]:
    yield line.get(LISTENER) or line["session_uuid"], line["trial_id"], line["rating_stimulus"], line["rating_score"]


def _webmushra_pairs(line: dict[str, str]) -> Iterator[tuple[str, str, str, str]]:
    """The file says nothing of sessions: listeners go by what they entered."""
    yield line.get(LISTENER, ""), line["trial_id"], line["choice_non_reference"], line["choice_answer"]


def _crowd(line: dict[str, str]) -> Iterator[tuple[str, str, str, str]]:
    for column, url in line.items():
        if (match := QUESTION.fullmatch(column)) and (answer := line.get(f"Answer.{match[1]}", "")):
            yield line["WorkerId"], _stem(url), "", answer


def _plain(line: dict[str, str]) -> Iterator[tuple[str, str, str, str]]:
    if "clip" in line:
        yield line.get(LISTENER, ""), _stem(line["clip"]), "", line["rating"]
    else:
        yield line.get(LISTENER, ""), line.get("item", ""), line.get("stimulus", "") or "?", line["rating"]


def _stem(url: str) -> str:
    return PurePosixPath(unquote(urlsplit(url).path)).stem
