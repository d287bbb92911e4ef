"""What a metric is: one number for a pair of waveforms, or for the codes of a whole dataset.

A metric lives in one file of this folder, documents its formula, unit and range, and registers under the entry
point group `evalkit.metrics`. Its name carries the variant, so that no two definitions share a column.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from hashlib import sha256
from importlib.util import find_spec
from itertools import groupby
from typing import Any, ClassVar, Literal, Protocol

from numpy.typing import NDArray

from evalkit import hub, optional
from evalkit.cache import content_key
from evalkit.codecs import READY, Codes, State, Wave
from evalkit.errors import UsageError
from evalkit.hub import File, describe

SCORE_RATE = 16_000
"""Hz. Every pair is resampled to this rate before it is scored, as in the NanoCodec paper's protocol."""

Direction = Literal["up", "down", "none"]


@dataclass(frozen=True)
class Pair:
    """One utterance and what a codec made of it: both [T] at SCORE_RATE, trimmed to the shorter, finite."""

    reference: Wave
    decoded: Wave
    transcript: str | None = None
    language: str | None = None


@dataclass(frozen=True)
class Metric(ABC):
    """What every metric says of itself."""

    name: str
    """Column name; carries the variant, for instance `pesq-wb`."""
    label: str
    """As a table's head shows it, for instance `PESQ-WB`."""
    direction: Direction
    """"up" if higher is better, "down" if lower is, "none" if neither."""
    unit: str
    low: float
    high: float
    """Range of the values; may be infinite."""
    version: str
    """Changes whenever the same input could give another value."""
    decimals: int
    """Digits after the point in tables."""

    @property
    def rows(self) -> tuple[str, ...]:
        """Names of the rows that it gives for one utterance: its own first."""
        return (self.name,)

    def state(self, languages: Sequence[str] = ()) -> State:
        """Whether it can score speech in `languages` (ISO 639-1) here and now. Loads nothing."""
        return READY

    def identity(self, language: str | None = None) -> dict[str, Any]:
        """All that determines its values for speech in `language`, beside the pair, as JSON values: names what the
        cache keeps."""
        return {"metric": repr(self)}

    def configured(self, name: str, options: Mapping[str, str]) -> "Metric":
        """This metric with `options` of the command line, called `name`; raises UsageError for one it does not have."""
        raise UsageError(f"{self.name} takes no options, so {', '.join(options)} cannot be set")


@dataclass(frozen=True)
class PairMetric(Metric):
    """A metric of one utterance. Instances are picklable and cheap to make: workers make their own."""

    @abstractmethod
    def score(self, pair: Pair) -> float:
        """A finite value, or UndefinedScore with the reason why there is none."""


@dataclass(frozen=True)
class CodesMetric(Metric):
    """A metric of all codes that a codec made on a dataset: one value, or one for each codebook."""

    @abstractmethod
    def score(self, codes: Sequence[Codes], seconds: float) -> Mapping[str, float]:
        """Values by row name (the metric's own name, or with `-cb1`, `-cb2`, … for single codebooks).

        `codes` are those of every utterance that was encoded, `seconds` their duration in all. Raises UndefinedScore
        where the codec has no codebooks to look at.
        """


class Originals(Protocol):
    """Where it is kept what models say of originals, for later runs (evalkit/cache.py)."""

    def original(self, key: str) -> NDArray[Any] | None: ...

    def keep_original(self, key: str, heard: NDArray[Any]) -> None: ...


class Scorer(ABC):
    """An open model. All its work is hearing recordings, each by itself; scores follow from what it heard.

    What it heard is remembered, for other rows of the same pair and the next codec's version of the same original.
    Nothing else may depend on what was scored before.
    """

    device = "cpu"
    """Where it was opened."""
    originals: Originals | None = None

    def __init__(self) -> None:
        self._memory: dict[str, NDArray[Any]] = {}

    @abstractmethod
    def hear(self, wavs: Sequence[Wave], language: str) -> Sequence[NDArray[Any]]:
        """What the model says of each of `wavs` [T] at SCORE_RATE, which have one length unless the metric `pads`."""

    @abstractmethod
    def score(self, metric: Any, pair: Pair) -> Mapping[str, float]:
        """Values by row name for `metric`, one of those that share the model; UndefinedScore where there is none."""

    def original(self, metric: Any, pair: Pair) -> Wave | None:
        """What `score` needs heard beside the decoded audio, if anything."""
        return None

    def heard(self, wav: Wave, language: str = "") -> NDArray[Any]:
        """What the model says of `wav` [T]."""
        key = _recording(wav, language)
        if key not in self._memory:
            self._remember(key, self.hear([wav], language)[0])
        return self._memory[key]

    def prepare(self, metric: "ModelMetric", pairs: Sequence[Pair], batch: int) -> None:
        """Hear what `score` will need of `pairs`, all in one language where that plays a part, `batch` recordings at
        once. What is known of originals from earlier runs is taken from there."""
        language = (pairs[0].language or "") if metric.uses_text else ""
        waiting = {_recording(pair.decoded, language): pair.decoded for pair in pairs}
        names: dict[str, str] = {}
        for wav in (self.original(metric, pair) for pair in pairs):
            if wav is None or (key := _recording(wav, language)) in self._memory:
                continue
            waiting[key] = wav
            if self.originals is not None and key not in names:
                names[key] = content_key(**metric.identity(language or None), device=self.device, original=key)
                if (found := self.originals.original(names[key])) is not None:
                    self._remember(key, found)
        unheard = {key: wav for key, wav in waiting.items() if key not in self._memory}
        for keys in _batches(unheard, batch, metric.pads):
            for key, heard in zip(keys, self.hear([unheard[key] for key in keys], language), strict=True):
                self._remember(key, heard)
                if self.originals is not None and key in names:
                    self.originals.keep_original(names[key], heard)

    def _remember(self, key: str, heard: NDArray[Any]) -> None:
        self._memory[key] = heard
        while len(self._memory) > MEMORY:
            del self._memory[next(iter(self._memory))]


