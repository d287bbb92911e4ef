"""A paper's comparative claims (claims.yaml, or a file of the user's), answered from rows: supported, contradicted,
undecided at this n, or not measured."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from math import isnan
from typing import Any

import pandas as pd

from evalkit.bench.directory import Bench
from evalkit.results.run import Run
from evalkit.stats import DEFAULTS, POWER, Comparison, ComparisonRequest, Settings, compare_codecs

from .bench_claims import Evidence, evidence
from .published import Paper, nanocodec_paper
from .table import MISSING, Cell, Column, Table, interval_cell, join, on_ranks, skewed, too_few

SUPPORTED, CONTRADICTED, UNDECIDED, UNMEASURED = "supported", "contradicted", "undecided", "not measured"
BENCHED = ("models", "koel-tts")
"""Sets of claims that benches answer."""

COLUMNS = (
    Column("claim", "Claim", words=True, prose=24),
    Column("verdict", "verdict", words=True),
    Column("effect", "effect", measured=True),
    Column("n", "n"),
    Column("p_adjusted", "p adjusted"),
    Column("p_wilcoxon", "p Wilcoxon"),
    Column("published", "published effect"),
    Column("kind", "source", words=True, prose=8),
    Column("remark", "remark", words=True, prose=20),
)


@dataclass(frozen=True)
class Claim:
    """`first` is better than `second` by `metric` on `set`; or, with a margin, they differ by less than it."""

    id: str
    set: str
    metric: str
    first: str
    second: str
    kind: str
    margin: float | None = None
    note: str = ""
    ratio: float | None = None
    """How many times better, where that is what was published."""
    paper: Paper = field(default_factory=nanocodec_paper, repr=False, compare=False)

    def __str__(self) -> str:
        names = self.paper.names
        systems, metric = names["systems"], names["metrics"][self.metric]
        first, second = systems[self.first]["label"], systems[self.second]["label"]
        short = names["sets"][self.set].get("short")
        where = f" on {short}" if short else ""
        if self.margin is not None:
            return f"{first} and {second} differ in {metric['label']} by less than {self.margin:g}{where}"
        comparative = {"up": "higher", "down": "lower"}[metric["direction"]]
        return f"{first} has a {comparative} {metric['label']} than {second}{where}"

    @property
    def column(self) -> str | None:
        """The metric of this project that the claim is about; None where there is none."""
        found: str | None = self.paper.names["metrics"][self.metric]["metric"]
        return found

    @property
    def effect(self) -> float | None:
        """The difference first - second that the sources of the claim state."""
        found: dict[str, float] = {}
        for kind in self.kind.split(" + "):
            for p in self.paper.published:
                if (p.set, p.metric, p.kind, p.mode) == (self.set, self.metric, kind, None):
                    found.setdefault(p.system, p.value)
        return found[self.first] - found[self.second] if {self.first, self.second} <= found.keys() else None


@cache
def claims(paper: Paper | None = None) -> tuple[Claim, ...]:
    """Every claim of `paper`, by default the NanoCodec paper, in its order."""
    paper = paper or nanocodec_paper()
    found = []
    for line in paper.claims:
        first, second = line.get("similar") or (line["better"], line["worse"])
        rest = {key: value for key, value in line.items() if key not in ("similar", "better", "worse")}
        found.append(Claim(first=first, second=second, paper=paper, **rest))
    return tuple(found)


def build_claims(
    runs: Sequence[Run], settings: Settings = DEFAULTS, benches: Sequence[Bench] = (), paper: Paper | None = None
) -> list[Table]:  # fmt: skip
    """A paper's claims, answered from rows.

    Args:
        runs: What was measured of quality.
        settings: How differences are judged.
        benches: What was measured of cost; the NanoCodec paper alone has claims about that.
        paper: Which paper; by default the NanoCodec paper.

    Returns:
        A table for each dataset that is one of the paper's sets or a part of one, with a line for each claim about that
        set; one of what the benches answer; and a last one of the claims about sets that no run has.
    """
    paper = paper or nanocodec_paper()
    names, of = paper.names, "" if paper.own else f"{paper.title}: "
    tables: list[Table] = []
    answered: set[str] = set()
    rows, described = join(runs) if runs else (pd.DataFrame({"dataset": [], "codec": [], "metric": []}), {})
    rows = rows[rows["metric"].isin(list(described))]
    rows = rows.assign(codec=rows["codec"].replace(paper.row_names(runs)))
    places = paper.places_of(runs)
    for dataset, part in rows.groupby("dataset", sort=False):
        place = places.get(str(dataset))
        if place is None:
            continue
        asked = [claim for claim in claims(paper) if claim.set == place.set]
        answered |= {claim.id for claim in asked}
        found = _compare(asked, part, described, settings)
        lines = tuple(_lines(asked, found, part, described))
        notes = tuple(_notes(lines, list(found.values()), described, settings, place.caution))
        tables.append(Table(f"{of}Claims on {dataset}", COLUMNS, lines, notes))
    asked = [claim for claim in claims(paper) if paper.own and claim.set in BENCHED]
    answers = [(c, evidence(c.metric, c.first, c.second, c.ratio, benches)) for c in asked]
    told = tuple(_told(claim, answer) for claim, answer in answers if answer is not None)
    answered |= {claim.id for claim, answer in answers if answer is not None}
    if told:
        notes = ("Parameters are those used in encoding and decoding, weight normalisation folded.",)
        if any(answer is not None and answer.holds is None for _, answer in answers):
            note = "Reproduced: simulated or calculated with random weights of the LM's size, in the settings shown."
            notes = (*notes, note)
        tables.append(Table("Claims about efficiency", COLUMNS, told, notes))
    rest = [claim for claim in claims(paper) if claim.id not in answered]
    if rest:
        sets = "; ".join(dict.fromkeys(names["sets"][claim.set]["label"] for claim in rest))
        lines = tuple(_unmeasured(claim, "no run has this data") for claim in rest)
        tables.append(Table(f"{of}Claims on data that no run has: {sets}", COLUMNS, lines))
    return tables


def collapse(tables: Sequence[Table]) -> list[Table]:
    """Tables of claims for a terminal: claims that nobody measured are counted beneath, by what they lack; tables of
    nothing else are one line.

    Args:
        tables: As `build_claims` makes them.

    Returns:
        Shorter ones.
    """
    found = []
    for table in tables:
        measured = tuple(row for row in table.rows if row[1].text != UNMEASURED)
        lacking = Counter(row[-1].text.partition(";")[0] for row in table.rows if row[1].text == UNMEASURED)
        what = ", ".join(f"{reason} ({count})" for reason, count in lacking.most_common())
        notes = (f"{UNMEASURED.capitalize()}: {what}. `--format markdown` lists them.",)
        found.append(replace(table, rows=measured, notes=table.notes + (notes if lacking else ())))
    return found


def _compare(
    asked: Sequence[Claim], rows: pd.DataFrame, described: dict[str, Any], settings: Settings
) -> dict[str, Comparison]:
    """The comparison of each claim that was measured, by its id; all are tested together."""
    codecs, pairs = _measured(asked, rows)
    requests: dict[str, ComparisonRequest] = {}
    for claim in asked:
        first, second = codecs[claim.first], codecs[claim.second]
        if claim.column and (first, claim.column) in pairs and (second, claim.column) in pairs:
            requests[claim.id] = ComparisonRequest(claim.column, str(first), str(second))
    found = compare_codecs(rows, requests.values(), settings, skewed(described))
    return dict(zip(requests, found, strict=True))


def _lines(
    asked: Sequence[Claim], found: dict[str, Comparison], rows: pd.DataFrame, described: dict[str, Any]
) -> Iterator[tuple[Cell, ...]]:
    codecs, pairs = _measured(asked, rows)
    for claim in asked:
        if claim.id in found:
            yield _line(claim, found[claim.id], described[str(claim.column)])
        else:
            yield _unmeasured(claim, _what_lacks(claim, codecs, pairs))


def _measured(asked: Sequence[Claim], rows: pd.DataFrame) -> tuple[dict[str, str | None], set[tuple[str, str]]]:
    """The codec of the rows that is each of the claims' systems; and each (codec, metric) that has values."""
    measured = rows.dropna(subset="value")[["codec", "metric"]].drop_duplicates()
    present = set(measured["codec"])
    codecs = {system: _row_of(system, c.paper, present) for c in asked for system in (c.first, c.second)}
    return codecs, set(measured.itertuples(index=False, name=None))


