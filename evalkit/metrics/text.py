"""What was said and what a recognizer wrote down: two texts made comparable, and compared.

Two rules make texts comparable. `evalkit` is the same for every language; `whisper-en` is the one of most papers on
English. Error rates with the two differ, and the results say which was used. Nobody published how the NanoCodec paper's
texts were normalised.
"""

import re
import unicodedata
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal, Protocol

from evalkit.environment import extras
from evalkit.errors import UndefinedScore


class Rule(Protocol):
    """Makes texts comparable."""

    @property
    def version(self) -> str: ...

    def __call__(self, text: str) -> str: ...


@dataclass(frozen=True)
class Normalizer:
    """Letters, marks and numbers in lower case, words separated by one space:

    1. Unicode NFKC, then lower case;
    2. hyphens, dashes and slashes become spaces;
    3. everything that is not a letter, mark, number or space is dropped, including apostrophes: l'eau becomes leau;
    4. runs of spaces become one; leading and trailing spaces are removed.

    Numbers and abbreviations stay as they are written: transcripts of read speech (MLS) have none.

    Example:
        >>> NORMALIZER("L'eau, c’est «bon» (23 €).")
        'leau cest bon 23'
    """

    version: str = "1"

    def __call__(self, text: str) -> str:
        text = unicodedata.normalize("NFKC", text).lower()
        text = re.sub(r"[/\u2044]", " ", text)
        text = "".join(" " if unicodedata.category(c) == "Pd" else c for c in text)
        kept = (c if unicodedata.category(c)[0] in "LMN" else " " if c.isspace() else "" for c in text)
        return " ".join("".join(kept).split())


@dataclass(frozen=True)
class WhisperEnglish:
    """Whisper's normaliser of English with its table of spellings, as the package `whisper-normalizer` ships it.

    Contractions are spelled out, numbers are written in digits, British spellings become American ones, fillers and
    anything in brackets are dropped. On audiobooks this does little harm and is lenient: `QUILTER'S` becomes
    `quilter is`, `O'CLOCK` becomes `0 clock`. Source: Radford et al. 2022 (arXiv 2212.04356), appendix C.

    Example:
        >>> WHISPER_ENGLISH("MR. QUILTER'S twenty-one colours")
        'mister quilter is 21 colors'
    """

    version: str = "whisper-en 1"

    def __call__(self, text: str) -> str:
        return str(_whisper_english()(text))


@lru_cache(maxsize=1)
def _whisper_english() -> Any:
    return extras.load("whisper_normalizer.english", "asr").EnglishTextNormalizer()


NORMALIZER = Normalizer()
WHISPER_ENGLISH = WhisperEnglish()
RULES: dict[str, Rule] = {"evalkit": NORMALIZER, "whisper-en": WHISPER_ENGLISH}
"""By the names that the option `text` of a metric takes."""


def text_errors(
    spoken: str, recognized: str, unit: Literal["characters", "words"] = "characters", rule: Rule = NORMALIZER
) -> tuple[int, int]:
    """Count the edits that turn one text into the other.

    Args:
        spoken: What was said.
        recognized: What a recognizer wrote down.
        unit: What is counted; spaces are characters.
        rule: What makes both comparable.

    Returns:
        Substitutions, deletions and insertions (Levenshtein, by jiwer), and the length of `spoken`, in `unit`.

    Raises:
        UndefinedScore: Nothing is left of `spoken` once it is normalised.
    """
    import jiwer

    spoken, recognized = rule(spoken), rule(recognized)
    if not any(character.isalnum() for character in spoken):  # whisper-en keeps full stops, of which no speech is left
        raise UndefinedScore("the reference text is empty after normalisation")
    if unit == "words":
        words = jiwer.process_words(spoken, recognized)
        return words.substitutions + words.deletions + words.insertions, len(spoken.split())
    found = jiwer.process_characters(spoken, recognized)
    return found.substitutions + found.deletions + found.insertions, len(spoken)


def character_errors(spoken: str, recognized: str) -> tuple[int, int]:
    """`text_errors` in characters, by the rule `evalkit`."""
    return text_errors(spoken, recognized)
