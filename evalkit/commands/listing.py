"""`evalkit list`."""

import argparse
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Any

from evalkit.codecs import BATCH, LEVEL, PADDING
from evalkit.commands.options import add_command
from evalkit.commands.printing import print_commands, print_json, print_lines, print_tables
from evalkit.errors import UsageError
from evalkit.files import expanded

if TYPE_CHECKING:
    from evalkit.environment.listing import Listing


def add(commands: Any) -> None:
    """Declare the command of this file."""
    command = add_command(commands, "list", show_list, "list codecs, metrics, datasets, conditions, suites or runs")
    command.add_argument("what", choices=list(SHOWN), help="what to list")
    command.add_argument("folder", nargs="?", type=expanded, metavar="DIR", help="folder of runs; default: runs")
    command.add_argument("--json", action="store_true", help="print JSON, with more detail")


def show_list(args: argparse.Namespace) -> int:
    """`evalkit list`: show codecs, metrics, datasets and others."""
    from evalkit.environment.listing import LISTINGS, list_runs

    if args.folder and args.what != "runs":
        raise UsageError(f"only `evalkit list runs` takes a folder, `evalkit list {args.what}` does not")
    listing = list_runs(args.folder) if args.folder else LISTINGS[args.what]()
    if args.json:
        print_json(*listing)
    else:
        SHOWN[args.what](listing)
    return 0


def _show_codecs(listing: "Listing") -> None:
    from evalkit.environment.extras import hub_first
    from evalkit.reports.cells import Cell, Column, Table

    columns = (
        Column("codec", "codec", words=True),
        Column("kbps", "kbit/s"),
        Column("khz", "kHz"),
        Column("frames", "frames /s"),
        Column("codebooks", "codebooks", words=True, prose=10),
        Column("parameters", "params"),
        Column("license", "license of weights", words=True, prose=11),
        Column("causal", "causal", words=True),
        Column("needs", "needs", words=True),
    )
    rows = []
    remedies: dict[str, str] = {}
    rendered: dict[str, str] = {}
    hidden: dict[str, int] = {}
    facts: dict[str, dict[str, None]] = {}
    for line in listing[1]:
        one = dict(zip(listing[0], line, strict=True))
        name = one["codec"].partition("@")[0]
        if not one["shown"]:
            hidden[name] = hidden.get(name, 0) + 1
            continue
        if one["state"] == "rendered only":
            rendered[name] = one["remedy"].partition(": add --rendered")[0]
        elif one["remedy"] and one["state"] != "needs download":
            remedies.setdefault(name, one["remedy"].partition(". Run ")[0])
        cells = (
            one["codec"], _number(one["bit/s"], 1000), _rates(one["sample_rate"], one["output_rate"]),
            "varies" if one["variable"] else _number(one["frame_rate"]),
            "continuous" if one["continuous"] else _codebooks(one["codebook_sizes"] or []),
            f"{one['parameters'] / 1e6:.4g}M" if one["parameters"] else "–",
            (one["weights_license"] or "–").replace("-4.0", ""), {True: "yes", False: "no", None: "–"}[one["causal"]],
            one["state"].removeprefix("needs ").replace("rendered only", "audio").replace("ready", ""),
        )  # fmt: skip
        rows.append(tuple(map(Cell, cells)))
        for fact in _facts(one):
            facts.setdefault(fact, {})[name] = None
    notes = [f"{fact}: {', '.join(names)}" for fact, names in facts.items()]
    notes += ["causal: decoding needs no future frames; encoding may (`evalkit bench` measures both)"]
    notes += [f"download: {hub_first()}`evalkit fetch CODEC`, or --weights PATH"]
    notes += [f"{name}: {remedy}" for name, remedy in remedies.items()]
    if hidden:
        notes.append("more bitrates with --json: " + ", ".join(f"{name} ({count})" for name, count in hidden.items()))
    if rendered:
        notes += ["", "audio: does not run here; add --rendered DIR, with one file per utterance, named by its id"]
        notes += [f"{name}: {why}" for name, why in rendered.items()]
    print_tables([Table("", columns, tuple(rows), tuple(notes))])
    print_lines(["`evalkit list codecs --json` adds the license of the code and the source of the weights."])


def _facts(codec: Mapping[str, Any]) -> Iterator[str]:
    """Properties that only some codecs have, for the notes."""
    depends_on = codec["depends_on"]
    if depends_on is not None:
        if PADDING in depends_on:
            yield "tokens change with padding (silence after the utterance)"
        if BATCH in depends_on:
            yield "tokens change with the other utterances of a batch"
        if LEVEL not in depends_on:
            yield "tokens do not carry loudness"
    if codec["extra_bits"]:
        yield f"{codec['extra_bits']} bits of side information per utterance"


