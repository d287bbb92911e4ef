"""Speed held to a baseline: as how many times the time of a reference codec in the same bench, never as seconds.

A baseline keeps, for each codec and way, the ratio of its real-time factor to the reference's, the median over rounds.
A bench fails where its own ratios, paired by round, lie above that by more than the margin of `rtf`, by the sign test.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from evalkit.bench.directory import Bench
from evalkit.bench.ratios import exceeds, median
from evalkit.errors import GateError, UsageError
from evalkit.files import read_bytes
from evalkit.stats import MIN_UNITS, adjust

from .bench_reader import WAYS, Reader
from .gate import Gate, Verdict
from .gate_rules import Rules

FORMAT = 1
SAME = ("device", "threads", "seconds")
"""Of the provenance: what two benches must have in common."""


@dataclass(frozen=True)
class SpeedGate(Gate):
    """One codec and way."""

    @property
    def message(self) -> str:
        """In one line: by how much, and how sure."""
        change = 100 * self.worse / self.before
        how = f"{abs(change):.0f} % {'slower' if change > 0 else 'faster'}"
        return (
            f"{self.codec}: {self.label} {self.before:.2f} -> {self.now:.2f}, {how} in {self.n} rounds "
            f"(margin {self.margin:.2f}, p {self.p:.2g})"
        )


def write_baseline(bench: Bench, reference: str, path: Path) -> None:
    """Write a bench's ratios to one of its codecs as a baseline.

    Args:
        bench: What to read.
        reference: The codec that is compared with.
        path: The file.

    Raises:
        UsageError: The bench does not have that codec.
        GateError: It is not whole, or has too few rounds.
    """
    about = {
        "format": FORMAT,
        "bench": {key: bench.provenance.get(key) for key in (*SAME, "processor", "evalkit", "git", "started")},
        "reference": reference,
        "ratios": {f"{codec} {stage}": median(found)[0] for codec, stage, found in _ratios(bench, reference)},
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(about, indent=1, ensure_ascii=False, allow_nan=False) + "\n", encoding="utf-8")


def check(bench: Bench, path: Path, rules: Rules) -> Verdict:
    """Hold a bench to a baseline.

    Args:
        bench: What was measured now.
        path: The baseline.
        rules: With a margin for `rtf`.

    Returns:
        What passed and what failed.

    Raises:
        UsageError: The baseline cannot be read, or was measured otherwise; there is no margin for `rtf`.
        GateError: A codec of the baseline was not timed, or in too few rounds: that is not a pass.
    """
    if "rtf" not in rules.margins:
        raise UsageError("the gates have no margin for `rtf`: add one to gate speed")
    about = _read(path)
    for key in SAME:
        before, now = about["bench"].get(key), bench.provenance.get(key)
        if before != now:
            raise UsageError(f"the baseline was measured with {key} {before!r}, the bench with {now!r}: not comparable")
    found = {f"{codec} {stage}": (codec, stage, logs) for codec, stage, logs in _ratios(bench, about["reference"])}
    if missing := [name for name in about["ratios"] if name not in found]:
        raise GateError(
            f"{bench.path} did not time {', '.join(missing)}, which the baseline has, so the gate does not pass."
        )
    gates = [
        _gate(*found[name], before=before, reference=about["reference"], rules=rules)
        for name, before in about["ratios"].items()
    ]
    adjusted = adjust([gate.p for gate in gates], rules.correction)
    failed = [
        replace(gate, p=p, outcome="failed" if p < 1 - rules.confidence else "passed")
        for gate, p in zip(gates, adjusted, strict=True)
    ]
    return Verdict(tuple(failed), tuple(_notes(bench, about, path)))


def _gate(codec: str, stage: str, ratios: np.ndarray, before: float, reference: str, rules: Rules) -> SpeedGate:
    now, interval = median(ratios)
    margin = rules.margins["rtf"].of(before)
    return SpeedGate(
        codec, f"rtf-{stage}", f"RTF {WAYS[stage]} / {reference}", "passed", len(ratios), before, now, now - before,
        interval.low - before, margin, exceeds(ratios, np.ones(len(ratios)), before + margin), 2,
    )  # fmt: skip


def _ratios(bench: Bench, reference: str) -> Iterator[tuple[str, str, np.ndarray]]:
    """Codec, way, and its RTF / the reference's by round, for all that was timed."""
    if bench.provenance["state"] != "finished":
        raise GateError(f"{bench.path}: {bench.provenance['state']}; a gate needs a bench that finished")
    reader = Reader(bench)
    if reference not in reader.codecs:
        raise UsageError(f"{bench.path} has no codec {reference}. It has: {', '.join(reader.codecs)}.")
    for codec in reader.codecs:
        for stage in WAYS:
            own, other = (reader.rounds(name, stage, "rtf") for name in (codec, reference))
            both = own.index.intersection(other.index)
            if codec == reference or own.empty:
                continue
            if len(both) < MIN_UNITS:
                raise GateError(f"{codec}: {stage}: {len(both)} rounds are too few to test; a test needs {MIN_UNITS}")
            yield codec, stage, (own[both] / other[both]).to_numpy()


def _read(path: Path) -> Mapping[str, Any]:
    try:
        about: dict[str, Any] = json.loads(read_bytes(path))
        if about["format"] > FORMAT:
            raise UsageError(f"{path} was written by a newer evalkit: update evalkit")
        if not about["ratios"] or not all(float(ratio) > 0 for ratio in about["ratios"].values()):
            raise ValueError("no ratios")
        assert isinstance(about["bench"], dict) and isinstance(about["reference"], str)
    except FileNotFoundError as error:
        raise UsageError(
            f"there is no baseline {path}: write one with `evalkit gate BENCH --update --reference CODEC`"
        ) from error
    except (OSError, ValueError, KeyError, TypeError, AttributeError, AssertionError, RecursionError) as error:
        raise UsageError(f"{path} cannot be read as a baseline of a bench: {error!r}") from error
    return about


def _notes(bench: Bench, about: Mapping[str, Any], path: Path) -> Iterator[str]:
    yield f"Baseline: {path}, git {str(about['bench'].get('git'))[:12]}, {about['bench'].get('started')}."
    yield f"Speed: times the time of {about['reference']} in the same rounds, at {bench.provenance['threads']} threads."
    before, now = about["bench"].get("processor"), bench.provenance.get("processor")
    if before != now:
        yield f"Measured on {now}, the baseline on {before}: ratios may depend on the machine."
