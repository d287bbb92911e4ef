"""Audio and token files for the command line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import soxr

TOKENS_FORMAT = "nanocodec-tokens-1"
_ALIASES = ("8svx", "aif", "aifc", "bwf", "iff", "mp1", "mp2", "mpga", "oga", "opus", "sf", "snd", "sph", "wave")
AUDIO_SUFFIXES = frozenset(f".{name.lower()}" for name in (*soundfile.available_formats(), *_ALIASES)) - {".raw"}
"""Of the files that soundfile reads, but for those that do not say what they hold."""


class FileError(Exception):
    """An input that is missing or unusable; the message names the file and a remedy."""


def read_audio(path: Path, sample_rate: int) -> tuple[np.ndarray, int]:
    """Read an audio file.

    Args:
        path: in any format that libsndfile reads.
        sample_rate: wanted, in Hz; soxr (HQ) resamples to it.

    Returns:
        Mono float32 [T] at `sample_rate`, channels averaged; and the file's own rate in Hz.

    Raises:
        FileError: missing, not audio, empty, or with samples that are not finite.
    """
    if not path.is_file():
        raise FileError(f"{path}: no such file")
    try:
        audio, rate = soundfile.read(path, dtype="float32", always_2d=True)
    except (RuntimeError, OSError) as error:
        raise FileError(f"{path}: not readable as audio ({error}); use WAV, FLAC, Ogg or MP3") from error
    mono = audio.mean(axis=1)
    if not len(mono):
        raise FileError(f"{path}: holds no samples")
    if not np.isfinite(mono).all():
        raise FileError(f"{path}: holds samples that are not finite numbers; repair or re-export it")
    if rate != sample_rate:
        mono = soxr.resample(mono, rate, sample_rate, quality="HQ")
    return np.ascontiguousarray(mono, dtype=np.float32), rate


def write_audio(path: Path, audio: np.ndarray, sample_rate: int) -> None:
    """Write 16-bit audio in the format that the suffix names.

    Args:
        path: the file to write.
        audio: float [T] in [-1, 1].
        sample_rate: Hz.

    Raises:
        FileError: a suffix that names no audio format, or a folder that cannot be written to.
    """
    try:
        soundfile.write(path, audio, sample_rate)
    except (RuntimeError, OSError, TypeError, ValueError) as error:
        raise FileError(f"{path}: cannot be written ({error}); use a name ending in .wav or .flac") from error


def write_tokens(path: Path, codes: np.ndarray, samples: int, config: dict[str, Any], model: str) -> None:
    """Write codes with all that decoding needs.

    Args:
        path: the `.npz` file to write.
        codes: integers [K, N].
        samples: of the audio that was encoded.
        config: the model's, as plain data.
        model: its name, for `NanoCodec.from_pretrained`.

    Raises:
        FileError: a place that cannot be written to.
    """
    header = json.dumps({"format": TOKENS_FORMAT, "model": model, "samples": samples, "config": config})
    try:
        with path.open("wb") as file:
            np.savez_compressed(file, codes=codes.astype(np.int32), header=np.array(header))
    except OSError as error:
        raise FileError(f"{path}: cannot be written ({error})") from error


def read_tokens(path: Path) -> tuple[np.ndarray, dict[str, Any]]:
    """Read what `write_tokens` wrote.

    Args:
        path: the `.npz` file.

    Returns:
        Codes int32 [K, N], and `model`, `samples` and `config`.

    Raises:
        FileError: missing, or not such a file.
    """
    if not path.is_file():
        raise FileError(f"{path}: no such file")
    try:
        with np.load(path, allow_pickle=False) as archive:
            codes, header = archive["codes"], json.loads(str(archive["header"]))
        if header["format"] != TOKENS_FORMAT or codes.ndim != 2:
            raise ValueError("another format")
        return codes, {"model": str(header["model"]), "samples": int(header["samples"]), "config": header["config"]}
    except Exception as error:  # numpy raises many kinds on a foreign or damaged archive
        raise FileError(f"{path}: not a token file of `nanocodec encode` ({error})") from error