def _rates(encoded: int | None, decoded: int | None) -> str:
    """Sampling rate in kHz; of input and output, where they differ."""
    return _number(encoded, 1000) + (f">{_number(decoded, 1000)}" if decoded else "")


def _number(value: float | None, unit: int = 1) -> str:
    return "–" if value is None else f"{value / unit:.4g}"


def _codebooks(sizes: Sequence[int]) -> str:
    """`8 x 2048`, or `1 x 16384, 7 x 4096` where sizes differ."""
    return ", ".join(f"{len(list(same))} x {size}" for size, same in groupby(sizes)) or "–"


def _show_metrics(listing: "Listing") -> None:
    from evalkit.environment.needs import commands, metric_need, total
    from evalkit.errors import EvalkitError
    from evalkit.metrics.load import load_metric
    from evalkit.reports.cells import Cell, Column, Table

    prose = {"label": 10, "sets": 9}
    columns = [Column(name, name, words=True, prose=prose.get(name, 0)) for name in listing[0][:-1]]
    columns += [Column("needs", "needs", words=True, prose=8), Column("size", "to download")]
    rows, needs = [], []
    for *about, state in listing[1]:
        try:
            need = metric_need(about[0], load_metric(about[0]))
        except EvalkitError:
            need = None
        else:
            state = need.state.removeprefix("needs ") if need else ""
        needs += [need] if need else []
        size = need.size_text.removeprefix("about ").replace("size not known", "?") if need else ""
        rows.append(tuple(map(Cell, (*about, state, size))))
    print_tables([Table("", tuple(columns), tuple(rows))])
    if needs:
        print_commands(f"To get the others ({total(needs)} to download):", commands(needs))


def _show_datasets(listing: "Listing") -> None:
    from evalkit.reports.cells import Cell, Column, Table

    *about, _ = listing[0]
    columns = [
        Column(name, name, words=name != "utterances", prose={"languages": 10, "license": 16}.get(name, 0))
        for name in about
    ]
    columns.append(Column("here", "here", words=True))
    rows, notes = [], []
    for *cells, state in listing[1]:
        ready = state == "ready"
        rows.append(tuple(Cell("" if c is None else str(c)) for c in (*cells, "yes" if ready else "no")))
        notes += [] if ready else [f"{cells[0]}: {state}"]
    print_tables([Table("", tuple(columns), tuple(rows), tuple(notes))])


def _show_suites(listing: "Listing") -> None:
    from evalkit.reports.cells import Cell, Column, Table

    columns = tuple(Column(name, name, words=True, prose=16) for name in listing[0])
    rows = tuple(tuple(Cell(one if isinstance(one, str) else ", ".join(one)) for one in line) for line in listing[1])
    print_tables([Table("", columns, rows)])
    print_lines(
        ["Run one with `evalkit run --suite NAME`, or your own with --suite FILE.yaml (keys: title, codecs, datasets, "
         "metrics). --codec, --dataset and --metrics override the suite."]
    )  # fmt: skip


def _show_plain(listing: "Listing") -> None:
    from evalkit.reports.cells import Cell, Column, Table

    columns = tuple(Column(name, name, words=True, prose=30 if name == listing[0][-1] else 0) for name in listing[0])
    print_tables([Table("", columns, tuple(tuple(map(Cell, line)) for line in listing[1]))])


def _show_runs(listing: "Listing") -> None:
    from evalkit.reports.cells import Cell, Column, Table

    prose = {"codecs": 16, "metrics": 16}
    columns = [Column(one, one, words=one != "utterances", prose=prose.get(one, 0)) for one in listing[0]]
    rows = []
    for run, state, codecs, dataset, n, metrics, started in listing[1]:
        when = started[:16].replace("T", " ")
        shown = (run, state, ", ".join(codecs), dataset, "" if n is None else str(n), ", ".join(metrics), when)
        rows.append(tuple(map(Cell, shown)))
    print_tables([Table("" if rows else "No runs in this folder.", tuple(columns), tuple(rows))])


SHOWN: "dict[str, Callable[[Listing], None]]" = {
    "codecs": _show_codecs,
    "metrics": _show_metrics,
    "datasets": _show_datasets,
    "suites": _show_suites,
    "conditions": _show_plain,
    "runs": _show_runs,
}
