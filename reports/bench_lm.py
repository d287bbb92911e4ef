"""What a codec makes of a speech LM, as tables: real-time factor, and time to first audio."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import isnan, nan
from typing import Any

from evalkit.bench.directory import read_setting, setting

from .bench_reader import NOT_MEASURED, Found, Reader, cell, inverse, notes_of, paired, place
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


@dataclass(frozen=True)
class _Setting:
    """What an LM was run with, but for its heads, which depend on the codec."""

    reader: Reader
    about: Mapping[str, str]
    kind: str
    heads: Mapping[str, str]
    """By codec."""

    def cells(self, codec: str) -> tuple[Cell, ...]:
        machine = self.about.get("hardware")
        how = f"{self.about['lm']}, analytic, {machine}" if machine else f"{self.about['lm']}, simulated"
        return Cell(codec), Cell(how), Cell(self.about["cache"]), Cell(self.heads[codec])

    def _of(self, codec: str, **more: str) -> str:
        return setting(**self.about, heads=self.heads[codec], **more)

    def find(self, codec: str, stage: str, quantity: str, **more: str) -> Found:
        return self.reader.find(codec, stage, quantity, self._of(codec, **more), kind=self.kind)

    def rounds(self, codec: str, stage: str, quantity: str, **more: str) -> Any:
        return self.reader.rounds(codec, stage, quantity, self._of(codec, **more), kind=self.kind)

    def ratio(self, codec: str, stage: str, quantity: str, **more: str) -> Found:
        """How many times as much as `codec` the first codec takes."""
        first = self.reader.codecs[0]
        if codec == first or first not in self.heads:
            return Found(None)
        return paired(*(self.rounds(one, stage, quantity, **more) for one in (first, codec)))


def _rtf(reader: Reader) -> Iterator[tuple[Cell, ...]]:
    for one in _settings(reader, "rtf", "lm"):
        for codec in one.heads:
            lm, both = one.find(codec, "lm", "rtf"), one.find(codec, "both", "rtf", mode="offline")
            if lm.value is None:
                continue
            yield (
                *one.cells(codec),
                cell(lm, 3), cell(one.ratio(codec, "lm", "rtf"), 2),
                cell(both, 3), cell(inverse(both), 2), cell(one.ratio(codec, "both", "rtf", mode="offline"), 2),
                cell(one.find(codec, "lm", "steps"), 1), cell(one.find(codec, "lm", "share", of="rtf", part="lm"), 2),
            )  # fmt: skip


def _ttfa(reader: Reader) -> Iterator[tuple[Cell, ...]]:
    for one in _settings(reader, "ttfa", "both"):
        for codec in one.heads:
            found = one.find(codec, "both", "ttfa")
            if found.reason == NOT_MEASURED:
                continue
            late = one.rounds(codec, "both", "ttfa").quantile(0.95) if one.kind == "simulated" else nan
            yield (
                *one.cells(codec), Cell(one.about["first"]), Cell(one.about["lookahead"]),
                cell(found, 3), cell(Found(None if isnan(late) else float(late)), 3),
                cell(one.ratio(codec, "both", "ttfa"), 2),
                *(cell(one.find(codec, "both", "share", of="ttfa", part=part), 2) for part in ("lm", "wait", "codec")),
                cell(one.find(codec, "both", "rtf", mode="stream"), 3),
            )  # fmt: skip


def _settings(reader: Reader, quantity: str, stage: str) -> Iterator[_Setting]:
    """Every setting of an LM in which `quantity` was taken."""
    rows = reader.rows[(reader.rows["quantity"] == quantity) & (reader.rows["stage"] == stage)]
    heads: dict[str, str] = {}
    found: dict[str, dict[str, str]] = {}
    for codec, text in zip(rows["codec"], rows["setting"], strict=True):
        about = read_setting(text)
        if "lm" in about and "mode" not in about:
            heads.setdefault(codec, about.pop("heads"))
            found.setdefault(setting(**about), about)
    ordered = {codec: heads[codec] for codec in reader.codecs if codec in heads}
    for about in found.values():
        yield _Setting(reader, about, "analytic" if "hardware" in about else "simulated", ordered)
