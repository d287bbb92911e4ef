"""The page: whole, self-contained, the same every time; and, in a real browser, alive."""

import base64
import gzip
import io
import json
import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import scipy.stats
import soundfile

from evalkit.cli import main
from evalkit.errors import UsageError
from evalkit.reports import page as page_module
from evalkit.reports.listening import choose
from evalkit.reports.page import build_page
from evalkit.reports.pairing import build_pairing
from evalkit.reports.plots import all_plots
from evalkit.results.pairing import Pairing
from evalkit.results.rows import CLEAN, Row
from evalkit.results.run import Run, read_run
from evalkit.results.run_directory import RunWriter
from evalkit.soundfiles import read
from evalkit.stats import Settings

from .browser import drive, in_a_browser
from .conftest import METRICS, RATE


@pytest.fixture
def run(run_with_audio: Run) -> Run:
    return run_with_audio


# --- the page ----------------------------------------------------------------------------------------------------


def test_the_worst_of_each_codec_and_some_at_random(run: Run) -> None:
    chosen = choose(run.rows, "pesq-wb", "up", worst=2, chance=3)
    assert list(chosen)[:2] == ["u00", "u01"] and chosen["u00"].count("among the worst of") == 3
    assert list(chosen.values())[2:] == ["at random"] * 3
    assert chosen == choose(run.rows, "pesq-wb", "up", worst=2, chance=3)
    assert list(choose(run.rows, "pesq-wb", "down", worst=1, chance=0)) == ["u11"]


@pytest.fixture
def plotless(monkeypatch: pytest.MonkeyPatch) -> None:
    """Drawing takes most of a page's time."""
    monkeypatch.setattr("evalkit.reports.page.all_plots", lambda runs, settings: iter(()))


def test_a_page_is_one_file_without_network(run: Run) -> None:
    page = build_page([run], "A <title>")
    assert not re.findall(r'(?:src|href)="(?!data:)', page), "everything is inside"
    assert "<title>A &lt;title&gt;</title>" in page and "codec&lt;2&gt;@1.2k" in page and "codec<2>" not in page
    clips = json.loads(re.findall(r'id="clips">(.*?)</script>', page)[0])
    assert len(clips) == page.count('class="play"') == 6 * 4, "2 worst and 4 random, each with its original"
    assert all(clip.startswith("data:audio/flac;base64,") for clip in clips.values())
    assert page.count("data:image/svg+xml") == 6


def test_the_same_run_gives_the_same_page(run: Run, plotless: None) -> None:
    assert build_page([run], worst=1, chance=0) == build_page([run], worst=1, chance=0)


def test_a_page_keeps_to_its_budget(run: Run, plotless: None) -> None:
    page = build_page([run], chance=1, budget=300_000)
    assert "Left out to limit the size of the page: u" in page
    assert 0 < page.count('class="play"') < 12


def test_a_page_without_audio_says_how_to_keep_it(run: Run, plotless: None) -> None:
    shutil.rmtree(run.path / "audio" / "reference")
    assert "did not keep the originals" in build_page([run], worst=1, chance=0)
    shutil.rmtree(run.path / "audio")
    page = build_page([run])
    assert "run --save-audio" in page and 'class="play"' not in page


def test_a_page_says_whether_recordings_belong_to_their_references(tmp_path: Path, plotless: None) -> None:
    sound = Pairing(0.0, 1, 0.0, 0.99, 0.98, 0.0, 0.5, 8000.0, 8000.0)
    late = replace(sound, lag_ms=20.0)
    pairings = {("late", CLEAN, name): late for name in "abcdefg"} | {("whole", "noise", "a"): sound}
    with RunWriter(tmp_path / "run", ["late", "whole"], {"metrics": METRICS, "dataset": {"name": "set"}}) as writer:
        writer.add(Row(codec, "set", name, "mel", 0.1) for codec, _, name in pairings)
        writer.add_pairings(pairings)
    run = read_run(tmp_path / "run")
    first, whole = build_pairing([run]).rows
    assert [cell.text for cell in first[:-1]] == ["late", "set", "7", "7", "+20.0", "+0.0", "0", "0.99", "0.98"]
    assert first[-1].text.startswith("a: 20.0 ms late; b: 20.0 ms late; ") and first[-1].text.endswith("and 2 more")
    assert [cell.text for cell in whole[1:5]] == ["set (noise)", "1", "0", "+0.0"] and whole[-1].text == ""
    page = build_page([run])
    assert "Are recordings paired with the right references?" in page and "a: 20.0 ms late; b:" in page
    packed = gzip.decompress(base64.b64decode(re.findall(r'id="rowdata">(.*?)</script>', page)[0]))
    assert json.loads(packed)["words"]["pairing"] == ["20.0 ms late", ""]


