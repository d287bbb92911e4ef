"""The model against upstream's answers: NVIDIA NeMo's own classes produced tests/nanocodec/golden (`make oracle`)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from nanocodec.checkpoint import assemble, load
from nanocodec.config import VARIANTS
from nanocodec.model import NanoCodec
from nanocodec.testing import narrow, seeded_audio, seeded_tensors, write_nemo

RELEASED = ("0.6k", "1.78k", "1.89k", "lfsc")
GOLDEN = Path(__file__).parent / "golden"


class Case:
    """A variant made narrow: its weights, and what upstream answered for two inputs."""

    def __init__(self, name: str) -> None:
        self.config = narrow(VARIANTS[name])
        self.tensors = seeded_tensors(self.config)
        with np.load(GOLDEN / f"upstream-{name}.npz") as golden:
            stored = {key: torch.from_numpy(golden[key]) for key in golden.files}
        self.lengths = stored.pop("lengths")
        self.tokens = [stored.pop(f"tokens{row}").to(torch.int32) for row in (0, 1)]
        self.latent = [stored.pop(f"latent{row}") for row in (0, 1)]
        self.sound = [stored.pop(f"sound{row}") for row in (0, 1)]
        assert stored.keys() <= self.tensors.keys()
        self.tensors |= stored  # the calibrated ends
        total = int(self.lengths[0])
        self.audio = torch.stack([seeded_audio(total, seed=row) for row in (0, 1)])

    def agrees(self, model: NanoCodec) -> tuple[bool, float]:
        """Whether the tokens are upstream's, and how far the farthest latent or sample is."""
        equal, difference = True, 0.0
        with torch.inference_mode():
            for row, length in enumerate(self.lengths.tolist()):
                latent, _ = model.encode_latent(self.audio[row : row + 1, :length])
                difference = max(difference, float((latent[0] - self.latent[row]).abs().max()))
                equal &= torch.equal(model.vector_quantizer.encode(latent)[0], self.tokens[row])
                sound = model.decode(self.tokens[row][None])[0]
                difference = max(difference, float((sound - self.sound[row]).abs().max()))
        return equal, difference


@pytest.fixture(scope="module", params=RELEASED)
def case(request: pytest.FixtureRequest) -> Case:
    return Case(request.param)


@pytest.fixture(scope="module")
def model(case: Case, tmp_path_factory: pytest.TempPathFactory) -> NanoCodec:
    return load(write_nemo(tmp_path_factory.mktemp("upstream") / "model.nemo", case.config, case.tensors))


@pytest.fixture(scope="module")
def unhurt() -> Case:
    return Case("1.89k")


def test_tokens_and_samples_are_upstreams(case: Case, model: NanoCodec) -> None:
    assert all(len(tokens.unique()) > 12 for tokens in case.tokens), "a collapsed model proves nothing"
    equal, difference = case.agrees(model)
    assert equal
    assert difference <= 1e-5


def test_a_ragged_batch_gives_upstreams_single_answers(case: Case, model: NanoCodec) -> None:
    with torch.inference_mode():
        codes, frames = model.encode(case.audio, case.lengths)
        sound = model.decode(codes, frames)
    for row, tokens in enumerate(case.tokens):
        n = tokens.shape[1]
        assert torch.equal(codes[row, :, :n], tokens)
        assert not codes[row, :, n:].any()
        assert (sound[row, : n * model.hop] - case.sound[row]).abs().max() <= 1e-5
        assert not sound[row, n * model.hop :].any()


@pytest.mark.parametrize(
    "name",
    [
        "audio_encoder.pre_conv.conv.bias",
        "audio_encoder.res_layers.2.res_blocks.1.res_blocks.0.input_conv.conv.parametrizations.weight.original1",
        "audio_encoder.down_sample_conv_layers.3.conv.parametrizations.weight.original0",
        "audio_encoder.post_conv.conv.parametrizations.weight.original1",
        "audio_decoder.pre_conv.conv.parametrizations.weight.original1",
        "audio_decoder.activations.1.activation.snake_act.alpha",
        "audio_decoder.up_sample_conv_layers.2.conv.parametrizations.weight.original1",
        "audio_decoder.res_layers.0.res_blocks.2.res_blocks.2.skip_conv.conv.bias",
        "audio_decoder.res_layers.4.res_blocks.0.res_blocks.1.skip_activation.activation.snake_act.alpha",
        "audio_decoder.post_conv.conv.bias",
    ],
)
def test_one_wrong_weight_is_noticed(name: str, unhurt: Case) -> None:
    wrong = unhurt.tensors[name].clone()
    wrong.view(-1)[::3] *= 1.2  # not a whole row, whose length weight normalisation would take out again
    equal, difference = unhurt.agrees(assemble(unhurt.config, unhurt.tensors | {name: wrong}, "a wrong model"))
    assert not equal or difference > 1e-3
