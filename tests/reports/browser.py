"""A page in a real browser, driven by a script of its own: what a person does, and what it then sees."""

import json
import queue
import re
import shutil
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
in_a_browser = pytest.mark.skipif(BROWSER is None, reason="no Chromium on this machine")


def drive(page: str, script: str, folder: Path, width: int = 1280) -> dict[str, Any]:
    """What `script` puts into `said`, the body of an async function that runs at the end of the HTML `page`; it has
    `until(condition)`, which waits. An error of any script of the page stands in `said.error`."""
    found: queue.Queue[str] = queue.Queue()

    class Listener(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            found.put(unquote(self.path.partition("?")[2]))

        def log_message(self, *words: object) -> None: ...

    server = HTTPServer(("127.0.0.1", 0), Listener)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    early = (
        "<script>window.found = {error: ''}; addEventListener('error', (e) => { found.error += e.message; });</script>"
    )
    driver = f"""<script>(async () => {{
    const said = window.found;
    const until = async (done) => {{
      const end = Date.now() + 60_000;
      while (!done()) {{
        if (Date.now() > end) throw new Error(`waited in vain for ${{done}}`);
        await new Promise((later) => setTimeout(later, 20));
      }}
    }};
    try {{ {script} }} catch (error) {{ said.error += error.stack; }}
    new Image().src = "http://127.0.0.1:{server.server_port}/?" + encodeURIComponent(JSON.stringify(said));
    }})();</script></body>"""
    path = folder / "page.html"
    path.write_text(
        re.sub("<body.*?>", lambda body: body[0] + early, page, count=1).replace("</body>", driver), encoding="utf-8"
    )
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run"]
    flags += ["--autoplay-policy=no-user-gesture-required", f"--window-size={width},900"]
    flags += ["--remote-debugging-port=0", f"--user-data-dir={folder / 'profile'}"]
    chromium = subprocess.Popen(
        [str(BROWSER), *flags, path.as_uri()], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        answer: dict[str, Any] = json.loads(found.get(timeout=120))
    finally:
        chromium.terminate()
        chromium.wait(30)
        server.shutdown()
    error = answer.pop("error")
    assert error == "", f"{error}\n{answer}"
    return answer
