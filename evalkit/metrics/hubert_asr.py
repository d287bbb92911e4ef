"""WER with HuBERT: how many of the words that were said a recognizer of read English still writes down.

The model is `facebook/hubert-large-ls960-ft` (Hsu et al. 2021, arXiv 2106.07447; Apache-2.0), decoded greedily without
a language model: what most papers on codecs at low bitrates report on LibriSpeech test-clean.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from evalkit.audio import Wave
from evalkit.environment import extras
from evalkit.environment.downloads import File
from evalkit.errors import UndefinedScore
from evalkit.metrics.asr import ErrorRate, Recognizer, error_rate
from evalkit.metrics.base import SCORE_RATE

REPOSITORY = "facebook/hubert-large-ls960-ft"
REVISION = "ece5fabbf034c1073acae96d5401b25be96709d8"


def _file(name: str, size: int) -> File:
    return File(name, "Apache-2.0", size, REPOSITORY, REVISION)


FILES = (
    _file("pytorch_model.bin", 1_260_000_000),
    _file("config.json", 2_000),
    _file("preprocessor_config.json", 300),
    _file("tokenizer_config.json", 300),
    _file("special_tokens_map.json", 100),
    _file("vocab.json", 300),
)


class HubertRecognizer(Recognizer):
    """HuBERT with its CTC head, open."""

    def __init__(self, folder: Path, device: str) -> None:
        super().__init__()
        with extras.quiet_transformers() as transformers:
            self._tokenizer = transformers.Wav2Vec2CTCTokenizer.from_pretrained(folder, local_files_only=True)
            self._features = transformers.Wav2Vec2FeatureExtractor.from_pretrained(folder, local_files_only=True)
            self._model = transformers.HubertForCTC.from_pretrained(folder, local_files_only=True)
        self._model, self._device = self._model.to(device).eval(), device

    def infer(self, wavs: Sequence[Wave], language: str) -> Sequence[NDArray[np.str_]]:
        """The texts, each of shape [], in capitals."""
        import torch

        if language and language.partition("-")[0].lower() != "en":
            raise UndefinedScore(f"the language is {language}: this HuBERT model recognizes only English")
        given = self._features(list(wavs), sampling_rate=SCORE_RATE, return_tensors="pt")
        with torch.inference_mode():
            best = self._model(given.input_values.to(self._device)).logits.argmax(-1).cpu()
        return [np.array(self._tokenizer.decode(ids)) for ids in best]


@dataclass(frozen=True)
class HubertWer(ErrorRate):
    """Word error rate: 100 (S + D + I) / N. S, D and I are the substitutions, deletions and insertions (Levenshtein, by
    jiwer) that turn the text into what HuBERT recognizes in the decoded audio; N is the number of words in the text.

    In `wer-…`, the text is the transcript; in `dwer-…`, it is what HuBERT recognizes in the original. What papers call
    WER is the row `-corpus` with the text rule `whisper-en`: the sum of all edits over the sum of all N. On LibriSpeech
    test-clean, the originals themselves have 1.96 by that rule and 2.16 by another, so a WER means little without that
    of the original.

    Range:
        Percent, 0 up. Lower is better.

    Source:
        Codecs_reconstruction_eval, the scripts of the Llasa and X-codec2 papers; greedy, 16 kHz.

    Misses:
        Everything that leaves the words intact. HuBERT was fine-tuned on LibriSpeech: on its test sets it flatters
        every codec alike, and elsewhere it makes many more errors.

    Undefined:
        For speech labelled as a language other than English, without text, shorter than 25 ms or longer than two
        minutes.

    Options:
        `text=whisper-en` (default) or `text=evalkit`, the text rule of `cer-mms`.

    Example:
        >>> from evalkit.testing import example_pair
        >>> model = WER.open("cpu")  # doctest: +SKIP
        >>> model.score(WER, example_pair())  # doctest: +SKIP
        {'wer-hubert-large-ls960': 6.7, 'wer-hubert-large-ls960-words': 15.0}
    """

    recognizer: ClassVar[str] = "HuBERT"

    @property
    def model(self) -> str:
        return "hubert-large-ls960"

    def open(self, device: str) -> HubertRecognizer:
        paths = [file.open() for file in self.files]
        return HubertRecognizer(paths[0].parent, device)


WER = HubertWer(
    **error_rate(
        "wer-hubert-large-ls960", "WER (HuBERT)", files=FILES, counted="words", rule="whisper-en",
        packages=("transformers", "jiwer", "whisper_normalizer"), extra="asr",
    )
)  # fmt: skip
DWER = WER.differential()