def _row_of(system: str, paper: Paper, codecs: set[str]) -> str | None:
    """The codec of a run that is the paper's `system`."""
    return next((row for row in paper.names["systems"][system]["rows"] if row in codecs), None)


def _what_lacks(claim: Claim, codecs: dict[str, str | None], pairs: set[tuple[str, str]]) -> str:
    if claim.column is None:
        return "no metric of evalkit measures this"
    if claim.column not in {metric for _, metric in pairs}:
        return f"no run has {claim.column}"
    lacking = [s for s in (claim.first, claim.second) if (codecs[s], claim.column) not in pairs]
    return "no run has " + " and ".join(claim.paper.names["systems"][system]["label"] for system in lacking)


def verdict(claim: Claim, comparison: Comparison, direction: str) -> str:
    """What a comparison says of a claim.

    Args:
        claim: About two systems.
        comparison: Of the first with the second.
        direction: "up" or "down", the better end of the metric.

    Returns:
        SUPPORTED, CONTRADICTED or UNDECIDED.
    """
    test = comparison.test
    if isnan(test.p):
        return UNDECIDED
    if claim.margin is not None:
        low, high = test.interval.low, test.interval.high
        if -claim.margin < low and high < claim.margin:
            return SUPPORTED
        return CONTRADICTED if low > claim.margin or high < -claim.margin else UNDECIDED
    if not comparison.significant:
        return UNDECIDED
    return SUPPORTED if (test.difference > 0) == (direction == "up") else CONTRADICTED


