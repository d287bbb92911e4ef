"""WavTokenizer by the real loading code, from seeded weights in the public format, beside upstream's own output."""

import io
import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from evalkit import testing
from evalkit.baselines import wavtokenizer
from evalkit.baselines.testing.wavtokenizer import NARROW, save_wavtokenizer, wavtokenizer_state
from evalkit.baselines.wavtokenizer_model import PUBLISHED, Shape, WavTokenizer
from evalkit.errors import MissingError

GOLDEN = Path(__file__).parent / "golden" / "wavtokenizer.npz"
"""Made by upstream's own code: tests/oracle/wavtokenizer.py --golden."""
SHAPES = {"0.9k-small": NARROW, "0.48k-small": replace(NARROW, strides=(4, 5, 5, 6), window=2400)}


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory) -> dict[str, Path]:
    """Lightning checkpoints with the public names, by rate."""
    folder = tmp_path_factory.mktemp("wavtokenizer")
    paths = {rate: folder / wavtokenizer.RELEASES[rate].files[0] for rate in SHAPES}
    for rate, shape in SHAPES.items():
        save_wavtokenizer(wavtokenizer_state(shape), paths[rate])
    return paths


@pytest.mark.parametrize("rate", list(SHAPES))
def test_wavtokenizer_keeps_the_protocol(checkpoints, rate: str) -> None:
    codec = wavtokenizer.FAMILY.build_from(checkpoints[rate].parent, rate)  # the folder; the rate names the file
    testing.check_codec(codec, wavtokenizer.FAMILY.rates[rate], tolerance=0.01)
    assert codec.codebook_sizes == (4096,)
    assert codec.frame_rate == {"0.9k-small": 75, "0.48k-small": 40}[rate]


@pytest.mark.parametrize("rate", list(SHAPES))
def test_codes_and_audio_are_those_of_upstream(checkpoints, rate: str) -> None:
    codec = wavtokenizer.FAMILY.build_from(checkpoints[rate], rate)
    hop = SHAPES[rate].hop
    with np.load(GOLDEN) as golden:
        wav, expected, audio = golden["wav"], golden[f"codes-{hop}"], golden[f"audio-{hop}"][0]
    codes = codec.encode(wav)
    assert np.array_equal(codes.indices, expected) and len(np.unique(expected)) >= 10
    assert np.abs(codec.decode(codes) - audio[: len(wav)]).max() < 1e-4
    assert np.abs(audio).max() > 0.1


def test_the_shape_is_read_from_the_tensors() -> None:
    for shape in (NARROW, SHAPES["0.48k-small"], PUBLISHED):
        with torch.device("meta"):
            assert Shape.of(WavTokenizer(shape).state_dict()) == shape


def test_rates_and_cards_are_those_of_the_published_models() -> None:
    rates = wavtokenizer.FAMILY.rates
    assert {rate: rates[rate] for rate in ("0.9k-large", "0.48k-small")} == {"0.9k-large": 900, "0.48k-small": 480}
    for hop, strides in ((320, PUBLISHED.strides), (600, (4, 5, 5, 6))):
        with torch.device("meta"):
            model = WavTokenizer(replace(PUBLISHED, strides=strides, window=4 * hop))
        count = sum(p.numel() for p in model.parameters()) + model.codebook.numel()
        assert count == wavtokenizer.PARAMETERS[hop]


def test_plain_0_9k_is_the_large_one() -> None:
    from evalkit.pipeline.choice import choose

    assert choose("wavtokenizer@0.9k").spec == "wavtokenizer@0.9k-large"
    assert choose("wavtokenizer@480").spec == "wavtokenizer@0.48k-large"


class Hostile:
    """Would run a command where a pickle is trusted."""

    def __reduce__(self):
        import os

        return os.system, ("touch hostile-was-here",)


def test_files_that_are_no_such_checkpoint_are_refused(checkpoints, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    build = wavtokenizer.FAMILY.build_from
    with pytest.raises(MissingError, match=r"wavtokenizer@0\.9k-small: .*small_320_24k_4096\.ckpt is not there"):
        build(tmp_path, "0.9k-small")
    with pytest.raises(MissingError, match=r"has hop 600 and 4096 codes, .* hop 320"):
        build(checkpoints["0.9k-small"], "0.48k-small")

    path = tmp_path / "x.ckpt"
    for content in (b"", b"not a checkpoint", checkpoints["0.9k-small"].read_bytes()[:-5000]):
        path.write_bytes(content)
        with pytest.raises(MissingError, match="cannot be opened as a checkpoint"):
            build(path, "0.9k-small")

    good = wavtokenizer_state(NARROW)
    torch.save({"state_dict": good, "callbacks": Hostile()}, path)
    with pytest.raises(MissingError, match="cannot be opened as a checkpoint"):
        build(path, "0.9k-small")
    buffer = io.BytesIO()
    pickle.dump(Hostile(), buffer)
    path.write_bytes(buffer.getvalue())
    with pytest.raises(MissingError, match="cannot be opened as a checkpoint"):
        build(path, "0.9k-small")
    assert not list(tmp_path.glob("hostile*"))

    for wrong in (
        [1, 2],
        {"epoch": 3},
        {"state_dict": {}},
        {"state_dict": {k: v for k, v in good.items() if k != "head.out.bias"}},
        {"state_dict": good | {"backbone.more.weight": torch.zeros(2)}},
        {"state_dict": good | {"backbone.embed.bias": torch.zeros(2)}},
        {"state_dict": good | {"backbone.convnext.0.gamma": "text"}},
    ):
        torch.save(wrong, path)
        with pytest.raises(MissingError, match="are not those of a WavTokenizer"):
            build(path, "0.9k-small")
    torch.save({"state_dict": good | {"head.out.bias": torch.zeros(1).expand(2**16, 2**16)}}, path)
    with pytest.raises(MissingError, match=r"too few for tensors of 17,\d{3},\d{3},\d{3} bytes"):
        build(path, "0.9k-small")
