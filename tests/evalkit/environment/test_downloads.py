"""Files that are downloaded: found, verified, fetched, and what the doctor says of them."""

import fcntl
import hashlib
import json
import os
import sys
from collections.abc import Iterator
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import ClassVar

import pytest

from evalkit.baselines.lyra import FAMILY as LYRA
from evalkit.baselines.moss import FAMILY as MOSS
from evalkit.baselines.nanocodec import FAMILY as NANOCODEC
from evalkit.cli import main
from evalkit.datasets import DatasetLoader, mls44
from evalkit.environment import downloads, fetch
from evalkit.environment.downloads import File
from evalkit.environment.needs import codec_need, commands, metric_need
from evalkit.errors import MissingError, UsageError
from evalkit.metrics.load import load_metric

CONTENT = b"weights"
DIGEST = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture(autouse=True)
def own_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("HF_HUB_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name in ("HF_HOME", "TORCH_HOME", "EVALKIT_DATA"):
        monkeypatch.setenv(name, str(tmp_path / name))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    return tmp_path


def served(folder: Path, **more: object) -> File:
    """A file whose address is a local one."""
    source = folder / "served.bin"
    source.write_bytes(CONTENT)
    return File("served.bin", "CC0-1.0", len(CONTENT), url=source.as_uri(), kept="sub/served.bin", **more)  # type: ignore[arg-type]


def test_a_file_comes_with_its_progress_and_is_kept(own_places: Path) -> None:
    file = served(own_places, sha256=DIGEST)
    assert file.find() is None
    with pytest.raises(MissingError, match="is not on this machine"):
        file.open()
    told: list[tuple[str, int]] = []
    path = file.fetch(lambda name, count: told.append((name, count)))
    assert path.read_bytes() == CONTENT and path == file.open() == file.find()
    assert told == [("served.bin", len(CONTENT))]
    assert [p.name for p in path.parent.iterdir()] == ["served.bin"]  # nothing half done lies about
    (own_places / "served.bin").unlink()
    assert file.fetch(lambda name, count: None) == path


def test_a_file_that_is_not_the_pinned_one_is_refused(own_places: Path) -> None:
    wrong, right = served(own_places, sha256="0" * 64), served(own_places, sha256=DIGEST)
    with pytest.raises(MissingError, match=f"is not the pinned file: the download has the sha256 {DIGEST}"):
        wrong.fetch(lambda name, count: None)
    assert wrong.find() is None  # so that the next attempt downloads it anew
    path = right.fetch(lambda name, count: None)
    path.write_bytes(b"touched")
    with pytest.raises(MissingError, match=rf"{path} is not the pinned file: .* Delete it"):
        right.fetch(lambda name, count: None)
    assert path.read_bytes() == b"touched"  # not ours to delete: it was here before


class Server(BaseHTTPRequestHandler):
    """Serves BODY; ends the connection after `most` bytes, and does parts unless `parts` is off."""

    most, parts = 10**9, True
    asked: ClassVar[list[str | None]] = []

    def do_GET(self) -> None:
        wanted = self.headers.get("Range")
        self.asked.append(wanted)
        start = int(wanted.removeprefix("bytes=").removesuffix("-")) if wanted and self.parts else 0
        if start >= len(BODY):
            self.send_error(416)
            return
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(BODY) - 1}/{len(BODY)}")
        self.send_header("Content-Length", str(len(BODY) - start))
        self.end_headers()
        self.wfile.write(BODY[start : start + self.most])

    def log_message(self, *words: object) -> None:
        pass


