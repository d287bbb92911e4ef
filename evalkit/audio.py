"""Reading, resampling and naming audio. The one place that touches files and sampling rates."""

import hashlib
import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

from evalkit import interrupt
from evalkit.errors import AudioError

Wave = NDArray[np.float32]
"""Mono audio, shape [T], full scale +-1."""

SUFFIXES = (".wav", ".flac", ".ogg", ".opus", ".mp3")
RESAMPLER = f"soxr {soxr.__version__} HQ"
"""Stated in every run: the choice of resampler moves PESQ means by up to 0.011."""


@dataclass(frozen=True)
class AudioIdentity:
    """What names a recording, whatever its file is called: the sha256 of its samples and rate; and its length."""

    pcm: str
    sample_rate: int
    """Hz."""
    samples: int

    @property
    def seconds(self) -> float:
        return self.samples / self.sample_rate


@dataclass(frozen=True)
class Audio:
    """Mono audio [T] (float32, full scale +-1) and its rate in Hz."""

    wav: Wave
    sample_rate: int

    @property
    def seconds(self) -> float:
        return len(self.wav) / self.sample_rate

    def at(self, rate: int | None) -> "Audio":
        """The same audio at `rate` Hz; None keeps it as it is."""
        if rate is None or rate == self.sample_rate:
            return self
        return Audio(resample(self.wav, self.sample_rate, rate), rate)

    def pcm_hash(self) -> str:
        """sha256 of the samples and the rate: names the content, whatever the file's format or name."""
        digest = hashlib.sha256(f"{self.sample_rate}:".encode())
        digest.update(np.ascontiguousarray(self.wav, dtype="<f4").tobytes())
        return digest.hexdigest()

    def identity(self) -> AudioIdentity:
        """What names this recording."""
        return AudioIdentity(self.pcm_hash(), self.sample_rate, len(self.wav))


def read(path: Path | str) -> Audio:
    """Audio of a file; several channels are averaged to one.

    Raises AudioError, which names the file and the reason, for a file that is missing, is not audio, has no samples
    or holds NaN or infinite samples.
    """
    path = Path(path)
    if not path.is_file():
        raise AudioError(f"{path}: no such file")
    if path.stat().st_size == 0:
        raise AudioError(f"{path}: the file is empty")
    return _decode(path, str(path))


def read_bytes(content: bytes, name: str) -> Audio:
    """Audio of a file's `content`, as `read` does it; `name` stands for the file in errors."""
    return _decode(io.BytesIO(content), name)


def _decode(file: Path | io.BytesIO, name: str) -> Audio:
    try:
        wav, rate = soundfile.read(file, dtype="float32", always_2d=True)
    except (soundfile.LibsndfileError, OSError) as error:
        raise AudioError(f"{name}: not audio that can be read ({str(error).splitlines()[0]})") from error
    finally:
        interrupt.check()
    if len(wav) == 0:
        raise AudioError(f"{name}: the audio has no samples")
    mono = np.ascontiguousarray(wav[:, 0]) if wav.shape[1] == 1 else wav.mean(axis=1)
    if not np.isfinite(mono).all():
        raise AudioError(f"{name}: the audio holds NaN or infinite samples")
    return Audio(mono, int(rate))


def duration(path: Path) -> float:
    """Seconds of the audio in `path` as its header says; 0 where that cannot be read."""
    try:
        return float(soundfile.info(path).duration)
    except (OSError, soundfile.LibsndfileError):
        return 0.0


def write(path: Path, audio: Audio) -> None:
    """Write float32 samples as 32-bit float WAV: nothing is clipped or rounded."""
    buffer = io.BytesIO()  # soundfile itself does not say why a file cannot be written: a full disk, for instance
    try:
        soundfile.write(buffer, audio.wav, audio.sample_rate, format="WAV", subtype="FLOAT")
    finally:
        interrupt.check()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(buffer.getbuffer())


def resample(wav: Wave, source: int, target: int) -> Wave:
    """`wav` [T] from `source` Hz to `target` Hz by soxr at quality HQ."""
    if source == target:
        return wav
    return soxr.resample(wav, source, target, quality="HQ").astype(np.float32, copy=False)
