"""Training speech from public recordings that come without an account: voice data sets on GitHub, prompts in Debian.

    python -m nanocodec.training.gather speech/

Nine voices in seven languages, 8.4 hours, and 250 learners of English, 5.2 hours: most of the real speech that the
built-in codec was trained on. Needs git and, for Debian's packages, apt-get, dpkg-deb and ffmpeg (for G.722). Short
recordings are joined, because an excerpt should not end in padding.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
import soxr

RATE = 16_000
LEVEL = 0.06  # RMS
SECONDS = 6.0  # recordings are joined until they are this long
FRAME = RATE // 50
MARGIN = 5  # frames kept around what is loud
LOUD = 0.02  # of the loudest frame's RMS


class GatherError(Exception):
    """A source that cannot be had; the message names it and says what is missing."""


@dataclass(frozen=True)
class Corpus:
    """One voice, or many: where the recordings come from and under which license.

    Attributes:
        origin: `deb:PACKAGE`, or `git:URL#COMMIT`.
        files: glob pattern below the origin's root.
    """

    name: str
    license: str
    origin: str
    files: str


_RHASSPY = "git:https://github.com/rhasspy/dataset-voice-"
_SPEECHOCEAN = "git:https://github.com/jimbozhang/speechocean762#613968e3b0b789fc33936fb5eba1973176ba7d11"
_ASTERISK = "usr/share/asterisk/sounds"
CORPORA = (
    Corpus("kerstin_de", "CC0-1.0", f"{_RHASSPY}kerstin#f73127135cf80d6ef52aef6af58c49774f4fd625", "verified/*.flac"),
    Corpus("nathalie_nl", "CC0-1.0", f"{_RHASSPY}nathalie#3b3e91f39d13e2e681d8937575efb9bd3b3d8f5c", "verified/*.flac"),
    Corpus("flemishguy_nl", "CC0-1.0", f"{_RHASSPY}flemishguy#2576e9c8e5b6eec92e45010b5ede87c4f836f21e", "wavs/*.wav"),
    Corpus("kathleen_en", "CC0-1.0", f"{_RHASSPY}kathleen#c51cb971036a127359b43c621f26ca5081eab13e", "data/*.wav"),
    Corpus("speechocean_en", "Apache-2.0", _SPEECHOCEAN, "WAVE/*/*.WAV"),
    Corpus("allison_en", "CC-BY-SA-3.0", "deb:asterisk-core-sounds-en-g722", f"{_ASTERISK}/en_*/**/*.g722"),
    Corpus("allison_es", "CC-BY-SA-3.0", "deb:asterisk-core-sounds-es-g722", f"{_ASTERISK}/es_*/**/*.g722"),
    Corpus("june_fr", "CC-BY-SA-3.0", "deb:asterisk-core-sounds-fr-g722", f"{_ASTERISK}/fr_*/**/*.g722"),
    Corpus("carlo_it", "CC-BY-3.0", "deb:asterisk-core-sounds-it-g722", f"{_ASTERISK}/it_*/**/*.g722"),
    Corpus("ivrvoice_ru", "CC-BY-3.0", "deb:asterisk-core-sounds-ru-g722", f"{_ASTERISK}/ru_*/**/*.g722"),
    Corpus("shmyrev_ru", "BSD-like", "deb:festvox-ru", "usr/share/festival/voices/**/*.wav"),
)


def _call(command: Sequence[str], folder: Path) -> bytes:
    try:
        quiet = os.environ | {"GIT_TERMINAL_PROMPT": "0"}  # git would ask for a password where a repository is gone
        return subprocess.run(command, cwd=folder, check=True, capture_output=True, env=quiet).stdout
    except FileNotFoundError:
        raise GatherError(f"{command[0]} is not installed") from None
    except subprocess.CalledProcessError as error:
        reason = error.stderr.decode(errors="replace").strip().splitlines()
        raise GatherError(f"{' '.join(command)}: {reason[-1] if reason else 'failed'}") from error


def download(origin: str, folder: Path) -> None:
    """Put the files of an origin below a folder.

    Args:
        origin: as of `Corpus`.
        folder: empty.

    Raises:
        GatherError: a program is missing, or the origin cannot be reached.
    """
    kind, _, place = origin.partition(":")
    if kind == "deb":
        _call(["apt-get", "download", place], folder)
        (package,) = folder.glob("*.deb")
        _call(["dpkg-deb", "-x", package.name, "."], folder)
    else:
        url, _, commit = place.partition("#")
        _call(["git", "init", "--quiet"], folder)
        _call(["git", "fetch", "--quiet", "--depth", "1", url, commit], folder)
        _call(["git", "checkout", "--quiet", "FETCH_HEAD"], folder)


def read(path: Path) -> np.ndarray:
    """Mono float32 samples at 16 kHz.

    Raises:
        GatherError: not audio, or ffmpeg is missing.
    """
    if path.suffix == ".g722":  # libsndfile has no decoder for it
        command = ["ffmpeg", "-v", "error", "-f", "g722", "-i", str(path), "-ar", str(RATE), "-f", "f32le", "-"]
        return np.frombuffer(_call(command, path.parent), np.float32)
    try:
        audio, rate = soundfile.read(path, dtype="float32", always_2d=True)
    except RuntimeError as error:
        raise GatherError(f"{path.name} is not readable as audio: {error}") from error
    return soxr.resample(audio.mean(axis=1), rate, RATE)


def trim(audio: np.ndarray) -> np.ndarray | None:
    """The part between the first and the last loud frame, at an RMS of 0.06; None for silence and scraps."""
    frames = audio[: len(audio) // FRAME * FRAME].reshape(-1, FRAME)
    if len(frames) < MARGIN or (levels := np.sqrt(np.mean(np.square(frames), axis=1))).max() < 1e-3:
        return None
    loud = np.flatnonzero(levels > LOUD * levels.max())
    kept = audio[max(0, loud[0] - MARGIN) * FRAME : (loud[-1] + 1 + MARGIN) * FRAME]
    return kept * (LEVEL / np.sqrt(np.mean(np.square(kept))))


def joined(recordings: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
    """Recordings one after another in pieces of at least 6 s; the last may be shorter."""
    piece: list[np.ndarray] = []
    for recording in recordings:
        piece.append(recording)
        if sum(map(len, piece)) >= SECONDS * RATE:
            yield np.concatenate(piece)
            piece = []
    if piece:
        yield np.concatenate(piece)


def gather(corpus: Corpus, folder: Path) -> float:
    """Write a corpus as FLAC files into `folder`/NAME, which appears once it is whole.

    Args:
        corpus: what to write.
        folder: exists already.

    Returns:
        Length in seconds.

    Raises:
        GatherError: see `download`; also where the origin holds nothing of that kind.
    """
    with tempfile.TemporaryDirectory() as scratch, tempfile.TemporaryDirectory(dir=folder) as unfinished:
        download(corpus.origin, Path(scratch))
        recordings = (trim(read(path)) for path in sorted(Path(scratch).glob(corpus.files)))
        samples = 0
        target = Path(unfinished) / corpus.name
        target.mkdir()
        for number, audio in enumerate(joined(r for r in recordings if r is not None)):
            audio = audio / max(1.0, float(np.abs(audio).max()) / 0.99)
            soundfile.write(target / f"{corpus.name}_{number:04d}.flac", audio, RATE)
            samples += len(audio)
        if not samples:
            raise GatherError(f"{corpus.origin}: holds no {corpus.files}")
        target.rename(folder / corpus.name)
    return samples / RATE


def main(argv: Sequence[str] | None = None, corpora: Sequence[Corpus] = CORPORA) -> int:
    """Gather what is not there yet; 3 where a source could not be had, and the others are there all the same."""
    parser = argparse.ArgumentParser(
        "python -m nanocodec.training.gather",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("folder", type=Path, help="where the voices' folders go; those that are there are kept")
    folder: Path = parser.parse_args(argv).folder
    folder.mkdir(parents=True, exist_ok=True)
    code = 0
    for corpus in corpora:
        if (folder / corpus.name).exists():
            continue
        try:
            seconds = gather(corpus, folder)
        except GatherError as error:
            print(f"{corpus.name}: left out ({error})", file=sys.stderr)
            code = 3
        else:
            print(f"{corpus.name}: {seconds / 60:.1f} min, {corpus.license}")
    return code


if __name__ == "__main__":
    sys.exit(main())
