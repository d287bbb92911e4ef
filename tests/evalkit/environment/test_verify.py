"""`evalkit verify`: bytes, values of others, and recorded codes."""

import json
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
import soundfile
import yaml

from evalkit import plugins
from evalkit.cli import main
from evalkit.codecs import Codes, fingerprint
from evalkit.environment import verify
from evalkit.environment.verify import Check, verdict
from nanocodec import NanoCodec, checkpoint

MINI = "nanocodec@1.1k"


@pytest.fixture(autouse=True)
def own_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("EVALKIT_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("EVALKIT_MIRROR", "")
    return tmp_path


def mirrored(folder: Path, monkeypatch: pytest.MonkeyPatch, addresses: dict[str, Path], **sha256: str) -> None:
    path = folder / "mirror.yaml"
    known = {url: file.as_uri() for url, file in addresses.items()}
    path.write_text(yaml.safe_dump({"addresses": known, "sha256": sha256}))
    monkeypatch.setenv("EVALKIT_MIRROR", str(path))


def test_what_is_stated_can_be_looked_up() -> None:
    stated = verify.golden()
    assert {one["source"] for one in (*stated["metrics"], *stated["codecs"])} == set(stated["sources"])
    assert {one["metric"] for one in stated["metrics"]} <= set(plugins.names("metric"))
    for one in stated["codecs"]:
        name, _, rate = one["codec"].partition("@")
        if name in plugins.names("codec"):
            assert rate in plugins.load("codec", name).rates, one["codec"]
        assert ("fixture" in one) + ("codes" in one) + ("mean" in one) == 1
    for url in (one["url"] for pair in stated["pairs"].values() for one in pair.values()):
        assert url.split("/")[5:6] == ["c398480a4f3cc154c911693cea9960f62f9eede2"]


def test_the_built_in_model_computes_what_was_recorded(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", MINI]) == 0
    shown = capsys.readouterr().out
    assert "weights: agrees: those that this project ships: mini-1.1k.safetensors " in shown
    assert "these are the weights that this project ships; the output equals the record" in shown


def test_other_weights_are_not_those_that_this_project_ships(own_places: Path) -> None:
    checkpoint.save(NanoCodec.builtin(), own_places / "other.safetensors")  # the same, in other bytes
    weights = next(verify.verify(MINI, own_places / "other.safetensors"))
    assert weights.agrees is None and weights.found.startswith("not those that this project ships: other.safetensors")


def test_other_codes_are_told_from_recorded_ones(own_places: Path, capsys: pytest.CaptureFixture[str]) -> None:
    own = own_places / "mine.yaml"
    assert main(["verify", MINI, "--record", str(own)]) == 0
    written = yaml.safe_load(own.read_text())
    (known,) = written[MINI]
    assert known["codes_sha256"] in {one["codes_sha256"] for one in verify.fingerprints()[MINI]}
    known["codes_sha256"] = "0" * 64
    known["codes"]["en-01"][0] = [0] * verify.FRAMES
    verify._config.cache_clear()
    real = verify._config
    try:
        verify._config = lambda name: written if name == "fingerprints.yaml" else real(name)  # type: ignore[assignment]
        almost = list(verify.verify(MINI))[-1]
        assert almost.agrees and "95.8% of the recorded codes are equal" in almost.found
        known["codes"] = {id: [[0] * verify.FRAMES] * verify.BOOKS for id in known["codes"]}
        assert main(["verify", MINI]) == 3
    finally:
        verify._config = real
    assert "DIFFERS" in capsys.readouterr().out


@pytest.mark.parametrize("name", [MINI, "nanocodec@0.6k"])
def test_a_release_is_told_by_its_codes_whatever_its_bytes(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The built-in weights, saved anew and given as `name`."""
    codec = verify.choose(MINI).build()
    monkeypatch.setattr(verify, "_digests", lambda _: ["another file"])
    found = verify._recorded(name, codec)
    assert found.agrees == (name == MINI) and f"all codes equal the recorded ones of {MINI}" in found.found


def test_a_value_beside_the_stated_one(
    own_places: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["verify", "pesq-wb"]) == 4  # the pair is not available, and cannot be had
    assert "the pair is not available" in capsys.readouterr().out
    pair = verify.golden()["pairs"]["versa"]
    addresses, digests = {}, {}
    for number, (side, about) in enumerate(pair.items()):
        path = own_places / f"{side}.wav"
        soundfile.write(path, np.random.default_rng(number).uniform(0, 1, 16_000), 16_000)
        addresses[about["url"]], digests[about["url"]] = path, sha256(path.read_bytes()).hexdigest()
    mirrored(own_places, monkeypatch, addresses, **digests)
    assert main(["verify", "pesq-wb", "stoi"]) == 3  # another pair has other values
    shown = capsys.readouterr().out
    assert "DIFFERS" in shown and "the output does NOT equal upstream's" in shown


def test_codes_of_a_fixture(own_places: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    url = "https://raw.githubusercontent.com/x/y.json"
    path = own_places / "y.json"
    path.write_text(json.dumps([{"rate": 1, "codes": [[[0]]]}, {"rate": 2, "codes": [[[1, 2, 3], [4, 5, 6]]]}]))
    mirrored(own_places, monkeypatch, {url: path})
    stated = {"fixture": url, "where": {"rate": 2}, "at": ["codes", 0]}
    assert verify._expected(stated).tolist() == [[1, 2, 3], [4, 5, 6]]
    assert verify._expected(stated | {"transposed": True}).tolist() == [[1, 4], [2, 5], [3, 6]]
    found = np.array([[1, 2, 0, 9], [4, 5, 6, 9], [7, 7, 7, 7]])
    assert verify._share(found, verify._expected(stated)) == pytest.approx(5 / 6)
    assert verify._share(found[:1], verify._expected(stated)) == 0


@pytest.mark.parametrize(
    ("agreed", "verified", "words"),
    [
        (
            {"weights": True, "value": True},
            True,
            "these are the released weights; the output equals upstream's",
        ),
        ({"weights": True, "codes": None}, None, "these are the released weights; there are no values to compare with"),
        ({"weights": False, "codes": True}, False, "these are NOT the released weights"),
        ({"weights": None, "fingerprint": True}, True, "no recorded sha256 identifies these weights"),
        ({"weights": True, "codes": True, "fingerprint": False}, False, "the output does NOT equal the record"),
        ({"value": True}, True, "its weights, if any, come with a package"),
    ],
)
def test_verdicts(agreed: dict[str, bool | None], verified: bool | None, words: str) -> None:
    found = verdict([Check("x", what, "", one) for what, one in agreed.items()])
    assert found[0] is verified and words in found[1]


def test_wrong_use(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", "no-such-thing"]) == 2 and main(["verify", "mls44"]) == 2
    assert main(["verify", "pesq-wb", "--weights", "x"]) == 2 and main(["verify", "a", "b", "--weights", "x"]) == 2
    assert main(["verify", "opus@6k", "--record"]) == 2 and "has no codebooks" in capsys.readouterr().err
    assert main(["verify", "mimi"]) == 3 and main(["verify", "opus@6k"]) == 4


def test_a_fingerprint_is_that_of_ids_and_indices() -> None:
    one, other = (Codes(4, np.array(rows, np.int64), (8, 8)) for rows in ([[1, 2], [3, 4]], [[1, 2], [3, 5]]))
    assert fingerprint({"a": one, "b": other}) == fingerprint({"b": other, "a": one})
    found = {fingerprint(some) for some in ({"a": one}, {"a": other}, {"b": one}, {"a": one, "b": one})}
    assert len(found) == 4 and fingerprint({}) == "" == fingerprint({"a": Codes(4, payload_bits=8)})
