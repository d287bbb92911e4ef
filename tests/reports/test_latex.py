"""LaTeX for papers: it says what the table says, and pdflatex takes all of it, in one column and in two."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from evalkit.cli import main
from evalkit.reports.cells import MISSING, Cell, Column, Table
from evalkit.reports.latex import latex, number
from evalkit.reports.render import highlight

from .test_names import table as nasty
from .test_report_commands import write_run

pdflatex = pytest.mark.skipif(shutil.which("pdflatex") is None, reason="no pdflatex on this machine")


def means(*values: float, tied: bool = False) -> tuple[Cell, ...]:
    best = max(values)
    return tuple(Cell(f"{v:.2f}", v, v == best, f"[{v - 1:.2f}, {v + 1:.2f}]", tied=tied and v != best) for v in values)


def results(codecs: int = 3, metrics: int = 8) -> Table:
    columns = (
        Column("codec", "Codec", words=True), Column("kbps", "kbit/s"),
        *(Column(f"m{i}", f"Metric {i}", "↑", measured=True) for i in range(metrics)), Column("n", "n"),
    )  # fmt: skip
    names = [Cell(f"nanocodec@{i}.{i}k (epoch_{i})") for i in range(codecs)]
    scores = [means(*(float(i) - 1 for i in range(codecs)), tied=m == 1) for m in range(metrics)]
    rows = tuple((name, Cell(MISSING), *cells, Cell("29", 29)) for name, *cells in zip(names, *scores, strict=True))
    return Table("builtin_set", columns, rows, ("≈: not separable at 5 % & more.",))


def test_numbers_have_a_minus_sign_and_powers_of_ten() -> None:
    assert number("-0.029") == "$-$0.029" and number("[-1.0, 0.5]") == "[$-$1.0, 0.5]"
    assert number("3.7e-09") == r"3.7$\times10^{-9}$" and number("1e+20") == r"1$\times10^{20}$"
    assert number("1.50 (n=1)") == "1.50 (n=1)"


def test_a_float_with_caption_label_and_what_it_needs() -> None:
    text = latex(results())
    assert text.startswith(r"% Needs \usepackage{booktabs}.") and r"\caption{builtin\_set}" in text
    assert r"\label{tab:builtin-set}" in text and r"5 \% \& more" in text
    assert r"\begin{table*}" in text and r"\begin{table}" in latex(results(metrics=1)), "one column where it fits"


def test_best_and_second_are_marked() -> None:
    table = highlight(results(metrics=1), ["best", "second"])
    assert r"\textbf{1.00}" in latex(table) and r"\underline{0.00}" in latex(table)
    assert "bf" not in latex(highlight(table, ["none"])) and "underline" not in latex(highlight(table, ["best"]))
    marked = Table(
        table.title, table.columns, tuple((row[0], row[1], Cell("9.00 †", 9.0), row[3]) for row in table.rows)
    )
    assert "underline" not in latex(highlight(marked, ["second"])), "what must not rank is not second"


def test_the_command_marks_what_is_asked_for(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = str(write_run(tmp_path / "run", {"a": (2.4, 0.18), "b": (2.1, 0.24), "c": (1.1, 0.3)}))
    assert main(["table", run, "--format", "markdown", "--highlight", "best,second", "--ci", "none"]) == 0
    line = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("| b "))
    assert re.fullmatch(r"\| b \| 1.100 \| \*2\.\d+\* \| \*0\.\d+\* \| 30 \| 0 \|", line)
    assert main(["table", run, "--highlight", "worst"]) == 2


@pytest.fixture
def outputs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> list[str]:
    """What every command prints as LaTeX, and tables too large for a page."""
    systems = {"nanocodec@1.1k": (2.4, 0.18), "mimi@1.1k": (2.1, 0.24), "wavtokenizer@0.9k": (1.8, 0.3)}
    run = str(write_run(tmp_path / "run", systems))
    commands = [["table"], ["table", "--by", "language"], ["table", "--against", "paper"], ["compare"], ["claims"]]
    found = []
    for name, *options in commands:
        assert main([name, run, *options, "--format", "latex"]) == 0
        found.append(capsys.readouterr().out)
    return [*found, latex(results()), latex(results(12, 4)), latex(results(60, 12))]


def compile_latex(text: str, options: str, folder: Path) -> str:
    """The log of pdflatex for a document with `text`; fails where it stops."""
    source = rf"\documentclass[{options}]{{article}}\usepackage{{booktabs}}\begin{{document}}x{text}\end{{document}}"
    (folder / "m.tex").write_text(source, encoding="utf-8")
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "m.tex"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, errors="replace", timeout=120)
    assert done.returncode == 0, "\n".join(line for line in done.stdout.splitlines() if line.startswith(("!", "l.")))
    return (folder / "m.log").read_text(errors="replace")


@pdflatex
@pytest.mark.parametrize("options", ["10pt", pytest.param("twocolumn", marks=pytest.mark.slow)])
def test_every_output_compiles_and_fits(options: str, outputs: list[str], tmp_path: Path) -> None:
    for text in outputs:
        log = compile_latex(text, options, tmp_path)
        wide = [float(points) for points in re.findall(r"Overfull \\hbox \(([\d.]+)pt", log)]
        assert max(wide, default=0) < 2 and "Float too large" not in log, (text[:300], wide)


@pdflatex
def test_nasty_names_compile(tmp_path: Path) -> None:
    log = compile_latex(latex(nasty()), "10pt", tmp_path)
    assert "Missing character" not in log
