"""What goes wrong between a hub and who downloads: the real client of the hub against a local one."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from evalkit import plugins
from evalkit.baselines.nanocodec import NOTES

from . import data, local, models
from .local import Evalkit, Local
from .server import TOKEN

CODEC, GATED, ADDRESS = "nanocodec@0.6k", "taae@0.7k", "lyra@3.2k"
WEIGHTS = "nemo-nano-codec-22khz-0.6kbps-12.5fps.nemo"
LARGE = "sim-wavlm-large-sv"
METRICS = ("utmos22-strong", "sqmos")
DATA = "librispeech:hub"


@pytest.fixture(scope="module")
def evalkit(local: Local, start: Callable[..., Evalkit]) -> Evalkit:
    for spec in (CODEC, GATED, ADDRESS):
        local.add_codec(spec)
    for name in (LARGE, *METRICS):
        local.add_metric(name)
    local.add_data(DATA)
    return start()


def test_a_file_of_another_content_is_refused_and_not_kept(evalkit: Evalkit, local: Local) -> None:
    local.hub.faults[WEIGHTS] = ["wrong"]
    done = evalkit("fetch", CODEC)
    assert done.code == 3 and "is not the pinned file" in done.err and "it was not kept" in done.err
    assert not list(evalkit.home.rglob("*.nemo"))


def test_a_connection_that_breaks_off_is_taken_up_again_within_the_command(evalkit: Evalkit, local: Local) -> None:
    """In steps of the client's own, 10 MiB: less than that comes anew."""
    local.hub.log.clear()
    local.hub.faults[WEIGHTS] = ["cut", "slow"]
    done = evalkit("fetch", CODEC)
    assert done.code == 0 and WEIGHTS in done.out, done.err
    (folder,) = evalkit.home.rglob("snapshots/*")
    assert folder.name == local.hub.repositories["models", "nvidia/nemo-nano-codec-22khz-0.6kbps-12.5fps"].commit
    assert [(one.status, one.range) for one in local.hub.asked("/cdn/")] == [(200, "")] * 2
    assert evalkit("fetch", CODEC).code == 0 and len(local.hub.log) == 3  # HEAD, GET, GET; now from the cache
    local.hub.faults["wavlm_large_finetune.pth"] = ["busy", "cut"]
    assert evalkit("fetch", LARGE).code == 3  # the client gives up on a 503 of the CDN
    assert evalkit("fetch", LARGE).code == 0
    assert [(one.status, one.range) for one in local.hub.asked("/cdn/")[2:]] == [
        (503, ""), (200, ""), (206, f"bytes={10 * 2**20}-"),
    ]  # fmt: skip


def test_a_plain_address_that_breaks_off_goes_on_with_the_next_command(evalkit: Evalkit, local: Local) -> None:
    local.hub.faults["lyragan.tflite"] = ["cut"]
    broken = evalkit("fetch", ADDRESS)
    assert broken.code == 3 and "the same command resumes there" in broken.err
    assert evalkit("fetch", ADDRESS).code == 0
    first, rest = local.hub.asked("lyragan.tflite")
    assert (first.status, rest.status) == (200, 206) and rest.range == f"bytes={first.sent}-"


def test_a_gated_repository_says_where_to_accept_its_license(evalkit: Evalkit, local: Local) -> None:
    refused = evalkit("fetch", GATED)
    assert refused.code == 3 and "Accept the license at https://huggingface.co/stabilityai" in refused.err
    token = evalkit.home / "hf" / "token"
    token.parent.mkdir(exist_ok=True)
    token.write_text(TOKEN)
    assert evalkit("fetch", GATED).code == 0
    token.unlink()
    asked = local.hub.asked("stable-codec-speech-16k")
    assert {401, 307, 302} <= {one.status for one in asked} and any(one.authorized for one in asked)
    assert not any(one.authorized for one in local.hub.asked("/cdn/"))  # another host: it gets no token


