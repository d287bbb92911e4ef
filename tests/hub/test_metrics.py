"""`evalkit fetch` and `evalkit run` for every metric whose model is downloaded, then offline."""

import json
from collections.abc import Callable

import pytest

from evalkit.results.run import read_run

from . import data
from .local import Evalkit, Local, metrics

pytestmark = pytest.mark.slow
METRICS = metrics()
pytest.importorskip("whisper_normalizer", reason="the extra asr is not installed")


@pytest.fixture(scope="module")
def evalkit(local: Local, start: Callable[..., Evalkit]) -> Evalkit:
    for name in METRICS:
        local.add_metric(name)
    return start()


@pytest.mark.parametrize("name", METRICS)
def test_fetching(name: str, evalkit: Evalkit) -> None:
    assert all(str(file) in evalkit.must("fetch", name).out for file in METRICS[name])


def test_a_run_with_all_of_them(evalkit: Evalkit, offline: Evalkit, local: Local) -> None:
    """In one run: each opens a model, and that takes its time."""
    folder = evalkit.home / "set"
    folder.mkdir()
    (folder / "a.wav").write_bytes(data.sound(16_000, "WAV"))
    (folder / "metadata.csv").write_text("file_name,language,transcript\na.wav,en,abad cage\n")
    asked, found = len(local.hub.log), []
    for at, name in ((evalkit, "online"), (offline, "offline")):
        output = at.run(name, "--codec", "pcm", "--dataset", f"folder:{folder}", "--metrics", ",".join(METRICS))
        rows = read_run(output).rows
        assert not {one.metric: one.reason for one in rows.itertuples() if one.value != one.value}
        assert set(METRICS) <= set(rows["metric"])
        found.append((output / "rows.parquet").read_bytes())
        notes = json.loads((output / "run.json").read_text())["notes"]
        assert any("the sha256 of squim_subjective_bvcc_daps.pth is not recorded" in note for note in notes)
        assert any(
            "ecapa2.pt comes from a mirror and was checked against the sha256 in mirror.yaml" in note for note in notes
        )
    assert found[0] == found[1] and len(local.hub.log) == asked
