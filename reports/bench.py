"""What benches measured, as tables: what each codec costs, its latency, batches, and what it does to a speech LM.

Medians over rounds with their intervals; ratios are to the first codec of a bench, paired by round.
"""

from collections.abc import Callable, Iterator, Sequence

from evalkit.bench.directory import LEVELS, QUANTITIES, Bench, setting

from .bench_lm import build_lm_tables
from .bench_reader import WAYS, Reader, cell, inverse, notes_of, place
from .cells import MISSING, Cell, Column, Table


def build_bench_tables(benches: Sequence[Bench]) -> list[Table]:
    """Tables of what codecs cost.

    Args:
        benches: What to read.

    Returns:
        The tables of each that have anything in them.
    """
    tables: list[Table] = []
    for bench in benches:
        reader = Reader(bench)
        built = (build(reader) for build in (_costs, _times, _latencies, _batches))
        tables += [*(table for table in built if table is not None), *build_lm_tables(reader)]
    return tables


Filled = tuple[Column, Callable[[str], Cell]]
"""A column, and what stands in it for a codec."""


def _table(reader: Reader, title: str, columns: Sequence[Filled], notes: Sequence[str] = ()) -> Table | None:
    """A line for each codec; columns in which nothing stands are left out. None where nothing is left."""
    filled = [(column, [fill(codec) for codec in reader.codecs]) for column, fill in columns]
    kept = [(column, cells) for column, cells in filled if any(one.text != MISSING for one in cells)]
    if not kept:
        return None
    head = [
        (Column("codec", "Codec", words=True), [Cell(codec) for codec in reader.codecs]),
        (Column("weights", "weights", words=True), [Cell(reader.weights(codec) or MISSING) for codec in reader.codecs]),
    ]
    everything = head + kept
    rows = tuple(tuple(cells[line] for _, cells in everything) for line in range(len(reader.codecs)))
    return Table(title, tuple(column for column, _ in everything), rows, (*notes, *notes_of(reader.bench)))


def _costs(reader: Reader) -> Table | None:
    columns = (
        *_both_ways(reader, "parameters", "parameters {} (M)", 1, 1e-6, "counted"),
        _column(reader, "parameters", "parameters (M)", "both", "parameters", 1, 1e-6, "counted"),
        *_both_ways(reader, "gmac", "GMAC/s {}", 2, kind="counted"),
        *_both_ways(reader, "memory", "peak memory {} (MB)", 0),
        _column(reader, "startup", "start-up (s)", "both", "startup", 1),
    )
    notes = (
        "GMAC/s: 10^9 multiply-accumulates per second of audio, as the layers are written. Parameters: those in use, "
        "weight normalisation folded; codebooks count in both directions.",
    )
    return _table(reader, f"Cost: {place(reader.bench)}", columns, notes)


def _times(reader: Reader) -> Table | None:
    first = reader.codecs[0] if reader.codecs else ""
    ways = WAYS.items()
    columns = (
        *_both_ways(reader, "rtf", "RTF {} (processing/audio)", 3),
        *(_speed(reader, f"x-real-time-{stage}", f"{word} x real time", stage) for stage, word in ways),
        *(_ratio(reader, f"ratio-{stage}", f"RTF {word} / {first}", stage, first) for stage, word in ways),
        *_both_ways(reader, "cpu", "CPU s/s {}", 3),
        *_both_ways(reader, "energy", "J/s {}", 2),
        *_both_ways(reader, "first-packet", "first packet {} (ms)", 1),
        *_both_ways(reader, "packet", "later packets {} (ms)", 1),
        *_both_ways(reader, "packet-p95", "p95 {} (ms)", 1),
    )
    about = reader.bench.provenance
    notes = [
        f"Medians of {about.get('rounds')} rounds over {about.get('seconds', 0):g} s of speech, with 95 % intervals; "
        "ratios are paired by round.",
    ]
    if (reader.rows["quantity"] == "rtf").any():
        notes.insert(0, "RTF: processing time / audio time, below 1 is faster than real time.")
    if (reader.rows["quantity"] == "packet").any():
        notes.append(
            "First packet: for decoding, the time to decode the first frame; for encoding, the audio needed for the "
            "first codes plus the time to compute them."
        )
    return _table(reader, f"Time: {place(reader.bench)}, batch 1", columns, notes)