def test_a_page_of_a_run_that_checked_no_pairs_says_nothing_of_them(run: Run, plotless: None) -> None:
    page = build_page([run])
    assert build_pairing([run]).rows == () and "paired with the right references" not in page
    packed = gzip.decompress(base64.b64decode(re.findall(r'id="rowdata">(.*?)</script>', page)[0]))
    assert json.loads(packed)["columns"] == ["codec", "dataset", "utterance", "language"]


def test_the_commands(run: Run, tmp_path: Path, plotless: None, capsys: pytest.CaptureFixture[str]) -> None:
    assert (
        main(["report", str(run.path), "-o", str(tmp_path / "out" / "report.html"), "--metric", "mel", "--random", "0"])
        == 0
    )
    assert "by Mel" in (tmp_path / "out" / "report.html").read_text()
    assert main(["report", str(run.path), "-o", str(tmp_path / "r.html"), "--metric", "stoi"]) == 2
    assert "no run has the metric stoi" in capsys.readouterr().err
    assert main(["plot", str(run.path), "--output", str(tmp_path / "plots"), "--format", "png"]) == 0
    assert len(capsys.readouterr().out.split()) == 6 == len(list((tmp_path / "plots").glob("*.png")))
    with pytest.raises(UsageError, match="no run has the metric"):
        build_page([run], metric="gone")


def test_a_damaged_file_costs_its_own_clip_and_is_named(run: Run, plotless: None) -> None:
    (run.path / "audio" / "opus@6k" / "u00.wav").write_bytes(b"RIFF")
    page = build_page([run], worst=1, chance=0)
    clips = json.loads(re.findall(r'id="clips">(.*?)</script>', page)[0])
    assert len(clips) == 3, "the original and the two other codecs"
    assert "Left out because the file cannot be read" in page and "opus@6k/u00.wav" in page


def test_clips_lose_nothing_and_share_one_gain(run: Run, plotless: None) -> None:
    page = build_page([run], worst=1, chance=0)
    clips = json.loads(re.findall(r'id="clips">(.*?)</script>', page)[0])
    wavs = {}
    for key, clip in clips.items():
        wavs[key], rate = soundfile.read(io.BytesIO(base64.b64decode(clip.partition(",")[2])))
        assert rate == RATE
    saved = read(run.path / "audio" / "reference" / "u00.wav").wav
    assert np.allclose(wavs["0"], saved, atol=1 / 32767)
    for name, key in (("opus@6k", "1"), ("opus@12k", "2")):
        assert np.allclose(wavs[key], read(run.path / "audio" / name / "u00.wav").wav, atol=1 / 32767)


def test_codecs_stand_in_one_order_everywhere(run: Run) -> None:
    page = build_page([run], worst=1, chance=0)
    names = [name.replace("<", "&lt;").replace(">", "&gt;") for name in run.rows["codec"].drop_duplicates()]
    tables = re.findall(r"<table.*?</table>", page, re.DOTALL)
    rows = re.findall(r'<tr><td class="words" data-value="([^"]*)">', tables[0])
    heads = re.findall(r'<th scope="col"><button type="button">([^<]*)', tables[1])
    assert rows == heads == names
    figures = [figure for name, figure in all_plots([run]) if name.endswith("distribution")]
    assert [tick.get_text() for tick in figures[0].axes[0].get_yticklabels()] == list(run.rows["codec"].unique())


def test_pictures_say_in_words_what_they_show(run: Run) -> None:
    page = build_page([run], worst=1, chance=0)
    assert page.count("<img ") == len(re.findall(r'<img alt="[^"]{20,}"', page)) == 6 + 4
    assert "mel spectrogram of original: u00" in page and "opus@6k 2.550 at 6.02 kbit/s" in page


def unpacked(page: str) -> dict[str, Any]:
    packed = re.findall(r'id="rowdata">(.*?)</script>', page)[0]
    content: dict[str, Any] = json.loads(gzip.decompress(base64.b64decode(packed)))
    return content


def test_all_rows_are_in_the_page(run: Run, plotless: None) -> None:
    content = unpacked(build_page([run], worst=1, chance=0))
    assert content["metrics"] == ["pesq-wb", "mel"] and content["words"]["language"] == ["en", "de"]
    codec, _, utterance, _, pesq, mel = content["lines"]
    assert len(codec) == 36 and content["words"]["codec"] == list(run.rows["codec"].unique())
    value = run.rows.set_index(["codec", "utterance", "metric"])["value"]
    for place in (0, 17, 35):
        key = content["words"]["codec"][codec[place]], content["words"]["utterance"][utterance[place]]
        assert pesq[place] == pytest.approx(value[(*key, "pesq-wb")], abs=1e-4)
        assert mel[place] == pytest.approx(value[(*key, "mel")], abs=1e-4)


