"""Metrics that hold a trained model: their files, how the model is opened, and the features it infers."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from hashlib import sha256
from importlib.util import find_spec
from itertools import groupby
from typing import Any, ClassVar, Protocol

from numpy.typing import NDArray

from evalkit.audio import Wave
from evalkit.cache import content_key
from evalkit.codecs import READY, Availability
from evalkit.environment import downloads, extras
from evalkit.environment.downloads import File, describe
from evalkit.errors import UsageError
from evalkit.metrics.base import Metric, Pair


class ReferenceFeatures(Protocol):
    """Cache of what a model infers from references, for later runs (evalkit/cache.py)."""

    def features(self, key: str) -> NDArray[Any] | None: ...

    def store_features(self, key: str, features: NDArray[Any]) -> None: ...


class Scorer(ABC):
    """A model in memory. It infers features from recordings, each by itself; scores follow from the features.

    Features are cached, for other rows of the same pair and the next codec's version of the same reference. Nothing
    else may depend on what was scored before.
    """

    device = "cpu"
    """Where it was opened."""
    reference_features: ReferenceFeatures | None = None

    def __init__(self) -> None:
        self._stored: dict[str, NDArray[Any]] = {}

    @abstractmethod
    def infer(self, wavs: Sequence[Wave], language: str) -> Sequence[NDArray[Any]]:
        """Run the model on several recordings at once.

        Args:
            wavs: float32 [T] each at SCORE_RATE, of one length unless the metric `pads`.
            language: ISO 639-1; "" for metrics whose `uses_text` is False.

        Returns:
            Features of each, of any shape.
        """

    @abstractmethod
    def score(self, metric: Any, pair: Pair) -> Mapping[str, float]:
        """Score one pair from its features.

        Args:
            metric: One of those that share the model.
            pair: Reference and decoded audio, float32 [T] at SCORE_RATE.

        Returns:
            A value for each of the metric's `rows`.

        Raises:
            UndefinedScore: There is none; the message is the reason.
        """

    def reference(self, metric: Any, pair: Pair) -> Wave | None:
        """The recording whose features `score` needs beside those of the decoded audio, if any."""
        return None

    def features(self, wav: Wave, language: str = "") -> NDArray[Any]:
        """Features of `wav` [T]."""
        key = _recording(wav, language)
        if key not in self._stored:
            self._store(key, self.infer([wav], language)[0])
        return self._stored[key]

    def prepare(self, metric: "ModelMetric", pairs: Sequence[Pair], batch: int) -> None:
        """Infer the features that `score` will need of `pairs`, all in one language where that plays a part, `batch`
        recordings at once. Features of references from earlier runs are taken from the cache."""
        language = (pairs[0].language or "") if metric.uses_text else ""
        waiting = {_recording(pair.decoded, language): pair.decoded for pair in pairs}
        names: dict[str, str] = {}
        for wav in (self.reference(metric, pair) for pair in pairs):
            if wav is None or (key := _recording(wav, language)) in self._stored:
                continue
            waiting[key] = wav
            if self.reference_features is not None and key not in names:
                names[key] = content_key(**metric.identity(language or None), device=self.device, reference=key)
                if (found := self.reference_features.features(names[key])) is not None:
                    self._store(key, found)
        unknown = {key: wav for key, wav in waiting.items() if key not in self._stored}
        for keys in _batches(unknown, batch, metric.pads):
            for key, features in zip(keys, self.infer([unknown[key] for key in keys], language), strict=True):
                self._store(key, features)
                if self.reference_features is not None and key in names:
                    self.reference_features.store_features(names[key], features)

    def _store(self, key: str, features: NDArray[Any]) -> None:
        self._stored[key] = features
        while len(self._stored) > KEPT:
            del self._stored[next(iter(self._stored))]


KEPT = 256
"""Recordings whose features are kept in memory: some kilobytes each."""


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
    """A metric that needs a trained model, opened once for the audio of all codecs (evalkit/pipeline/score.py).

    By default, a model processes one recording at a time: batches gain nothing on a CPU (benchmarks/batches.py), and
    the other recordings of a batch may change the last digits of a score.
    """

    max_seconds: ClassVar[float] = 120.0
    """Beyond it, attention over the whole recording, and features at several kHz before it, take gigabytes."""
    pads: ClassVar[bool] = False
    """Whether recordings of different lengths may share a batch: padding changes the output of most models."""

    files: tuple[File, ...] = field(kw_only=True)
    """The model's weights."""
    packages: tuple[str, ...] = field(kw_only=True)
    """Importable names that it needs besides torch."""
    extra: str = field(kw_only=True, default="models")
    """The extra of this distribution that installs them."""
    uses_text: bool = field(kw_only=True, default=False)
    """Whether an utterance's transcript or language changes the value."""
    settings: tuple[tuple[str, str], ...] = field(kw_only=True, default=())
    """Options that were set on the command line, and a hash of the files that they name."""

    @property
    def choices(self) -> dict[str, str]:
        """Settings that could have been chosen differently, for the provenance."""
        return dict(self.settings)

    @property
    @abstractmethod
    def model(self) -> str:
        """Names the open model; metrics with the same one share it."""

    @abstractmethod
    def open(self, device: str) -> Scorer:
        """Load the model.

        Args:
            device: A device of torch.

        Raises:
            MissingError: It is not on this machine, or cannot be trusted.
        """

    def files_for(self, languages: Sequence[str]) -> tuple[File, ...]:
        """Every file needed for speech in `languages`."""
        return self.files

    def missing(self, languages: Sequence[str] = ()) -> tuple[File, ...]:
        """Files that are not on this machine."""
        return tuple(file for file in self.files_for(languages) if file.find() is None)

    def availability(self, languages: Sequence[str] = ()) -> Availability:
        """Ready, or what is missing, with its size, its license and the command that gets it."""
        lines = []
        if missing := self.missing(languages):
            code = "needs download"
            lines += [*describe(missing), f"fetch them with: {self.fetch_command(languages)}"]
        elif unpinned := [file for file in self.files if file.code and file.pin is None]:
            code = "needs download"
            lines += [
                f"{file} is here, but it is code and its sha256 is not pinned. Compare it with a source you trust, "
                f"then: {self.fetch_command(languages)} --sha256 HEX"
                for file in unpinned
            ]
        if absent := [package for package in self.packages if find_spec(package) is None]:
            code = "needs extra"
            lines.insert(0, f"{', '.join(absent)} not installed: {extras.install(self.extra)}")
        elif any(file.repository for file in missing) and (first := extras.hub_first()):
            lines.insert(-1, first.strip())
        return Availability(code, "\n".join(lines)) if lines else READY

    def fetch_command(self, languages: Sequence[str] = ()) -> str:
        """The command that downloads everything that is missing."""
        return f"evalkit fetch {self.name.partition(':')[0]}"

    def identity(self, language: str | None = None) -> dict[str, Any]:
        """The metric with the sha256 of its weights, so that other weights never get its cached scores."""
        found = {str(file): file.find() for file in self.files_for([language] if language else [])}
        return {
            "metric": repr(self),
            "weights": {name: path and downloads.sha256(path) for name, path in found.items()},
        }

    def configured(self, name: str, options: Mapping[str, str]) -> "ModelMetric":
        """This metric with `options`, which must be among its `choices`."""
        return replace(self, name=name, settings=tuple(sorted(self.check_options(options).items())))

    def check_options(self, options: Mapping[str, str]) -> dict[str, str]:
        """`options` as stored in `settings`; raises UsageError for an unknown one."""
        if options:
            raise UsageError(f"{self.name} takes no options, so {', '.join(options)} cannot be set")
        return {}
