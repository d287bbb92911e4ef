"""Ratings to a run directory: a row is what one listener said of one system on one item."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from evalkit.environment.machine import describe_machine
from evalkit.listening.kit import LOW, MIDDLE, REFERENCE, Kit
from evalkit.listening.ratings import Rating, Ratings, read_ratings
from evalkit.listening.screening import screened
from evalkit.results.provenance import MetricInfo, Provenance
from evalkit.results.rows import Row
from evalkit.results.run import Run, read_run
from evalkit.results.run_directory import RunWriter

OWN = {REFERENCE: "pcm@hidden-reference", LOW: "anchor@3.5k", MIDDLE: "anchor@7k"}
"""What the stimuli that are no system are called in rows."""
METRICS = {
    "mushra": MetricInfo("MUSHRA", "up", "", "BS.1534-3", 1),
    "acr": MetricInfo("MOS (ACR)", "up", "", "P.808", 2),
    "abx": MetricInfo(
        "ABX correct", "down", "", "1", 3, note="share of listeners who told it from the reference; 0.5 is chance"
    ),
}
CROSSED = "listener,item"
"""What --cluster takes for a difference that holds for other listeners and other items."""


def collect(kit: Kit, files: Sequence[Path], output: Path, overwrite: bool = False) -> tuple[Run, list[str]]:
    """Write the answers to `kit` in `files` to the run directory `output`.

    Args:
        kit: The exported test.
        files: What listeners answered.
        output: A run directory.
        overwrite: Replace the run that is there.

    Returns:
        The run, and its notes: who was left out, and why.

    Raises:
        UsageError: A file is no result of this test.
    """
    ratings = _joined([read_ratings(path, kit) for path in files], files)
    names = {name: kit.systems.get(name, OWN.get(name, name)) for name in kit.stimuli}
    left_out = screened(ratings.ratings) if kit.design == "mushra" else {}
    listeners = list(dict.fromkeys(one.listener for one in ratings.ratings))
    notes = [
        f"{len(listeners) - len(left_out)} listeners rated {len(kit.items)} items of {kit.dataset}.",
        *ratings.notes,
    ]
    if left_out:
        why = "; ".join(f"{listener}: {reason}" for listener, reason in left_out.items())
        notes.append(f"{len(left_out)} of {len(listeners)} listeners are left out by BS.1534-3 ({why}).")
    about = kit.provenance
    systems = [*kit.systems.values(), *(OWN[name] for name in kit.stimuli if name in OWN)]
    provenance = Provenance(
        **describe_machine(),
        metrics={kit.design: METRICS[kit.design]},
        codecs={name: info for name, info in about.codecs.items() if name in systems},
        dataset=replace(about.dataset, n=len(kit.items), selection={"listening": kit.id}),
        notes=tuple(notes),
    )
    with RunWriter(output, systems, provenance, overwrite) as writer:
        writer.add(_row(kit, one, names[one.stimulus], left_out.get(one.listener)) for one in ratings.ratings)
    return read_run(output), notes


def _row(kit: Kit, one: Rating, codec: str, reason: str | None) -> Row:
    item = kit.items[one.item]
    return Row(
        codec,
        kit.dataset,
        f"{item.utterance}/{one.listener}",
        kit.design,
        None if reason else one.score,
        reason and f"listener left out: {reason}",
        kit.bitrates.get(codec),
        item.language or None,
        item.speaker or None,
        {"listener": one.listener, "item": item.utterance},
    )


def _joined(found: Sequence[Ratings], files: Sequence[Path]) -> Ratings:
    """All answers of several files, each listener's from one of them."""
    from evalkit.errors import UsageError

    owners: dict[tuple[str, str, str], Path] = {}
    for one, path in zip(found, files, strict=True):
        for rating in one.ratings:
            key = (rating.listener, rating.item, rating.stimulus)
            if key in owners:
                raise UsageError(f"{path} and {owners[key]} both contain {key[0]}'s ratings of {key[1]}")
            owners[key] = path
    return Ratings(tuple(r for one in found for r in one.ratings), tuple(n for one in found for n in one.notes))
