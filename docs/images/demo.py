"""Draws demo.svg, the table of a run as a terminal shows it: python docs/images/demo.py runs/demo"""

import io
import sys
from pathlib import Path

from rich.console import Console
from rich.text import Text

from evalkit.reports.cells import Table
from evalkit.reports.table import build_tables
from evalkit.reports.terminal import needs, rich_table, wrap
from evalkit.results.run import read_run

METRICS = ["pesq-wb", "estoi", "visqol-speech", "mel-2048-80-ln1p", "sim-resemblyzer"]

COMMAND = (
    "evalkit run --codec nanocodec@1.1k --codec opus@6k --codec codec2@1.2k --metrics offline-short --per-language 2"
)


def draw(table: Table, path: Path) -> None:
    """Write `table` and its notes as a terminal that is just wide enough for it."""
    width = needs(table)
    console = Console(width=width, record=True, file=io.StringIO(), force_terminal=True)
    console.print(Text(f"$ {COMMAND}", style="dim"))
    console.print(rich_table(table))
    for note in table.notes:
        console.print(Text("\n".join(wrap(note, width)), style="dim"))
    console.save_svg(str(path), title="evalkit")


if __name__ == "__main__":
    draw(build_tables([read_run(Path(sys.argv[1]))], METRICS)[0], Path(__file__).with_suffix(".svg"))
