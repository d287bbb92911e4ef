"""How figures look: sizes of a paper's page, colours, fonts, and what stands on axes."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from . import escape
from .cells import ARROWS

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SIZES = {"one": 3.4, "two": 7.0}
"""Inches that one column, and both, of a paper's page are wide."""
HEIGHT = 2.5
"""Inches of a figure over an axis of numbers."""

PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#7F3C8D", "#555555")
"""Okabe and Ito's colours, told apart by colour-blind readers; one for each family of codecs."""
MARKERS = "osD^vPX*"
"""One for each family: colours alone do not survive a grey print."""

STYLE: Any = {
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.6,
    "font.size": 8,
    "grid.color": "#dddddd",
    "grid.linewidth": 0.5,
    "legend.fontsize": 7,
    "lines.linewidth": 1.0,
    "svg.hashsalt": "evalkit",
    # TrueType: publishers refuse the Type 3 fonts that are matplotlib's default.
    "pdf.fonttype": 42,
    "ps.fonttype": 42,
}


def family(codec: str) -> str:
    """What shares a colour: the name before the rate."""
    return codec.partition("@")[0]


def looks(codecs: Sequence[str]) -> dict[str, tuple[str, str]]:
    """Colour and marker of each codec, its family's."""
    families = sorted({family(codec) for codec in codecs})
    places = {codec: families.index(family(codec)) for codec in codecs}
    return {codec: (PALETTE[i % len(PALETTE)], MARKERS[i % len(MARKERS)]) for codec, i in places.items()}


def new_figure(width: float, height: float) -> tuple["Figure", "Axes"]:
    """A figure that no window system knows of.

    Args:
        width: Inches.
        height: Inches.

    Returns:
        The figure, and its axes.
    """
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(width, height), layout="constrained")
        return figure, figure.subplots()


def axis_label(about: Mapping[str, Any]) -> str:
    """What stands beside an axis: the metric's label, its better end and its unit.

    Args:
        about: What is said of the metric.

    Returns:
        Text for matplotlib.
    """
    unit = f" ({about['unit']})" if about.get("unit") else ""
    return escape.plot(f"{about['label']} {ARROWS[about['direction']]}{unit}".strip())
