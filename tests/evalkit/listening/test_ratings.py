"""Ratings to rows: who is left out, what is refused, and the ordering that a simulated panel meant."""

import csv
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from evalkit.cli import main
from evalkit.errors import UsageError
from evalkit.listening.collect import CROSSED, collect
from evalkit.listening.export import export
from evalkit.listening.kit import MIDDLE, REFERENCE, Kit
from evalkit.listening.ratings import Rating, read_ratings
from evalkit.listening.screening import screened
from evalkit.results.run import Run
from evalkit.stats import ComparisonRequest, Settings, compare_codecs

Panel = Callable[..., Path]


@pytest.fixture(scope="module")
def mushra(heard: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("kits") / "first"
    export(heard, "mushra", folder)
    return folder


@pytest.fixture
def kit(mushra: Path) -> Kit:
    from evalkit.listening.kit import read_kit

    return read_kit(mushra)


@pytest.mark.slow
def test_a_panel_is_imported_screened_and_finds_the_true_ordering(
    mushra: Path, kit: Kit, panel: Panel, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    answers = panel(tmp_path / "mushra.csv", kit, listeners=14, deaf=2)
    command = ["listen", "import", str(mushra), str(answers), "--output", str(tmp_path / "run")]
    assert main(command) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "2 of 14 listeners are left out by BS.1534-3" in said
    assert "p12: hidden reference below 90 on 12 of 12 items" in said and "clustered by listener and item" in said
    from evalkit.results.run import read_run

    rows = read_run(tmp_path / "run").rows
    assert len(rows) == 14 * 12 * 6 and rows["reason"].notna().sum() == 2 * 12 * 6
    assert set(rows["language"]) == {"de", "en", "fr"} and set(rows["item"]) == {f"u{n:02}" for n in range(12)}
    means = rows.groupby("codec")["value"].mean()
    order = list(means.sort_values(ascending=False).index)
    assert order == ["pcm@hidden-reference", "good@2k", "fair@1k", "anchor@7k", "bad@1k", "anchor@3.5k"]
    requests = [ComparisonRequest("mushra", a, b) for a, b in (("good@2k", "fair@1k"), ("fair@1k", "bad@1k"))]
    for found in compare_codecs(rows, requests, Settings(cluster=CROSSED)):
        assert found.significant and found.test.difference > 0 and found.test.units == 12
    for reader in (["compare"], ["table", "--cluster", CROSSED], ["compare", "--cluster", "listener"]):
        assert main([reader[0], str(tmp_path / "run"), *reader[1:]]) == 0
    assert main(["report", str(tmp_path / "run"), "--output", str(tmp_path / "page.html"), "--cluster", CROSSED]) == 0
    assert main(["compare", str(tmp_path / "run"), "--cluster", "listener,item,language"]) == 2


def test_who_is_left_out() -> None:
    def ratings(listener: str, reference: list[float], anchor: list[float]) -> list[Rating]:
        pairs = [(REFERENCE, reference), (MIDDLE, anchor)]
        return [Rating(listener, f"item{i}", name, score) for name, scores in pairs for i, score in enumerate(scores)]

    good, bad = [100.0] * 17, [89.0] * 3
    found = screened(
        [
            *ratings("three of twenty", good + bad, [50.0] * 20),  # 15 %: not more than that
            *ratings("four of twenty", good[:16] + bad + [0.0], [50.0] * 20),
            *ratings("ninety is enough", [90.0] * 20, [90.0] * 20),
            *ratings("hears no anchor", [100.0] * 20, [50.0] * 16 + [91.0] * 4),
        ]
    )
    assert found == {
        "four of twenty": "hidden reference below 90 on 4 of 20 items",
        "hears no anchor": "mid-range anchor above 90 on 4 of 20 items",
    }


def edited(path: Path, **changes: str) -> Path:
    """The file at `path`, whose third line has other cells."""
    with path.open(newline="") as file:
        lines = list(csv.DictReader(file))
    lines[1] |= changes
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(lines[0]))
        writer.writeheader()
        writer.writerows(lines)
    return path


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"rating_score": "101"}, "line 3: '101' is not an answer on a scale from 0 to 100"),
        ({"rating_score": "nan"}, "line 3: 'nan' is not an answer"),
        ({"trial_id": "item99"}, "line 3: the test has no stimulus"),
        ({"session_test_id": "second"}, "line 3: this is an answer to the test second, not to first"),
        ({"listener": "", "session_uuid": " "}, "line 3: it does not name a listener"),
        ({"rating_stimulus": "S1"}, "p0 rated S1 of item01 before"),
    ],
)
def test_answers_that_cannot_be_are_refused_with_their_line(
    kit: Kit, panel: Panel, tmp_path: Path, changes: dict[str, str], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        read_ratings(edited(panel(tmp_path / "mushra.csv", kit, listeners=1), **changes), kit)


def test_files_of_other_kinds_are_refused(kit: Kit, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("name,score\nx,1\n")
    (tmp_path / "b.csv").write_text("WorkerId,Input.Q0,Answer.Q0\n")
    (tmp_path / "c.csv").write_text("listener,clip,rating\nx,item01_S1.wav\n")
    (tmp_path / "d.csv").write_text("listener,clip,rating\n")
    messages = {
        "a": "are those of neither", "b": "design acr; the exported one is mushra", "c": "line 2: it has fewer cells",
        "d": "holds no answers", "e": "cannot be read",
    }  # fmt: skip
    for name, message in messages.items():
        with pytest.raises(UsageError, match=message):
            read_ratings(tmp_path / f"{name}.csv", kit)


def test_crowd_ratings(heard: Run, tmp_path: Path) -> None:
    kit, _ = export(heard, "acr", tmp_path / "crowd", count=3)
    lines = ["WorkerId,accept,Input.Q0,Answer.Q0,Input.Q1,Answer.Q1,Input.TP,Answer.TP"]
    for worker in range(3):
        for item in kit.items:
            lines += [
                f"w{worker},{'01'[worker < 2]},https://x/{item}_S{k}.wav,{k},https://x/gold%20clip.wav,5,https://x/trap.wav,1"
                for k in (1, 2, 3)
            ]
    (tmp_path / "batch.csv").write_text("\n".join(lines) + "\n")
    run, notes = collect(kit, [tmp_path / "batch.csv"], tmp_path / "run")
    assert notes[1:] == [
        "18 answers are about clips outside this test, such as gold and trapping clips.",
        "9 assignments that the P.808 toolkit did not accept are left out.",
    ]
    means = run.rows.groupby("codec")["value"].mean()
    assert {kit.systems[f"S{k}"]: float(k) for k in (1, 2, 3)} == means.to_dict()
    assert run.provenance.metrics["acr"].label == "MOS (ACR)"


def test_forced_choices(heard: Run, tmp_path: Path) -> None:
    kit, _ = export(heard, "abx", tmp_path / "pairs", count=3)
    head = "session_test_id,listener,trial_id,choice_reference,choice_non_reference,choice_answer,choice_comment"
    lines = [
        f'pairs,p{n},{item},reference,S{k},{"correct" if n < k else "incorrect"},"two\nlines"'
        for n in range(3) for item in kit.items for k in (1, 2, 3)
    ]  # fmt: skip
    (tmp_path / "paired_comparison.csv").write_text("\n".join([head, *lines]) + "\n")
    run, _ = collect(kit, [tmp_path / "paired_comparison.csv"], tmp_path / "run")
    means = run.rows.groupby("codec")["value"].mean()
    assert means.to_dict() == pytest.approx({kit.systems[f"S{k}"]: k / 3 for k in (1, 2, 3)})


def test_several_files_are_one_panel_and_none_counts_twice(kit: Kit, panel: Panel, tmp_path: Path) -> None:
    whole = panel(tmp_path / "mushra.csv", kit, listeners=4)
    lines = pd.read_csv(whole)
    for place, part in enumerate((lines[lines["listener"] < "p2"], lines[lines["listener"] >= "p2"])):
        part.to_csv(tmp_path / f"{place}.csv", index=False)
    parts = [tmp_path / "0.csv", tmp_path / "1.csv"]
    both, one = (collect(kit, files, tmp_path / str(len(files)))[0] for files in (parts, [whole]))
    pd.testing.assert_frame_equal(both.rows, one.rows)
    with pytest.raises(UsageError, match="both contain p0's ratings of item01"):
        collect(kit, [whole, parts[0]], tmp_path / "twice")
