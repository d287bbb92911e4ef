"""CER with MMS: how much of what was said a recognizer still hears after the codec.

The model is `facebook/mms-1b-all` (Pratap et al. 2023, arXiv 2305.13516), a wav2vec 2.0 with an adapter and a character
set for each language, decoded greedily (the most probable character of each frame). Its weights are CC BY-NC 4.0.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from evalkit.audio import Wave
from evalkit.datasets.languages import NAMES, code
from evalkit.environment import extras
from evalkit.environment.downloads import File
from evalkit.errors import UndefinedScore, UsageError
from evalkit.metrics.base import SCORE_RATE, Pair
from evalkit.metrics.checks import require_length
from evalkit.metrics.model import ModelMetric, Scorer
from evalkit.metrics.text import NORMALIZER, character_errors

REPOSITORY = "facebook/mms-1b-all"
REVISION = "3d33597edbdaaba14a8e858e2c8caa76e3cec0cd"
LICENSE = "CC BY-NC 4.0 (non-commercial)"
SHORTEST = 400
"""Samples that the model needs for one frame: its convolutions see 25 ms."""


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


class Recognizer(Scorer):
    """MMS, open: one language at a time."""

    def __init__(self, folder: Path, device: str, dtype: str) -> None:
        super().__init__()
        transformers = extras.load_transformers()
        import torch

        quiet = transformers.utils.logging
        bars = quiet.is_progress_bar_enabled()
        quiet.disable_progress_bar()
        try:
            self._tokenizer = transformers.Wav2Vec2CTCTokenizer.from_pretrained(folder, local_files_only=True)
            self._features = transformers.Wav2Vec2FeatureExtractor.from_pretrained(folder, local_files_only=True)
            self._model = transformers.Wav2Vec2ForCTC.from_pretrained(
                folder, local_files_only=True, use_safetensors=True, dtype=getattr(torch, dtype)
            )
        finally:
            if bars:
                quiet.enable_progress_bar()
        self._model = self._model.to(device).eval()
        self._device, self._dtype = device, dtype
        self._language = ""

    def infer(self, wavs: Sequence[Wave], language: str) -> Sequence[NDArray[np.str_]]:
        """The texts, each of shape [], in the language's own characters."""
        import torch

        language = code(language) or language
        if language not in ADAPTERS:
            raise UndefinedScore(f"the language is {language or 'not known'}: MMS is set up for {', '.join(NAMES)}")
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

    def reference(self, metric: "MmsCer", pair: Pair) -> Wave | None:
        return None if metric.reference == "transcript" else pair.reference

    def score(self, metric: "MmsCer", pair: Pair) -> Mapping[str, float]:
        """The rows of `metric`."""
        require_length(pair, SHORTEST, "MMS needs 25 ms")
        language = pair.language or ""
        if metric.reference == "transcript":
            if pair.transcript is None:
                raise UndefinedScore("there is no transcript (dcer-mms needs none)")
            spoken = pair.transcript
        else:
            spoken = self.features(pair.reference, language).item()
            if not NORMALIZER(spoken):
                raise UndefinedScore("MMS hears no speech in the original")
        errors, characters = character_errors(spoken, self.features(pair.decoded, language).item())
        return {metric.name: 100 * errors / characters, metric.rows[1]: float(characters)}


@dataclass(frozen=True)
class MmsCer(ModelMetric):
    """Character error rate in percent: 100 (S + D + I) / N, with S, D and I the substitutions, deletions and insertions
    (Levenshtein, by jiwer) between the text and what MMS hears in the decoded audio, and N the characters of the text.

    `cer-mms` takes the transcript as the text; `dcer-mms` what MMS hears in the original, so that the recognizer's own
    errors count for nothing: another number, never comparable. Both sides go through evalkit.metrics.text.NORMALIZER.

    Rows: the value of each utterance, from 0 on and over 100 where more is heard than was said; `-chars`, its N; and
    `-corpus` over the whole dataset, with edits and N added up before dividing, which is what papers call CER. The mean
    over utterances weighs a short one like a long one: the two differ.

    Undefined for speech in none of the eight languages of MLS, without text, or shorter than 25 ms.

    Options: `dtype=bfloat16` (default float32) runs the model in half the memory and a third of the time on CPUs that
    have it; it hears otherwise here and there, so its column has a name of its own.
    """

    reference: str = "transcript"
    """"transcript" or "original"."""
    normalizer: str = NORMALIZER.version

    pads = True

    @property
    def rows(self) -> tuple[str, ...]:
        return (self.name, f"{self.name}-chars")

    @property
    def without_text(self) -> str | None:
        """The metric that measures the like where there are no transcripts."""
        return "d" + self.name if self.reference == "transcript" else None

    @property
    def choices(self) -> dict[str, str]:
        return {"reference": self.reference, "normalizer": self.normalizer, "dtype": self.dtype}

    @property
    def dtype(self) -> str:
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

    def check_options(self, options: Mapping[str, str]) -> dict[str, str]:
        for name, value in options.items():
            if name != "dtype" or value not in ("float32", "bfloat16"):
                raise UsageError(f"{self.name}: {name}={value} is no option of it. It takes dtype=float32|bfloat16")
        return dict(options)

    def open(self, device: str) -> Recognizer:
        paths = [file.open() for file in self.files]
        return Recognizer(paths[0].parent, device, self.dtype)

    @property
    def pooled_names(self) -> tuple[str, ...]:
        return (f"{self.name}-corpus",)

    def pooled(self, values: Sequence[Mapping[str, float]]) -> Mapping[str, float]:
        """The corpus row, from those of every utterance that has them."""
        characters = sum(one[self.rows[1]] for one in values)
        if not characters:
            return {}
        errors = sum(round(one[self.name] * one[self.rows[1]] / 100) for one in values)
        return {self.pooled_names[0]: 100 * errors / characters}


def _known(languages: Sequence[str]) -> list[str]:
    """Those of `languages` that MMS is set up for, as ISO 639-1."""
    return list(dict.fromkeys(found for language in languages if (found := code(language)) is not None))


def _metric(name: str, label: str, reference: str) -> MmsCer:
    return MmsCer(
        name=name,
        label=label,
        direction="down",
        unit="%",
        low=0.0,
        high=float("inf"),
        version="1",
        decimals=2,
        skewed=True,
        files=BASE,
        packages=("transformers", "jiwer"),
        uses_text=True,
        reference=reference,
    )


CER = _metric("cer-mms", "CER", "transcript")
DCER = _metric("dcer-mms", "dCER", "original")
