"""What benches measured, as tables: what each codec costs, its latency, batches, and what it does to a speech LM.

Medians over rounds with their intervals; ratios are to the first codec of a bench, paired by round.
"""

from collections.abc import Callable, Sequence

from evalkit.bench.directory import LEVELS, QUANTITIES, Bench, setting

from .bench_lm import build_lm_tables
from .bench_reader import WAYS, Reader, cell, inverse, notes_of, place
from .cells import MISSING, Cell, Column, Table


def build_bench_tables(benches: Sequence[Bench]) -> list[Table]:
    """The tables of each bench that have anything in them."""
    tables: list[Table] = []
    for bench in benches:
        reader = Reader(bench)
        built = (build(reader) for build in (_costs, _times, _latencies, _batches))
        tables += [*(table for table in built if table is not None), *build_lm_tables(reader)]
    return tables


Fill = Callable[[str], Cell]


def _table(
    reader: Reader, title: str, columns: Sequence[tuple[Column, Fill]], notes: Sequence[str] = ()
) -> Table | None:
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
    columns: list[tuple[Column, Fill]] = []
    for stage, word in WAYS.items():
        columns.append(
            _column(reader, f"parameters-{stage}", f"parameters {word} (M)", stage, "parameters", 1, 1e-6, "counted")
        )
    columns.append(_column(reader, "parameters", "parameters (M)", "both", "parameters", 1, 1e-6, "counted"))
    for stage, word in WAYS.items():
        columns.append(_column(reader, f"gmac-{stage}", f"GMAC/s {word}", stage, "gmac", 2, 1.0, "counted"))
    for stage, word in WAYS.items():
        columns.append(_column(reader, f"memory-{stage}", f"peak memory {word} (MB)", stage, "memory", 0))
    columns.append(_column(reader, "startup", "start-up (s)", "both", "startup", 1))
    notes = (
        "GMAC/s: 10^9 multiply-accumulates a second of audio, as the layers are written. Parameters: those that are "
        "used, weight normalisation folded; codebooks count both ways.",
    )
    return _table(reader, f"Cost: {place(reader.bench)}", columns, notes)


def _times(reader: Reader) -> Table | None:
    columns: list[tuple[Column, Fill]] = []
    first = reader.codecs[0] if reader.codecs else ""
    for stage, word in WAYS.items():
        columns.append(_column(reader, f"rtf-{stage}", f"RTF {word} (processing/audio)", stage, "rtf", 3))
    for stage, word in WAYS.items():
        columns.append(_speed(reader, f"x-real-time-{stage}", f"{word} x real time", stage, 1))
    for stage, word in WAYS.items():
        columns.append(_ratio(reader, f"ratio-{stage}", f"RTF {word} / {first}", stage, first))
    for stage, word in WAYS.items():
        columns.append(_column(reader, f"cpu-{stage}", f"CPU s/s {word}", stage, "cpu", 3))
    for stage, word in WAYS.items():
        columns.append(_column(reader, f"energy-{stage}", f"J/s {word}", stage, "energy", 2))
    for quantity, label in (("first-packet", "first packet"), ("packet", "later packets"), ("packet-p95", "p95")):
        for stage, word in WAYS.items():
            columns.append(_column(reader, f"{quantity}-{stage}", f"{label} {word} (ms)", stage, quantity, 1))
    about = reader.bench.provenance
    notes = [
        f"RTF: processing time / audio time, below 1 is faster than real time; medians of {about.get('rounds')} rounds "
        f"over {about.get('seconds', 0):g} s of speech, ratios paired by round; [low, high]: 95 % intervals.",
    ]
    if any(column.key.startswith("first-packet") for column, fill in columns for c in reader.codecs if fill(c).value):
        notes.append(
            "First packet: decoding, of the first frame; encoding, the audio that must be there for the first codes, "
            "and their computation."
        )
    return _table(reader, f"Time: {place(reader.bench)}, batch 1", columns, notes)


def _latencies(reader: Reader) -> Table | None:
    def milliseconds(codec: str) -> float:
        rate = reader.bench.provenance["codecs"].get(codec, {}).get("sample_rate")
        return 1000 / rate if rate else 1.0

    columns: list[tuple[Column, Fill]] = [
        (
            Column("frame", "frame (ms)"),
            lambda codec: cell(reader.find(codec, "both", "frame"), 1, milliseconds(codec)),
        )
    ]
    for stage, word in WAYS.items():
        columns.append(
            _column(reader, f"lookahead-{stage}", f"lookahead {word} (samples)", stage, "lookahead", 0, where="0")
        )
        columns.append(
            _column(reader, f"declared-{stage}", "declared", stage, "lookahead", 0, where="0", kind="declared")
        )
        for level in list(LEVELS)[1:]:
            columns.append(
                _column(reader, f"lookahead-{stage}-{level}", f"> {level}", stage, "lookahead", 0, where=level)
            )
        columns.append(_column(reader, f"reach-{stage}", f"past {word}", stage, "reach", 0, where="0"))
    for level in LEVELS:
        label = "latency (ms)" if level == "0" else f"> {level} (ms)"
        columns.append(_column(reader, f"latency-{level}", label, "both", "latency", 1, where=level))
    columns.append((Column("causal", "decoder causal", words=True), lambda codec: Cell(reader.causal(codec))))
    notes = (
        "Lookahead: samples beyond a frame's own end that its codes depend on (encoder); samples before a frame's "
        "start that its codes change (decoder), by any amount, and by more than 0.1 % and 1 % of the peak; past: the "
        'same the other way round; "whole": the whole utterance. Latency: frame and both lookaheads, no computation.',
    )
    if not any(fill(codec).value is not None for column, fill in columns[:-1] for codec in reader.codecs):
        return None
    return _table(reader, "Algorithmic latency", columns, notes)


def _batches(reader: Reader) -> Table | None:
    sizes = sorted(set(reader.rows.loc[reader.rows["quantity"] == "rtf", "batch"]))
    if len(sizes) < 2:
        return None
    columns: list[tuple[Column, Fill]] = []
    for stage, word in WAYS.items():
        for size in sizes:
            columns.append(_speed(reader, f"throughput-{stage}-{size}", f"{word} batch {size}", stage, size))
    notes = ("Seconds of audio a second of processing, over the whole batch.",)
    return _table(reader, f"Throughput: {place(reader.bench)}", columns, notes)


def _column(
    reader: Reader, key: str, label: str, stage: str, quantity: str, decimals: int, scale: float = 1.0,
    kind: str = "measured", where: str = "",
) -> tuple[Column, Fill]:  # fmt: skip
    at = setting(level=where) if where else ""
    column = Column(key, label, measured=QUANTITIES[quantity].per_round)
    return column, lambda codec: cell(reader.find(codec, stage, quantity, at, kind=kind), decimals, scale)


def _speed(reader: Reader, key: str, label: str, stage: str, batch: int) -> tuple[Column, Fill]:
    return Column(key, label, measured=True), lambda codec: cell(
        inverse(reader.find(codec, stage, "rtf", batch=batch)), 1
    )


def _ratio(reader: Reader, key: str, label: str, stage: str, to: str) -> tuple[Column, Fill]:
    return Column(key, label, measured=True), lambda codec: cell(reader.ratio(codec, to, stage, "rtf"), 2)
