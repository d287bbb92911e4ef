"""A mirror: other addresses, and sha256 that stand in for recorded ones."""

from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import pytest

from evalkit.cli import main
from evalkit.environment import downloads
from evalkit.environment.downloads import File
from evalkit.environment.mirror import NONE, VARIABLE, Mirror, mirror
from evalkit.errors import MissingError, UsageError
from evalkit.metrics import squim
from evalkit.pipeline.describe import notes_on_weights

CONTENT = b"weights of a mirror"
DIGEST = sha256(CONTENT).hexdigest()
URL = "https://upstream.example/files/a.bin"


@pytest.fixture(autouse=True)
def own_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("EVALKIT_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    (tmp_path / "a.bin").write_bytes(CONTENT)
    return tmp_path


def name_mirror(folder: Path, text: str, monkeypatch: pytest.MonkeyPatch, name: str = "mirror.yaml") -> None:
    (folder / name).write_text(text)
    monkeypatch.setenv(VARIABLE, str(folder / name))


def test_without_one_nothing_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    assert mirror() == NONE and mirror().address(URL) == URL
    file = File("a.bin", "MIT", 0, url=URL, sha256="0" * 64)
    assert file.pin == "0" * 64 and file.replaced == ""


def test_the_longest_beginning_decides_where_to_ask() -> None:
    found = Mirror("m", {"https://a/": "http://x/", "https://a/b/": "file:///y/"}, {})
    assert found.address("https://a/b/c") == "file:///y/c" and found.address("https://a/c") == "http://x/c"
    assert found.address("https://b/a/") == "https://b/a/"


def test_a_file_comes_from_the_mirror_and_is_held_to_its_sha256(
    own_places: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    released = File("a.bin", "MIT", 0, url=URL, kept="a.bin", sha256="0" * 64)
    address = f"addresses: {{'https://upstream.example/files/': '{own_places.as_uri()}/'}}\n"
    name_mirror(own_places, address, monkeypatch, "one.yaml")
    with pytest.raises(MissingError, match=f"the download has the sha256 {DIGEST}, not {'0' * 64}"):
        released.fetch(lambda name, count: None)
    name_mirror(own_places, f"{address}sha256: {{'{URL}': {DIGEST}}}\n", monkeypatch)
    assert released.fetch(lambda name, count: None).read_bytes() == CONTENT
    assert (
        released.replaced == "mirror.yaml"
        and "checked against the sha256 in mirror.yaml" in downloads.describe([released])[0]
    )
    assert replace(released, sha256=DIGEST).replaced == ""  # the same file: nothing is replaced


def test_a_run_says_which_files_of_its_metrics_nothing_or_a_mirror_pins(
    own_places: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (unpinned,) = notes_on_weights(["sqmos", "squim-pesq", "pesq-wb"], ["en"])
    assert unpinned.startswith("sqmos: the sha256 of squim_subjective_bvcc_daps.pth is not recorded")
    file = squim.SQUIM_PESQ.files[0]
    name_mirror(own_places, f"sha256: {{'{file.url}': {DIGEST}}}\n", monkeypatch)
    (replaced,) = notes_on_weights(["squim-pesq", "squim-stoi"], ["en"])
    assert replaced == (
        f"squim-pesq, squim-stoi: {file} comes from a mirror and was checked against the sha256 in mirror.yaml, "
        "not the recorded one."
    )


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[]", "must have only the keys addresses and sha256"),
        ("sha: {}", "must have only the keys addresses and sha256"),
        ("sha256: {a: b}", "the value of a is not a sha256"),
        ("addresses: {a: 1}", "map text to text"),
        ("addresses: {1: a}", "map text to text"),
        ("{", "cannot be read"),
    ],
)
def test_a_damaged_one_is_refused(
    text: str, problem: str, own_places: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    name_mirror(own_places, text, monkeypatch, f"{abs(hash(text))}.yaml")
    with pytest.raises(UsageError, match=problem):
        mirror()
    assert main(["fetch", "sqmos"]) == 2 and VARIABLE in capsys.readouterr().err
