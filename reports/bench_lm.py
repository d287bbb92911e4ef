"""What a codec makes of a speech LM, as tables: real-time factor, and time to first audio."""

from collections.abc import Callable, Iterator
from math import isnan

from evalkit.bench.directory import read_setting, setting

from .bench_reader import NOT_MEASURED, Found, Reader, cell, inverse, notes_of, place
from .cells import Cell, Column, Table

HEAD = tuple(Column(key.lower(), key, words=True) for key in ("Codec", "LM", "cache", "heads"))
RTF_COLUMNS = (
    *HEAD,
    Column("rtf-lm", "RTF of the LM", measured=True),
    Column("ratio-lm", "x as fast", measured=True),
    Column("rtf", "RTF (processing/audio)", measured=True),
    Column("x-real-time", "x real time", measured=True),
    Column("ratio", "x as fast", measured=True),
    Column("steps", "steps/s", measured=True),
    Column("share-lm", "LM share"),
)
TTFA_COLUMNS = (
    *HEAD,
    Column("first", "first chunk", words=True),
    Column("lookahead", "lookahead", words=True),
    Column("ttfa", "first audio p50 (s)", measured=True),
    Column("p95", "p95 (s)"),
    Column("ratio", "x as soon", measured=True),
    Column("share-lm", "LM"),
    Column("share-wait", "waiting"),
    Column("share-codec", "codec"),
    Column("rtf-stream", "RTF as a stream", measured=True),
)


def build_lm_tables(reader: Reader) -> Iterator[Table]:
    """The tables of a bench of an LM; none of another bench."""
    for what, columns, keys, lines in (
        ("RTF", RTF_COLUMNS, len(HEAD), list(_rtf(reader))),
        ("Time to first audio", TTFA_COLUMNS, len(HEAD) + 2, list(_ttfa(reader))),
    ):
        if lines:
            notes = (
                f"Ratios are to {reader.codecs[0]}. Cache: what a step reuses from earlier ones; upstream caches "
                f"only attention, as in the authors' code. Simulated: measured here, random weights. Analytic: "
                f"calculated from bytes and operations.",
                *notes_of(reader.bench),
            )
            yield Table(f"{what} of a speech LM: {place(reader.bench)}", columns, tuple(lines), notes, keys)


def _rtf(reader: Reader) -> Iterator[tuple[Cell, ...]]:
    for about, kind, where in _settings(reader, "rtf", "lm"):
        look = _looker(reader, about, kind)
        for codec in reader.codecs:
            lm, both = look(codec, "lm", "rtf"), look(codec, "both", "rtf", mode="offline")
            if lm.value is None:
                continue
            against = (reader.codecs[0], codec)
            yield (
                Cell(codec), *where,
                cell(lm, 3), cell(reader.ratio(*against, "lm", "rtf", setting(**about), kind=kind), 2),
                cell(both, 3), cell(inverse(both), 2),
                cell(reader.ratio(*against, "both", "rtf", setting(**about, mode="offline"), kind=kind), 2),
                cell(look(codec, "lm", "steps"), 1), cell(look(codec, "lm", "share", of="rtf", part="lm"), 2),
            )  # fmt: skip


def _ttfa(reader: Reader) -> Iterator[tuple[Cell, ...]]:
    for about, kind, where in _settings(reader, "ttfa", "both"):
        look = _looker(reader, about, kind)
        for codec in reader.codecs:
            found = look(codec, "both", "ttfa")
            if found.reason == NOT_MEASURED:
                continue
            times = reader.rounds(codec, "both", "ttfa", setting(**about), kind=kind)
            late = float(times.quantile(0.95)) if kind == "simulated" else float("nan")
            yield (
                Cell(codec), *where, Cell(about["first"]), Cell(about["lookahead"]),
                cell(found, 3), cell(Found(None if isnan(late) else late), 3),
                cell(reader.ratio(reader.codecs[0], codec, "both", "ttfa", setting(**about), kind=kind), 2),
                *(cell(look(codec, "both", "share", of="ttfa", part=part), 2) for part in ("lm", "wait", "codec")),
                cell(look(codec, "both", "rtf", mode="stream"), 3),
            )  # fmt: skip


def _settings(
    reader: Reader, quantity: str, stage: str
) -> Iterator[tuple[dict[str, str], str, tuple[Cell, ...]]]:  # fmt: skip
    """Every setting of an LM in which `quantity` was taken, the kind of its rows, and the cells that describe it."""
    rows = reader.rows[(reader.rows["quantity"] == quantity) & (reader.rows["stage"] == stage)]
    for text in dict.fromkeys(rows["setting"]):
        about = read_setting(text)
        if "lm" in about and "mode" not in about:
            machine = about.get("hardware")
            how = f"{about['lm']}, analytic, {machine}" if machine else f"{about['lm']}, simulated"
            kind = "analytic" if machine else "simulated"
            yield about, kind, (Cell(how), Cell(about["cache"]), Cell(about["heads"]))


def _looker(reader: Reader, about: dict[str, str], kind: str) -> Callable[..., Found]:
    """What finds numbers of this setting."""

    def look(codec: str, stage: str, quantity: str, **more: str) -> Found:
        return reader.find(codec, stage, quantity, setting(**about, **more), kind=kind)

    return look
