"""The encoder's shortcut for inference gives the very numbers of the encoder as it is written."""

from __future__ import annotations

import pytest
import torch

from nanocodec import fused
from nanocodec.config import VARIANTS
from nanocodec.model import NanoCodec
from nanocodec.testing import narrow, seeded_audio, tiny


@pytest.mark.parametrize("frames", [1, 2, 9])
@pytest.mark.parametrize("config", [tiny(), narrow(VARIANTS["1.89k"], 2, 32)], ids=["tiny", "1.89k"])
def test_the_shortcut_changes_nothing(config, frames: int) -> None:
    torch.manual_seed(0)
    model = NanoCodec(config).eval()
    audio = torch.stack([seeded_audio(frames * model.hop, seed) for seed in (0, 1)])
    with torch.inference_mode():
        written = model.audio_encoder(audio[:, None])
        assert torch.equal(fused.encode(model.audio_encoder, audio[:, None]), written)
        assert torch.equal(model.encode_latent(audio)[0], written)