def test_what_the_hub_does_not_have_is_named(evalkit: Evalkit) -> None:
    gone = evalkit("fetch", "encodec@1.5k")  # to who is not logged in, what there is not may be private
    assert gone.code == 3 and "facebook/encodec_24khz" in gone.err and "401" in gone.err


def test_a_file_under_its_other_name_is_found_by_the_404_of_the_first(evalkit: Evalkit, local: Local) -> None:
    files = local.hub.repositories["models", "stabilityai/stable-codec-speech-16k"].files
    files["model.ckpt"] = files.pop("model.safetensors")
    for kept in (evalkit.home / "hf" / "hub").glob("models--stabilityai*/snapshots/*/model.safetensors"):
        kept.unlink()
    (evalkit.home / "hf" / "token").write_text(TOKEN)
    assert evalkit("fetch", GATED).code == 0
    (evalkit.home / "hf" / "token").unlink()
    assert local.hub.asked("stable-codec-speech-16k/resolve/main/model.safetensors")[-1].status == 404
    assert list(evalkit.home.rglob("snapshots/*/model.ckpt"))


def test_a_run_says_which_weights_are_not_the_released_ones(evalkit: Evalkit, start: Callable[..., Evalkit]) -> None:
    """Fetched, run, and run again without a network."""
    assert evalkit("fetch", *METRICS).code == 0
    command = [
        "run", "--codec", CODEC, "--codec", ADDRESS, "--dataset", DATA, "--limit", "1", "--metrics", "bitrate",
        "--no-cache",
    ]  # fmt: skip
    first = evalkit(*command, "--output", str(evalkit.home / "one"))
    assert first.code == 0, first.err
    offline = start(offline=True)
    second = offline(*command, "--output", str(evalkit.home / "two"))
    assert second.code == 0, second.err
    one, two = ((evalkit.home / name / "rows.parquet").read_bytes() for name in ("one", "two"))
    assert one == two
    about = json.loads((evalkit.home / "one" / "run.json").read_text())
    for spec in (CODEC, ADDRESS):
        name = f"{spec} (mirror.yaml)"
        how = "were checked against the sha256 in mirror.yaml, not the released ones"
        said = f"{name}: its weights come from a mirror and {how}."
        said = said if spec == ADDRESS else said.replace("its weights", f"{NOTES['0.6k']}; its weights")
        assert said in about["notes"] and about["codecs"][name]["released"] is False
        assert len(about["codecs"][name]["codes_sha256"]) == 64
    missing = offline("fetch", "mimi")
    assert missing.code == 3 and "evalkit fetch mimi" in missing.err and "89091b3e466e" in missing.err


def test_the_doctor_lists_what_nothing_pins(evalkit: Evalkit) -> None:
    shown = evalkit("doctor", "--json").out
    assert '"metric scoreq-ref: weights"' in shown and '"codec neucodec: weights"' in shown
    assert '"metric sqmos: weights"' in shown and '"metric utmos22-strong: weights"' not in shown


def test_all_that_is_downloaded_has_an_entry_in_the_local_hub() -> None:
    """A new codec needs a module in baselines/testing, a new metric one in models.py, a new set one in data.py."""
    lacking = [spec for spec, releases in local.codecs().items() if not _can_write(spec)]
    lacking += [
        name
        for name, files in local.metrics().items()
        if {one.repository or one.name for one in files} - set(models.BUILDERS)
    ]
    lacking += [
        name for name in plugins.names("dataset") if plugins.load("dataset", name).files and name not in data.FETCHED
    ]
    sources = {
        path.stem for path in Path(plugins.__file__).parent.glob("datasets/*.py") if "open_table(" in path.read_text()
    }
    assert {"librispeech", "mls", "huggingface"} == sources  # whatever else reads from the hub belongs into data.READ
    assert not lacking, f"the local hub (tests/hub) has no entry for {', '.join(lacking)}"


def _can_write(spec: str) -> bool:
    from importlib.util import find_spec

    from evalkit.baselines import testing

    name = spec.partition("@")[0]
    module = getattr(testing, "MODULES", {}).get(name, name)
    return find_spec(f"{testing.__name__}.{module}") is not None
