"""Reading and writing audio files. The one place that touches them.

libsndfile believes what a header announces, and raises what it likes; `read` does neither. Whatever is wrong with a
file is an AudioError that names it, found out before memory is taken for what the header promises.
"""

import io
import os
import re
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import soundfile

from evalkit import interrupt
from evalkit.audio import Audio, Wave
from evalkit.environment.contained import contained
from evalkit.environment.machine import available_memory
from evalkit.errors import AudioError, describe
from evalkit.files import shown
from evalkit.streams import flush_c
from nanocodec.atomic import replacing
from nanocodec.files import AUDIO_SUFFIXES

SUFFIXES = tuple(sorted(AUDIO_SUFFIXES - {".mat4", ".mat5"}))
"""Of the formats that soundfile reads: a file with another suffix is not taken for audio."""

LOWEST_RATE, HIGHEST_RATE = 4000, 384_000
"""Hz. A header that claims another rate is taken for damaged: a second at 1 Hz would be resampled to hours."""
BLOCK = 2**20
"""Samples that are read at once, of all channels together."""
CHUNK = 2**20
"""Bytes that are searched at once."""
UNQUESTIONED = 2**24
"""Samples that any file may hold, of all channels together: 6 minutes at 48 kHz."""
SAMPLES_A_BYTE = 128
"""More than this, beyond UNQUESTIONED, no speech takes: Opus at 6 kbps and 48 kHz has 64, FLAC about 1. Silence alone
has up to 350, so what is refused is damage, or a file made to fill the memory."""

STREAMED = 2**31 - 2**16
"""Bytes of audio from which on a header states no length: programs that write to a pipe put such numbers there."""
SLOPPY = 64
"""Bytes by which some programs count too many."""
OGG_PAGE = 2**16
"""Bytes that a page of an Ogg file takes at most, about."""
MP3_SLOPPY = 1152
"""Samples of a frame: what the delay of an encoder may take from what an MP3 file claims."""
MAGIC = 8
"""Bytes by which a file of a format begins; no audio has them again."""
_BYTES = re.compile(r"(?:data|SSND|Data Size|Riff size|riff|BODY)\s*: (\d+) \(should be (\d+)\)")
"""What libsndfile logs where WAV, AIFF, AU, RF64, W64 or SVX claim more bytes than there are: it reads on."""
_CUT_SHORT = re.compile(r"Data length \d+ should be \d+|Seems to be a truncated file")
"""Likewise, of WVE and VOC."""
_MP3_FRAME = re.compile(rb"\xff[\xe2-\xff]")
"""How a frame of an MP3 file begins."""
_MP3_TAG = re.compile(rb"APETAGEX|LYRICSBEGIN|TAG")
"""How what may follow its audio begins."""
_FRAMES = re.compile(r"^ *Frames *: (\d+)$", re.MULTILINE)
"""Likewise: how many samples an AVR or MPC2K file claims; how many an SDS file has, in whole packets."""


def fetch(source: Path | Audio | Callable[[], Audio]) -> Audio:
    """Audio from a file, from memory, or from somebody's function.

    Args:
        source: Where it is; what a function returns is copied, since it may use its memory again.

    Returns:
        Mono audio, float32 [T], at a rate that recordings have; other floating-point numbers are converted.

    Raises:
        AudioError: There is none.
    """
    if isinstance(source, Path):
        return read(source)
    try:
        with contained():
            return checked(source if isinstance(source, Audio) else source().copy(), "the dataset")
    except (AudioError, KeyboardInterrupt):
        raise
    except BaseException as error:  # somebody else's code: whatever it raises
        raise AudioError(f"the dataset returned no audio: {describe(error)}") from error