BODY = bytes(range(256)) * 1000


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The address of a file of BODY."""
    monkeypatch.setattr(Server, "asked", [])
    with ThreadingHTTPServer(("127.0.0.1", 0), Server) as running:
        Thread(target=running.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{running.server_port}/served.bin"
        running.shutdown()


def test_a_download_that_broke_off_goes_on_where_it_was(
    own_places: Path, server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = File("served.bin", "CC0-1.0", len(BODY), url=server, kept="served.bin", sha256=sha256(BODY).hexdigest())
    told: list[int] = []
    monkeypatch.setattr(Server, "most", 100_000)
    for came in (100_000, 200_000):
        with pytest.raises(MissingError, match=f"ended after {came} of 256000 bytes: the same command resumes there"):
            file.fetch(lambda name, count: told.append(count))
        assert file.find() is None
    told.clear()
    path = file.fetch(lambda name, count: told.append(count))
    assert path.read_bytes() == BODY and sum(told) == len(BODY)
    assert Server.asked == [None, "bytes=100000-", "bytes=200000-"]
    assert [p.name for p in path.parent.iterdir()] == ["served.bin"]


@pytest.mark.parametrize("left", [b"wrong" * 1000, BODY, BODY + b"more"])
def test_what_an_earlier_try_left_never_spoils_the_file(left: bytes, own_places: Path, server: str) -> None:
    file = File("served.bin", "CC0-1.0", len(BODY), url=server, kept="served.bin", sha256=sha256(BODY).hexdigest())
    partial = own_places / "EVALKIT_DATA" / "served.bin.partial"
    partial.parent.mkdir()
    partial.write_bytes(left)
    for _ in range(2):
        try:
            path = file.fetch(lambda name, count: None)
        except MissingError as error:
            assert "is not the pinned file" in str(error) and file.find() is None and left.startswith(b"wrong")
    assert path.read_bytes() == BODY


def test_a_server_without_parts_is_asked_for_all_of_it(
    own_places: Path, server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Server, "parts", False)
    partial = own_places / "EVALKIT_DATA" / "served.bin.partial"
    partial.parent.mkdir()
    partial.write_bytes(BODY[:1000])
    file = File("served.bin", "CC0-1.0", len(BODY), url=server, kept="served.bin", sha256=sha256(BODY).hexdigest())
    assert file.fetch(lambda name, count: None).read_bytes() == BODY and Server.asked == ["bytes=1000-"]


def test_a_file_whose_sha256_is_not_known_is_never_pieced_together(own_places: Path, server: str) -> None:
    partial = own_places / "EVALKIT_DATA" / "served.bin.partial"
    partial.parent.mkdir()
    partial.write_bytes(b"of an older file")
    path = File("served.bin", "CC0-1.0", len(BODY), url=server, kept="served.bin").fetch(lambda name, count: None)
    assert path.read_bytes() == BODY and Server.asked == [None]


def test_two_downloads_of_one_file_do_not_mix(own_places: Path, server: str) -> None:
    partial = own_places / "EVALKIT_DATA" / "served.bin.partial"
    partial.parent.mkdir()
    with partial.open("ab") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(MissingError, match="another process is downloading"):
            File("served.bin", "CC0-1.0", 0, url=server, kept="served.bin").fetch(lambda name, count: None)


def test_what_cannot_be_downloaded_says_why(own_places: Path) -> None:
    gone = File("gone.bin", "CC0-1.0", 1, url=(own_places / "gone.bin").as_uri(), kept="gone.bin")
    with pytest.raises(MissingError, match=r"gone\.bin .* cannot be downloaded now"):
        gone.fetch(lambda name, count: None)
    assert not list((own_places / "EVALKIT_DATA").iterdir())


def test_without_a_network_it_says_what_to_copy_from_where_there_is_one(own_places: Path) -> None:
    file = File("model.pth", "MIT", 36_000_000, url="http://127.0.0.1:1/model.pth", kept="models/model.pth")
    with pytest.raises(MissingError, match=r"36\.0 MB, MIT\) cannot be downloaded: there is no network") as caught:
        file.fetch(lambda name, count: None)
    assert f"copy {downloads.data_folder() / 'models/model.pth'} from there" in str(caught.value)
    hub = File("model.safetensors", "MIT", 1, repository="who/what")
    assert str(hub._folder()).endswith("models--who--what")


def test_files_of_the_hub_are_found_where_it_keeps_them(own_places: Path) -> None:
    file = File("sub/model.bin", "MIT", 7, "who/what", "a" * 40)
    newest = File("sub/model.bin", "MIT", 7, "who/what")
    assert file.find() is None and newest.find() is None
    folder = own_places / "HF_HOME" / "hub" / "models--who--what"
    path = folder / "snapshots" / ("a" * 40) / "sub" / "model.bin"
    path.parent.mkdir(parents=True)
    path.write_bytes(CONTENT)
    assert file.find() == path and newest.find() is None
    (folder / "refs").mkdir()
    (folder / "refs" / "main").write_text("a" * 40)
    assert newest.find() == path


def test_a_digest_is_that_of_the_bytes(own_places: Path) -> None:
    """Another file under the same path, of the same size and with the same time, is another file."""
    path = own_places / "file"
    path.write_bytes(CONTENT)
    os.utime(path, (10**9, 10**9))
    assert downloads.sha256(path) == downloads.sha256(path) == DIGEST
    for replace in (lambda: path.write_bytes(b"WEIGHTS"), lambda: os.replace(_beside(path, b"wEIGHTS"), path)):
        replace()
        os.utime(path, (10**9, 10**9))
        assert downloads.sha256(path) == hashlib.sha256(path.read_bytes()).hexdigest() != DIGEST


def _beside(path: Path, content: bytes) -> Path:
    other = path.with_name("other")
    other.write_bytes(content)
    return other


def test_a_digest_is_remembered_in_this_process_only(own_places: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = own_places / "file"
    path.write_bytes(CONTENT)
    read: list[object] = []
    monkeypatch.setattr(downloads, "file_digest", lambda *given: read.append(given) or hashlib.file_digest(*given))
    assert downloads.sha256(path) == downloads.sha256(path) == DIGEST
    assert len(read) == 2  # what was written a moment ago may be written over without a trace
    monkeypatch.setattr(downloads, "SETTLED_NS", -1)
    assert downloads.sha256(path) == downloads.sha256(path) == DIGEST and len(read) == 3
    assert sorted(own_places.rglob("*")) == [path]


def test_the_command_fetches_metrics_and_data(
    own_places: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    some = DatasetLoader("mls44", mls44.load, files=(served(own_places, sha256=DIGEST),))
    monkeypatch.setattr(mls44, "LOADER", some)
    assert main(["fetch", "mls44", "si-sdr"]) == 0
    printed = capsys.readouterr()
    assert "sub/served.bin" in printed.out and "CC0-1.0" in printed.err
    assert main(["fetch", "daps"]) == 2
    assert "evalkit list datasets" in capsys.readouterr().err
    assert main(["fetch", "sqmoss"]) == 2
    unknown = "unknown codec, metric or dataset 'sqmoss'. Did you mean 'sqmos'? `evalkit list codecs|metrics|datasets`"
    assert unknown in capsys.readouterr().err
    assert main(["fetch", "sqmos", "--sha256", DIGEST]) == 2
    assert "is for a metric with one file that is code" in capsys.readouterr().err


def test_code_without_a_pin_is_fetched_and_then_refused_with_its_digest(own_places: Path) -> None:
    file = served(own_places, code=True)
    with pytest.raises(MissingError, match=DIGEST):
        list(fetch.fetch_files([file], lambda name, count: None))
    downloads.pin(file, DIGEST.upper())
    assert [path.read_bytes() for _, path in fetch.fetch_files([file], lambda name, count: None)] == [CONTENT]
    with pytest.raises(UsageError, match="is already recorded"):
        downloads.pin(served(own_places, sha256=DIGEST), "1" * 64)


def test_the_doctor_names_what_is_missing_with_size_license_and_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "--json"]) == 0
    rows = {row["what"]: row for row in json.loads(capsys.readouterr().out)}
    cer = rows["metric cer-mms"]
    assert cer["state"] in ("needs download", "needs extra") and cer["to download"] == "about 3.9 GB"
    assert "non-commercial" in cer["license"] and "evalkit fetch cer-mms" in cer["remedy"]
    assert rows["metric pesq-wb"]["state"] == "ready" and rows["data builtin"]["license"] == "CC0-1.0"
    unpinned = {what for what, row in rows.items() if row["state"] == "unpinned"}
    assert unpinned >= {"codec taae: weights", "codec neucodec: weights"} and "codec mimi: weights" not in unpinned
    assert rows["data mls44"]["state"] == "not here" and "evalkit fetch mls44" in rows["data mls44"]["remedy"]
    assert main(["doctor"]) == 0
    shown = capsys.readouterr().out
    metrics = [what.removeprefix("metric ").removesuffix(": weights") for what in rows if what.startswith("metric ")]
    assert [name for name in metrics if name not in shown] == []
    assert "evalkit fetch" in shown
    assert ("[models]" in shown) == any("[models]" in row["remedy"] for row in rows.values())


def test_the_doctor_says_what_was_not_compiled(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for found, state in ((object(), "ready"), (None, "not compiled")):
        monkeypatch.setattr("evalkit.environment.doctor.find_spec", lambda _, found=found: found)
        assert main(["doctor", "--json"]) == 0
        row = next(row for row in json.loads(capsys.readouterr().out) if row["what"] == "kernels of nanocodec")
        assert row["state"] == state and ("C compiler" in row["remedy"]) == (found is None)


def test_without_the_hubs_package_the_remedies_install_it_first(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    needs = [
        metric_need("secs-ecapa2", load_metric("secs-ecapa2")),
        codec_need(NANOCODEC, "0.6k"),
        codec_need(MOSS, "2k"),
    ]
    assert commands([need for need in needs if need]) == [
        "pip install 'nanocodec-evalkit[hub]'", "evalkit fetch secs-ecapa2 nanocodec@0.6k moss@2k"
    ]  # fmt: skip
    lyra = codec_need(LYRA, "6k")
    assert lyra and not lyra.extra  # its files are not on the hub
    assert main(["run", "--codec", "lfsc", "--limit", "1"]) == 3
    assert "nanocodec-evalkit[hub]" in capsys.readouterr().err


def test_fetch_says_where_there_is_nothing_to_download(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fetch", "pesq-wb", "builtin", "opus@6k"]) == 0
    expected = "pesq-wb: needs no download\nbuiltin: needs no download\nopus@6k: needs no weights\n"
    assert capsys.readouterr().out == expected


def test_a_metric_that_lacks_only_an_extra_is_not_listed_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyworld", None)
    need = metric_need("mcd-world-39", load_metric("mcd-world-39"))
    assert need and (need.extra, need.advice) == ("world", "")
