"""The run directory: rows, provenance, summary. Rows are the product; everything else reads them.

RUN/
  rows.parquet    one row a codec, utterance and metric (COLUMNS)
  summary.csv     means with n and n_failed
  run.json        provenance: versions, hashes, command, hardware, times
  codes.parquet   what codecs would transmit, utterance by utterance
  utterances.parquet  the references: duration, sampling rate and the hash of their samples
  pairing.parquet  how decoded audio belongs to its reference: lag, polarity, gain, correlation, what is wrong
  audio/          decoded audio and the originals, where it was asked for: CODEC/UTTERANCE.wav, reference/UTTERANCE.wav;
                  under a condition, CODEC (CONDITION)/ and, where it changes the reference, reference (CONDITION)/
  run.yaml        the options of the command: `evalkit run --config run.yaml` does the same again
  errors.txt      the first traceback of each kind, where somebody else's code failed
  rows.jsonl      while the run goes on: every row as soon as it is known
"""

import errno
import hashlib
import json
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import IO, Any

import pyarrow.parquet as pq

from evalkit.audio import AudioIdentity
from evalkit.codecs import fingerprint
from evalkit.errors import UsageError
from evalkit.files import slug
from evalkit.results.lock import NAME as LOCK
from evalkit.results.lock import Lock
from evalkit.results.pairing import Pairing
from evalkit.results.provenance import FORMAT, Provenance
from evalkit.results.rows import (
    CLEAN,
    Coded,
    PairKey,
    Row,
    codes_table,
    pairings_table,
    references_table,
    to_frame,
    with_condition,
    with_problems,
)
from evalkit.results.run import is_run, read_run
from evalkit.stats import summarize
from nanocodec.atomic import replacing

CONFIG = "run.yaml"
"""The command's options."""
REFERENCE_FOLDER = "reference"
"""Of the originals, in RUN/audio."""


