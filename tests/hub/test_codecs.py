"""`evalkit fetch` and `evalkit run` for every codec whose weights are downloaded, then offline."""

from collections.abc import Callable

import pytest
import soundfile

from evalkit.results.run import read_run

from .local import Evalkit, Local, codecs
from .server import TOKEN

pytestmark = pytest.mark.slow
CODECS = codecs()


@pytest.fixture(scope="module")
def evalkit(local: Local, start: Callable[..., Evalkit]) -> Evalkit:
    """With leave for what is gated."""
    for spec in CODECS:
        local.add_codec(spec)
    started = start()
    (started.home / "hf").mkdir()
    (started.home / "hf" / "token").write_text(TOKEN)
    return started


@pytest.mark.parametrize("spec", CODECS)
def test_a_codec(spec: str, evalkit: Evalkit, offline: Evalkit, local: Local) -> None:
    before = len(local.hub.log)
    assert f"{spec}: " in evalkit.must("fetch", spec).out
    asked = len(local.hub.log)
    assert asked > before or spec.startswith("wavtokenizer")  # two of its files are in one repository
    found = []
    for at, name in ((evalkit, "online"), (offline, "offline")):
        output = at.run(f"{spec}-{name}", "--codec", spec, "--metrics", "bitrate", "--save-audio")
        (codec,) = read_run(output).provenance.codecs.values()
        assert codec.spec == spec and codec.released is not True and len(codec.codes_sha256) == 64
        audio = [soundfile.read(path)[0].tobytes() for path in sorted((output / "audio").rglob("*.wav"))]
        assert len(audio) == 2 and audio[0] != audio[1]  # what was decoded, and the original
        found.append((codec.codes_sha256, audio, (output / "rows.parquet").read_bytes()))
    assert found[0] == found[1]
    assert len(local.hub.log) == asked  # nothing more was asked for