def test_failures_are_told_by_reason_and_are_no_numbers(run: Run, plotless: None) -> None:
    failed = (
        (run.rows["codec"] == "opus@6k") & (run.rows["metric"] == "mel") & run.rows["utterance"].isin(["u01", "u02"])
    )
    rows = run.rows.assign(value=run.rows["value"].mask(failed), reason=run.rows["reason"].mask(failed, "silent <b>"))
    page = build_page([Run(run.path, rows, run.provenance)], worst=1, chance=0)
    section = page[page.index('id="failures"') :]
    assert "2 of 75 rows have no value" in section and "silent &lt;b&gt;" in section and "u01, u02" in section
    content = unpacked(page)
    assert content["lines"][-1].count(None) == 2
    assert "Every row has a value" in build_page([run], worst=1, chance=0)


def test_many_rows_make_a_small_page(run: Run) -> None:
    """40,000 rows: 5 codecs, 4 metrics, 2,000 utterances."""
    rng = np.random.default_rng(0)
    codecs, names = [f"codec@{i}k" for i in range(1, 6)], [f"utterance-{i:04}" for i in range(2_000)]
    metrics = {f"m{i}": METRICS["pesq-wb"] | {"label": f"M{i}"} for i in range(4)}
    index = pd.MultiIndex.from_product([codecs, names, list(metrics)], names=["codec", "utterance", "metric"])
    rows = pd.DataFrame({"value": rng.normal(3, 0.5, len(index)).round(3)}, index=index).reset_index()
    rows = rows.assign(dataset="set", condition="clean", bitrate_kbps=1.0, language="en", speaker=None, reason=None)
    big = Run(run.path, rows.astype({"codec": "string", "utterance": "string"}), run.provenance.from_json(
        {"metrics": metrics, "dataset": {"name": "set"}, "state": "finished"}
    ))  # fmt: skip
    page = build_page([big], settings=Settings(interval="none"))
    assert len(page) < 1_000_000


