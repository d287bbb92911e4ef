"""CER with MMS: how much of what was said a recognizer of a thousand languages still writes down after the codec.

The model is `facebook/mms-1b-all` (Pratap et al. 2023, arXiv 2305.13516), a wav2vec 2.0 with an adapter and a character
set for each language, decoded greedily (the most probable character of each frame). Its weights are CC BY-NC 4.0.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from evalkit.audio import Wave
from evalkit.datasets.languages import NAMES, code
from evalkit.environment import extras
from evalkit.environment.downloads import File
from evalkit.errors import UndefinedScore
from evalkit.metrics.asr import ErrorRate, Recognizer, error_rate
from evalkit.metrics.base import SCORE_RATE

REPOSITORY = "facebook/mms-1b-all"
REVISION = "3d33597edbdaaba14a8e858e2c8caa76e3cec0cd"
LICENSE = "CC BY-NC 4.0 (non-commercial)"


def _file(name: str, size: int) -> File:
    return File(name, LICENSE, size, REPOSITORY, REVISION)


BASE = (
    _file("model.safetensors", 3_860_000_000),
    _file("config.json", 2_000),
    _file("preprocessor_config.json", 300),
    _file("tokenizer_config.json", 400),
    _file("special_tokens_map.json", 100),
    _file("vocab.json", 1_200_000),
)
ADAPTERS = {iso: _file(f"adapter.{names[1]}.safetensors", 8_900_000) for iso, names in NAMES.items()}
"""ISO 639-1 -> what the model needs for that language: those of MLS."""


class MmsRecognizer(Recognizer):
    """MMS, open: one language at a time."""

    def __init__(self, folder: Path, device: str, dtype: str) -> None:
        super().__init__()
        import torch

        with extras.quiet_transformers() as transformers:
            self._tokenizer = transformers.Wav2Vec2CTCTokenizer.from_pretrained(folder, local_files_only=True)
            self._features = transformers.Wav2Vec2FeatureExtractor.from_pretrained(folder, local_files_only=True)
            self._model = transformers.Wav2Vec2ForCTC.from_pretrained(
                folder, local_files_only=True, use_safetensors=True, dtype=getattr(torch, dtype)
            )
        self._model = self._model.to(device).eval()
        self._device, self._dtype = device, dtype
        self._language = ""

    def infer(self, wavs: Sequence[Wave], language: str) -> Sequence[NDArray[np.str_]]:
        """The texts, each of shape [], in the language's own characters."""
        import torch

        language = code(language) or language
        if language not in ADAPTERS:
            raise UndefinedScore(f"the language is {language or 'not known'}: evalkit uses MMS for {', '.join(NAMES)}")
        if language != self._language:
            adapter = NAMES[language][1]
            self._tokenizer.set_target_lang(adapter)
            self._model.load_adapter(adapter, local_files_only=True, use_safetensors=True)
            self._model.to(device=self._device, dtype=getattr(torch, self._dtype)).eval()
            self._language = language
        # One recording needs no mask. Padding is masked after the convolutions, which see none of it in valid frames.
        several = {"padding": True, "return_attention_mask": True} if len(wavs) > 1 else {}
        given = self._features(list(wavs), sampling_rate=SCORE_RATE, return_tensors="pt", **several)
        mask = given.attention_mask.to(self._device) if several else None
        with torch.inference_mode():
            values = given.input_values.to(self._device, getattr(torch, self._dtype))
            best = self._model(values, attention_mask=mask).logits.argmax(-1).cpu()
        frames = self._model._get_feat_extract_output_lengths(torch.tensor([len(wav) for wav in wavs]))
        return [np.array(self._tokenizer.decode(ids[:n])) for ids, n in zip(best, frames, strict=True)]


@dataclass(frozen=True)
class MmsCer(ErrorRate):
    """Character error rate: 100 (S + D + I) / N. S, D and I are the substitutions, deletions and insertions
    (Levenshtein, by jiwer) that turn the text into what MMS recognizes in the decoded audio; N is the number of
    characters in the text.

    In `cer-mms`, the text is the transcript; in `dcer-mms`, it is what MMS recognizes in the original, so that the
    recognizer's own errors cancel out. The two are not comparable. Both texts are normalised by the rule `evalkit`.

    Rows: the value of each utterance; `-chars`, its N; and `-corpus`, the sum of all edits over the sum of all N, which
    is what papers call CER. The mean over utterances differs, because it weights short and long ones alike.

    Range:
        Percent, 0 up; above 100 if more is recognized than was said. Lower is better.

    Source:
        `facebook/mms-1b-all`, used as on its model card, with greedy decoding; the metric of the NanoCodec paper
        (arXiv 2508.05835).

    Misses:
        Everything that leaves the words intact: voice, noise, melody. `cer-mms` includes the recognizer's own errors.

    Undefined:
        For speech outside the eight languages of MLS, without text, shorter than 25 ms or longer than two minutes.

    Options:
        `dtype=bfloat16` (default float32) takes half the memory and, on CPUs that support it, a third of the time; its
        errors differ slightly, so its column has its own name.

    Example:
        >>> from evalkit.testing import example_pair
        >>> model = CER.open("cpu")  # doctest: +SKIP
        >>> model.score(CER, example_pair())  # doctest: +SKIP
        {'cer-mms': 2.3, 'cer-mms-chars': 86.0}
    """

    recognizer: ClassVar[str] = "MMS"
    rules: ClassVar[tuple[str, ...]] = ("evalkit",)

    pads = True

    @property
    def choices(self) -> dict[str, str]:
        return super().choices | {"dtype": self.dtype}

    @property
    def dtype(self) -> str:
        """Of the network's weights and arithmetic, by torch's name."""
        return dict(self.settings).get("dtype", "float32")

    @property
    def model(self) -> str:
        return f"mms-1b-all in {self.dtype}"

    def files_for(self, languages: Sequence[str]) -> tuple[File, ...]:
        return (*self.files, *(ADAPTERS[language] for language in _known(languages)))

    def fetch_command(self, languages: Sequence[str] = ()) -> str:
        known = _known(languages)
        some = f" --languages {'+'.join(known)}" if known and set(known) != set(ADAPTERS) else ""
        return super().fetch_command(languages) + some

    def option_values(self) -> dict[str, tuple[str, ...]]:
        return {"dtype": ("float32", "bfloat16")}

    def open(self, device: str) -> MmsRecognizer:
        paths = [file.open() for file in self.files]
        return MmsRecognizer(paths[0].parent, device, self.dtype)


def _known(languages: Sequence[str]) -> list[str]:
    """Those of `languages` that evalkit uses MMS for, as ISO 639-1."""
    return list(dict.fromkeys(found for language in languages if (found := code(language)) is not None))


CER = MmsCer(**error_rate("cer-mms", "CER", files=BASE, packages=("transformers", "jiwer"), counted="characters"))
DCER = CER.differential()
