"""What one try may see: a fault is whatever evalkit promises not to do (docs/faults.md)."""

import io
import os
import re
import subprocess
import sys
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import Future
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import soundfile

from evalkit import plugins
from evalkit.cli import main
from evalkit.datasets import load_dataset
from evalkit.pipeline.coders import LocalCoder
from evalkit.results.rows import CORPUS
from evalkit.results.run import read_run

RATE = 16_000
CHEAP = ("si-sdr", "mel-2048-80-ln1p")
MULAW = f"{Path(__file__).parents[2] / 'docs' / 'plugin' / 'evalkit_mulaw.py'}:FAMILY"
"""A codec with codebooks that needs no torch."""
ALLOWED = (0, 2, 3, 4)
"""Exit codes of a command that was given bad things: never 70, and 1 from a gate alone."""
PATIENCE = 240
"""Seconds for one command on a busy machine: the limit of a codec or metric is far below."""
TIMEOUT = "3"
"""Seconds for one codec or metric."""


class Fault(Exception):
    """evalkit did what it promises not to do."""


@dataclass(frozen=True)
class Outcome:
    """What a command did."""

    code: int
    out: str
    err: str


class InProcess:
    """Scores in this process, without workers: a try takes tenths of a second."""

    here, window = True, 1

    def __init__(self, count: int | None = None, timeout: float = 600.0) -> None:
        self.timeout = timeout

    def __enter__(self) -> "InProcess":
        return self

    def __exit__(self, *error: object) -> None: ...

    def submit(self, function: Callable[[Any], Any], job: Any) -> Future[Any]:
        future: Future[Any] = Future()
        future.set_result(function(job))
        return future

    def collect(self, handles: Collection[Future[Any]]) -> Iterator[tuple[Future[Any], Any]]:
        yield from [(handle, handle.result()) for handle in handles]

    def models(self, device: str) -> "InProcess":
        return self

    def coder(self, choice: Any, codec: Any, device: str) -> LocalCoder:
        return LocalCoder(codec, self.timeout)


def evalkit(*arguments: object, allowed: Sequence[int] = ALLOWED) -> Outcome:
    """The command in this process; raises Fault for another exit code than `allowed`, and for a traceback."""
    plugins.register("executor", "processes", lambda jobs, timeout, *more: InProcess(jobs, timeout))
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        try:
            code = main(list(map(str, arguments)))
        except SystemExit as error:  # argparse
            code = error.code if isinstance(error.code, int) else 1
    return _checked(Outcome(code, out.getvalue(), err.getvalue()), arguments, allowed)


def real(*arguments: object, allowed: Sequence[int] = ALLOWED) -> Outcome:
    """The command in a process of its own, with its workers."""
    command = [sys.executable, "-m", "evalkit", *map(str, arguments)]
    try:
        done = subprocess.run(command, capture_output=True, timeout=PATIENCE, stdin=subprocess.DEVNULL)
    except subprocess.TimeoutExpired as error:
        raise Fault(f"{_shown(arguments)} hung") from error
    out, err = (stream.decode("utf-8", "replace") for stream in (done.stdout, done.stderr))
    return _checked(Outcome(done.returncode, out, err), arguments, allowed)


def _checked(outcome: Outcome, arguments: Sequence[object], allowed: Sequence[int]) -> Outcome:
    if outcome.code not in allowed or "Traceback (most recent" in outcome.err or (outcome.code and not outcome.err):
        where = re.search(r"Please report it and attach (\S+)", outcome.err)
        trace = f"{Path(where[1]).read_text()[-3000:]}\n" if where and Path(where[1]).is_file() else ""
        raise Fault(f"{trace}{_shown(arguments)} ended with {outcome.code} and said:\n{outcome.err[-3000:]}")
    return outcome


def _shown(arguments: Sequence[object]) -> str:
    return f"evalkit {' '.join(map(ascii, map(str, arguments)))}"


def check_rows(run: Path, utterances: int | None, metrics: Collection[str] = CHEAP, systems: int = 1) -> pd.DataFrame:
    """The rows of a run about utterances. Raises Fault unless each of `systems` x `utterances` has one row a metric,
    with a value or a reason; None where the number of utterances is not known."""
    rows = read_run(run).rows
    rows = rows[rows["utterance"] != CORPUS]
    counts = rows.groupby(["codec", "utterance"])["metric"].agg(lambda names: sorted(names))
    if any(found != sorted(metrics) for found in counts):
        raise Fault(f"rows are lost, or there twice: {counts.to_dict()}")
    if utterances is not None and len(counts) != systems * utterances:
        raise Fault(f"{len(counts)} pairs of system and utterance, not {systems} x {utterances}: {counts.to_dict()}")
    if (rows["value"].isna() == rows["reason"].isna()).any() or not np.isfinite(rows["value"].dropna()).all():
        raise Fault(f"a row has no value and no reason, or both, or a value that is no number:\n{rows}")
    if (rows["reason"].dropna().str.strip() == "").any():
        raise Fault("an empty reason")
    return rows


@cache
def shared() -> Path:
    """A folder of this process for what tries only read."""
    return Path(mkdtemp(prefix="shared-", dir=os.environ["FUZZ_FOLDER"]))


@cache
def speech(seconds: float = 1.0, rate: int = RATE, number: int = 0) -> np.ndarray:
    """Speech [T] at `rate` Hz, float32."""
    return load_dataset("builtin").utterances[number].audio().at(rate).wav[: int(seconds * rate)]


@cache
def good_file() -> Path:
    """A second of speech."""
    return sound(shared() / "good.wav", speech())


def sound(path: Path, wav: np.ndarray, rate: int = RATE) -> Path:
    """`wav` [T] at `rate` Hz as the file `path`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, wav, rate, subtype="FLOAT")
    return path


def rows_in(path: Path) -> int:
    """Rows of a parquet file."""
    return int(pq.read_metadata(path).num_rows)
