"""The gate: is this run worse than the baseline, by more than a margin, with confidence?

A baseline (gate_baseline.py) has a codec's rows, utterance by utterance, and what they rest on: dataset, revision,
metric versions. Margins come from gates.yaml (gate_rules.py). A gate compares the same utterances pair by pair. With
d = how much worse the run is (baseline less run where higher is better), the null hypothesis is mean(d) <= margin; it
falls where the one-sided tests of d - margin (sign-flip and t, evalkit/stats), corrected over all gates, reject it. So
a small but certain loss within the margin passes, and so does a large one that chance may explain; the report names
both.

What was not measured is not passed: a codec, a metric or utterances that the baseline has and the run lacks end in
GateError; and so do utterances too few for as many gates, since such a gate could not fail whatever the run was like.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import isnan, nan
from typing import Any, Literal

import pandas as pd

from evalkit.errors import GateError, UsageError
from evalkit.results.rows import CORPUS, by_condition
from evalkit.results.run import Run
from evalkit.stats import adjust, exceeds, resamples_for, units_needed

from .gate_baseline import Baseline
from .gate_rules import Rules
from .identity import audio_of, check_audio

WORST = 5
"""Utterances that a report names for each gate."""

Outcome = Literal["passed", "failed", "not gated"]


@dataclass(frozen=True)
class Gate:
    """One codec and metric. `worse` is how much worse the run's mean is (negative: better), `at_least` its one-sided
    lower bound, both in the metric's unit; `p` is corrected over all gates. `worst` holds utterance, before, now."""

    codec: str
    metric: str
    label: str
    outcome: Outcome
    n: int = 0
    before: float = nan
    now: float = nan
    worse: float = nan
    at_least: float = nan
    margin: float = nan
    p: float = nan
    decimals: int = 3
    remark: str = ""
    worst: tuple[tuple[str, float, float], ...] = ()

    @property
    def message(self) -> str:
        """In one line: by how much, and how sure."""
        if self.outcome == "not gated":
            return f"{self.codec}: {self.label}: {self.remark}"
        d = self.decimals
        text = f"{self.codec}: {self.label} {self.before:.{d}f} -> {self.now:.{d}f}"
        if isnan(self.p):
            return f"{text} ({self.remark}, margin {self.margin:.{d}f})"
        how = f"{abs(self.worse):.{d}f} {'worse' if self.worse > 0 else 'better'}" if self.worse else "unchanged"
        return f"{text}, {how} on {self.n} utterances (margin {self.margin:.{d}f}, p {self.p:.2g})"


@dataclass(frozen=True)
class Verdict:
    """What a gate run says. `notes` are for the reader: what was compared with what."""

    gates: tuple[Gate, ...]
    notes: tuple[str, ...] = ()

    @property
    def failed(self) -> tuple[Gate, ...]:
        """The gates that failed."""
        return tuple(gate for gate in self.gates if gate.outcome == "failed")

    @property
    def passed(self) -> bool:
        """Whether none failed."""
        return not self.failed


@dataclass(frozen=True)
class Undecided:
    """A gate that could not be held, and why: neither passed nor failed."""

    reason: str


def check(run: Run, baseline: Baseline, rules: Rules, codec: str | None = None) -> Verdict:
    """Hold a run to a baseline.

    Args:
        run: What was measured now.
        baseline: What was measured then.
        rules: Margins, level and correction.
        codec: The run's codec that takes the place of the baseline's only one.

    Returns:
        A gate for each codec and metric of the baseline.

    Raises:
        UsageError: The two do not compare: another dataset, revision, audio or metric version.
        GateError: Nothing, or not enough, was measured.
    """
    _check_comparable(run, baseline)
    rows, notes = by_condition(run.rows, "codec"), [f"Baseline: {baseline.origin}."]
    if codec is not None:
        rows = _standing_in(run, baseline, codec)
        notes.append(f"{codec} is compared with the baseline's {rows['codec'].iloc[0]}.")
    resamplers = [about.get("resampler") for about in (baseline.about, run.provenance)]
    if resamplers[0] != resamplers[1]:
        notes.append(
            f"Resampled by {resamplers[1]}, the baseline by {resamplers[0]}: small differences may come from that."
        )
    measured: list[_Measured] = []
    open_ends = []
    keys = ["codec", "metric", "utterance"]
    kept = [column for column in (*keys, "value", "reason", rules.cluster) if column in rows]
    pairs = baseline.rows.merge(rows[kept], on=keys, how="left", suffixes=("_before", "_now"), indicator="in_run")
    for (name, metric), part in pairs.groupby(["codec", "metric"], sort=False):
        if metric in rules.margins:
            if metric not in baseline.metrics:
                raise UsageError(f"{metric} cannot be gated: it does not rank codecs")
            measured.append(_measure(name, metric, part, baseline.metrics[metric], rules))
        elif metric in baseline.metrics:
            label = baseline.metrics[metric]["label"]
            open_ends.append(Gate(name, metric, label, "not gated", remark="no margin is set for it"))
    if not measured:
        raise GateError("nothing was gated: no metric of the baseline has a margin")
    count = sum(found.losses is not None for found in measured)
    gates = [_test(found, count, rules) for found in measured]
    adjusted = adjust([gate.p for gate in gates], rules.correction)
    gates = [
        replace(gate, p=p, outcome="failed" if p < 1 - rules.confidence else gate.outcome)
        for gate, p in zip(gates, adjusted, strict=True)
    ]
    return Verdict((*gates, *open_ends), tuple(notes))