class RunWriter:
    """Writes a run directory; used in a `with` statement. Rows are on disk as soon as `add` returns, and whatever
    ends the block, what is finished stays there."""

    def __init__(
        self,
        path: Path,
        codecs: Sequence[str],
        provenance: Provenance | Mapping[str, Any],
        overwrite: bool = False,
    ) -> None:
        """Begin a run directory.

        Args:
            path: Where; made if need be.
            codecs: Their names, in the order of the rows.
            provenance: Of the run; may be what a run.json holds.
            overwrite: Replace a finished run.

        Raises:
            UsageError: `path` holds a finished run, or something else than a run.
        """
        self.path = path
        self.codecs = codecs
        known = provenance if isinstance(provenance, Provenance) else Provenance.from_json(provenance)
        self.provenance = replace(known, state="running", format=FORMAT)
        self.rows: list[Row] = []
        self.coded: list[Coded] = []
        self.pairings: dict[PairKey, Pairing] = {}
        self._utterances: dict[str, AudioIdentity] = {}
        self._errors: set[str] = set()
        self._journal: IO[str] | None = None
        if is_run(path):
            if not overwrite and read_run(path).provenance.state == "finished":
                raise UsageError(f"{path} already holds a run: choose another --output, or add --overwrite")
        elif path.exists() and (not path.is_dir() or any(not _is_ours(entry) for entry in path.iterdir())):
            raise UsageError(f"{path} exists and is not a run directory: choose another --output")

    def __enter__(self) -> "RunWriter":
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            with ExitStack() as stack:
                self._lock = stack.enter_context(Lock(self.path))
                _remove_run(self.path)  # one that was cut off is begun again: the cache has what it had done
                self._write_provenance()
                self._journal = (self.path / "rows.jsonl").open("w", encoding="utf-8")
                stack.pop_all()  # __exit__ gives the lock back
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
                raise
            raise UsageError(f"{self.path} cannot be written: {error.strerror or error}") from error
        return self

    def add(self, rows: Iterable[Row]) -> None:
        """Record `rows`; they are on disk when this returns."""
        assert self._journal is not None
        for row in rows:
            self._journal.write(json.dumps(row.as_dict(), ensure_ascii=False, allow_nan=False) + "\n")
            self.rows.append(row)
        self._journal.flush()

    def add_codes(self, coded: Coded) -> None:
        """Record the codes of one utterance."""
        self.coded.append(coded)

    def add_utterances(self, references: Mapping[str, AudioIdentity]) -> None:
        """Record which audio stands behind the ids of utterances."""
        self._utterances |= references

    def add_pairings(self, pairings: Mapping[PairKey, Pairing]) -> None:
        """Record how decoded audio belongs to its references."""
        self.pairings |= pairings

    def add_error(self, kind: str, text: str) -> bool:
        """Keep the traceback `text` in errors.txt, if it is the first of its `kind`; whether it is."""
        if kind in self._errors:
            return False
        self._errors.add(kind)
        with (self.path / "errors.txt").open("a", encoding="utf-8", errors="backslashreplace") as file:
            file.write(f"{kind}\n{text.rstrip()}\n\n")
        return True

    def add_notes(self, notes: Iterable[str]) -> None:
        """Add sentences for readers to the provenance."""
        self.provenance = replace(self.provenance, notes=tuple(dict.fromkeys([*self.provenance.notes, *notes])))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._journal is not None
        try:
            self._journal.close()
            conditions = list(self.provenance.conditions)
            frame = to_frame(with_problems(self.rows, self.pairings), self.codecs, conditions)
            _write(self.path / "rows.parquet", lambda file: frame.to_parquet(file, index=False))
            if self.coded:
                _write(self.path / "codes.parquet", lambda file: pq.write_table(codes_table(self.coded), file))
            if self.pairings:
                table = pairings_table(self.provenance.dataset.name, self.pairings)
                _write(self.path / "pairing.parquet", lambda file: pq.write_table(table, file))
            if self._utterances:
                references = references_table(self.provenance.dataset.name, self._utterances)
                _write(self.path / "utterances.parquet", lambda file: pq.write_table(references, file))
            _write(self.path / "summary.csv", lambda file: file.write(summarize(frame).to_csv(index=False).encode()))
            state = "finished" if kind is None else f"stopped early ({kind.__name__})"
            dataset = replace(self.provenance.dataset, audio_sha256=_audio_hash(self._utterances))
            clean = [one for one in self.coded if one.condition == CLEAN]
            codecs = {
                name: replace(about, codes_sha256=fingerprint({c.utterance: c.codes for c in clean if c.codec == name}))
                for name, about in self.provenance.codecs.items()
            }
            self.provenance = replace(self.provenance, state=state, dataset=dataset, codecs=codecs)
            self._write_provenance()
            (self.path / "rows.jsonl").unlink()
        finally:
            self._lock.__exit__(kind, error, trace)

    def _write_provenance(self) -> None:
        text = json.dumps(self.provenance.to_json(), indent=2, ensure_ascii=False, allow_nan=False) + "\n"
        _write(self.path / "run.json", lambda file: file.write(text.encode()))


def audio_folder(run: Path, codec: str, condition: str = CLEAN) -> Path:
    """Where the run in `run` keeps audio of `codec`, or of REFERENCE_FOLDER."""
    return run / "audio" / slug(with_condition(codec, condition))


def _audio_hash(references: Mapping[str, AudioIdentity]) -> str:
    """sha256 over the ids and samples of all references that could be read; the order does not matter."""
    digest = hashlib.sha256()
    for utterance, identity in sorted(references.items()):
        digest.update(f"{len(utterance)}:{utterance}:{identity.pcm}\n".encode(errors="surrogatepass"))
    return digest.hexdigest() if references else ""


def _write(path: Path, write: Callable[[IO[bytes]], object]) -> None:
    with replacing(path) as partial, partial.open("wb") as file:  # pyarrow takes no path that is not UTF-8
        write(file)


FILES = (
    "rows.parquet", "codes.parquet", "utterances.parquet", "pairing.parquet", "rows.jsonl", "summary.csv", "errors.txt",
    "run.json", CONFIG,
)  # fmt: skip


def _is_ours(path: Path) -> bool:
    """Whether a run that was cut off at its very start may have left `path`."""
    return path.name in (LOCK, *FILES) or _is_partial(path)


def _is_partial(path: Path) -> bool:
    """Whether `nanocodec.atomic.replacing` left `path` when its process was killed."""
    return any(path.match(f".{Path(name).stem}-{'[0-9a-f]' * 32}{Path(name).suffix}") for name in FILES)


def _remove_run(path: Path) -> None:
    for name in FILES:
        (path / name).unlink(missing_ok=True)
    for entry in path.iterdir():
        if _is_partial(entry):
            entry.unlink(missing_ok=True)
    shutil.rmtree(path / "audio", ignore_errors=True)
