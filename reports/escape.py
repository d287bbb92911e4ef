r"""Any name in any output.

A codec, an utterance or a path may be called anything: `$\frac$`, `<script>`, `[/x]`, `=1+1`, a line break, an escape
sequence of a terminal. Each renderer passes every text through its own function here, once, when it writes it down;
nothing else escapes.
"""

import html as _html
import re
import unicodedata

from evalkit.files import slug
from evalkit.streams import visible


def terminal(text: str) -> str:
    """For standard output. A CI service takes lines there that begin with `::`, and `##[` anywhere, for commands."""
    return re.sub(r"^(\s*)(?=::)|(?<=#)(?=#\[)", r"\1\\", visible(text))


_MARKDOWN = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;", "$": "&#36;", **{c: f"\\{c}" for c in "\\`*[]|~"}})


def markdown(text: str) -> str:
    """For GitHub's Markdown, in the cell of a table or in a paragraph."""
    escaped = visible(text).translate(_MARKDOWN)
    # Inside a word an underscore is only that; `# `, `- ` and `1. ` make a heading or a list at the start of a line.
    escaped = re.sub(r"(?<![^\W_])_|_(?![^\W_])", r"\\_", escaped)
    return re.sub(r"^(\s*\d*)(?=[-+=#.)]+(\s|$))", r"\1\\", escaped)


_LATEX = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": "$<$", ">": "$>$", "|": "$|$", '"': "{''}",
    "`": r"\textasciigrave{}",
    # After the \\ that ends a row, LaTeX takes these for an argument of it.
    "[": "{[}", "]": "{]}", "*": "{*}",
    "–": "--", "—": "---", "…": r"\ldots{}", "‘": "`", "’": "'", "“": "``", "”": "''",
    "−": "$-$", "±": r"$\pm$", "×": r"$\times$", "÷": r"$\div$", "·": r"$\cdot$", "°": r"$^{\circ}$", "¬": r"$\neg$",
    "≈": r"$\approx$", "≠": r"$\neq$", "≤": r"$\leq$", "≥": r"$\geq$", "∞": r"$\infty$", "√": r"$\surd$",
    "↑": r"$\uparrow$", "↓": r"$\downarrow$", "→": r"$\to$", "←": r"$\gets$", "†": r"\dag{}", "‡": r"\ddag{}",
    "§": r"\S{}", "¶": r"\P{}", "©": r"\copyright{}", "²": "$^2$", "³": "$^3$", "¹": "$^1$", "µ": r"$\mu$",
    "ß": r"\ss{}", "æ": r"\ae{}", "Æ": r"\AE{}", "œ": r"\oe{}", "Œ": r"\OE{}", "ø": r"\o{}", "Ø": r"\O{}", "ł": r"\l{}",
    "Ł": r"\L{}", "ı": r"\i{}", "å": r"\aa{}", "Å": r"\AA{}", "¿": "?`", "¡": "!`",
}  # fmt: skip
_GREEK = (
    "alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu nu xi pi rho sigma tau upsilon phi chi psi "
    "omega Gamma Delta Theta Lambda Xi Pi Sigma Phi Psi Omega"
)
_LATEX |= dict(zip("αβγδεζηθικλμνξπρστυφχψωΓΔΘΛΞΠΣΦΨΩ", (rf"$\{name}$" for name in _GREEK.split()), strict=True))
_ACCENTS = {
    "\u0300": "`", "\u0301": "'", "\u0302": "^", "\u0303": "~", "\u0304": "=", "\u0306": "u", "\u0307": ".",
    "\u0308": '"', "\u030a": "r", "\u030b": "H", "\u030c": "v", "\u0323": "d", "\u0327": "c", "\u0331": "b",
}  # fmt: skip


def latex(text: str) -> str:
    """For the text of a LaTeX document, whatever its fonts: ASCII only. pdflatex stops at a letter that it has no
    command for; such a letter becomes its code point (`U+4E2D`)."""
    text = visible(text)
    # Two hyphens side by side would become a dash.
    return "".join("{-}" if text[i - 1 : i + 1] == "--" else _latex(c) for i, c in enumerate(text))


def _latex(character: str) -> str:
    if (known := _LATEX.get(character)) is not None:
        return known
    if character.isascii():
        return character
    decomposed = unicodedata.normalize("NFD", character)
    letter, marks = decomposed[0], decomposed[1:]
    if letter.isascii() and marks and all(mark in _ACCENTS for mark in marks):
        shown = rf"\{letter}" if letter in "ij" else letter
        for mark in marks:
            shown = rf"\{_ACCENTS[mark]}{{{shown}}}"
        return shown
    return f"U+{ord(character):04X}"


def csv_cell(text: str) -> str:
    """For a cell of words in a CSV: a spreadsheet takes what begins with one of `=+-@` for a formula."""
    shown = visible(text)
    return f"'{shown}" if shown.startswith(("=", "+", "-", "@")) else shown


def html(text: str) -> str:
    """For HTML, between tags or in a quoted attribute."""
    return _html.escape(visible(text))


def xml(text: str) -> str:
    """For ElementTree, which escapes what XML reserves; characters that XML forbids are gone."""
    return visible(text)


def annotation(text: str) -> str:
    """For a line of the message of a GitHub workflow command."""
    return visible(text).replace("%", "%25")


def annotation_title(text: str) -> str:
    """For a property of a GitHub workflow command."""
    return annotation(text).replace(":", "%3A").replace(",", "%2C")


def plot(text: str) -> str:
    """For text in a figure: matplotlib takes what stands between two dollars for mathematics."""
    return visible(text).replace("$", r"\$")


def file_name(text: str) -> str:
    """A file's name without suffix, which no other text has."""
    return slug(text)
