"""Plots and the page: whole, self-contained, the same every time; and, in a real browser, alive."""

import json
import queue
import re
import shutil
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from urllib.parse import unquote

import pytest

from evalkit.cli import main
from evalkit.errors import UsageError
from evalkit.reports.listening import choose
from evalkit.reports.page import build_page
from evalkit.results.run import Run


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
    assert "Left out, since the page would grow too large: u" in page
    assert 0 < page.count('class="play"') < 12


def test_a_page_without_audio_says_how_to_keep_it(run: Run, plotless: None) -> None:
    shutil.rmtree(run.path / "audio" / "reference")
    assert "originals were not kept" in build_page([run], worst=1, chance=0)
    shutil.rmtree(run.path / "audio")
    page = build_page([run])
    assert "run --save-audio" in page and 'class="play"' not in page


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


# --- in a browser ------------------------------------------------------------------------------------------------

DRIVE = """<script>
const said = {};
const heads = [...document.querySelector("table.sortable").tHead.rows[0].cells];
const head = heads.find((cell) => cell.textContent.startsWith("PESQ"));
const first = () => document.querySelector("table.sortable tbody tr td").textContent;
head.querySelector("button").click();
said.descending = first();
head.querySelector("button").click();
said.ascending = first();
said.sort = head.getAttribute("aria-sort");
const [original, decoded] = document.querySelectorAll(".play");
const until = async (done) => { while (!done()) await new Promise((later) => setTimeout(later, 20)); };
(async () => {
  original.click();
  await until(() => audio.error || audio.currentTime > 0.1);
  said.playing = original.getAttribute("aria-pressed");
  said.time = audio.currentTime;
  decoded.click();
  await until(() => audio.error || (audio.currentTime > said.time && decoded.getAttribute("aria-pressed") === "true"));
  said.other = [original.getAttribute("aria-pressed"), decoded.getAttribute("aria-pressed")];
  said.place = audio.currentTime;
  said.bar = bar.hidden ? "" : bar.textContent.trim();
  said.error = audio.error ? audio.error.message : "";
  new Image().src = "http://127.0.0.1:PORT/?" + encodeURIComponent(JSON.stringify(said));
})();
</script>"""
"""What a person does: sorts twice, plays the original, changes to a decoded version."""


@pytest.mark.slow
def test_in_chromium_the_table_sorts_and_players_play(run: Run, tmp_path: Path) -> None:
    browser = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if browser is None:
        pytest.skip("no Chromium on this machine")
    heard: queue.Queue[str] = queue.Queue()

    class Listener(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            heard.put(unquote(self.path.partition("?")[2]))

        def log_message(self, *words: object) -> None: ...

    server = HTTPServer(("127.0.0.1", 0), Listener)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    page = tmp_path / "report.html"
    driven = DRIVE.replace("PORT", str(server.server_port)) + "</body>"
    page.write_text(build_page([run]).replace("</body>", driven))
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--autoplay-policy=no-user-gesture-required"]
    flags += ["--remote-debugging-port=0", f"--user-data-dir={tmp_path / 'profile'}"]
    chromium = subprocess.Popen([browser, *flags, page.as_uri()], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        found = json.loads(heard.get(timeout=120))
    finally:
        chromium.terminate()
        chromium.wait(30)
        server.shutdown()
    assert (found["descending"], found["ascending"], found["sort"]) == ("opus@12k", "codec<2>@1.2k", "ascending")
    assert found["error"] == "" and found["playing"] == "true" and found["time"] > 0.1
    assert found["other"] == ["false", "true"] and found["place"] > found["time"], (
        "the second goes on where the first was"
    )
    assert "codec<2>@1.2k: u00" in found["bar"]
