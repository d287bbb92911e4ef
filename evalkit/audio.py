"""Audio in memory: samples with their rate, resampled and named. Files are read and written in soundfiles.py."""

import hashlib
from dataclasses import dataclass
from importlib.metadata import version

import numpy as np
from numpy.typing import NDArray

from evalkit.errors import AudioError

Wave = NDArray[np.float32]
"""Mono audio, shape [T], full scale +-1."""

RESAMPLER = f"soxr {version('soxr')} HQ"
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
        """Duration."""
        return self.samples / self.sample_rate


@dataclass(frozen=True)
class Audio:
    """Mono audio [T] (float32, full scale +-1) and its rate in Hz. The samples cannot be changed in place."""

    wav: Wave
    sample_rate: int

    def __post_init__(self) -> None:
        if isinstance(self.wav, np.ndarray):  # somebody else's codec may have returned anything
            view = self.wav.view()
            view.setflags(write=False)
            object.__setattr__(self, "wav", view)
        if isinstance(self.sample_rate, np.integer):
            object.__setattr__(self, "sample_rate", int(self.sample_rate))  # as databases and JSON hold it

    def __reduce__(self) -> tuple[type["Audio"], tuple[Wave, int]]:
        return Audio, (self.wav, self.sample_rate)  # numpy's own pickles can be written to

    @property
    def seconds(self) -> float:
        """Duration."""
        return len(self.wav) / self.sample_rate

    def copy(self) -> "Audio":
        """The same audio in memory of its own, which nobody else writes to."""
        return Audio(self.wav.copy(), self.sample_rate)

    def at(self, rate: int | None) -> "Audio":
        """The same audio at `rate` Hz; None keeps it as it is."""
        if rate is None or rate == self.sample_rate:
            return self
        return Audio(resample(self.wav, self.sample_rate, rate), rate)

    def pcm_hash(self) -> str:
        """sha256 of the samples and the rate: names the content, whatever the file's format or name."""
        digest = hashlib.sha256(f"{self.sample_rate}:".encode())
        digest.update(np.ascontiguousarray(self.wav, dtype="<f4").data)
        return digest.hexdigest()

    def identity(self) -> AudioIdentity:
        """What names this recording."""
        return AudioIdentity(self.pcm_hash(), self.sample_rate, len(self.wav))


def resample(wav: Wave, source: int, target: int) -> Wave:
    """`wav` [T] from `source` Hz to `target` Hz by soxr at quality HQ.

    Raises:
        AudioError: where soxr cannot do it, for want of memory for instance.
    """
    if source == target:
        return wav
    import soxr

    try:
        return soxr.resample(wav, source, target, quality="HQ").astype(np.float32, copy=False)
    except (RuntimeError, ValueError, TypeError, MemoryError) as error:
        raise AudioError(f"{len(wav)} samples cannot be resampled from {source} to {target} Hz: {error}") from error
