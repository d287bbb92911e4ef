"""The tokenizer of Higgs Audio v2, from transformers' X-codec, which it extends.

transformers has a class for it, HiggsAudioV2TokenizerModel, whose module imports torchaudio for one resampler. This one
differs in that alone: same configuration, same names of tensors, same results (tests/oracle/higgs.py).
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import HiggsAudioV2TokenizerConfig, XcodecModel

from .resampling import resample

EDGE = 160
"""Zeros on both sides of what the speech model gets."""


class Higgs(XcodecModel):
    """Audio [B, 1, T] at 24 kHz to codes [B, K, N], and codes to audio [B, 1, N * 960]."""

    config_class = HiggsAudioV2TokenizerConfig
    base_model_prefix = "higgs_audio_v2_tokenizer"
    _keys_to_ignore_on_load_unexpected = ["semantic_model.masked_spec_embed"]  # noqa: RUF012

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self.quantizer.quantizers = nn.ModuleList(
            Projected(quantizer.codebook, config.hidden_size, config.codebook_dim)
            for quantizer in self.quantizer.quantizers
        )

    def _extract_semantic_features(self, input_values: Tensor) -> Tensor:
        """The mean of all hidden states of the speech model [B, N, D]: at 16 kHz, of every so many frames one."""
        speech = resample(input_values[:, 0], self.config.sample_rate, self.config.semantic_sample_rate)
        states = self.semantic_model(F.pad(speech, (EDGE, EDGE)), output_hidden_states=True).hidden_states
        return torch.stack(states, dim=1).mean(dim=1)[:, :: self.config.semantic_downsample_factor]


class Projected(nn.Module):
    """A codebook of few dimensions, between two linear layers."""

    codebook: Any

    def __init__(self, codebook: Any, width: int, dimension: int) -> None:
        super().__init__()
        self.codebook = codebook
        self.project_in = nn.Linear(width, dimension)
        self.project_out = nn.Linear(dimension, width)

    def encode(self, hidden_states: Tensor) -> Tensor:
        """Indices [B, N] of hidden states [B, D, N]."""
        return self.codebook.encode(self.project_in(hidden_states.mT))

    def decode(self, embed_ind: Tensor) -> Tensor:
        """Hidden states [B, D, N] of indices [B, N]."""
        return self.project_out(self.codebook.decode(embed_ind)).mT