def checked(audio: Audio, whose: str) -> Audio:
    """`audio`, made by somebody else's code, as `fetch` gives it; AudioError names `whose` it is."""
    samples, rate = np.asarray(audio.wav), audio.sample_rate
    if samples.ndim != 1 or not samples.size or not np.issubdtype(samples.dtype, np.floating):
        raise AudioError(f"{whose} returned a {samples.dtype} array {list(samples.shape)}: it must be float32 [T]")
    if not isinstance(rate, int | np.integer) or not LOWEST_RATE <= rate <= HIGHEST_RATE:
        raise AudioError(f"{whose} returned audio at {rate} Hz: it must be from {LOWEST_RATE} to {HIGHEST_RATE}, whole")
    if not np.isfinite(samples).all():
        raise AudioError(f"{whose} returned NaN or infinite samples")
    return audio if samples.dtype == np.float32 else Audio(samples.astype(np.float32), int(rate))


def fetch_at_most(source: Path | Audio | Callable[[], Audio], seconds: float) -> Audio:
    """`fetch(source)`; raises AudioError for what is longer than `seconds` as well, as far as its header says so before
    it is read."""
    length = duration(source) if isinstance(source, Path) else 0.0
    if length <= seconds:
        audio = fetch(source)
        length = audio.seconds
        if length <= seconds:
            return audio
    raise AudioError(f"{length:.0f} s long, more than --max-seconds {seconds:g}")


def read(path: Path | str) -> Audio:
    """Audio of a file; several channels are averaged to one.

    Args:
        path: A file in any format that soundfile reads, at 4 to 384 kHz.

    Raises:
        AudioError: names the file and the reason: it is missing, no regular file, cannot be opened, is not audio,
            announces what it cannot hold, ends early, goes on after its end, has no samples, or holds NaN or infinite
            samples.
    """
    size = _size(path)
    if size == 0:
        raise AudioError(f"{shown(path)}: the file is empty")
    try:
        with open(path, "rb", buffering=0) as file:
            return _decode(file, shown(path), size)
    except OSError as error:
        raise AudioError(f"{shown(path)}: cannot be opened ({error.strerror or error})") from error


def read_bytes(content: bytes, name: str) -> Audio:
    """Audio of a file's `content`, as `read` does it; `name` stands for the file in errors."""
    return _decode(io.BytesIO(content), name, len(content))


def duration(path: Path) -> float:
    """Seconds of the audio in `path` as its header says; 0 where that cannot be read or believed."""
    try:
        size = _size(path)
        with open(path, "rb", buffering=0) as file, _opened(file) as opened:
            _check_header(opened, size)
            return 0.0 if _length_unknown(opened) else float(opened.frames / opened.samplerate)
    except Exception:  # as in _decode
        return 0.0
    finally:
        interrupt.check()


def write(path: Path, audio: Audio) -> None:
    """Write float32 samples as 32-bit float WAV: nothing is clipped or rounded.

    Raises:
        OSError: where the file cannot be written; what was there before stays.
    """
    buffer = io.BytesIO()  # soundfile itself does not say why a file cannot be written: a full disk, for instance
    try:
        soundfile.write(buffer, audio.wav, audio.sample_rate, format="WAV", subtype="FLOAT")
    finally:
        interrupt.check()
    content = buffer.getbuffer()
    peak = bytes(content[:256]).index(b"PEAK")
    content[peak + 12 : peak + 16] = bytes(4)  # when it was written: the same audio is the same file
    with replacing(path) as partial:
        partial.write_bytes(content)


class _Forward(soundfile.SoundFile):
    """A file that is read from its start to its end. soundfile seeks after each read where it may, and that fails at
    the end of a FLAC file of unknown length, and costs an MP3 file the state of its decoder."""

    def seekable(self) -> bool:
        return False