def test_many_failures_make_a_short_list(run: Run, plotless: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Reasons that name the file are one; of all others some are told, and how many there are."""
    rows = run.rows
    named = "/data/" + rows["utterance"] + ".wav: the file is empty"
    rows = rows.assign(value=np.nan, reason=named.where(rows["metric"] == "mel", "reason " + rows["utterance"]))
    failed = Run(run.path, rows, run.provenance)
    page = build_page([failed], worst=1, chance=0)
    section = page[page.index('id="failures"') : page.index('id="provenance"')]
    codecs, utterances = (rows[rows["metric"] == "mel"][key].nunique() for key in ("codec", "utterance"))
    assert section.count("/data/*.wav: the file is empty") == 2 * codecs  # as text, and to sort by
    assert section.count(">reason u") >= utterances and "more reasons" not in section
    monkeypatch.setattr(page_module, "KINDS", 5)
    page = build_page([failed], worst=1, chance=0)
    section = page[page.index('id="failures"') : page.index('id="provenance"')]
    assert section.count("<tr>") == 6 and "more reasons are in rows.parquet" in section


# --- in a browser ------------------------------------------------------------------------------------------------


@pytest.mark.slow
@in_a_browser
def test_in_a_browser_the_table_sorts_and_players_keep_their_place(run: Run, plotless: None, tmp_path: Path) -> None:
    """Sorts twice, plays the original, changes to a codec and, by the bar, back."""
    script = """
    const heads = [...document.querySelector("table.sortable").tHead.rows[0].cells];
    const head = heads.find((cell) => cell.textContent.startsWith("PESQ"));
    const first = () => document.querySelector("table.sortable tbody tr td").textContent;
    head.querySelector("button").click();
    said.descending = first();
    head.querySelector("button").click();
    said.ascending = first();
    said.sort = head.getAttribute("aria-sort");
    document.getElementById("tab-listen").click();
    const [original, decoded] = document.querySelectorAll(".play");
    original.click();
    await until(() => player.error || player.place > 0.1);
    said.playing = original.getAttribute("aria-pressed");
    said.time = player.place;
    decoded.click();
    await until(() => player.error || (player.clip === decoded.dataset.clip && player.place > said.time));
    said.other = [original.getAttribute("aria-pressed"), decoded.getAttribute("aria-pressed")];
    said.place = player.place;
    said.bar = bar.hidden ? "" : bar.textContent.trim();
    originalButton.click();
    await until(() => player.clip === original.dataset.clip);
    said.back = player.place;
    await until(() => !player.playing);
    said.ended = original.getAttribute("aria-pressed");
    said.playerError = player.error;
    const play = document.querySelector(".play");
    said.under = Number(getComputedStyle(bar).zIndex) > Number(getComputedStyle(play, "::before").zIndex);
    """
    found = drive(build_page([run]), script, tmp_path)
    assert (found["descending"], found["ascending"], found["sort"]) == ("opus@12k", "codec<2>@1.2k", "ascending")
    assert found["playerError"] == "" and found["playing"] == "true" and found["time"] > 0.1
    assert found["other"] == ["false", "true"] and found["place"] > found["time"], "it goes on where the first was"
    assert "opus@6k: u00" in found["bar"] and found["back"] >= found["place"] and found["ended"] == "false"
    assert found["under"], "the bar covers the icons that scroll below it"


@pytest.mark.slow
@in_a_browser
def test_in_a_browser_a_blind_test_ends_in_a_score_sheet(run: Run, plotless: None, tmp_path: Path) -> None:
    script = """
    document.getElementById("tab-abx").click();
    const find = (name) => document.querySelector(`[data-abx=${name}]`);
    said.first = [find("a").value, find("b").value];
    find("b").value = find("a").value;
    find("start").click();
    said.trouble = find("trouble").textContent;
    find("b").selectedIndex = 1;
    find("count").value = 4;
    find("start").click();
    said.before = find("isa").disabled;
    for (let trial = 0; trial < 4; trial += 1) {
      find("hearx").click();
      await until(() => player.playing);
      find("heara").click();
      await until(() => !find("isa").disabled);
      said.shown = document.getElementById("bar").hidden;
      find("isa").click();
    }
    said.verdict = find("verdict").textContent;
    const rows = [...find("trials").rows].map((row) => [...row.cells].map((cell) => cell.textContent));
    said.rows = rows;
    """
    found = drive(build_page([run]), script, tmp_path)
    assert found["first"] == ["original", "opus@6k"] and "two different" in found["trouble"] and found["before"]
    assert found["shown"], "the bar with names stays away"
    rows = found["rows"]
    assert len(rows) == 4 and all(row[3] == "original" for row in rows)
    right = sum(row[2] == "original" for row in rows)
    assert [row[4] == "right" for row in rows] == [row[2] == "original" for row in rows]
    chance = scipy.stats.binom.sf(right - 1, 4, 0.5)
    assert (
        found["verdict"].startswith(f"{right} of 4 right")
        and f"probability {chance:#.2g}".rstrip("0").rstrip(".") in found["verdict"]
    )


@pytest.mark.slow
@in_a_browser
def test_in_a_browser_rows_are_sorted_filtered_and_paged(run: Run, plotless: None, tmp_path: Path) -> None:
    script = """
    document.getElementById("tab-rows").click();
    await until(() => document.querySelector("#rowtable tbody tr"));
    const cells = (i) => [...document.querySelectorAll("#rowtable tbody tr")].map((row) => row.cells[i].textContent);
    const choose = (name, value) => {
      const input = document.querySelector(`[data-rows=${name}]`);
      input.value = value;
      input.dispatchEvent(new Event("input"));
    };
    said.all = document.getElementById("rowcount").textContent;
    choose("codec", "opus@6k");
    choose("language", "de");
    said.some = cells(2);
    document.querySelectorAll("#rowtable th button")[4].click();
    said.sorted = cells(4).map(Number);
    choose("text", "u03");
    said.one = cells(2);
    document.getElementById("theme").click();
    said.theme = document.documentElement.dataset.theme;
    said.background = getComputedStyle(document.body).backgroundColor;
    said.hidden = document.getElementById("results").hidden;
    """
    found = drive(build_page([run]), script, tmp_path)
    assert found["all"] == "1 to 36 of 36" and found["some"] == [f"u{i:02}" for i in range(1, 12, 2)]
    assert found["sorted"] == sorted(found["sorted"], reverse=True) and found["one"] == ["u03"]
    assert found["theme"] == "dark" and found["background"] == "rgb(20, 24, 29)" and found["hidden"]


@pytest.mark.slow
@in_a_browser
def test_in_a_browser_originals_stay_beside_codecs_on_a_phone(run: Run, plotless: None, tmp_path: Path) -> None:
    page = (
        build_page([run]).replace("<body>", '<body style="width:390px">').replace("max-width: 40rem", "min-width: 1px")
    )
    script = """
    document.getElementById("tab-listen").click();
    const row = document.querySelector(".listen tbody tr");
    row.scrollLeft = 200;
    await until(() => row.scrollLeft > 50);
    const box = (name) => row.querySelector(name).getBoundingClientRect();
    said.original = [box(".original").left - row.getBoundingClientRect().left, box(".original").width];
    said.wide = document.documentElement.scrollWidth;
    said.labels = [...row.querySelectorAll("td")].map((cell) => cell.dataset.label ?? "");
    """
    found = drive(page, script, tmp_path)
    left, width = found["original"]
    assert abs(left) < 2 and width > 100, "it did not move with the others"
    assert found["labels"] == ["", "original", "opus@6k", "opus@12k", "codec<2>@1.2k"]
