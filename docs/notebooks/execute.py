"""Runs the notebooks beside this file, each from an empty state, and keeps their outputs; a cell that fails ends it.

With names of notebooks as arguments, only those. A notebook's working folder is this one; its runs lie in `runs/`.
"""

import os
import sys
from pathlib import Path

import nbformat
from nbclient import NotebookClient

HERE = Path(__file__).parent
os.environ["PYTHONWARNINGS"] = "ignore"  # what a machine warns of is no part of a notebook


def execute(path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    NotebookClient(notebook, timeout=900, kernel_name="python3", resources={"metadata": {"path": str(HERE)}}).execute()
    for cell in notebook.cells:
        cell.metadata = {}
        if cell.cell_type == "code":
            # Progress is for whoever waits.
            cell.outputs = [one for one in cell.outputs if one.get("name") != "stderr"]
    nbformat.write(notebook, path)


if __name__ == "__main__":
    wanted = sys.argv[1:]
    for path in sorted(HERE.glob("*.ipynb")):
        if not wanted or path.stem in wanted:
            execute(path)
            print(f"{path.name}: every cell ran")
