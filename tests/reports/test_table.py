"""Tables: the right numbers, the right bold, and nothing that is not comparable side by side."""

import csv
import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from evalkit.errors import UsageError
from evalkit.metrics.si_sdr import SI_SDR
from evalkit.reports.render import FORMATS
from evalkit.reports.table import build_tables, ranks
from evalkit.reports.terminal import fitting, rich_table
from evalkit.results.rows import CORPUS, Row
from evalkit.results.run import Run, read_run
from evalkit.results.run_directory import RunWriter
from evalkit.stats import Settings

from .changed import changed

METRICS = {
    "pesq-wb": {"label": "PESQ-WB", "direction": "up", "version": "1", "decimals": 2},
    "mel": {"label": "Mel", "direction": "down", "version": "1", "decimals": 3},
    "bitrate": {"label": "bit/s", "direction": "none", "version": "1", "decimals": 1},
}


def make_run(path: Path, rows: list[Row], version: str = "1", revision: str | None = None) -> Run:
    about = {
        "metrics": {name: described | {"version": version} for name, described in METRICS.items()},
        "dataset": {"name": "set", "revision": revision},
    }
    with RunWriter(path, list(dict.fromkeys(row.codec for row in rows)), about) as writer:
        writer.add(rows)
    return read_run(path)


@pytest.fixture
def run(tmp_path: Path) -> Run:
    rows = [
        Row("good_codec", "set", "a", "pesq-wb", 3.0),
        Row("good_codec", "set", "b", "pesq-wb", 4.0),
        Row("good_codec", "set", "a", "mel", 0.1),
        Row("good_codec", "set", "b", "mel", 0.1),
        Row("good_codec", "set", CORPUS, "bitrate", 1097.7),
        Row("poor_codec", "set", "a", "pesq-wb", 1.5),
        Row("poor_codec", "set", "b", "pesq-wb", None, "silent"),
        Row("poor_codec", "set", "a", "mel", 0.1001),
        Row("poor_codec", "set", "b", "mel", 0.1001),
        Row("poor_codec", "set", CORPUS, "bitrate", None, "no codes"),
    ]
    return make_run(tmp_path / "run", rows)


def test_markdown(run: Run) -> None:
    (table,) = build_tables([run])
    assert FORMATS["markdown"](table) == (
        "**set**\n\n"
        "| Codec | kbit/s | PESQ-WB ↑ | Mel ↓ | n | failed |\n"
        "| --- | ---: | ---: | ---: | ---: | ---: |\n"
        "| good_codec | 1.098 | **3.50** | **0.100** | 2 | 0 |\n"
        "| poor_codec | – | 1.50 (n=1) | **0.100** | 2 | 1 |\n\n"
        "Means over fewer than 6 utterances have no interval and no test.\n"
    ), "what prints alike shares the bold; a mean over fewer utterances says so; nothing unknown is filled in"


def test_latex_escapes_and_uses_booktabs(run: Run) -> None:
    text = FORMATS["latex"](build_tables([run])[0])
    assert r"good\_codec & 1.098 & \textbf{3.50} & \textbf{0.100} & 2 & 0 \\" in text
    assert r"PESQ-WB $\uparrow$" in text and r"\toprule" in text and r"poor\_codec & -- &" in text


def test_csv_keeps_what_rounding_would_lose(run: Run) -> None:
    (table,) = build_tables([run], settings=Settings(interval="none"))
    lines = list(csv.DictReader(io.StringIO(FORMATS["csv"](table))))
    assert {name: value for name, value in lines[1].items() if "." not in name} == {
        "dataset": "set", "codec": "poor_codec", "kbps": "", "pesq-wb": "1.5", "mel": "0.1001", "n": "2", "failed": "1"
    }  # fmt: skip


def test_terminal(run: Run) -> None:
    from rich.console import Console

    console = Console(width=100, force_terminal=True, color_system=None, record=True, file=io.StringIO())
    console.print(rich_table(build_tables([run])[0]))
    text = console.export_text()
    assert "PESQ-WB ↑" in text and "1.50 (n=1)" in text


@pytest.mark.parametrize("width", [200, 60, 40, 30])
def test_a_narrow_terminal_gets_whole_numbers(run: Run, width: int) -> None:
    from rich.console import Console

    console = Console(width=width, color_system=None, record=True, file=io.StringIO())
    parts = fitting(build_tables([run])[0], width)
    for part in parts:
        console.print(rich_table(part))
    text = console.export_text()
    assert "…" not in text and "1.50 (n=1)" in text and "0.100" in text and max(map(len, text.splitlines())) <= width
    assert [c.key for part in parts for c in part.columns[1:]] == ["kbps", "pesq-wb", "mel", "n", "failed"]


def test_columns_are_chosen_and_ordered(run: Run) -> None:
    (table,) = build_tables([run], ["mel", "pesq-wb"])
    assert [column.key for column in table.columns] == ["codec", "kbps", "mel", "pesq-wb", "n", "failed"]
    with pytest.raises(UsageError, match=r"no run has the metric\(s\) stoi\. There are: pesq-wb, mel"):
        build_tables([run], ["stoi"])