def _size(path: Path | str) -> int:
    """Bytes of the regular file `path`, which can be opened. A pipe or a device is not waited for."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        try:
            about = os.fstat(descriptor)
        finally:
            os.close(descriptor)
    except FileNotFoundError as error:
        target = f": it is a link to {shown(os.readlink(path))}" if os.path.islink(path) else ""
        raise AudioError(f"{shown(path)}: no such file{target}") from error
    except (OSError, ValueError) as error:  # ValueError: NUL in the name
        raise AudioError(f"{shown(path)}: cannot be opened ({getattr(error, 'strerror', None) or error})") from error
    if not stat.S_ISREG(about.st_mode):
        found = "a folder" if stat.S_ISDIR(about.st_mode) else "a pipe or a device"
        raise AudioError(f"{shown(path)}: no such file, but {found}")
    return about.st_size


File = io.FileIO | io.BytesIO
"""What is decoded: its position says how much of it was."""


def _decode(file: File, name: str, size: int) -> Audio:
    try:
        with _opened(file) as opened:
            _check_header(opened, size)
            mono = _read_mono(opened, size)
            rate = int(opened.samplerate)
            if len(mono) == 0:
                raise AudioError("the audio has no samples")
            _check_end(opened, file, size, len(mono))
    except AudioError as error:
        raise AudioError(f"{name}: {error}") from error
    except Exception as error:  # a decoder in C on somebody's bytes: whatever it raises
        reason = (
            "a .raw file states neither rate nor format: convert it to WAV" if name.endswith(".raw") else _said(error)
        )
        raise AudioError(f"{name}: cannot be read as audio ({reason})") from error
    finally:
        interrupt.check()
    if not np.isfinite(mono).all():
        raise AudioError(f"{name}: the audio holds NaN or infinite samples")
    return Audio(mono, rate)


@contextmanager
def _opened(file: File) -> Iterator[_Forward]:
    with _silence(_part(file)):
        file.seek(0)
        with _Forward(file if isinstance(file, io.BytesIO) else file.fileno(), closefd=False) as opened:
            yield opened


def _check_end(opened: soundfile.SoundFile, file: File, size: int, samples: int) -> None:
    """Raise AudioError where `file`, of `size` bytes, does not end where it says, or goes on where its decoder stopped:
    libsndfile takes no notice."""
    there = file.tell()
    if opened.format == "OGG" and not _ends(_part(file, max(0, size - OGG_PAGE), OGG_PAGE)):
        raise AudioError("its last page does not end the stream: it is truncated")
    if opened.format == "NIST" and (said := re.search(rb"sample_count -i (\d+)", _part(file))):
        _check_count(samples, int(said[1]))
    if opened.format == "MP3":
        if _counts_frames(file):
            _check_count(samples + MP3_SLOPPY, opened.frames)
        rest = _part(file, there)
        goes_on = bool(_MP3_FRAME.search(rest)) and not _MP3_TAG.search(rest)
    else:  # a file of MATLAB has the same head for each of its matrices
        goes_on = not opened.format.startswith("MAT") and _contains(file, _part(file, 0, MAGIC), MAGIC)
    if goes_on:
        raise AudioError("it contains several recordings, but only the first would be read: convert it to WAV")


def _part(file: File, start: int = 0, length: int = 1024) -> bytes:
    """`length` bytes of `file` from `start` on, or as many as there are."""
    file.seek(start)
    return file.read(length) or b""


def _contains(file: File, wanted: bytes, start: int) -> bool:
    """Whether `file` has `wanted` at `start` or later."""
    before = b""
    file.seek(start)
    while block := file.read(CHUNK):
        if wanted in before + block:
            return True
        before = block[1 - len(wanted) :]
    return False


def _ends(tail: bytes) -> bool:
    """Whether the last page of an Ogg file is whole, and marked as the last."""
    page = tail[max(0, tail.rfind(b"OggS\0")) :]
    if len(page) < 27:
        return False
    lengths = page[27 : 27 + page[26]]  # of the pieces of its body
    return bool(page[5] & 4) and len(lengths) == page[26] and len(page) >= 27 + len(lengths) + sum(lengths)


def _counts_frames(file: File) -> bool:
    """Whether the first frame of an MP3 file says how many there are, as LAME writes it; else its length is a guess."""
    head = _part(file)
    if head.startswith(b"ID3"):
        head = _part(file, 10 + sum(byte << shift for byte, shift in zip(head[6:10], (21, 14, 7, 0), strict=True)))
    found = re.search(rb"(?:Xing|Info)\0\0\0(.)", head, re.DOTALL)
    return found is not None and bool(found[1][0] & 1)


@contextmanager
def _silence(head: bytes) -> Iterator[None]:
    """Keeps standard output free of what libsndfile prints there about damaged packets of an SDS file."""
    if not head.startswith(b"\xf0\x7e"):
        yield
        return
    flush_c()
    with open(os.devnull, "wb") as nowhere, os.fdopen(os.dup(1), "wb") as output:
        os.dup2(nowhere.fileno(), 1)
        try:
            yield
        finally:
            flush_c()
            os.dup2(output.fileno(), 1)


def _said(error: Exception) -> str:
    if isinstance(error, soundfile.LibsndfileError):
        return str(error.error_string)
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def _check_header(file: soundfile.SoundFile, size: int) -> None:
    if not LOWEST_RATE <= file.samplerate <= HIGHEST_RATE:
        raise AudioError(f"its header claims {file.samplerate} Hz: not within {LOWEST_RATE} to {HIGHEST_RATE} Hz")
    if not _length_unknown(file) and file.frames * file.channels > _most(size):
        raise AudioError(
            f"its header claims {file.frames} x {file.channels} samples in {size} bytes, implausible for speech"
        )
    for claimed, there in _BYTES.findall(file.extra_info):
        if int(claimed) < STREAMED and int(claimed) - int(there) > SLOPPY:
            raise AudioError(f"its header claims {claimed} bytes of audio, but there are only {there}: it is truncated")
    if found := _CUT_SHORT.search(file.extra_info):
        raise AudioError(f"it is truncated ({found[0]})")
    if file.format in ("AVR", "MPC2K", "SDS") and (logged := _FRAMES.search(file.extra_info)):
        numbers = int(logged[1]), file.frames
        _check_count(*(numbers if file.format == "SDS" else reversed(numbers)))


def _check_count(there: int, claimed: int) -> None:
    if there < claimed:
        raise AudioError(f"it ends after {there} of {claimed} samples: it is truncated")


def _length_unknown(file: soundfile.SoundFile) -> bool:
    return bool(file.frames >= 2**62)  # a FLAC file that was written to a pipe: libsndfile says 2^63 - 1


def _require_memory(samples: int) -> None:
    """Raise AudioError where `samples`, and as many again to work on, do not fit into what is free: of a long recording
    the file is whole, and the system would end the process that reads it."""
    if samples > UNQUESTIONED and (free := available_memory()) is not None and 8 * samples > free:
        raise AudioError(
            f"its {samples / 1e6:.0f} million samples or more do not fit into {free / 1e9:.1f} GB of free memory: cut "
            "it into utterances"
        )


def _most(size: int) -> int:
    """Samples, of all channels together, that a file of `size` bytes may hold."""
    return UNQUESTIONED + SAMPLES_A_BYTE * size


def _read_mono(file: soundfile.SoundFile, size: int) -> Wave:
    """All samples of `file`, the mean of its channels, [T]."""
    step = max(1, BLOCK // file.channels)
    told = not _length_unknown(file) and file.format not in ("MP3", "OGG")  # there it is a guess
    _require_memory(file.frames if told else 0)
    mono = np.empty(file.frames if told else step, np.float32)
    total = 0
    while True:
        block = file.read(step, dtype="float32", always_2d=True)
        end = total + len(block)
        if end * file.channels > _most(size):
            raise AudioError(f"it unpacks to more than {_most(size)} samples from {size} bytes, implausible for speech")
        if end > len(mono):
            _require_memory(end)
            mono = np.concatenate([mono[:total], np.empty(max(end - total, total // 2), np.float32)])
        mono[total:end] = block[:, 0] if file.channels == 1 else block.mean(axis=1)
        total = end
        if len(block) < step:
            break
    if told:
        _check_count(total, file.frames)
    return mono[:total]
