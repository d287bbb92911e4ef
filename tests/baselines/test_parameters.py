"""What `evalkit bench` counts as used in networks of the released sizes, on torch's meta device, beside the cards. The
cards of other codecs are held to their modules in the tests of each, less what serves training only."""

import pytest
import torch

from evalkit.bench.counting import count
from evalkit.pipeline.choice import choose

SPECS = (
    "bigcodec@1.04k", "dac@6k-16khz", "dac@24k-24khz", "dac@7.752k-44khz", "focalcodec@0.16k", "focalcodec@0.33k",
    "focalcodec@0.65k", "lyra@9.2k", "speechtokenizer@4k",
)  # fmt: skip
"""With all codebooks."""


@pytest.mark.slow
@pytest.mark.parametrize("spec", SPECS)
def test_the_card_has_the_parameters_that_are_used(spec: str) -> None:
    choice = choose(spec)
    with torch.device("meta"):
        codec = choice.family.random(choice.rate, "meta")
    found = count(codec)
    assert found.parameters(found.encode, found.decode) == choice.family.info(choice.rate).parameters
