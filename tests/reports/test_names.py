"""Any name in any output: one table of nasty names, held against every renderer."""

import csv
import io
import json
import re
import tempfile
import warnings
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
import yaml
from rich.console import Console

from evalkit.codecs import Codes
from evalkit.reports import escape, gate_text
from evalkit.reports.cells import Cell, Column, Table
from evalkit.reports.gate import Gate, Verdict
from evalkit.reports.leaderboard import build_leaderboard
from evalkit.reports.plots import all_plots, render, save_plots
from evalkit.reports.rates import codebook_use
from evalkit.reports.render import FORMATS
from evalkit.reports.terminal import rich_table
from evalkit.results.rows import Coded, Row, to_frame
from evalkit.results.run import Run, read_run
from evalkit.results.run_directory import RunWriter
from evalkit.stats import Settings
from evalkit.streams import visible

NASTY = (
    "nanocodec@1.1k (built in)", "n" * 300, "", " ", "a,b;c", "it's", '"quoted"',
    # terminals and rich's markup
    "[/x]", "[bold]", ":smile:", "a\x1b[31mred", "bell\x07 nul\x00 del\x7f", "two\nlines", "tab\tand\rreturn",
    "\u2028 \u202e", "\ufffe", "\udcff",
    # HTML and Markdown
    "<script>alert(1)</script>", "a & b", "&lt;", "x|y", "`code`", "*a* _b_ ~c~", "- item", "1. item", "# head",
    "[text](javascript:x)",
    # LaTeX and matplotlib
    "$\\frac$", "$x$ and $y$", "\\", "\\input{x}", "100 %", "a_b^c", "{", "}", "~", "[0.1]", "*", "--", "−1", "zażółć",
    "naïve ĳ ő", "中文", "∑ 𝛼 ½",
    # spreadsheets, GitHub, files
    "=1+1", "+1", "-1", "@sum", "::error::x", "x\n::error::y", "##[error]x", "%0A", "a/../b", ".hidden", "con",
)  # fmt: skip


def table() -> Table:
    """Every name as a title would be, a head, a cell and a note."""
    columns = (Column("=key", "[/x] $h$ <b>", words=True), Column("value", "A − B", measured=True))
    rows = tuple((Cell(name), Cell("-0.5", -0.5, best=True, interval="[-1.0, 0.1]")) for name in NASTY)
    return Table("title [/x] \x1b[1m $t$ <i> =", columns, rows, tuple(f"note on {name}" for name in NASTY))


def verdict() -> Verdict:
    gates = [
        Gate(name, f"m{position}", "L|[/x]", "failed", 3, 1.0, 2.0, 1.0, 0.5, 0.1, 0.01, worst=((name, 1.0, 2.0),))
        for position, name in enumerate(NASTY)
    ]
    return Verdict(tuple(gates), tuple(f"{name} is compared with the baseline" for name in NASTY))


def on_a_terminal() -> str:
    file = io.StringIO()
    Console(file=file, width=400, force_terminal=True, color_system=None).print(rich_table(table()), crop=False)
    return file.getvalue()


def lines_of(text: str) -> list[str]:
    """Lines as any program may split them."""
    assert all(c.isprintable() or c == "\n" for c in text), [c for c in text if not c.isprintable() and c != "\n"]
    return text.split("\n")


def check_terminal() -> None:
    shown = on_a_terminal()
    plain = re.sub(r"\x1b\[[0-9;]*m", "", shown)  # what styles add
    assert set(re.findall(r"\x1b\[[0-9;]*m", shown)) <= {"\x1b[0m", "\x1b[1m", "\x1b[2m", "\x1b[4m"}
    lines = lines_of(plain)
    for name in NASTY:
        assert any(escape.terminal(name).strip() in line for line in lines), name
    check_commands(lines)


def check_commands(lines: list[str]) -> None:
    """A CI service finds no command in them."""
    assert not [line for line in lines if line.lstrip().startswith("::") or "##[" in line]


