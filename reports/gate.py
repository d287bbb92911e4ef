"""The gate: is this run worse than the baseline, by more than a margin, with confidence?

A baseline is a JSON file with a codec's rows, utterance by utterance, and what they rest on: dataset, revision, metric
versions. A gate compares the same utterances pair by pair. With d = how much worse the run is (baseline less run where
higher is better), the null hypothesis is mean(d) <= margin; it falls where the one-sided tests of d - margin (sign-flip
and t, evalkit/stats), corrected over all gates, reject it. So a small but certain loss within the margin passes, and so
does a large one that chance may explain; the report names both.

What was not measured is not passed: a codec, a metric or utterances that the baseline has and the run lacks end in
GateError; and so do utterances too few for as many gates, since such a gate could not fail whatever the run was like.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from importlib.resources import files
from math import isfinite, isnan, nan
from pathlib import Path
from typing import Any, Literal

import pandas as pd
import yaml

from evalkit.errors import EvalkitError, UsageError
from evalkit.files import read_bytes
from evalkit.results.provenance import DatasetInfo, MetricInfo
from evalkit.results.rows import CORPUS, by_condition
from evalkit.results.run import Run
from evalkit.schema import read_yaml
from evalkit.stats import CORRECTIONS, LEVEL, adjust, exceeds, resamples_for, units_needed
from evalkit.stats.multiple import Correction
from nanocodec.atomic import replacing

from .identity import audio_of, check_audio

FORMAT = 1
"""Of baseline files; readers refuse a newer one."""

_KEPT = ("evalkit", "git", "started", "resampler", "codecs")
"""What a baseline keeps of its run's provenance, beside dataset and metrics."""

WORST = 5
"""Utterances that a report names for each gate."""

Outcome = Literal["passed", "failed", "not gated"]


class GateError(EvalkitError):
    """There was too little to compare: that is neither passed nor failed."""

    exit_code = 4


@dataclass(frozen=True)
class Margin:
    """How much worse a mean may be: `amount` in the metric's unit, or in % of the baseline's mean."""

    amount: float
    percent: bool = False

    def of(self, mean: float) -> float:
        """In the metric's unit, for a baseline with this `mean`.

        Args:
            mean: Of the baseline, in the metric's unit.

        Returns:
            The margin in that unit, 0 or more.
        """
        return abs(mean) * self.amount / 100 if self.percent else self.amount


@dataclass(frozen=True)
class Rules:
    """A gates.yaml that was read."""

    margins: Mapping[str, Margin]
    confidence: float = LEVEL
    correction: Correction = "holm"
    cluster: str | None = None
    max_failed: int = 0


@dataclass(frozen=True)
class Baseline:
    """What a run is held to."""

    rows: pd.DataFrame
    about: Mapping[str, Any]
    """Where the rows come from, as in a run's provenance."""
    origin: str
    audio: Mapping[str, str] = field(default_factory=dict)
    """sha256 of the samples of each reference; empty in baselines of earlier versions."""

    @property
    def dataset(self) -> Mapping[str, Any]:
        """What the run said of its data."""
        found: Mapping[str, Any] = self.about["dataset"]
        return found

    @property
    def metrics(self) -> Mapping[str, Mapping[str, Any]]:
        """What the run said of each metric."""
        found: Mapping[str, Mapping[str, Any]] = self.about["metrics"]
        return found


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


