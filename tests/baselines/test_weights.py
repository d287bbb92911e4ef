"""Weights on a hub: found by the layout of its cache, downloaded at the pinned revision, verified."""

import json
import re
import sys
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from types import SimpleNamespace

import pytest

from evalkit.baselines import mimi, testing, wavtokenizer
from evalkit.baselines.weights import Release, ReleasedFamily
from evalkit.cli import main
from evalkit.codecs import Described, Weighted, is_release
from evalkit.environment import extras
from evalkit.environment.folders import hub_folder
from evalkit.errors import MissingError
from evalkit.plugins import load, names
from nanocodec import releases

REVISION = "0123456789abcdef0123456789abcdef01234567"
PINNED = Release("who/what", ("config.json", "model.bin"), "MIT", REVISION, {"model.bin": sha256(b"model").hexdigest()})
UNPINNED = Release("who/what", ("config.json",), "MIT")


def put(hub: Path, revision: str, files: dict[str, bytes], main_at: str | None = None) -> Path:
    """The hub's cache with `files` of who/what at `revision`."""
    folder = hub / "models--who--what" / "snapshots" / revision
    folder.mkdir(parents=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)
    if main_at:
        (hub / "models--who--what" / "refs").mkdir()
        (hub / "models--who--what" / "refs" / "main").write_text(main_at)
    return folder


