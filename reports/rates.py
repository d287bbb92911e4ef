"""The rate ledger as a table, and a figure of how evenly codebooks are used."""

from collections.abc import Sequence
from itertools import groupby
from typing import TYPE_CHECKING

import numpy as np

from evalkit.codecs import Codes
from evalkit.errors import UsageError
from evalkit.metrics.tokens import codebook_counts
from evalkit.rates.ledger import Ledger, ledgers
from evalkit.results.rows import with_condition
from evalkit.results.run import Run, read_codes

from . import escape
from .cells import MISSING, Cell, Column, Table
from .figures import HEIGHT, PALETTE, SIZES, new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLUMNS = (
    Column("codec", "Codec", words=True),
    Column("n", "n"),
    Column("sent", "sent"),
    Column("tokens", "tokens"),
    Column("entropy", "entropy"),
    Column("order_0", "coded, order 0"),
    Column("order_1", "coded, order 1"),
    Column("codebook", "coded, codebook above"),
    Column("held_out", "language model"),
    Column("used", "codebook use"),
    Column("perplexity", "perplexity"),
)
NOTES = (
    "All but the last two columns are in bit/s. sent: as counted in the codes, including side information. "
    "tokens: tokens x log2(codebook size). entropy: order 0, from token frequencies over these utterances.",
    "coded: by an adaptive arithmetic coder that starts untrained, verified by decoding. Its context is the counts of "
    "previous tokens, the previous frame's token, or the codebook above. On few utterances it learns little.",
    "language model: an n-gram model trained on the other half of the utterances, the same for every codec: "
    "what remains for a speech LLM to predict.",
    "codebook use: share of entries that occur, averaged over codebooks. perplexity: 2 to the power of the entropy, "
    "averaged likewise. With few tokens, few entries are used.",
)


def build_ledger(runs: Sequence[Run]) -> list[Table]:
    """Bits of codes by every way of counting.

    Args:
        runs: What to read.

    Returns:
        A table for each dataset.

    Raises:
        UsageError: No run has codes.
        MissingError: The arithmetic coder is not installed.
    """
    found = [one for run in runs for one in ledgers(read_codes(run.path))]
    if not found:
        raise UsageError("these runs have no codes: audio decoded elsewhere has none")
    return [
        Table(f"{dataset}: bit/s of the codes", COLUMNS, tuple(map(_line, part)), NOTES)
        for dataset, part in groupby(sorted(found, key=lambda one: one.dataset), key=lambda one: one.dataset)
    ]


def _line(ledger: Ledger) -> tuple[Cell, ...]:
    rates = (
        ledger.sent,
        ledger.tokens,
        ledger.entropy,
        ledger.order_0,
        ledger.order_1,
        ledger.codebook,
        ledger.held_out,
    )
    return (
        Cell(with_condition(ledger.codec, ledger.condition)),
        Cell(str(ledger.utterances), ledger.utterances),
        *(Cell(MISSING) if rate is None else Cell(f"{rate:.0f}", rate) for rate in rates),
        *(
            Cell(form.format(mean := float(np.mean(values))), mean) if values else Cell(MISSING)
            for values, form in ((ledger.used, "{:.2f}"), (ledger.perplexity, "{:.0f}"))
        ),
    )


def codebook_use(runs: Sequence[Run], size: str = "one") -> "Figure":
    """Entries of each codebook by how often they come, most frequent first, on logarithmic axes: a line for each
    codebook, a panel for each codec. A flat line is an even use; where it ends, the rest is never used.

    Args:
        runs: What to read.
        size: A key of SIZES.

    Returns:
        The figure.

    Raises:
        UsageError: No run has codes with codebooks.
    """
    codes: dict[str, list[Codes]] = {}
    for run in runs:
        for one in read_codes(run.path):
            if one.codes.indices is not None and one.codes.indices.size:
                codes.setdefault(with_condition(one.codec, one.condition), []).append(one.codes)
    panels = {codec: codebook_counts(mine) for codec, mine in codes.items()}
    if not panels:
        raise UsageError("no codec of these runs has codebooks")
    figure, _ = new_figure(SIZES[size], HEIGHT * len(panels))
    figure.clear()
    for position, (codec, counts) in enumerate(panels.items(), start=1):
        axes = figure.add_subplot(len(panels), 1, position)
        for number, count in enumerate(counts):
            shares = np.sort(count)[::-1] / count.sum()
            kept = shares[shares > 0]
            axes.plot(np.arange(1, len(kept) + 1), kept, color=PALETTE[number % len(PALETTE)], label=f"{number + 1}")
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.set_xlabel("entry, most frequent first")
        axes.set_ylabel(escape.plot(f"share of tokens, {codec}"))
        axes.legend(title="codebook", ncols=2, frameon=False, fontsize=6)
    used = "; ".join(
        f"{codec}: {', '.join(str(np.count_nonzero(c)) for c in counts)}" for codec, counts in panels.items()
    )
    figure.set_label(f"Codebook use, entries that occur in each codebook: {used}")
    return figure