def read_rules(path: Path | None = None) -> Rules:
    """Margins and how strictly they are held.

    Args:
        path: A YAML file; None for configs/gates.yaml.

    Returns:
        The rules.

    Raises:
        UsageError: The file cannot be read; the message names what is wrong in it.
    """
    source = files("evalkit.configs").joinpath("gates.yaml") if path is None else path
    name = "gates.yaml" if path is None else str(path)
    try:
        about = read_yaml((source.read_bytes() if path is None else read_bytes(path)).decode())
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
        raise UsageError(f"{name} cannot be read as YAML: {error}") from error
    known = {"confidence", "correction", "cluster", "max_failed", "metrics"}
    if not isinstance(about, dict) or not isinstance(about.get("metrics"), dict) or not about["metrics"]:
        raise UsageError(f"{name} needs a mapping `metrics` with a margin for each metric to gate")
    if unknown := sorted(map(str, set(about) - known)):
        raise UsageError(f"{name} has the unknown key(s) {', '.join(unknown)}. Known: {', '.join(sorted(known))}.")
    margins = {str(metric): _margin(name, metric, entry) for metric, entry in about.pop("metrics").items()}
    rules = Rules(margins, **about)
    if not (isinstance(rules.confidence, float) and 0.5 <= rules.confidence < 1):
        raise UsageError(f"{name}: confidence must be a number from 0.5 to below 1, not {rules.confidence!r}")
    if rules.correction not in CORRECTIONS:
        raise UsageError(f"{name}: correction must be one of {', '.join(CORRECTIONS)}, not {rules.correction!r}")
    if not isinstance(rules.max_failed, int) or rules.max_failed < 0:
        raise UsageError(f"{name}: max_failed must be a number of utterances, not {rules.max_failed!r}")
    return rules


def _margin(name: str, metric: object, entry: object) -> Margin:
    given = entry.get("margin") if isinstance(entry, dict) and set(entry) == {"margin"} else None
    text = str(given).strip()
    try:
        margin = Margin(float(text.removesuffix("%")), text.endswith("%"))
    except ValueError:
        margin = Margin(-1)
    if not 0 <= margin.amount < float("inf"):
        raise UsageError(f"{name}: {metric} needs `margin: 0.05` or `margin: 2%`, not {entry!r}")
    return margin


def _finite(value: object) -> float:
    number = float(value)  # type: ignore[arg-type]
    if not isfinite(number):
        raise ValueError(f"a value is {number}")
    return number


