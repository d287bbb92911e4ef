"""The codec protocol: what a codec is to evalkit, and how `NAME@RATE` becomes one.

A *family* is what is registered (entry points `evalkit.codecs`): a name, its bitrates, and a way to build
the codec at one of them. Third parties need this module and nothing else of evalkit.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import log2
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from evalkit.audio import Wave


@dataclass(frozen=True)
class Codes:
    """What a codec would transmit for one utterance.

    Codecs with codebooks fill `indices` [K, N] (int64) and `codebook_sizes` (K sizes). Codecs with a bitstream of
    their own fill `payload` (one bytes object a packet) and `payload_bits`, counted as they are, not rounded up
    to bytes. `length` is the number of samples that went in, at the codec's own rate.
    """

    length: int
    indices: NDArray[np.int64] | None = None
    codebook_sizes: tuple[int, ...] = ()
    payload: tuple[bytes, ...] = ()
    payload_bits: int = 0

    def __post_init__(self) -> None:
        if self.indices is not None and self.indices.shape[:1] != (len(self.codebook_sizes),):
            raise ValueError(
                f"indices of shape {self.indices.shape} for {len(self.codebook_sizes)} codebooks: it takes a row each"
            )

    @property
    def bits(self) -> float:
        """Bits that carry this utterance: tokens x log2(codebook size), or the payload's own count."""
        if self.indices is None:
            return float(self.payload_bits)
        return self.indices.shape[1] * sum(log2(size) for size in self.codebook_sizes)


@runtime_checkable
class Codec(Protocol):
    """One codec at one bitrate. It may have a `note`, too: what readers of its scores should know, printed beneath
    tables."""

    name: str
    """As it stands in rows and tables, for instance `opus@6k`."""
    sample_rate: int | None
    """Hz, of what `encode` takes and `decode` returns; None where any rate will do."""
    frame_rate: float | None
    """Frames a second, or None for codecs without frames."""
    codebook_sizes: tuple[int, ...]
    """Size of each codebook; empty for codecs with a bitstream of their own."""
    streaming: bool
    """Whether decoding needs no future frames."""
    details: Mapping[str, object]
    """Whatever else changes what comes out, as JSON values: settings, versions of libraries and, where there are
    weights, `weights_sha256` with the sha256 of each file by its name. It stands in the provenance of a run and names
    what the cache keeps."""

    def encode(self, wav: Wave) -> Codes:
        """Codes of one utterance [T] at `sample_rate`."""
        ...

    def decode(self, codes: Codes) -> Wave:
        """Audio [codes.length] at `sample_rate`."""
        ...


@dataclass(frozen=True)
class Availability:
    """Whether something can be used now. `code` is "ready", "needs download", "needs extra", "needs license", "needs
    weights" (of one's own: none were released) or "rendered only"; `remedy` is what makes it ready."""

    code: str
    remedy: str = ""

    @property
    def ready(self) -> bool:
        return self.code == "ready"


READY = Availability("ready")


UNPINNED = "(unpinned)"


@dataclass(frozen=True)
class CodecInfo:
    """What is known of a codec at one rate without building it; None and "" where nobody says."""

    sample_rate: int | None = None
    """Hz."""
    frame_rate: float | None = None
    """Frames a second."""
    codebook_sizes: tuple[int, ...] = ()
    parameters: int | None = None
    """Learned numbers that encoding and decoding use, codebooks among them."""
    code_license: str = ""
    weights_license: str = ""
    weights: str = ""
    """Where the weights come from, and at which revision; ends in `UNPINNED` where nothing says which these are."""
    causal: bool | None = None
    """Whether decoding needs no future frames."""


class CodecFamily(Protocol):
    """A codec at all of its bitrates. It may say more of itself: see `Described` and `Weighted`."""

    name: str
    rates: Mapping[str, float]
    """Label such as `1.1k` -> exact bit/s that the codec declares."""
    default_rate: str
    license: str
    """Of the code and, where there are any, the weights."""

    def availability(self, rate: str) -> Availability:
        """Whether the codec can run at `rate` now. Cheap: loads no model."""
        ...

    def build(self, rate: str, device: str) -> Codec:
        """The codec itself; raises MissingError with the remedy where `state` is not ready."""
        ...


@runtime_checkable
class Described(Protocol):
    """A family that fills the columns of `evalkit list codecs`."""

    def info(self, rate: str) -> CodecInfo:
        """What is known of the codec at `rate`. Cheap: loads no model."""
        ...


@runtime_checkable
class Weighted(Protocol):
    """A family whose codecs read weights from a file or folder: `evalkit fetch` and `--weights` reach it."""

    def fetch(self, rate: str) -> Path:
        """Bring the weights at `rate` to this machine where they are not here yet, verify them, and say where they
        are; raises MissingError with the file, revision, license and remedy where that cannot be done now."""
        ...

    def build_from(self, weights: Path, rate: str, device: str) -> Codec:
        """The codec with the weights in `weights`; raises MissingError where they are not there or do not fit."""
        ...

    def release_sha256(self, rate: str) -> Mapping[str, str]:
        """sha256 of the published weights at `rate`, by file, as far as they were recorded; empty where none was."""
        ...


def is_release(family: object, rate: str, codec: Codec) -> bool | None:
    """Whether the weights that `codec` uses are the published ones, by their bytes.

    Args:
        family: the `CodecFamily` that built it.
        rate: the label it was built with.
        codec: its `details["weights_sha256"]` names the sha256 of every file, whatever the file is called.

    Returns:
        True where all files with a recorded sha256 are among the codec's, False where one is not, None where no
        sha256 was recorded: then nothing can be said of weights that lie in a folder.
    """
    recorded = family.release_sha256(rate) if isinstance(family, Weighted) else {}
    used = codec.details.get("weights_sha256", {})
    if not recorded:
        return None
    return isinstance(used, Mapping) and set(recorded.values()) <= set(used.values())
