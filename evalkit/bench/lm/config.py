"""The language models (configs/lm/*.yaml), what of a codec matters to them, and how they are run."""

from dataclasses import dataclass, fields, replace
from importlib.resources import files
from math import ceil
from typing import Any, Literal

import yaml

from evalkit.errors import UsageError, choose_from

Cache = Literal["full", "upstream", "none"]
"""What a step keeps of those before it. full: all, so that it computes one position. upstream: what attention gave, as
the authors' code does; feed-forward layers, norms and logits are computed anew for every position. none: nothing."""
CACHES: tuple[Cache, ...] = ("full", "upstream", "none")
Heads = Literal["parallel", "local", "delay"]
"""How the codebooks of a frame are predicted: all at once; one after another by a small transformer; or all at once,
the others a frame later than the first."""
HEADS: tuple[Heads, ...] = ("parallel", "local", "delay")


@dataclass(frozen=True)
class Local:
    """The small transformer over the codebooks of a frame."""

    layers: int
    width: int
    hidden: int


@dataclass(frozen=True)
class LanguageModel:
    """Sizes of a speech LM. Its decoder attends to itself, to the text where there is an encoder of it, and has two
    causal convolutions of `kernel` in each layer; embeddings of a frame's codes are averaged."""

    name: str
    source: str
    note: str
    layers: int
    width: int
    hidden: int
    kernel: int
    text_layers: int
    text_kernel: int
    cross_width: int
    positions: int
    specials: int
    heads: Heads
    local: Local
    top_k: int
    temperature: float
    delay: int = 1
    vocabulary: float = 1.0
    """Part of a codec's vocabulary that is left where the model was scaled down."""

    def scaled(self, width: int, layers: int) -> "LanguageModel":
        """A smaller model in which everything keeps its share: the vocabulary shrinks, too, or embeddings and logits,
        which grow with it and the width, would outweigh layers, which grow with the square of the width.

        Args:
            width: Of the smaller model.
            layers: Likewise.

        Returns:
            A model called `NAME/WIDTHxLAYERS`.
        """
        part = width / self.width
        return replace(
            self,
            name=f"{self.name}/{width}x{layers}",
            layers=layers,
            width=width,
            hidden=round(self.hidden * part),
            text_layers=ceil(self.text_layers * layers / self.layers),
            cross_width=round(self.cross_width * part),
            local=Local(self.local.layers, max(32, round(self.local.width * part)), round(self.local.hidden * part)),
            vocabulary=self.vocabulary * layers * width / (self.layers * self.width),
        )

    def entries(self, codebook: int) -> int:
        """Tokens of a codebook of `codebook` codes, special ones included."""
        return max(self.top_k, round((codebook + self.specials) * self.vocabulary))


@dataclass(frozen=True)
class TokenSpec:
    """What of a codec matters to a language model. `ahead` is how many frames its decoder needs beyond those that it
    gives out, `gmac` what the decoder costs a second of audio."""

    name: str
    frame_rate: float
    codebook_sizes: tuple[int, ...]
    ahead: float = 0.0
    gmac: float | None = None

    @property
    def codebooks(self) -> int:
        """How many codebooks there are."""
        return len(self.codebook_sizes)


@dataclass(frozen=True)
class Speech:
    """What is said: `seconds` of it after `context` seconds of another recording of the speaker, from `text` tokens.
    `guidance` is the scale of classifier-free guidance, which doubles the batch; 1 for none."""

    seconds: float = 7.7
    context: float = 5.0
    text: int = 100
    guidance: float = 2.5

    @property
    def batch(self) -> int:
        """Sequences at once: two with classifier-free guidance."""
        return 1 if self.guidance == 1 else 2

    def frames(self, spec: TokenSpec) -> int:
        """Frames to be made."""
        return ceil(self.seconds * spec.frame_rate)

    def prompt(self, spec: TokenSpec) -> int:
        """Positions before the first of them: the context between a beginning and an end, and a beginning."""
        return round(self.context * spec.frame_rate) + 3


def names() -> list[str]:
    """The language models there are."""
    return sorted(path.name.removesuffix(".yaml") for path in _folder().iterdir() if path.name.endswith(".yaml"))


def load(name: str) -> LanguageModel:
    """The language model `name`.

    Raises:
        UsageError: there is none of this name, or its file lacks something.
    """
    if name not in names():
        raise choose_from("language model", name, names())
    about: dict[str, Any] = yaml.safe_load(_folder().joinpath(f"{name}.yaml").read_text(encoding="utf-8"))
    known = {field.name for field in fields(LanguageModel)}
    try:
        if unknown := set(about) - known:
            raise UsageError(f"configs/lm/{name}.yaml has unknown keys: {', '.join(sorted(unknown))}")
        return LanguageModel(**about | {"local": Local(**about["local"])})
    except (TypeError, KeyError) as error:
        raise UsageError(f"configs/lm/{name}.yaml: {error}") from error


def _folder() -> Any:
    return files("evalkit.configs").joinpath("lm")