def check_gate_text() -> None:
    lines = lines_of(gate_text.text(verdict()))
    assert len(lines) == 3 * len(NASTY) + 1, "a line for each note, gate and worst utterance"
    check_commands(lines)


def check_markdown() -> None:
    for text in (FORMATS["markdown"](table()), gate_text.markdown(verdict())):
        lines = lines_of(text)
        assert "<" not in text and not re.search(r"(?<!\\)`|\$", text)
        rows = [line for line in lines if line.startswith("|")]
        assert len(rows) == len(NASTY) + 2 and len({len(re.findall(r"(?<!\\)\|", row)) for row in rows}) == 1, rows
        assert not [line for line in lines if re.match(r"\s*(#+\s(?!Gate)|\d+[.)]\s)", line)]
    assert r"| \[text\](javascript:x) |" in FORMATS["markdown"](table())


def check_csv() -> None:
    head, *rows = csv.reader(io.StringIO(FORMATS["csv"](table())))
    assert len(rows) == len(NASTY) and head[1] == "'=key"
    assert all(not row[1].startswith(("=", "+", "-", "@")) and row[2] == "-0.5" for row in rows)
    assert [row[1].removeprefix("'") for row in rows] == [visible(name) for name in NASTY]


def check_latex() -> None:
    text = FORMATS["latex"](table())
    assert text.isascii()
    lines_of(text)
    assert "$-$0.5" in text and r"\input{" not in text and "A $-$ B" in text


def check_junit() -> None:
    cases = ElementTree.fromstring(gate_text.junit(verdict())).findall(".//testcase")
    assert [case.get("classname") for case in cases] == [f"evalkit.gate.{visible(name)}" for name in NASTY]


def check_annotations() -> None:
    lines = gate_text.annotations(verdict()).splitlines()
    assert len(lines) == len(NASTY) and all(re.match(r"::error title=[^:,]*::.", line) for line in lines)
    assert lines[NASTY.index("%0A")].startswith("::error title=%250A ")


def check_file_names() -> None:
    names = {escape.file_name(name) for name in NASTY}
    assert len(names) == len(NASTY), "no two share a file"
    assert all(
        re.fullmatch(r"[\w.@-]+", name) and not name.startswith(".") and len(name.encode()) < 130 for name in names
    )


def nasty_run() -> Run:
    """A run in memory whose codecs, utterances, dataset and languages have the nasty names that a file can hold."""
    names = [name for name in NASTY if name.strip() and "\udcff" not in name]
    rows = [
        Row(name, "[/x] $d$", other, "pesq", 1.0 + i / 10 + j, bitrate_kbps=1.0 + i / 9, language="$l$" if j else "<b>")
        for i, name in enumerate(names)
        for j, other in enumerate(names[:2])
    ]
    about = {"label": "$\\frac$ [/x]", "direction": "up", "unit": "<u>", "version": "1", "decimals": 2}
    provenance = {"metrics": {"pesq": about}, "state": "finished", "dataset": {"name": "<i>"}, "notes": ["$ <n>"]}
    return Run(Path("run"), to_frame(rows, names), provenance)


def check_plots() -> None:
    run = nasty_run()
    hard = [name for name in run.rows["codec"].unique() if set("$\\_[<中") & set(name)]
    run = Run(run.path, run.rows[run.rows["codec"].isin(hard)], run.provenance)
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from font")  # no font has all letters
        for suffix in ("svg", "png", "pdf"):
            assert len(save_plots([run], Path(folder), suffix, Settings(interval="none"), title=True)) == 3
        figures = dict(all_plots([run], Settings(interval="none")))
    (legend,) = figures[f"{escape.file_name('[/x] $d$-pesq')}-languages"].legends
    assert [text.get_text() for text in legend.get_texts()] == list(map(escape.plot, hard))


