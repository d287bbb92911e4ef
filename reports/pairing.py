"""What the pairing check says of each codec: whether its recordings belong to their references, as a table."""

from collections.abc import Iterator, Sequence
from math import isnan

import pandas as pd

from evalkit.results.rows import by_condition
from evalkit.results.run import Run

from .cells import MISSING, Cell, Column, Table

SHOWN = 5
"""Recordings of a codec that are named."""

COLUMNS = (
    Column("codec", "codec", words=True),
    Column("dataset", "dataset", words=True),
    Column("n", "n"),
    Column("differ", "differ"),
    Column("lag", "lag, ms"),
    Column("gain", "gain, dB"),
    Column("inverted", "inverted"),
    Column("correlation", "waveform corr."),
    Column("envelope", "envelope corr."),
    Column("problems", "what differs", words=True, prose=40),
)


def build_pairing(runs: Sequence[Run]) -> Table:
    """A line for each codec and dataset of `runs` whose pairs were checked."""
    checked = [pairs for run in runs if not (pairs := run.pairing).empty]
    lines = tuple(_lines(by_condition(pd.concat(checked, ignore_index=True), "dataset"))) if checked else ()
    notes = ["Lag, gain and the correlations of waveforms and envelopes are medians over the recordings."]
    if any(run.provenance.align for run in runs):
        notes.append("A constant lag was compensated before scoring; the table shows its original value.")
    return Table("Pairing", COLUMNS, lines, tuple(notes), keys=2)


def _lines(pairs: pd.DataFrame) -> Iterator[tuple[Cell, ...]]:
    for (codec, dataset), part in pairs.groupby(["codec", "dataset"], sort=False):
        wrong = part[part["problems"] != ""]
        said = [f"{line.utterance}: {line.problems}" for line in wrong.head(SHOWN).itertuples()]
        if len(wrong) > SHOWN:
            said.append(f"and {len(wrong) - SHOWN} more")
        yield (
            Cell(str(codec)),
            Cell(str(dataset)),
            _count(len(part)),
            _count(len(wrong)),
            _median(part["lag_ms"], "+z.1f"),
            _median(part["gain_db"], "+z.1f"),
            _count(int((part["polarity"] < 0).sum())),
            _median(part["correlation"], ".2f"),
            _median(part["envelope_correlation"], ".2f"),
            Cell("; ".join(said)),
        )


def _count(number: int) -> Cell:
    return Cell(str(number), number)


def _median(values: "pd.Series[float]", form: str) -> Cell:
    middle = float(values.median())
    return Cell(MISSING) if isnan(middle) else Cell(format(middle, form), middle)
