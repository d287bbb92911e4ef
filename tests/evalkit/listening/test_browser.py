"""An exported test in a real browser, under webMUSHRA itself: somebody rates every page, and the answers are imported.

webMUSHRA is no part of this project: WEBMUSHRA names a checkout of github.com/audiolabs/webMUSHRA. Its
service/write.php needs PHP; `write_csv` is what it writes, by its source at 07130f2.
"""

import csv
import json
import os
import shutil
import subprocess
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from queue import Queue
from typing import Any

import pytest

from evalkit.listening.collect import collect
from evalkit.listening.export import export
from evalkit.results.run import Run

WEBMUSHRA = os.environ.get("WEBMUSHRA", "")
BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not (WEBMUSHRA and BROWSER), reason="WEBMUSHRA names no checkout, or there is no Chromium"),
]

LISTENER = """
<script>
const until = async (done) => { while (!done()) await new Promise((later) => setTimeout(later, 50)); };
const report = (what) => fetch("/report", {method: "POST", body: JSON.stringify(what)});
addEventListener("error", (event) => report({error: event.message}));
addEventListener("load", async () => {
  try {
    await until(() => window.pageManager && pageManager.getCurrentPage() && !$(".ui-loader").is(":visible"));
    const errors = () => errorHandler.getErrors();
    while (!document.querySelector("#send_results")) {
      const page = pageManager.getCurrentPage();
      if (page instanceof MushraPage) {
        page.btnCallbackReference();
        $(".scales").each((place, slider) => {
          page.btnCallbackCondition(place);
          $(slider).val(slider.name === "reference" ? 100 : 10 * (slider.name.charCodeAt(slider.name.length - 1) % 10));
        });
        page.mushraAudioControl.stop();
        if (PAUSE) await report({page: page.pageConfig.id}), await new Promise(() => 0);
      }
      if (page instanceof PairedComparisonPage) {
        $("#radio-choice-a").prop("checked", true).trigger("change");
        if (PAUSE) await report({page: page.pageConfig.id}), await new Promise(() => 0);
      }
      pageManager.nextPage();
      await new Promise((later) => setTimeout(later, 100));
    }
    $("#listener").val("p1");
    await until(() => !$("#send_results").is("[disabled]"));
    $("#send_results").click();
    await report({errors: errors()});
  } catch (error) { await report({error: error.stack}); }
});
</script></body>"""


def write_csv(session: dict[str, Any], path: Path) -> Path:
    """What service/write.php makes of the `session` that webMUSHRA sends."""
    person = session["participant"]
    with path.open("w", newline="") as file:
        lines = csv.writer(file)
        if session["trials"][0]["type"] == "mushra":
            lines.writerow(
                ["session_test_id", *person["name"], "session_uuid", "trial_id", "rating_stimulus", "rating_score",
                 "rating_time", "rating_comment"]
            )  # fmt: skip
        else:
            lines.writerow(
                ["session_test_id", *person["name"], "trial_id", "choice_reference", "choice_non_reference",
                 "choice_answer", "choice_time", "choice_comment"]
            )  # fmt: skip
        for trial in session["trials"]:
            for one in trial["responses"]:
                head = [session["testId"], *person["response"]]
                if trial["type"] == "mushra":
                    head += [session["uuid"], trial["id"], one["stimulus"], one["score"]]
                else:
                    head += [trial["id"], one["reference"], one["nonReference"], one["answer"]]
                lines.writerow([*head, one["time"], one.get("comment", "")])
    return path


def rate(folder: Path, test: str, profile: Path, picture: Path | None = None) -> tuple[dict[str, Any], dict[str, Any]]:
    """What a listener who goes through the test `test` of the webMUSHRA in `folder` reports, and the session that is
    sent; with `picture`, only the first page with stimuli, as a PNG."""
    said: Queue[dict[str, Any]] = Queue()
    sent: Queue[dict[str, Any]] = Queue()

    class Server(SimpleHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"])).decode()
            if self.path == "/report":
                said.put(json.loads(body))
            else:
                sent.put(json.loads(body.partition("=")[2]))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *words: object) -> None: ...

    index = folder / "index.html"
    script = LISTENER.replace("PAUSE", "true" if picture else "false")
    index.write_text(index.read_text().replace("</body>", script))
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Server, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--window-size=1100,900"]
    flags += ["--autoplay-policy=no-user-gesture-required", f"--user-data-dir={profile}"]
    flags += [f"--screenshot={picture}", "--virtual-time-budget=30000"] if picture else ["--remote-debugging-port=0"]
    address = f"http://127.0.0.1:{server.server_port}/index.html?config={test}.yaml"
    browser = subprocess.Popen([str(BROWSER), *flags, address], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        found = said.get(timeout=240)
        if picture:
            browser.wait(120)
            return found, {}
        return found, {} if "error" in found else sent.get(timeout=60)
    finally:
        browser.terminate()
        browser.wait(30)
        server.shutdown()


@pytest.mark.parametrize("design", ["mushra", "abx"])
def test_webmushra_shows_the_test_and_its_answers_come_back(heard: Run, tmp_path: Path, design: str) -> None:
    kit, _ = export(heard, design, tmp_path / "first", count=3)
    shutil.copytree(WEBMUSHRA, tmp_path / "web", ignore=shutil.ignore_patterns(".git"))
    shutil.copytree(tmp_path / "first" / "configs", tmp_path / "web" / "configs", dirs_exist_ok=True)
    found, session = rate(tmp_path / "web", kit.id, tmp_path / "profile")
    assert found == {"errors": []}
    assert session["testId"] == kit.id and session["participant"] == {"name": ["listener"], "response": ["p1"]}
    name = "mushra.csv" if design == "mushra" else "paired_comparison.csv"
    run, _ = collect(kit, [write_csv(session, tmp_path / name)], tmp_path / "run")
    assert set(run.rows["item"]) == {one.utterance for one in kit.items.values()} and set(run.rows["listener"]) == {
        "p1"
    }
    if design == "mushra":
        assert len(run.rows) == 3 * len(kit.stimuli)
        scores = run.rows.groupby("codec")["value"].agg(set).to_dict()
        assert scores.pop("pcm@hidden-reference") == {100.0}
        # Each slider was set by the last character of its stimulus' name.
        assert scores == {
            **{kit.systems[f"S{k}"]: {10.0 * (ord(str(k)) % 10)} for k in (1, 2, 3)},
            "anchor@3.5k": {10.0 * (ord("5") % 10)}, "anchor@7k": {10.0 * (ord("0") % 10)},
        }  # fmt: skip
    else:
        assert len(run.rows) == 9 and set(run.rows["value"]) <= {0.0, 1.0}