def test_runs_are_joined_only_where_they_compare(run: Run, tmp_path: Path) -> None:
    other = make_run(tmp_path / "other", [Row("third", "set", "a", "pesq-wb", 2.0)])
    (table,) = build_tables([run, other])
    assert [row[0].text for row in table.rows] == ["good_codec", "poor_codec", "third"]
    newer = make_run(tmp_path / "newer", [Row("fourth", "set", "a", "pesq-wb", 2.0)], version="2")
    with pytest.raises(UsageError, match="version '1' in one run and '2'"):
        build_tables([run, newer])
    with pytest.raises(UsageError, match="good_codec on set is in 2 of these runs"):
        build_tables([run, run])


def test_datasets_get_a_table_each(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", [Row("c", name, "a", "mel", 0.1) for name in ("one", "two")])
    assert [table.title for table in build_tables([run])] == ["one", "two"]


def test_a_run_that_stopped_early_says_so(run: Run) -> None:
    run = replace(run, provenance=replace(run.provenance, state="running"))
    assert "incomplete" in FORMATS["markdown"](build_tables([run])[0])


def test_no_rows_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no rows yet"):
        build_tables([make_run(tmp_path / "run", [])])


@pytest.fixture
def contest(tmp_path: Path) -> Run:
    """30 utterances: `first` and `second` all but alike, `third` clearly below, `fourth` on a few only."""
    rng = np.random.default_rng(0)
    level, noise = rng.normal(3, 0.4, 30), rng.normal(0, 0.2, 30)
    noise -= noise.mean()
    values = {
        "first": level,
        "second": level - 0.02 + noise,
        "third": level - 0.3 - noise,
        "fourth": level[:4] - 1,
    }
    return make_run(
        tmp_path / "contest",
        [Row(c, "set", f"u{i:02}", "pesq-wb", float(v)) for c, vs in values.items() for i, v in enumerate(vs)],
    )


def test_intervals_and_ties_stand_beside_the_means(contest: Run) -> None:
    (table,) = build_tables([contest])
    first, second, third, fourth = (row[2] for row in table.rows)
    summary = contest.rows.groupby("codec")["value"].mean()
    assert first.best and not first.tied and first.value == pytest.approx(summary["first"])
    assert second.tied and not third.tied
    assert first.bounds is not None and first.bounds.low < summary["first"] < first.bounds.high
    assert not fourth.interval and not fourth.tied, "four utterances have no interval and no test"
    text = FORMATS["markdown"](table)
    assert f"| {second.text} {second.interval} ≈ |" in text and f"| **{first.text}** {first.interval} |" in text
    assert (
        "≈: statistically indistinguishable from the best of its column at this n (paired sign-flip and t tests; "
        "Holm over 3 comparisons)."
    ) in text
    assert "Means over fewer than 6 utterances have no interval and no test." in text
    assert "[low, high]: 95% t interval, corrected for skewness." in table.notes
    assert "80% power: PESQ-WB 0." in text
    assert "only 4 are shared by all" in text
    assert r"$\approx$" in FORMATS["latex"](table) and r"{\scriptsize [" in FORMATS["latex"](table)
    (line,) = [line for line in csv.DictReader(io.StringIO(FORMATS["csv"](table))) if line["codec"] == "second"]
    assert line["pesq-wb.tied"] == "yes" and float(line["pesq-wb.low"]) == second.bounds.low


def test_intervals_can_be_left_out(contest: Run) -> None:
    (table,) = build_tables([contest], settings=Settings(interval="none"))
    assert not any(cell.interval for row in table.rows for cell in row)


def test_codecs_are_chosen_and_ordered(contest: Run) -> None:
    (table,) = build_tables([contest], codecs=["third", "first"])
    assert [row[0].text for row in table.rows] == ["third", "first"]
    with pytest.raises(UsageError, match=r"no run has the codec\(s\) gone"):
        build_tables([contest], codecs=["gone"])


def test_other_data_by_the_same_name_is_refused(tmp_path: Path) -> None:
    one = make_run(tmp_path / "one", [Row("c", "set", "a", "mel", 0.1)], revision="aaaa")
    two = make_run(tmp_path / "two", [Row("d", "set", "a", "mel", 0.1)], revision="bbbb")
    with pytest.raises(UsageError, match="different revisions of the dataset set"):
        build_tables([one, two])


def test_other_weights_of_a_metric_are_refused(tmp_path: Path) -> None:
    one, two = (make_run(tmp_path / name, [Row(name, "set", "a", "mel", 0.1)]) for name in "cd")
    one, two = (
        replace(run, provenance=replace(run.provenance, metrics={"mel": replace(about, weights={"model.pt": digest})}))
        for run, digest in ((one, "aaaa"), (two, "bbbb"))
        for about in [run.provenance.metrics["mel"]]
    )
    with pytest.raises(UsageError, match=r"mel has weights .*aaaa.* in one run and .*bbbb"):
        build_tables([one, two])


def test_another_resampler_is_named(tmp_path: Path) -> None:
    one = make_run(tmp_path / "one", [Row("c", "set", "a", "mel", 0.1)])
    two = make_run(tmp_path / "two", [Row("d", "set", "a", "mel", 0.1)])
    two = replace(two, provenance=replace(two.provenance, resampler="soxr 9 HQ"))
    assert "soxr 9 HQ" in FORMATS["markdown"](build_tables([one, two])[0])


def test_a_metric_that_does_not_rank_has_no_best_and_counts_for_nothing(contest: Run) -> None:
    assert build_tables([contest])[0].rows[0][2].best
    contest = changed(contest, pesq_wb={"ranks": False, "note": "It finds breakage."})
    (table,) = build_tables([contest])
    assert not any(cell.best or cell.tied for row in table.rows for cell in row)
    assert table.rows[0][2].interval, "it is shown all the same"
    text = FORMATS["markdown"](table)
    assert "PESQ-WB: shown but not used to rank codecs." in text and "It finds breakage." in text
    assert "comparisons" not in text and "power" not in text


def test_si_sdr_of_older_runs_ranks_nothing() -> None:
    about = {"label": "SI-SDR", "direction": "up", "version": "1", "decimals": 2}
    assert not ranks("si-sdr", about) and not ranks("si-sdr:x=1", about) and ranks("squim-si-sdr", about)
    assert ranks("si-sdr", about | {"ranks": True}) and not SI_SDR.ranks
    assert not ranks("entropy", about | {"direction": "none"})


def test_a_codec_is_never_the_best_by_what_it_was_trained_on(contest: Run) -> None:
    contest = changed(contest, {"first": {"trained_on_metrics": ["pesq-wb"]}, "second": {}})
    (table,) = build_tables([contest])
    first, second, third, _ = (row[2] for row in table.rows)
    assert first.value is not None and second.value is not None and first.value > second.value
    assert first.text.endswith("†") and not first.best and not first.tied and first.interval
    assert second.best and "†" not in second.text and not third.best
    text = FORMATS["markdown"](table)
    assert "†: the codec was trained on this metric, which therefore overrates it: not ranked, not compared." in text
    assert "power: PESQ-WB" in text
    csv_line = FORMATS["csv"](table).splitlines()[1]
    assert "†" not in csv_line and repr(first.value) in csv_line
    (alone,) = build_tables([contest], codecs=["first", "second"])
    assert not any(row[2].best for row in alone.rows), "nobody is left to be better than"


def test_utterances_too_few_for_so_many_comparisons_are_named(tmp_path: Path) -> None:
    rows = [
        Row(f"c{c}", "set", f"u{i}", "pesq-wb", 4.0 - 0.3 * c + 0.01 * i)
        for c in range(4) for i in range(6)
    ]  # fmt: skip
    (table,) = build_tables([make_run(tmp_path / "run", rows)])
    assert all(row[2].tied for row in table.rows[1:])
    text = FORMATS["markdown"](table)
    assert (
        "Over 6 utterances or fewer, none of 6 comparisons can be significant, however large the difference: "
        "that needs 8."
    ) in text
    assert "Intervals over fewer than 12 utterances are reliable only for nearly symmetric values." in text
    (uncorrected,) = build_tables([make_run(tmp_path / "again", rows)], settings=Settings(correction="none"))
    assert not any(row[2].tied for row in uncorrected.rows)


@pytest.mark.slow
@pytest.mark.parametrize("n", [12, 30])
def test_equal_codecs_have_no_winner_though_the_best_was_picked_after_the_fact(n: int, tmp_path: Path) -> None:
    rng = np.random.default_rng(n)
    rows = [
        Row(f"c{c:02}", f"d{d:02}", f"u{i:02}", "pesq-wb", float(v))
        for d in range(40) for c in range(11) for i, v in enumerate(rng.standard_normal(n))
    ]  # fmt: skip
    tables = build_tables([make_run(tmp_path / "run", rows)])
    winners = [any(not (row[2].best or row[2].tied) for row in table.rows) for table in tables]
    assert len(tables) == 40 and sum(winners) <= 40 * 0.05 + 2 * (40 * 0.05 * 0.95) ** 0.5


def test_error_rates_need_the_ranks_to_agree(tmp_path: Path) -> None:
    """A few utterances carry the mean: most are better by the other codec."""
    rng = np.random.default_rng(3)
    level = rng.normal(5, 1, 40)
    values = {"a": level, "b": level + np.concatenate([np.full(30, -0.3), rng.uniform(4, 9, 10)])}
    rows = [Row(c, "set", f"u{i:02}", "mel", float(v)) for c, vs in values.items() for i, v in enumerate(vs)]
    run = make_run(tmp_path / "run", rows)
    assert not build_tables([run])[0].rows[1][2].tied
    run = changed(run, mel={"skewed": True})
    (table,) = build_tables([run])
    assert table.rows[1][2].tied
    assert "Mel: strongly skewed, so a difference counts only if the signed-rank test finds it too." in table.notes
