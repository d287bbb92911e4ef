"""Error rates: how much of what was said a speech recognizer still writes down after the codec.

What every metric with a recognizer shares; the recognizers are in `mms.py`, `hubert_asr.py` and `whisper_asr.py`.
"""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Literal

from evalkit.audio import Wave
from evalkit.errors import UndefinedScore, UsageError
from evalkit.metrics.base import Pair
from evalkit.metrics.checks import require_finite, require_length, require_scale
from evalkit.metrics.model import ModelMetric, Scorer
from evalkit.metrics.text import RULES, text_errors

SHORTEST = 400
"""Samples that models of the wav2vec 2.0 family need for one frame, 25 ms."""


class Recognizer(Scorer):
    """A speech recognizer, open: `infer` gives texts, each an array of shape [], in the language's own characters."""

    def reference(self, metric: "ErrorRate", pair: Pair) -> Wave | None:
        return None if metric.reference == "transcript" else pair.reference

    def score(self, metric: "ErrorRate", pair: Pair) -> Mapping[str, float]:
        """The error rate of `pair` and the length of its text.

        Args:
            metric: One of those that share the recognizer.
            pair: Reference and decoded audio [T] at 16 kHz, with language and, unless the original's own transcript is
                compared with, text.

        Returns:
            Percent, and the length N, by the names of the metric's rows.

        Raises:
            UndefinedScore: No text, no speech in the original, a language that the recognizer has not, too short, not
                finite, or far beyond full scale.
        """
        require_length(pair, SHORTEST, f"{metric.recognizer} needs 25 ms")
        require_finite(pair)
        require_scale(pair)
        language = pair.language or ""
        if metric.reference == "transcript":
            if pair.transcript is None:
                raise UndefinedScore(f"there is no transcript ({metric.without_text} needs none)")
            spoken = pair.transcript
        else:
            spoken = self._text(pair.reference, language)
            if not RULES[metric.text](spoken):
                raise UndefinedScore(f"{metric.recognizer} recognizes no speech in the original")
        recognized = self._text(pair.decoded, language)
        errors, length = text_errors(spoken, recognized, metric.counted, RULES[metric.text])
        return {metric.rows[0]: 100 * errors / length, metric.rows[1]: float(length)}

    def _text(self, wav: Wave, language: str) -> str:
        """What is recognized in `wav`; nothing in digital silence, in which some models find words all the same."""
        return str(self.features(wav, language).item()) if wav.any() else ""


@dataclass(frozen=True)
class ErrorRate(ModelMetric):
    """Error rate in percent: 100 (S + D + I) / N, with S, D and I the substitutions, deletions and insertions between
    the text and what a recognizer writes down for the decoded audio, and N the length of the text."""

    skewed: ClassVar[bool] = True
    recognizer: ClassVar[str]
    """Its name, for reasons."""
    rules: ClassVar[tuple[str, ...]] = tuple(RULES)
    """Text rules that may be asked for."""

    counted: Literal["characters", "words"] = field(kw_only=True)
    reference: Literal["transcript", "original"] = field(kw_only=True)
    """What the decoded audio's text is compared with: what was said, or what the recognizer makes of the original."""
    rule: str = field(kw_only=True, default="evalkit")
    """The text rule unless `text=` names another."""

    @property
    def text(self) -> str:
        """The text rule in force."""
        return dict(self.settings).get("text", self.rule)

    @property
    def rows(self) -> tuple[str, ...]:
        return (self.name, f"{self.name}-{'chars' if self.counted == 'characters' else 'words'}")

    @property
    def without_text(self) -> str | None:
        """The metric that measures the like where there are no transcripts."""
        return "d" + self.name if self.reference == "transcript" else None

    @property
    def choices(self) -> dict[str, str]:
        return {"reference": self.reference, "normalizer": RULES[self.text].version, **dict(self.settings)}

    def check_options(self, options: Mapping[str, str]) -> dict[str, str]:
        allowed = self.option_values()
        for name, value in options.items():
            if value not in allowed.get(name, ()):
                takes = " and ".join(f"{key}={'|'.join(values)}" for key, values in allowed.items())
                raise UsageError(f"{self.name}: {name}={value} is not one of its options. It takes {takes}")
        return dict(options)

    def option_values(self) -> dict[str, tuple[str, ...]]:
        """Options of the command line, and the values that they take."""
        return {"text": self.rules}

    def identity(self, language: str | None = None) -> dict[str, Any]:
        return super().identity(language) | {"text": RULES[self.text].version}

    @abstractmethod
    def open(self, device: str) -> Recognizer: ...

    @property
    def pooled_names(self) -> tuple[str, ...]:
        return (f"{self.name}-corpus",)

    def pooled(self, utterances: Sequence[Mapping[str, float]]) -> Mapping[str, float]:
        """The error rate over the whole dataset: edits and lengths added up before dividing."""
        length = sum(one[self.rows[1]] for one in utterances)
        if not length:
            return {}
        errors = sum(round(one[self.name] * one[self.rows[1]] / 100) for one in utterances)
        return {self.pooled_names[0]: 100 * errors / length}

    def differential(self) -> "ErrorRate":
        """The metric that compares with what the recognizer makes of the original."""
        return replace(self, name="d" + self.name, label="d" + self.label, reference="original")


def error_rate(name: str, label: str, **more: Any) -> dict[str, Any]:
    """What all error rates say of themselves."""
    return {
        "name": name, "label": label, "direction": "down", "unit": "%", "low": 0.0, "high": float("inf"),
        "version": "1", "decimals": 2, "uses_text": True, "reference": "transcript", **more,
    }  # fmt: skip
