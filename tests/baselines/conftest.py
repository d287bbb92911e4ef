"""What the tests of codecs share."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from evalkit import testing
from evalkit.codecs import Codec, Codes


@pytest.fixture(scope="session", autouse=True)
def narrow_models(one_thread: None) -> None:
    """All models of these tests are narrow."""


@pytest.fixture
def check_golden() -> Callable[[Codec, str, str], None]:
    """Raises AssertionError unless a codec makes the tokens that upstream's own code made of speech (`name` in the
    file `golden/FILE`, written by tests/oracle), and of these tokens the samples."""

    def check(codec: Codec, file: str, name: str) -> None:
        with np.load(Path(__file__).parent / "golden" / file) as golden:
            found = {key.removeprefix(f"{name}-"): golden[key] for key in golden.files}
        voice = testing.speech(float(found["seconds"]), codec.sample_rate)
        codes = codec.encode(voice)
        assert codes.indices.shape == found["tokens"].shape and len(np.unique(found["tokens"])) >= 10
        assert np.array_equal(codes.indices, found["tokens"]), f"{(codes.indices != found['tokens']).mean():.1%} differ"
        audio = codec.decode(Codes(int(found["samples"]), found["tokens"].astype(np.int64), codec.codebook_sizes))
        distance, peak = np.abs(audio[:: found["stride"]] - found["audio"]).max(), np.abs(found["audio"]).max()
        assert peak > 0.01 and distance < 1e-4 * peak, f"{distance:.1e} of {peak:.1e}"

    return check


@pytest.fixture
def check_every_weight_counts(check_golden) -> Callable[..., None]:
    """As `check_golden`; and raises unless that goes red when any of `count` parameters of the model, drawn from all
    but those whose names begin with `unused`, is changed a little."""

    def check(codec: Codec, file: str, name: str, count: int = 6, unused: tuple[str, ...] = ()) -> None:
        import torch

        check_golden(codec, file, name)
        parameters = [one for one in codec._model.named_parameters() if not one[0].startswith(unused)]
        for at in np.random.default_rng(0).choice(len(parameters), count, replace=False):
            key, parameter = parameters[at]
            before = parameter.detach().clone()
            wave = torch.cos(torch.arange(before.numel())).sign().view_as(before)  # whatever follows may normalise
            parameter.data += before.abs().max().clamp(min=0.5) * wave
            with pytest.raises(AssertionError):
                check_golden(codec, file, name)
                raise RuntimeError(f"{key} does not count")
            parameter.data.copy_(before)

    return check