MEMORY = 256
"""Recordings of which a model remembers what it heard: some kilobytes each."""


def _recording(wav: Wave, language: str) -> str:
    return content_key(samples=sha256(wav.tobytes()).hexdigest(), language=language)


def _batches(wavs: Mapping[str, Wave], size: int, pads: bool) -> Iterator[list[str]]:
    """Keys of `wavs`, `size` or fewer at once: of equal lengths or, with `pads`, of neighbouring ones."""
    ordered = sorted(wavs, key=lambda key: len(wavs[key]))
    for _, group in groupby(ordered, key=lambda key: 0 if pads else len(wavs[key])):
        keys = list(group)
        yield from (keys[start : start + size] for start in range(0, len(keys), size))


@dataclass(frozen=True)
class ModelMetric(Metric):
    """A metric that needs a trained model, which is opened once and scores every codec's audio (evalkit/score.py).

    Unless asked otherwise a model hears one recording at a time: on a CPU batches gain nothing (benchmarks/batches.py),
    and the last digits of a score may depend on what else is in its batch.
    """

    pads: ClassVar[bool] = False
    """Whether recordings of different length may be heard at once: padding changes what most models say."""

    files: tuple[File, ...] = field(kw_only=True)
    """The model's weights."""
    packages: tuple[str, ...] = field(kw_only=True)
    """Importable names that it needs beside torch."""
    extra: str = field(kw_only=True, default="models")
    """The extra of this distribution that brings them."""
    uses_text: bool = field(kw_only=True, default=False)
    """Whether transcript and language of an utterance play a part."""
    settings: tuple[tuple[str, str], ...] = field(kw_only=True, default=())
    """Options that were set on the command line, and a hash of what they name."""

    @property
    def choices(self) -> dict[str, str]:
        """What was chosen of what could have been otherwise, for the results."""
        return dict(self.settings)

    @property
    @abstractmethod
    def model(self) -> str:
        """Names the open model; metrics with the same one share it."""

    @abstractmethod
    def open(self, device: str) -> Scorer:
        """The model on `device` (a torch device); raises MissingError where it is not here or not to be trusted."""

    def files_for(self, languages: Sequence[str]) -> tuple[File, ...]:
        """Every file that speech in `languages` takes."""
        return self.files

    def missing(self, languages: Sequence[str] = ()) -> tuple[File, ...]:
        """Files that are not on this machine."""
        return tuple(file for file in self.files_for(languages) if file.find() is None)

    def state(self, languages: Sequence[str] = ()) -> State:
        """Ready, or what is missing, with its size and license, and the command that brings it."""
        lines = []
        if missing := self.missing(languages):
            code = "needs download"
            lines += [*describe(missing), f"bring them with: {self.fetch_command(languages)}"]
        elif unpinned := [file for file in self.files if file.code and file.pin is None]:
            code = "needs download"
            lines += [
                f"{file} is here, but it is code and its sha256 is not pinned. Compare it with a source you trust, "
                f"then: {self.fetch_command(languages)} --sha256 HEX"
                for file in unpinned
            ]
        if absent := [package for package in self.packages if find_spec(package) is None]:
            code = "needs extra"
            lines.insert(0, f"{', '.join(absent)} not installed: {optional.install(self.extra)}")
        return State(code, "\n".join(lines)) if lines else READY

    def fetch_command(self, languages: Sequence[str] = ()) -> str:
        """The one command that brings all that is missing."""
        return f"evalkit fetch {self.name.partition(':')[0]}"

    def identity(self, language: str | None = None) -> dict[str, Any]:
        """The metric with the sha256 of its weights, so that other weights never meet what was kept of these."""
        found = {str(file): file.find() for file in self.files_for([language] if language else [])}
        return {"metric": repr(self), "weights": {name: path and hub.sha256(path) for name, path in found.items()}}

    def configured(self, name: str, options: Mapping[str, str]) -> "ModelMetric":
        """With `options` that are among its `choices`."""
        return replace(self, name=name, settings=tuple(sorted(self.check_options(options).items())))

    def check_options(self, options: Mapping[str, str]) -> dict[str, str]:
        """`options` as they go into `settings`; raises UsageError for one that the metric does not have."""
        if options:
            raise UsageError(f"{self.name} takes no options, so {', '.join(options)} cannot be set")
        return {}
