"""The eight languages of Multilingual LibriSpeech, by every name that data and models have for them."""

from evalkit.errors import UsageError

NAMES = {
    "en": ("english", "eng"),
    "de": ("german", "deu"),
    "nl": ("dutch", "nld"),
    "fr": ("french", "fra"),
    "es": ("spanish", "spa"),
    "it": ("italian", "ita"),
    "pt": ("portuguese", "por"),
    "pl": ("polish", "pol"),
}
"""ISO 639-1 -> (English name, ISO 639-3)."""

_CODES = {name: code for code, names in NAMES.items() for name in (code, *names)}


def code(name: str) -> str | None:
    """ISO 639-1 of `de`, `deu`, `German` or `de-AT`; None for a word that names none of the eight."""
    return _CODES.get(name.lower().replace("_", "-").partition("-")[0])


def codes(names: str | None) -> tuple[str, ...]:
    """ISO 639-1 of `de+pl` or `german+polish`, in the order given; all eight for None. Raises UsageError."""
    if names is None:
        return tuple(NAMES)
    found = []
    for name in names.split("+"):
        known = code(name)
        if known is None:
            raise UsageError(f"unknown language {name!r}. Known: {', '.join(NAMES)}.")
        found.append(known)
    return tuple(dict.fromkeys(found))