def test_what_is_here_is_found_without_the_hubs_package(empty_hub: Path, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    assert PINNED.find() is None and UNPINNED.find() is None
    folder = put(empty_hub, REVISION, {"config.json": b"{}", "model.bin": b"model"}, main_at="f" * 40)
    assert PINNED.find() == PINNED.fetch("x@1k") == folder
    assert UNPINNED.find() is None  # the newest revision is another one, which is not here
    (folder / "model.bin").unlink()
    assert PINNED.find() is None


def test_the_hubs_variables_say_where_it_is(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.delenv("HF_HUB_CACHE", raising=False)
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    assert hub_folder() == tmp_path / "hub"
    monkeypatch.delenv("HF_HOME")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert hub_folder() == tmp_path / "huggingface" / "hub"


def test_a_download_asks_for_the_pinned_revision_and_is_verified(empty_hub: Path, monkeypatch) -> None:
    asked = []

    def download(repository: str, name: str, revision: str | None) -> str:
        asked.append((repository, name, revision))
        if not (folder := empty_hub / "models--who--what" / "snapshots" / REVISION).is_dir():
            put(empty_hub, REVISION, {})
        content = {"config.json": b"{}", "model.bin": b"model"}[name]
        (folder / name).write_bytes(content)
        return str(folder / name)

    monkeypatch.setitem(sys.modules, "huggingface_hub", SimpleNamespace(hf_hub_download=download))
    folder = PINNED.fetch("x@1k")
    assert asked == [("who/what", "config.json", REVISION), ("who/what", "model.bin", REVISION)]
    assert folder == PINNED.find()

    (folder / "model.bin").write_bytes(b"something else")
    with pytest.raises(MissingError, match=r"sha256 is [0-9a-f]{64}, not .*Delete it\. .*Run `evalkit fetch x@1k`"):
        PINNED.fetch("x@1k")


class RemoteEntryNotFoundError(Exception):
    """What huggingface_hub raises where the hub has no such file."""


@pytest.mark.parametrize("error", [RemoteEntryNotFoundError("404"), OSError("no route to host")])
def test_a_file_under_another_name_is_taken_only_where_there_is_none_of_the_first(
    empty_hub: Path, monkeypatch, error: Exception
) -> None:
    release = replace(PINNED, files=("config.json", "model.bin"), sha256={}, other_names={"model.bin": "model.ckpt"})
    folder = put(empty_hub, REVISION, {"config.json": b"{}"})

    def download(repository: str, name: str, revision: str | None) -> str:
        if name == "model.bin":
            raise error
        (folder / name).write_bytes(b"model")
        return str(folder / name)

    monkeypatch.setitem(sys.modules, "huggingface_hub", SimpleNamespace(hf_hub_download=download))
    if isinstance(error, OSError):
        with pytest.raises(MissingError, match=r"who/what/model\.bin .*no route to host"):
            release.fetch("x@1k")
        assert release.find() is None
    else:
        assert release.fetch("x@1k") == release.find() == folder and (folder / "model.ckpt").is_file()
        monkeypatch.setitem(sys.modules, "huggingface_hub", None)
        assert release.fetch("x@1k") == folder  # without asking again


RELEASED = {name: family for name in names("codec") if isinstance(family := load("codec", name), Weighted)}
"""Families with weights, by name."""


def rate_of(family) -> str:
    """A rate of `family` that has a release."""
    return "1.78k" if family.name == "nanocodec" else family.default_rate


def pin(family, rate: str, folder: Path, monkeypatch) -> None:
    """Let the files in `folder` be the release of `family`."""
    digests = {path.name: sha256(path.read_bytes()).hexdigest() for path in folder.rglob("*") if path.is_file()}
    monkeypatch.setattr(family, "release_sha256", lambda rate: digests)


@pytest.mark.parametrize("name", list(RELEASED))
def test_a_codec_with_other_weights_is_called_so(name: str, tmp_path: Path, monkeypatch) -> None:
    family = RELEASED[name]
    rate = rate_of(family)
    spec = f"{name}@{rate}"
    folder = testing.write(name, rate, tmp_path / "my weights")
    weights = next(folder.glob("*.nemo"), folder)
    codec = family.build_from(weights, rate, "cpu")
    assert codec.name == f"{spec} ({weights.name})" and codec.note == ""
    assert is_release(family, rate, codec) is (False if family.release_sha256(rate) else None)
    digests = {path.name: sha256(path.read_bytes()).hexdigest() for path in folder.rglob("*") if path.is_file()}
    assert codec.details["weights_sha256"] == digests
    monkeypatch.chdir(folder)
    here = Path(weights.name if weights != folder else ".")
    assert family.build_from(here, rate, "cpu").name == codec.name

    pin(family, rate, folder, monkeypatch)
    codec = family.build_from(weights, rate, "cpu")
    assert codec.name == spec and is_release(family, rate, codec) is True


def test_the_release_is_known_by_its_bytes_wherever_it_lies(tmp_path: Path, monkeypatch) -> None:
    family, rate = RELEASED["nanocodec"], "0.6k"
    folder = testing.write("nanocodec", rate, tmp_path / "weights")
    (path,) = folder.iterdir()
    pin(family, rate, folder, monkeypatch)
    moved = path.rename(tmp_path / "renamed.nemo")
    codec = family.build_from(moved, rate)
    assert codec.name == "nanocodec@0.6k" and codec.note == (
        "NVIDIA made this release for fine-tuning with a limited set of speakers, and does not "
        "recommend it for general-purpose encoding and decoding"
    )


def put_release(hub: Path, release: Release, family: str, rate: str, revision: str = "f" * 40) -> Path:
    """The hub's cache with narrow weights in place of a release."""
    folder = hub / f"models--{release.repository.replace('/', '--')}"
    (folder / "refs").mkdir(parents=True)
    (folder / "refs" / "main").write_text(revision)
    return testing.write(family, rate, folder / "snapshots" / (release.revision or revision))


def test_what_lies_in_the_hubs_cache_is_verified_before_it_is_run(empty_hub: Path) -> None:
    put_release(empty_hub, mimi.RELEASE, "mimi", "1.1k")
    with pytest.raises(MissingError, match=r"config\.json is not the pinned file: its sha256 is .* Delete it"):
        mimi.FAMILY.build("1.1k")


@pytest.mark.parametrize(
    ("name", "note"),
    [
        ("neucodec", "its weights are the newest revision of neuphonic/neucodec, because none is pinned"),
        (
            "taae",
            "the checkpoint is stable-codec-speech-16k, a later finetune of .*; its weights are the newest revision of",
        ),
    ],
)
def test_weights_that_nothing_pins_are_noted(empty_hub: Path, name: str, note: str) -> None:
    family = RELEASED[name]
    rate = family.default_rate
    put_release(empty_hub, family.release(rate), name, rate)
    codec = family.build(rate)
    assert codec.name == f"{name}@{rate}" and is_release(family, rate, codec) is None
    assert re.match(note, codec.note), codec.note


def refuse(*arguments: object, **options: object) -> None:
    raise OSError("no route to host")


@pytest.mark.parametrize("installed", [True, False])
def test_without_a_network_everything_is_named(empty_hub: Path, monkeypatch, installed: bool) -> None:
    package = SimpleNamespace(hf_hub_download=refuse) if installed else None
    monkeypatch.setitem(sys.modules, "huggingface_hub", package)
    with pytest.raises(MissingError) as caught:
        PINNED.fetch("x@1k")
    message = str(caught.value)
    for part in ("model.bin", REVISION, "who/what", "hf download", "--weights DIR", "evalkit fetch x@1k"):
        assert part in message, message
    assert ("no route to host" in message and "license: MIT" in message) if installed else "pip install" in message


def test_fetch_exits_3_offline(empty_hub: Path, capsys: pytest.CaptureFixture[str], monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", SimpleNamespace(hf_hub_download=refuse))
    assert main(["fetch", "opus@6k", "mimi"]) == 3
    printed = capsys.readouterr()
    assert printed.out == "opus@6k: needs no weights\n"
    for part in ("model.safetensors", mimi.RELEASE.revision, "CC-BY-4.0", "--weights DIR"):
        assert part in printed.err
    assert main(["fetch", "mimmi"]) == 2


def test_states_and_remedies_without_weights(empty_hub: Path, tmp_path: Path, capsys, monkeypatch) -> None:
    command = ["run", "--codec", "mimi@1.1k", "--codec", "wavtokenizer@0.9k", "--output", str(tmp_path / "run")]
    assert main(command) == 3
    error = capsys.readouterr().err
    assert "mimi@1.1k: needs download. Run `evalkit fetch mimi@1.1k`" in error
    assert "its newest revision (none is pinned; the sha256 is)" in error
    assert "wavtokenizer_large_speech_320_v2.ckpt" in error and "about 1.8 GB, license: MIT" in error
    for family, rate in ((mimi.FAMILY, "1.1k"), (wavtokenizer.FAMILY, "0.9k-small")):
        with pytest.raises(MissingError, match=f"{family.name}@{rate}: Run `evalkit fetch"):
            family.build(rate)
    monkeypatch.setattr(extras, "find_spec", lambda name: None)
    assert mimi.FAMILY.availability("1.1k").code == "needs extra"


def test_every_codec_with_weights_can_be_fetched_and_replaced() -> None:
    assert set(RELEASED) >= {"mimi", "lfsc", "nanocodec", "wavtokenizer", "taae", "encodec", "dac", "snac", "xcodec2"}


def test_revisions_are_whole_and_digests_are_digests() -> None:
    """The hub looks a shortened commit up as a branch."""
    for family in RELEASED.values():
        for rate in family.rates:
            if isinstance(family, ReleasedFamily) and (revision := family.release(rate).revision):
                assert re.fullmatch("[0-9a-f]{40}", revision), family.name
            assert all(re.fullmatch("[0-9a-f]{64}", digest) for digest in family.release_sha256(rate).values())
    for release in releases.RELEASES.values():
        assert re.fullmatch("[0-9a-f]{40}", release.revision)


def test_the_list_for_programs(empty_hub: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", "codecs", "--json"]) == 0
    listed = {one["codec"]: one for one in json.loads(capsys.readouterr().out)}
    assert listed["mimi@1.1k"] | {"remedy": "", "shown": True} == {
        "codec": "mimi@1.1k", "bit/s": 1100.0, "sample_rate": 24_000, "frame_rate": 12.5, "codebook_sizes": [2048] * 8,
        "parameters": 83_502_913, "code_license": "Apache-2.0", "weights_license": "CC-BY-4.0",
        "weights": "kyutai/mimi (89091b3e466e)", "causal": True, "state": "needs download", "remedy": "", "shown": True,
        "output_rate": None, "variable": False, "continuous": False, "extra_bits": 0, "depends_on": ["level"],
    }  # fmt: skip
    assert len([name for name in listed if name.startswith("mimi@")]) == 32
    assert listed["wavtokenizer@0.9k-large"]["weights"].endswith("(sha256 5dd430d5f0d9)")
    assert "unpinned" in listed["neucodec@0.8k"]["weights"] and "unpinned" in listed["taae@0.7k"]["weights"]
    assert listed["ts3@0.85k"]["state"] == "rendered only" and "never released" in listed["ts3@0.85k"]["remedy"]
    assert listed["rendered@undeclared"]["bit/s"] is None
    states = {"ready", "needs download", "needs extra", "needs license", "needs weights", "rendered only"}
    assert {one["state"] for one in listed.values()} <= states


def test_the_list_for_people_fits_a_wide_terminal(empty_hub: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", "codecs"]) == 0
    shown = capsys.readouterr().out
    table, _, notes = shown.partition("\n\n")
    assert max(map(len, table.splitlines())) <= 160 and "evalkit fetch CODEC" in notes
    assert "8 x 2048" in shown and "mimi (28)" in shown and "TS3-Codec was never released" in shown


def test_cards_say_what_the_codecs_do(empty_hub: Path) -> None:
    for name in names("codec"):
        family = load("codec", name)
        assert isinstance(family, Described), name
        for rate in family.rates:
            if family.availability(rate).ready and (name != "codec2" or rate in ("3.2k", "0.7k")):
                codec, card = family.build(rate, "cpu"), family.info(rate)
                built = (codec.sample_rate, codec.frame_rate, codec.codebook_sizes, codec.streaming)
                assert built == (card.sample_rate, card.frame_rate, card.codebook_sizes, card.causal), (name, rate)
