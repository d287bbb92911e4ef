"""What a condition is, and the codec that one wraps."""

import hashlib
from abc import ABC
from collections.abc import Mapping
from dataclasses import MISSING, Field, dataclass, fields
from math import isfinite
from typing import Any, ClassVar, Literal, Self

import numpy as np

from evalkit.audio import Audio, Wave
from evalkit.codecs import Codec, Codes, Widening
from evalkit.datasets.base import Dataset
from evalkit.errors import UsageError
from evalkit.files import shown
from evalkit.results.provenance import ConditionInfo
from evalkit.results.rows import CLEAN

Reference = Literal["clean", "input"]


@dataclass(frozen=True)
class Condition(ABC):
    """Something done to the audio (`degrade`), or to codes and codec (`wrap`); subclasses override what they need.

    The fields of a subclass are its options on the command line: text, whole or other numbers.
    """

    kind: ClassVar[str]
    """Its name on the command line."""
    about: ClassVar[str]
    """What it does, in one sentence."""
    version: ClassVar[str] = "1"
    """Changes whenever the same input could give another output."""
    keeps_text: ClassVar[bool] = True
    """Whether the transcript stays true."""

    @classmethod
    def options(cls) -> "list[Field[Any]]":
        """Its options, the first of which may be given without its name."""
        return [item for item in fields(cls) if item.init]

    @property
    def name(self) -> str:
        """As it stands in rows: the kind, its first option, and every other one that differs from its default."""
        given = [
            f"{item.name.replace('_', '-')}={_text(value)}"
            for position, item in enumerate(self.options())
            if (value := getattr(self, item.name)) != item.default or position == 0
        ]
        return f"{self.kind}:{','.join(given)}" if given else self.kind

    @property
    def against(self) -> Reference:
        """What decoded audio is scored against: the utterance as it is ("clean"), or what the codec was given
        ("input")."""
        return "clean"

    def info(self) -> ConditionInfo:
        """For the provenance."""
        return ConditionInfo(self.about, self.against, self.version)

    def bind(self, dataset: Dataset) -> Self:
        """This condition, once it is known which `dataset` it is for.

        Raises:
            UsageError: the dataset lacks what the condition needs.
        """
        return self

    def degrade(self, audio: Audio, rng: np.random.Generator, utterance: str) -> Audio:
        """What the codec is given for `audio` of `utterance`, at the same rate; as long as `audio`, unless it is scored
        against the input."""
        return audio

    def wrap(self, codec: Codec, seed: int) -> Codec:
        """`codec` as it is used under this condition.

        Raises:
            UsageError: it makes no sense for this codec.
        """
        return codec

    def offset(self, codec: Codec) -> float | None:
        """Frames by which codes lie behind those of clean audio; None where the two do not correspond."""
        return 0.0

    def generator(self, seed: int, content: str) -> np.random.Generator:
        """Random numbers for the audio or codes that `content` names: the same in any order of work, and for all
        settings of one kind, so that levels of a sweep differ in nothing but the level."""
        digest = hashlib.sha256(f"{seed}:{self.kind}:{content}".encode()).digest()
        return np.random.default_rng(int.from_bytes(digest[:16], "little"))

    def require(self, holds: bool, what: str) -> None:
        """Raise UsageError with `what` must be so, unless it `holds`."""
        if not holds:
            raise UsageError(f"condition {self.name}: {what}")

    def __post_init__(self) -> None:
        for item in self.options():
            value = getattr(self, item.name)
            self.require(not isinstance(value, float) or isfinite(value), f"{item.name} must be a finite number")
        self.check()

    def check(self) -> None:  # noqa: B027
        """Raise UsageError where an option has a value that makes no sense."""

    @classmethod
    def usage(cls) -> str:
        """How it is named: `noise:snr=…[,type=white]`."""
        text, before = cls.kind, ":"
        for item in cls.options():
            if item.default is MISSING:
                text += f"{before}{item.name}=…"
            else:
                text += f"[{before}{item.name}={_text(item.default) or '…'}]"
            before = ","
        return text


@dataclass(frozen=True)
class Clean(Condition):
    """Audio, codes and codec stay unchanged."""

    kind = CLEAN
    about = "Audio, codes and codec stay unchanged."


class WrappedCodec:
    """`inner` under a condition: what a subclass does not change is the codec's own."""

    def __init__(self, inner: Codec, condition: Condition, seed: int | None = None) -> None:
        """`seed` where anything is drawn. Raises UsageError for a decoder with a rate of its own."""
        if isinstance(inner, Widening):
            raise UsageError(f"{condition.name} does not support codecs that decode at another rate: {inner.name}")
        self.inner, self.condition, self.seed = inner, condition, seed
        self.name = inner.name
        self.sample_rate: int | None = inner.sample_rate
        self.frame_rate: float | None = inner.frame_rate
        self.codebook_sizes: tuple[int, ...] = inner.codebook_sizes
        self.streaming = inner.streaming
        said: dict[str, object] = {"name": condition.name, "version": condition.version}
        said |= {} if seed is None else {"seed": seed}
        self.details: Mapping[str, object] = {**inner.details, "condition": said}

    def encode(self, wav: Wave) -> Codes:
        """As the codec itself."""
        return self.inner.encode(wav)

    def decode(self, codes: Codes) -> Wave:
        """As the codec itself."""
        return self.inner.decode(codes)

    def generator(self, codes: Codes) -> np.random.Generator:
        """Random numbers for `codes`."""
        content = b"".join(codes.payload) if codes.indices is None else codes.indices.tobytes()
        return self.condition.generator(self.seed or 0, hashlib.sha256(content).hexdigest())


@dataclass(frozen=True)
class InputCondition(Condition):
    """A condition on the audio that keeps its length and may be scored against either side."""

    @property
    def against(self) -> Reference:
        return "clean" if getattr(self, "reference", "input") == "clean" else "input"

    def check(self) -> None:
        self.require(getattr(self, "reference", "input") in ("input", "clean"), "reference must be input or clean")


def fitted(wav: Wave, length: int) -> Wave:
    """`wav` [T], cut or followed by silence: [length]. Resampling there and back may miss it by a sample."""
    return np.pad(wav[:length], (0, max(0, length - len(wav))))


def _text(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else shown(str(value))