def _latencies(reader: Reader) -> Table | None:
    if reader.rows.loc[reader.rows["quantity"].isin(["frame", "latency"]), "value"].isna().all():
        return None

    def frame(codec: str) -> Cell:
        rate = reader.bench.provenance["codecs"].get(codec, {}).get("sample_rate")
        return cell(reader.find(codec, "both", "frame"), 1, 1000 / rate if rate else 1.0)

    columns: list[Filled] = [(Column("frame", "frame (ms)"), frame)]
    for stage, word in WAYS.items():
        columns += [
            _column(reader, f"lookahead-{stage}", f"lookahead {word} (samples)", stage, "lookahead", 0, level="0"),
            _column(reader, f"declared-{stage}", f"declared {word}", stage, "lookahead", 0, kind="declared", level="0"),
            *(
                _column(reader, f"lookahead-{stage}-{level}", f"> {level}", stage, "lookahead", 0, level=level)
                for level in list(LEVELS)[1:]
            ),
            _column(reader, f"reach-{stage}", f"past {word}", stage, "reach", 0, level="0"),
        ]
    for level in LEVELS:
        label = "latency (ms)" if level == "0" else f"> {level} (ms)"
        columns.append(_column(reader, f"latency-{level}", label, "both", "latency", 1, level=level))
    columns.append((Column("causal", "decoder causal", words=True), lambda codec: Cell(reader.causal(codec))))
    notes = (
        "Lookahead: samples beyond a frame's end that its codes depend on (encoder); samples before a frame's "
        "start that its codes change (decoder), by any amount, and by more than 0.1 % and 1 % of the peak; past: the "
        'same in the other direction; "whole": the whole utterance. Latency: one frame and both lookaheads, without '
        "computation.",
    )
    return _table(reader, "Algorithmic latency", columns, notes)


def _batches(reader: Reader) -> Table | None:
    sizes = sorted(set(reader.rows.loc[reader.rows["quantity"] == "rtf", "batch"]))
    if len(sizes) < 2:
        return None
    columns = [
        _speed(reader, f"throughput-{stage}-{size}", f"{word} batch {size}", stage, size)
        for stage, word in WAYS.items()
        for size in sizes
    ]
    notes = ("Seconds of audio per second of processing, over the whole batch.",)
    return _table(reader, f"Throughput: {place(reader.bench)}", columns, notes)


def _both_ways(
    reader: Reader, quantity: str, label: str, decimals: int, scale: float = 1.0, kind: str = "measured"
) -> Iterator[Filled]:
    """A column for encoding and one for decoding."""
    for stage, word in WAYS.items():
        yield _column(reader, f"{quantity}-{stage}", label.format(word), stage, quantity, decimals, scale, kind)


def _column(
    reader: Reader, key: str, label: str, stage: str, quantity: str, decimals: int, scale: float = 1.0,
    kind: str = "measured", level: str = "",
) -> Filled:  # fmt: skip
    where = setting(level=level) if level else ""
    column = Column(key, label, measured=QUANTITIES[quantity].per_round)
    return column, lambda codec: cell(reader.find(codec, stage, quantity, where, kind=kind), decimals, scale)


def _speed(reader: Reader, key: str, label: str, stage: str, batch: int = 1) -> Filled:
    column = Column(key, label, measured=True)
    return column, lambda codec: cell(inverse(reader.find(codec, stage, "rtf", batch=batch)), 1)


def _ratio(reader: Reader, key: str, label: str, stage: str, to: str) -> Filled:
    return Column(key, label, measured=True), lambda codec: cell(reader.ratio(codec, to, stage, "rtf"), 2)
