"""The codec protocol: what a codec is to evalkit, and how `NAME@RATE` becomes one.

A *family* is what is registered (entry points `evalkit.codecs`): a name, its bitrates, and a way to build
the codec at one of them. Third parties need this module and nothing else of evalkit.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import isfinite, log2
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from evalkit import plugins
from evalkit.errors import AudioError, UsageError

Wave = NDArray[np.float32]
"""Mono audio, shape [T], full scale +-1."""


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
    """Whatever else changes what comes out, as JSON values: sha256 of the weights, settings, versions of libraries.
    It stands in the provenance of a run and names what the cache keeps."""

    def encode(self, wav: Wave) -> Codes:
        """Codes of one utterance [T] at `sample_rate`."""
        ...

    def decode(self, codes: Codes) -> Wave:
        """Audio [codes.length] at `sample_rate`."""
        ...


@dataclass(frozen=True)
class State:
    """Whether something can be used now. `code` is "ready", "needs download", "needs extra", "needs license", "needs
    weights" (of one's own: none were released) or "rendered only"; `remedy` is what makes it ready."""

    code: str
    remedy: str = ""

    @property
    def ready(self) -> bool:
        return self.code == "ready"


READY = State("ready")


@dataclass(frozen=True)
class Card:
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
    """Where the weights come from, and at which revision."""
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

    def state(self, rate: str) -> State:
        """Whether the codec can run at `rate` now. Cheap: loads no model."""
        ...

    def build(self, rate: str, device: str) -> Codec:
        """The codec itself; raises MissingError with the remedy where `state` is not ready."""
        ...


@runtime_checkable
class Described(Protocol):
    """A family that fills the columns of `evalkit list codecs`."""

    def card(self, rate: str) -> Card:
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


@dataclass(frozen=True)
class Rendered:
    """Audio that some codec decoded elsewhere, one file an utterance: stands where a Codec cannot be had."""

    name: str
    folder: Path
    bitrate: float | None
    """Declared bit/s; None where nobody declared it. Nothing can be measured without codes."""

    def file(self, utterance: str) -> Path:
        """The audio file of `utterance`, with any suffix; an id with slashes is a path below the folder. Raises
        AudioError where there is no such file, or more than one."""
        from evalkit.audio import SUFFIXES

        stem = self.folder / utterance
        found = [
            path
            for path in sorted(stem.parent.iterdir() if stem.parent.is_dir() else ())
            if path.suffix.lower() in SUFFIXES and path.name.removesuffix(path.suffix) == stem.name
        ]
        if not found:
            raise AudioError(f"{self.folder} has no audio file named {utterance}")
        if len(found) > 1:
            raise AudioError(f"{found[0]} and {found[1]} have the same name: keep one of them")
        return found[0]


@dataclass(frozen=True)
class CodecChoice:
    """A family and one of its rates: what `NAME@RATE` on the command line means."""

    family: CodecFamily
    rate: str
    weights: Path | None = None
    """Instead of the family's own."""
    rendered: Path | None = None
    """Folder of audio that the codec decoded elsewhere, instead of running it."""

    @property
    def bitrate(self) -> float:
        """Declared bit/s."""
        return self.family.rates[self.rate]

    @property
    def spec(self) -> str:
        return f"{self.family.name}@{self.rate}"

    def state(self) -> State:
        return READY if self.weights or self.rendered else self.family.state(self.rate)

    def build(self, device: str = "cpu") -> Codec | Rendered:
        """The codec, or the folder that stands for it. Raises UsageError where --weights or --rendered cannot be
        meant, MissingError where something is not here."""
        if self.rendered is not None:
            if not self.rendered.is_dir():
                raise UsageError(f"--rendered {self.rendered}: no such folder")
            bitrate = self.bitrate if isfinite(self.bitrate) else None
            name = self.spec if bitrate else self.rendered.resolve().name
            return Rendered(f"{name} (rendered)", self.rendered, bitrate)
        if self.weights is None:
            return self.family.build(self.rate, device)
        if not isinstance(self.family, Weighted):
            raise UsageError(f"{self.spec} has no weights that --weights could replace")
        return self.family.build_from(self.weights, self.rate, device)


def parse_bitrate(text: str) -> float:
    """Bit/s of `1.1k`, `1100`, `6kbps`; raises UsageError for anything else."""
    number = text.lower().removesuffix("bps").removesuffix("bit/s").strip()
    factor = 1000.0 if number.endswith("k") else 1.0
    try:
        value = float(number.removesuffix("k")) * factor
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise UsageError(f"bitrate {text!r} is not a number of bit/s: write 1.1k, 1100 or 6kbps")
    return value


def choose(spec: str, bitrate: str | None = None) -> CodecChoice:
    """The codec that `NAME` or `NAME@RATE` names; `bitrate` is used where the spec has none.

    Raises UsageError that lists the known names or rates.
    """
    name, _, rate = spec.partition("@")
    family: CodecFamily = plugins.load("codec", name)
    wanted = rate or bitrate
    if wanted is None:
        return CodecChoice(family, family.default_rate)
    if wanted in family.rates:
        return CodecChoice(family, wanted)
    value = parse_bitrate(wanted)
    for label in family.rates:
        if abs(parse_bitrate(label.split("-")[0]) - value) < 0.5:
            return CodecChoice(family, label)
    raise UsageError(f"{name} has no bitrate {wanted!r}. Known: {', '.join(known_specs([family]))}.")


def assign(choices: Sequence[CodecChoice], paths: Sequence[str], flag: str) -> tuple[CodecChoice, ...]:
    """`choices` with the paths of --weights or --rendered: each is PATH, where there is only one codec, or
    NAME=PATH or NAME@RATE=PATH. Raises UsageError where it is not clear which codec is meant."""
    assigned = list(choices)
    for text in paths:
        name, _, path = text.rpartition("=")
        matches = [i for i, one in enumerate(assigned) if not name or name in (one.family.name, one.spec)]
        if len(matches) != 1:
            wanted = ", ".join(f"{flag} {one.spec}=PATH" for one in choices)
            raise UsageError(f"{flag} {text}: which codec is meant? Write {wanted}.")
        one, place = assigned[matches[0]], Path(path).expanduser()
        assigned[matches[0]] = replace(one, weights=place) if flag == "--weights" else replace(one, rendered=place)
    return tuple(assigned)


def known_specs(families: Sequence[CodecFamily]) -> list[str]:
    """`NAME@RATE` of every rate, lowest first."""
    return [f"{f.name}@{rate}" for f in families for rate in sorted(f.rates, key=lambda r: f.rates[r])]
