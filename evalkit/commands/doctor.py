"""`evalkit doctor`."""

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from evalkit.commands.options import add_command
from evalkit.commands.printing import print_commands, print_dicts, print_lines, print_tables

if TYPE_CHECKING:
    from evalkit.environment.doctor import Finding
    from evalkit.reports.cells import Table

KINDS = {"codec": "codecs", "metric": "metrics", "data": "data", "extra": "extras", "kernels of": "compiled kernels"}
"""Kinds of findings, in the order in which people read of them."""
RENDERED_ONLY = "rendered only"
"""The state of codecs that cannot run here, but whose decoded audio can be scored."""


def add(commands: Any) -> None:
    """Declare the command of this file."""
    command = add_command(
        commands, "doctor", doctor, "check this installation: what is ready, what is missing, how to get it"
    )
    command.add_argument("--json", action="store_true", help="print JSON")


def doctor(args: argparse.Namespace) -> int:
    """`evalkit doctor`: say what is on this machine and what is missing."""
    from evalkit.environment.doctor import examine
    from evalkit.environment.needs import commands, total

    findings = examine()
    if args.json:
        print_dicts([finding.as_dict() for finding in findings])
        return 0
    print_tables([_summary(findings), *(_listed(findings, kind) for kind in KINDS), _folders(findings)])
    broken = [f"{f.kind} {f.name} is broken: {f.remedy}" for f in findings if f.health == "broken"]
    print_lines(broken + [""] * bool(broken))
    needs = [finding.need for finding in findings if finding.need]
    if needs:
        size = total(needs)
        print_commands(f"To get what is missing ({size} to download):" if size else "To get it:", commands(needs))
        rendered = [need.what.removeprefix("codec ") for need in needs if need.state == RENDERED_ONLY]
        others = [f"{need.what}: {need.advice}" for need in needs if need.advice and need.state != RENDERED_ONLY]
        print_lines(["By hand:"] * bool(others) + others)
        if rendered:
            print_lines(
                [f"Codecs that only score audio decoded elsewhere (--rendered DIR): {', '.join(rendered)}.", ""]
            )
    print_lines(["`evalkit doctor --json` has every file's source, revision and license."])
    return 0


def _summary(findings: "Sequence[Finding]") -> "Table":
    """How much of each kind is ready, missing and broken."""
    from evalkit import __version__
    from evalkit.reports.cells import Cell, Column, Table

    columns = [Column("what", "", words=True), *(Column(name, name) for name in ("ready", "missing", "broken"))]
    rows = []
    for kind, plural in KINDS.items():
        health = [finding.health for finding in findings if finding.kind == kind]
        counts = [health.count(column.key) for column in columns[1:]]
        rows.append((Cell(plural), *(Cell(str(count), count) for count in counts)))
    return Table(f"evalkit {__version__}", tuple(columns), tuple(rows))


def _listed(findings: "Sequence[Finding]", kind: str) -> "Table":
    """A line for each finding of one kind, ready ones first."""
    from evalkit.reports.cells import Cell, Column, Table

    columns = (
        Column("name", KINDS[kind], words=True, prose=16),
        Column("state", "state", words=True),
        Column("license", "license", words=True, prose=16),
        Column("disk", "on disk"),
        Column("download", "to download"),
    )
    rows = []
    for one in sorted((f for f in findings if f.kind == kind), key=lambda f: f.health != "ready"):
        size = one.need.size_text.removeprefix("about ") if one.need else ""
        license = one.need.license if one.need else ""
        rows.append(tuple(map(Cell, (one.name, one.state, license, one.on_disk, size))))
    used = [i for i, column in enumerate(columns) if i < 2 or any(row[i].text for row in rows)]
    return Table("", tuple(columns[i] for i in used), tuple(tuple(row[i] for i in used) for row in rows))


def _folders(findings: "Sequence[Finding]") -> "Table":
    from evalkit.reports.cells import Cell, Column, Table

    heads = (("folders", True), ("on disk", False), ("free", False))
    columns = tuple(Column(name, name, words=words) for name, words in heads)
    rows = [(f.name, f.on_disk, f.state.removesuffix(" free")) for f in findings if not f.kind]
    return Table("", columns, tuple(tuple(map(Cell, row)) for row in rows))
