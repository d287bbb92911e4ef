"""WER with Whisper: how many of the words that were said a strong recognizer still writes down.

The model is `openai/whisper-large-v3` (Radford et al. 2022, arXiv 2212.04356; Apache-2.0), decoded greedily. It sees
30 s at once: longer audio is decoded window after window, each beginning where the last complete segment of the one
before it ended, as Whisper itself does (sequential long-form decoding); nothing is cut off.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from evalkit.audio import Wave
from evalkit.environment import extras
from evalkit.environment.downloads import File
from evalkit.errors import UndefinedScore
from evalkit.metrics.asr import ErrorRate, Recognizer, error_rate
from evalkit.metrics.base import SCORE_RATE

REPOSITORY = "openai/whisper-large-v3"
REVISION = "06f233fe06e710322aca913c1bc4249a0d71fce1"
WINDOW = 30 * SCORE_RATE
"""Samples that the model sees at once."""


def _file(name: str, size: int) -> File:
    return File(name, "Apache-2.0", size, REPOSITORY, REVISION)


FILES = (
    _file("model.safetensors", 3_090_000_000),
    _file("config.json", 1_300),
    _file("generation_config.json", 4_000),
    _file("preprocessor_config.json", 340),
    _file("tokenizer.json", 2_480_000),
    _file("tokenizer_config.json", 283_000),
    _file("special_tokens_map.json", 2_000),
    _file("added_tokens.json", 35_000),
    _file("normalizer.json", 53_000),
    _file("vocab.json", 1_040_000),
    _file("merges.txt", 494_000),
)


class WhisperRecognizer(Recognizer):
    """Whisper, open."""

    def __init__(self, folder: Path, device: str) -> None:
        super().__init__()
        import torch

        with extras.quiet_transformers() as transformers:
            self._tokenizer = transformers.WhisperTokenizerFast.from_pretrained(folder, local_files_only=True)
            self._features = transformers.WhisperFeatureExtractor.from_pretrained(folder, local_files_only=True)
            self._model = transformers.WhisperForConditionalGeneration.from_pretrained(
                folder, local_files_only=True, use_safetensors=True, dtype=torch.float32
            )
        self._model, self._device = self._model.to(device).eval(), device

    def infer(self, wavs: Sequence[Wave], language: str) -> Sequence[NDArray[np.str_]]:
        """The texts, each of shape []."""
        if language and language.partition("-")[0].lower() != "en":
            raise UndefinedScore(f"the language is {language}: this metric uses Whisper for English only")
        return [np.array(self._transcribe(wav)) for wav in wavs]

    def _transcribe(self, wav: Wave) -> str:
        import torch

        options: dict[str, Any] = {"language": "en", "task": "transcribe", "do_sample": False, "num_beams": 1}
        if len(wav) <= WINDOW:
            given = self._features(wav, sampling_rate=SCORE_RATE, return_tensors="pt", return_attention_mask=True)
        else:
            given = self._features(
                wav, sampling_rate=SCORE_RATE, return_tensors="pt", return_attention_mask=True, truncation=False,
                padding="longest",
            )  # fmt: skip
            options |= {"return_timestamps": True, "condition_on_prev_tokens": False}
        with torch.inference_mode():
            ids = self._model.generate(
                given.input_features.to(self._device), attention_mask=given.attention_mask.to(self._device), **options
            )
        return str(self._tokenizer.decode(ids[0], skip_special_tokens=True)).strip()


@dataclass(frozen=True)
class WhisperWer(ErrorRate):
    """Word error rate: 100 (S + D + I) / N. S, D and I are the substitutions, deletions and insertions (Levenshtein, by
    jiwer) that turn the text into what Whisper recognizes in the decoded audio; N is the number of words in the text.

    In `wer-…`, the text is the transcript; in `dwer-…`, it is what Whisper recognizes in the original. The row
    `-corpus` is the sum of all edits over the sum of all N; some papers report the mean over utterances instead, which
    is the mean of the metric itself. On LibriSpeech test-clean, the originals have about 1.8.

    Range:
        Percent, 0 up. Lower is better.

    Source:
        `openai/whisper-large-v3` in transformers: English, transcribe, greedy, without temperature fallback; audio
        longer than 30 s by sequential long-form decoding.

    Misses:
        Much of what a codec breaks: a strong recognizer guesses words from context. A weaker one shows more.

    Undefined:
        For speech labelled as a language other than English, without text, shorter than 25 ms or longer than ten
        minutes.

    Options:
        `text=whisper-en` (default) or `text=evalkit`, the text rule of `cer-mms`.

    Example:
        >>> from evalkit.testing import example_pair
        >>> model = WER.open("cpu")  # doctest: +SKIP
        >>> model.score(WER, example_pair())  # doctest: +SKIP
        {'wer-whisper-large-v3': 0.0, 'wer-whisper-large-v3-words': 15.0}
    """

    recognizer: ClassVar[str] = "Whisper"
    max_seconds: ClassVar[float] = 600.0

    @property
    def model(self) -> str:
        return "whisper-large-v3"

    def open(self, device: str) -> WhisperRecognizer:
        paths = [file.open() for file in self.files]
        return WhisperRecognizer(paths[0].parent, device)


WER = WhisperWer(
    **error_rate(
        "wer-whisper-large-v3", "WER (Whisper)", files=FILES, counted="words", rule="whisper-en",
        packages=("transformers", "jiwer", "whisper_normalizer"), extra="asr",
    )
)  # fmt: skip
DWER = WER.differential()