def _line(claim: Claim, comparison: Comparison, about: dict[str, Any]) -> tuple[Cell, ...]:
    test, digits = comparison.test, about["decimals"]
    outcome = verdict(claim, comparison, about["direction"])
    remarks = [claim.note]
    if outcome == UNDECIDED and not comparison.decidable:
        remarks.append("too few utterances for a test")
    elif outcome == UNDECIDED:
        remarks.append(f"at n = {test.n}; {test.detectable:.{digits}f} would be detected")
    return (
        Cell(str(claim)),
        Cell(outcome, best=outcome in (SUPPORTED, CONTRADICTED)),
        interval_cell(test.difference, test.interval, f"+.{digits}f"),
        Cell(str(test.n), test.n),
        *(Cell(MISSING) if isnan(p) else Cell(f"{p:.2g}", p) for p in (comparison.p_adjusted, test.p_wilcoxon)),
        *_source(claim),
        Cell("; ".join(filter(None, remarks))),
    )


def _told(claim: Claim, found: Evidence) -> tuple[Cell, ...]:
    return (
        Cell(str(claim)),
        Cell(found.verdict or (SUPPORTED if found.holds else CONTRADICTED), best=found.holds is not None),
        interval_cell(found.effect, found.interval, found.form),
        Cell(MISSING) if found.n is None else Cell(str(found.n), found.n),
        *(Cell(MISSING),) * 2,
        *_source(claim),
        Cell("; ".join(filter(None, [found.remark, claim.note]))),
    )


def _unmeasured(claim: Claim, reason: str) -> tuple[Cell, ...]:
    nothing = Cell(MISSING)
    return (
        Cell(str(claim)),
        Cell(UNMEASURED),
        *(nothing,) * 4,
        *_source(claim),
        Cell("; ".join(filter(None, [reason, claim.note]))),
    )


def _source(claim: Claim) -> tuple[Cell, Cell]:
    effect = claim.effect
    return Cell(MISSING) if effect is None else Cell(f"{effect:+.4g}", effect), Cell(claim.kind)


def _notes(
    lines: Sequence[tuple[Cell, ...]],
    comparisons: Sequence[Comparison],
    described: dict[str, Any],
    settings: Settings,
    caution: str | None,
) -> Iterator[str]:
    counts = Counter(line[1].text for line in lines)
    yield ", ".join(f"{counts[v]} {v}" for v in (SUPPORTED, CONTRADICTED, UNDECIDED, UNMEASURED)) + "."
    if comparisons:
        tested = [c for c in comparisons if not isnan(c.test.p)]
        yield (
            f"Effect: the first system minus the second, on the same utterances; {settings.describe()}. Verdicts by "
            f"{settings.describe_tests(len(tested), 'claims')}; detected with {POWER:.0%} power."
        )
        yield from too_few(tested, settings)
        yield from on_ranks(tested, described)
    if caution:
        yield f"Measured on part of the paper's data: {caution}. Other utterances could give another verdict."
