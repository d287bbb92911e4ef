"""Text that was spoken and text that was heard: made comparable, and compared.

The rule below is the same for every language and every metric that compares text; its version stands in the results.
Nobody published what the NanoCodec paper's numbers were normalised with.
"""

import re
import unicodedata
from dataclasses import dataclass

from evalkit.errors import UndefinedScore


@dataclass(frozen=True)
class Normalizer:
    """Letters, marks and numbers in lower case, words separated by one space:

    1. Unicode NFKC, then lower case;
    2. hyphens, dashes and slashes become spaces;
    3. all that is neither letter, mark, number nor space is dropped, apostrophes among it: l'eau is leau;
    4. runs of spaces become one, and none stand at the ends.

    Numbers and abbreviations stay as they are written: transcripts of read speech (MLS) have none.
    """

    version: str = "1"

    def __call__(self, text: str) -> str:
        text = unicodedata.normalize("NFKC", text).lower()
        text = re.sub(r"[/\u2044]", " ", text)
        text = "".join(" " if unicodedata.category(c) == "Pd" else c for c in text)
        kept = (c if unicodedata.category(c)[0] in "LMN" else " " if c.isspace() else "" for c in text)
        return " ".join("".join(kept).split())


NORMALIZER = Normalizer()


def character_errors(spoken: str, heard: str) -> tuple[int, int]:
    """Substitutions, deletions and insertions that turn `spoken` into `heard`, both normalised, and the number of
    characters of `spoken`, spaces among them; counted by jiwer.

    Raises UndefinedScore where `spoken` has no characters.
    """
    import jiwer

    spoken, heard = NORMALIZER(spoken), NORMALIZER(heard)
    if not spoken:
        raise UndefinedScore("there is no text to compare with: nothing is left of it after normalisation")
    found = jiwer.process_characters(spoken, heard)
    return found.substitutions + found.deletions + found.insertions, len(spoken)
