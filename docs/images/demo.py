"""Draws demo.svg, the table of a run as a terminal shows it: python docs/images/demo.py runs/demo"""

import io
import sys
from pathlib import Path

from rich.console import Console
from rich.text import Text

from evalkit.reports.table import build_tables
from evalkit.reports.terminal import rich_table
from evalkit.results.run import read_run

METRICS = ["pesq-wb", "estoi", "visqol-speech", "mel-2048-80-ln1p", "sim-resemblyzer"]

(table,) = build_tables([read_run(Path(sys.argv[1]))], METRICS)
console = Console(width=128, record=True, file=io.StringIO(), force_terminal=True)
command = "evalkit run --codec nanocodec@1.1k --codec opus@6k --codec codec2@1.2k --metrics offline-short"
console.print(Text(f"$ {command}", style="dim"))
console.print(rich_table(table))
for note in table.notes:
    console.print(Text(note, style="dim"))
console.save_svg(str(Path(__file__).with_suffix(".svg")), title="evalkit")
