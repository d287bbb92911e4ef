"""The paper's claims about efficiency, answered from benches.

Parameters and causality are counted and measured. What a codec does to Koel-TTS is simulated by a transformer of its
size with random weights, or computed: such a claim is reproduced under the settings in which the ratio comes out, or it
is not; it is never called supported.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from evalkit import plugins
from evalkit.bench.directory import WHOLE, Bench, read_setting, setting
from evalkit.codecs import Described
from evalkit.stats.means import UNKNOWN, Interval

from .bench_reader import Reader
from .published import names

NEAR = 0.1
"""Relative: a ratio reproduces the published one where it is no further from it, or its interval holds it."""
SHOWN = 3
"""Settings that a verdict names."""


@dataclass(frozen=True)
class Evidence:
    """What a bench says of one claim. `holds` where the claim itself was counted or measured; None where it was
    simulated, and `verdict` says what came out. `effect` is written in `form`; `n` are rounds."""

    holds: bool | None
    effect: float
    form: str
    remark: str
    verdict: str = ""
    interval: Interval = UNKNOWN
    n: int | None = None


def evidence(
    metric: str, first: str, second: str, ratio: float | None, benches: Sequence[Bench]
) -> Evidence | None:  # fmt: skip
    """What benches say of "`first` is better than `second` by `metric`". Parameters are counted without a bench, too.

    Args:
        metric: A quantity of a bench, or `parameters`.
        first: A system of the paper.
        second: Another.
        ratio: How many times better, where that was published.
        benches: What to read; the first that has both systems answers.

    Returns:
        The answer; None where none has both.
    """
    for bench in benches:
        reader = Reader(bench)
        mine, other = _codec(first, reader), _codec(second, reader)
        if mine is None or other is None:
            continue
        if metric == "parameters":
            found = _parameters(reader, mine, other)
        elif metric == "lookahead":
            found = _lookahead(reader, mine, other)
        else:
            found = None if ratio is None else _simulated(metric, ratio, reader, mine, other)
        if found is not None:
            return found
    return _released(first, second) if metric == "parameters" else None


def _codec(system: str, reader: Reader) -> str | None:
    """The codec of a bench that is the paper's `system`, or the one that its LM speaks with."""
    systems = names()["systems"]
    rows = systems[systems[system].get("codec", system)]["rows"]
    return next((row for row in rows if row in reader.codecs), None)


def _parameters(reader: Reader, first: str, second: str) -> Evidence | None:
    mine, other = (reader.find(codec, "both", "parameters", kind="counted").value for codec in (first, second))
    return None if mine is None or other is None else _fewer(mine, other)


def _released(first: str, second: str) -> Evidence | None:
    """Of the released models, as their families count them: no bench is needed for what the architectures say."""
    mine, other = _released_parameters(first), _released_parameters(second)
    return None if mine is None or other is None else _fewer(mine, other)


def _released_parameters(system: str) -> int | None:
    """Those of the paper's `system`; None where nobody says."""
    for row in names()["systems"][system]["rows"]:
        name, _, rate = row.partition("@")
        family = plugins.load("codec", name) if name in plugins.names("codec") else None
        if isinstance(family, Described):
            return family.info(rate).parameters
    return None


def _fewer(mine: float, other: float) -> Evidence:
    remark = f"in %: {mine / 1e6:.1f} M against {other / 1e6:.1f} M, counted"
    return Evidence(mine < other, 100 * (mine / other - 1), "+.1f", remark)


def _lookahead(reader: Reader, first: str, second: str) -> Evidence | None:
    frames = []
    for codec in (first, second):
        found, frame = (
            reader.find(codec, "decode", "lookahead", setting(level="0")),
            reader.find(codec, "both", "frame"),
        )
        if frame.value is None or (found.value is None and found.reason != WHOLE):
            return None
        frames.append(float("inf") if found.value is None else found.value / frame.value)
    remark = f"in frames: {frames[0]:.2f} against {frames[1]:.2f}, measured; causal: {reader.causal(first)}"
    return Evidence(frames[0] < frames[1], frames[0] - frames[1], "+.2f", remark)


def _simulated(metric: str, published: float, reader: Reader, first: str, second: str) -> Evidence | None:
    """How many times better `first` is, in every setting of the LM."""
    tried = sorted(_ratios(metric, reader, first, second), key=lambda one: abs(one[1] - published))
    if not tried:
        return None
    near = [one for one in tried if abs(one[1] / published - 1) <= NEAR or published in one[2]]
    _, effect, interval, n = tried[0]
    under = "; ".join(one[0] for one in near[:SHOWN]) + (f"; {len(near) - SHOWN} more" if len(near) > SHOWN else "")
    by_size = sorted(tried, key=lambda one: one[1])
    remark = (
        f"times better, published about {published:g}; {len(tried)} settings, from {by_size[0][1]:.2f} "
        f"({by_size[0][0]}) to {by_size[-1][1]:.2f} ({by_size[-1][0]})"
    )
    return Evidence(None, effect, ".2f", remark, f"reproduced under {under}" if near else "not reproduced", interval, n)


def _ratios(
    quantity: str, reader: Reader, first: str, second: str
) -> Iterator[tuple[str, float, Interval, int | None]]:
    """Each setting in which both were taken, in words, and the ratio with its interval and rounds."""
    rows = reader.rows
    rows = rows[(rows["quantity"] == quantity) & (rows["stage"] == "both") & (rows["codec"] == first)]
    for kind, where in rows[["kind", "setting"]].drop_duplicates().itertuples(index=False, name=None):
        about = read_setting(where)
        if not about.get("lm", "").startswith("koel") or about.get("mode") == "stream":
            continue
        found = reader.ratio(second, first, "both", quantity, where, kind=kind)
        if found.value is None:
            continue
        words = [f"cache={about['cache']}", f"{kind} {about.get('hardware', about['lm'])}"]
        words += [f"{key}={about[key]}" for key in ("first", "lookahead") if key in about]
        n = None if kind == "analytic" else len(reader.rounds(first, "both", quantity, where, kind=kind))
        yield ", ".join(words), found.value, found.interval, n