def write_baseline(run: Run, path: Path) -> None:
    """Write the rows of a run that have values as a baseline.

    Args:
        run: A whole one.
        path: The file.

    Raises:
        GateError: The run is not whole.
    """
    if run.provenance["state"] != "finished":
        raise GateError(f"{run.path}: {run.provenance['state']}; a baseline needs a run that finished")
    rows = by_condition(run.rows, "codec").dropna(subset="value")
    if rows.empty:
        raise GateError(f"{run.path} measured nothing: it makes no baseline")
    values: dict[str, dict[str, dict[str, float]]] = {}
    for codec, metric, utterance, value in rows[["codec", "metric", "utterance", "value"]].itertuples(index=False):
        values.setdefault(codec, {}).setdefault(metric, {})[utterance] = value
    provenance = run.provenance.to_json()
    about = {
        "format": FORMAT,
        **{key: provenance.get(key) for key in _KEPT},
        "dataset": provenance.get("dataset", {}),
        "metrics": provenance.get("metrics", {}),
        "audio": audio_of(run),
        "align": bool(run.provenance.align),
        "values": values,
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as partial:
        partial.write_text(json.dumps(about, indent=1, ensure_ascii=False, allow_nan=False) + "\n", encoding="utf-8")


def read_baseline(path: Path) -> Baseline:
    """Read a baseline.

    Args:
        path: The file.

    Returns:
        What was measured then.

    Raises:
        UsageError: There is none that can be read.
    """
    try:
        about = json.loads(read_bytes(path))
        if about["format"] > FORMAT:
            raise UsageError(f"{path} was written by a newer evalkit ({about.get('evalkit')}): update evalkit")
        rows = pd.DataFrame(
            [
                (codec, metric, utterance, _finite(value))
                for codec, metrics in about["values"].items()
                for metric, utterances in metrics.items()
                for utterance, value in utterances.items()
            ],
            columns=["codec", "metric", "utterance", "value"],
        )
        metrics = {metric: MetricInfo.from_json(one) for metric, one in about["metrics"].items()}
        kept = {key: about[key] for key in _KEPT} | {"align": bool(about.get("align"))}
        kept |= {"metrics": metrics, "dataset": DatasetInfo.from_json(about["dataset"])}
        found = Baseline(rows, kept, "", about.get("audio", {}))
        return replace(found, origin=f"{path}, {len(rows)} values, git {str(about['git'])[:12]}, {about['started']}")
    except FileNotFoundError as error:
        raise UsageError(f"there is no baseline {path}: write one with `evalkit gate RUN --update`") from error
    except (OSError, ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        raise UsageError(f"{path} cannot be read as a baseline: {str(error)[:200] or type(error).__name__}") from error


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
        notes.append(f"{codec} is held to the baseline's {rows['codec'].iloc[0]}.")
    resamplers = [about.get("resampler") for about in (baseline.about, run.provenance)]
    if resamplers[0] != resamplers[1]:
        notes.append(f"Resampled by {resamplers[1]}, the baseline by {resamplers[0]}: small differences may be theirs.")
    measured: list[_Measured] = []
    open_ends = []
    keys = ["codec", "metric", "utterance"]
    kept = [column for column in (*keys, "value", "reason", rules.cluster) if column in rows]
    pairs = baseline.rows.merge(rows[kept], on=keys, how="left", suffixes=("_before", "_now"), indicator="in_run")
    for (name, metric), part in pairs.groupby(["codec", "metric"], sort=False):
        if metric in rules.margins:
            if metric not in baseline.metrics:
                raise UsageError(f"{metric} cannot be gated: it is a by-product that ranks nothing")
            measured.append(_measure(name, metric, part, baseline.metrics[metric], rules))
        elif metric in baseline.metrics:
            label = baseline.metrics[metric]["label"]
            open_ends.append(Gate(name, metric, label, "not gated", remark="no margin is set for it"))
    if not measured:
        raise GateError("nothing was gated: the baseline has no metric that a margin is set for")
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
        raise GateError(f"{run.path} measured nothing: that is not a pass")
    dataset = run.provenance.get("dataset", {})
    for key in ("name", "revision"):
        if dataset.get(key) != baseline.dataset.get(key):
            raise UsageError(
                f"the baseline is of the dataset with {key} {baseline.dataset.get(key)!r}, the run of "
                f"{dataset.get(key)!r}: they do not compare. Run on the same data, or write a new "
                f"baseline: evalkit gate {run.path} --update"
            )
    check_audio(baseline.audio, audio_of(run), "the baseline and the run")
    if bool(run.provenance.align) != baseline.about["align"]:
        was, now = ("was" if aligned else "was not" for aligned in (baseline.about["align"], run.provenance.align))
        raise UsageError(
            f"a constant lag {was} compensated (--align) in the baseline and {now} in the run: they do not compare"
        )
    for metric, about in run.provenance["metrics"].items():
        before = baseline.metrics.get(metric)
        for what in ("version", "settings", "weights"):
            if before is not None and (before.get(what) or None) != (about.get(what) or None):
                raise UsageError(
                    f"{metric} has {what} {before.get(what)!r} in the baseline and {about.get(what)!r} in the run: "
                    f"they do not compare. Measure as before, or write a new baseline: evalkit gate {run.path} --update"
                )


def _standing_in(run: Run, baseline: Baseline, codec: str) -> pd.DataFrame:
    """The rows of the run's `codec` under the name of the baseline's only one."""
    names = list(baseline.rows["codec"].unique())
    if len(names) > 1:
        raise UsageError(f"the baseline has several codecs ({', '.join(names)}): none can be named to stand in")
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
        raise GateError(f"{what} was not measured: the baseline has it and the run does not. That is not a pass.")
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
        return _Measured(replace(gate, outcome="failed" if moved else "passed", remark="must not move"), pairs)
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
            f"{rules.confidence:.0%} confidence none could fail, however bad the run. It takes {needed} {what}, or "
            "fewer gates."
        )
    resamples = resamples_for(count, rules.confidence)
    p, at_least = exceeds(losses, gate.margin, clusters, rules.confidence, resamples)
    order = losses.sort_values(ascending=False, kind="stable")
    worst = pairs.loc[order[order > 0].index[:WORST], ["utterance", "value_before", "value_now"]]
    return replace(gate, p=p, at_least=at_least, worst=tuple(worst.itertuples(index=False, name=None)))


def _reason(reason: object) -> str:
    return "not in the run" if pd.isna(reason) else str(reason)