def under_conditions() -> Run:
    """A run whose conditions have the nasty names too, some as the levels of a sweep."""
    names = [name for name in NASTY if name.strip() and set("$\\_[<\x1b") & set(name)]
    levels = [
        f"{kind}:{option}={level}" for kind, option in (("$x", "$\\frac$"), ("v", "rc")) for level in ("1", "2.5")
    ]
    odd = ["v:rc=1.2.3", "v:rc=.", "v:rc=1e999", f"v:rc={'9' * 400}"]
    rows = [
        Row(codec, "<i>", name, "pesq", 1.0 + i, condition=condition)
        for i, condition in enumerate(["clean", *levels, *odd, *names])
        for codec in ("$\\frac$@1k", "_b@2k")
        for name in ("a", "b")
    ]
    provenance = {
        "metrics": {"pesq": {"label": "$ [/x]", "direction": "up", "unit": "", "version": "1", "decimals": 2}}
    }
    return Run(Path("run"), to_frame(rows, ["$\\frac$@1k", "_b@2k"]), nasty_run().provenance.from_json(provenance))


def check_condition_plots() -> None:
    run = under_conditions()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from font")
        figures = dict(all_plots([run], Settings(interval="none")))
        for figure in figures.values():
            assert render(figure, "png")
    assert len(figures) == 5, list(figures)  # rate, distribution, two sweeps, all conditions


def check_leaderboard() -> None:
    run = nasty_run()
    board = build_leaderboard([run], title="</script><b>", settings=Settings(interval="none"))
    parser = _Text()
    parser.feed(board.files["index.html"])
    parser.close()
    plain = _Text()
    plain.feed(build_leaderboard([clean_run()], settings=Settings(interval="none")).files["index.html"])
    assert parser.tags == plain.tags, "no name is a tag"
    names = set(run.rows["codec"])
    assert set(json.loads(board.files["leaderboard.json"])["systems"]) == names
    cards = [text for name, text in board.files.items() if name.endswith(".model-index.yaml")]
    assert {yaml.safe_load(card)["model-index"][0]["name"] for card in cards} == names
    assert all(re.fullmatch(r"[\w.@/-]+", name) and not {"", ".", ".."} & set(name.split("/")) for name in board.files)


def clean_run() -> Run:
    run = nasty_run()
    codec = run.rows["codec"].iloc[0]
    return Run(run.path, run.rows[run.rows["codec"] == codec], run.provenance)


def check_rates() -> None:
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from font")
        names = ["$\\frac$", "[/x]", "<b>", "a\x1b[31mred"]
        with RunWriter(Path(folder) / "run", names, {"dataset": {"name": "$\\frac$"}}) as writer:
            for name in names:
                codes = Codes(320, np.arange(8).reshape(1, 8) % 4, (4,))
                writer.add_codes(Coded(name, "$\\frac$", "u", 0.02, codes))
                writer.add([Row(name, "$\\frac$", "u", "pesq", 1.0)])
        figure = codebook_use([read_run(Path(folder) / "run")])
        assert render(figure, "png")
    assert {axes.get_ylabel() for axes in figure.axes} == {escape.plot(f"share of tokens, {name}") for name in names}


class _Text(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.texts: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.texts += [value for _, value in attrs if value]

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def check_html() -> None:
    for name in NASTY:
        parser = _Text()
        parser.feed(f'<p title="{escape.html(name)}">{escape.html(name)}</p>')
        parser.close()
        assert parser.tags == ["p"] and "".join(parser.texts) == 2 * visible(name)


@pytest.mark.parametrize(
    "check",
    [check_terminal, check_gate_text, check_markdown, check_csv, check_latex, check_junit, check_annotations,
     check_file_names, check_html, check_condition_plots, check_leaderboard, check_rates,
     pytest.param(check_plots, marks=pytest.mark.slow)],
)  # fmt: skip
def test_names_stay_names(check: Callable[[], None]) -> None:
    check()