def _check_comparable(run: Run, baseline: Baseline) -> None:
    if run.provenance["state"] != "finished":
        raise GateError(f"{run.path}: {run.provenance['state']}; a gate needs a run that finished")
    if run.rows["value"].isna().all():
        raise GateError(f"{run.path} has no values, so the gate does not pass")
    dataset = run.provenance.get("dataset", {})
    for key in ("name", "revision"):
        if dataset.get(key) != baseline.dataset.get(key):
            raise UsageError(
                f"the baseline is of the dataset with {key} {baseline.dataset.get(key)!r}, the run of "
                f"{dataset.get(key)!r}: they are not comparable. Run on the same data, or write a new "
                f"baseline: evalkit gate {run.path} --update"
            )
    check_audio(baseline.audio, audio_of(run), "the baseline and the run")
    if bool(run.provenance.align) != baseline.about["align"]:
        was, now = ("was" if aligned else "was not" for aligned in (baseline.about["align"], run.provenance.align))
        raise UsageError(
            f"a constant lag {was} compensated (--align) in the baseline and {now} in the run: they are not comparable"
        )
    for metric, about in run.provenance["metrics"].items():
        before = baseline.metrics.get(metric)
        for what in ("version", "settings", "weights"):
            if before is not None and (before.get(what) or None) != (about.get(what) or None):
                raise UsageError(
                    f"{metric} has {what} {before.get(what)!r} in the baseline and {about.get(what)!r} in the run: "
                    f"they are not comparable. Measure as before, or write a new baseline: evalkit gate {run.path} "
                    f"--update"
                )


def _standing_in(run: Run, baseline: Baseline, codec: str) -> pd.DataFrame:
    """The rows of the run's `codec` under the name of the baseline's only one."""
    names = list(baseline.rows["codec"].unique())
    if len(names) > 1:
        raise UsageError(
            f"the baseline has several codecs ({', '.join(names)}): --codec needs a baseline with one codec"
        )
    held = by_condition(run.rows, "codec")
    rows = held[held["codec"] == codec]
    if rows.empty:
        raise UsageError(f"the run has no codec {codec}. It has: {', '.join(held['codec'].unique())}.")
    return rows.assign(codec=names[0])


@dataclass(frozen=True)
class _Measured:
    """A gate; with `losses`, how much worse each of `pairs` is, where it takes a test to decide it."""

    gate: Gate
    pairs: pd.DataFrame
    losses: "pd.Series[float] | None" = None


def _measure(codec: str, metric: str, pairs: pd.DataFrame, about: Mapping[str, Any], rules: Rules) -> _Measured:
    """A gate without its test; "failed" already where it needs none."""
    what = f"{codec}: {metric}"
    if (pairs["in_run"] == "left_only").all():
        raise GateError(f"{what} is in the baseline but was not measured in the run, so the gate does not pass.")
    lost = pairs[pairs["value_now"].isna()]
    if len(lost) > rules.max_failed:
        reasons = [f"{line.utterance} ({_reason(line.reason)})" for line in lost.head(3).itertuples()]
        raise GateError(
            f"{what}: {len(lost)} of {len(pairs)} utterances of the baseline have no value in the run, more than "
            f"max_failed = {rules.max_failed}: {', '.join(reasons)}"
        )
    pairs = pairs.dropna(subset="value_now")
    sign = {"up": 1.0, "down": -1.0, "none": 1.0}[about["direction"]]
    worse = sign * (pairs["value_before"] - pairs["value_now"])
    gate = Gate(
        codec=codec,
        metric=metric,
        label=about["label"],
        outcome="passed",
        n=len(pairs),
        before=float(pairs["value_before"].mean()),
        now=float(pairs["value_now"].mean()),
        worse=float(worse.mean()),
        margin=rules.margins[metric].of(float(pairs["value_before"].mean())),
        decimals=about["decimals"],
    )
    if about["direction"] == "none":
        moved = abs(gate.worse) > gate.margin
        return _Measured(replace(gate, outcome="failed" if moved else "passed", remark="must not change"), pairs)
    if list(pairs["utterance"]) == [CORPUS]:
        lost_more = gate.worse > gate.margin
        outcome: Outcome = "failed" if lost_more else "passed"
        return _Measured(replace(gate, outcome=outcome, remark="one value for the whole dataset"), pairs)
    return _Measured(gate, pairs, worse)


def _test(measured: _Measured, count: int, rules: Rules) -> Gate:
    """The gate with its p-value, which `count` gates are still to be corrected for."""
    gate, pairs, losses = measured.gate, measured.pairs, measured.losses
    if losses is None:
        return gate
    clusters = None
    if rules.cluster is not None:
        if rules.cluster not in pairs or pairs[rules.cluster].isna().any():
            raise UsageError(
                f"the rows do not name a {rules.cluster!r} for each utterance: they cannot be clustered by it"
            )
        clusters = list(pairs[rules.cluster].astype(str))
    units, what = (len(pairs), "utterances") if clusters is None else (len(set(clusters)), f"{rules.cluster}s")
    needed = units_needed(1 if rules.correction == "none" else count, rules.confidence, two_sided=False)
    if units < needed:
        raise GateError(
            f"{gate.codec}: {gate.metric}: {units} {what} are too few to test: with {count} gate(s) at "
            f"{rules.confidence:.0%} confidence none could fail, however bad the run. A test needs {needed} {what}, or "
            "fewer gates."
        )
    resamples = resamples_for(count, rules.confidence)
    p, at_least = exceeds(losses, gate.margin, clusters, rules.confidence, resamples)
    order = losses.sort_values(ascending=False, kind="stable")
    worst = pairs.loc[order[order > 0].index[:WORST], ["utterance", "value_before", "value_now"]]
    return replace(gate, p=p, at_least=at_least, worst=tuple(worst.itertuples(index=False, name=None)))


def _reason(reason: object) -> str:
    return "not in the run" if pd.isna(reason) else str(reason)
