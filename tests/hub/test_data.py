"""`evalkit fetch` and `evalkit run` for every data set that is downloaded, parquet among them, then offline."""

from collections.abc import Callable

import pytest

from evalkit.results.run import read_run

from . import data
from .local import Evalkit, Local

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def evalkit(local: Local, start: Callable[..., Evalkit]) -> Evalkit:
    for spec in (*data.FETCHED, *data.READ):
        local.add_data(spec)
    return start()


@pytest.mark.parametrize("spec", [*data.FETCHED, *data.READ])
def test_a_data_set(spec: str, evalkit: Evalkit, offline: Evalkit, local: Local) -> None:
    if spec in data.FETCHED:
        evalkit.must("fetch", spec)
    found = []
    for at in (evalkit, offline):
        asked = len(local.hub.log)
        output = at.run(spec.replace("/", "-"), "--codec", "pcm", "--dataset", spec, "--metrics", "bitrate")
        found.append(read_run(output).provenance.dataset)
    assert found[0] == found[1] and found[0].n == 1 and len(found[0].audio_sha256) == 64
    assert len(local.hub.log) == asked


def test_what_is_on_no_hub_is_said(evalkit: Evalkit, local: Local) -> None:
    done = evalkit("run", "--codec", "pcm", "--dataset", "hub:no/such", "--output", str(evalkit.home / "none"))
    assert done.code == 3 and "no/such" in done.err and local.hub.asked("/api/datasets/no/such")[0].status == 401
