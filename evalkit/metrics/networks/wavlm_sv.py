"""The speaker verification model of UniSpeech: WavLM-large and a small ECAPA-TDNN on a mix of all its layers.

WavLM is that of transformers (Chen et al. 2021, arXiv 2110.13900). The checkpoint, `wavlm_large_finetune.pth`, has
s3prl's names; it is renamed here.
"""

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from evalkit.environment import extras
from evalkit.metrics.networks.states import Group, State, below, count, filled, renamed
from evalkit.metrics.networks.wav2vec2 import FAIRSEQ
from nanocodec.layers import fold_tensors

S3PRL = (
    (r"^(feature_extractor\.conv_layers\.\d+)\.2\.1\.", r"\1.layer_norm."),
    (r"\.self_attn\.relative_attention_bias\.", ".attention.rel_attn_embed."),
    (r"\.self_attn\.grep_linear\.", ".attention.gru_rel_pos_linear."),
    (r"\.self_attn\.grep_a$", ".attention.gru_rel_pos_const"),
    (r"^mask_emb$", "masked_spec_embed"),
    *FAIRSEQ,
)


class WavlmSpeaker(nn.Module):
    """Audio [B, T] at 16 kHz to speaker embeddings [B, D].

    Each recording is normalised to mean 0 and variance 1; the outputs of all layers of WavLM are mixed with learned
    weights, normalised over time, and go through blocks of convolutions to attentive statistics pooling.

    Args:
        wavlm: transformers' `WavLMModel`.
        width: Channels of the blocks, 512.
        pooled: Channels before pooling, 1536.
        scale: Parts of a Res2Net block, 8.
        squeezed: Channels of the squeeze in a block, 128.
        attention: Channels of the attention in pooling, 128.
        embedding: D, 256.
    """

    def __init__(
        self, wavlm: Any, width: int = 512, pooled: int = 1536, scale: int = 8, squeezed: int = 128,
        attention: int = 128, embedding: int = 256,
    ) -> None:  # fmt: skip
        super().__init__()
        self.wavlm = wavlm
        self.feature_weight = nn.Parameter(torch.zeros(wavlm.config.num_hidden_layers + 1))
        self.layer1 = Conv(wavlm.config.hidden_size, width, 5)
        self.layer2, self.layer3, self.layer4 = (Block(width, dilation, scale, squeezed) for dilation in (2, 3, 4))
        self.conv = nn.Conv1d(3 * width, pooled, 1)
        self.pooling = Group(linear1=nn.Conv1d(pooled, attention, 1), linear2=nn.Conv1d(attention, pooled, 1))
        self.bn = nn.BatchNorm1d(2 * pooled)
        self.linear = nn.Linear(2 * pooled, embedding)

    @classmethod
    def of(cls, state: Mapping[str, Tensor]) -> "WavlmSpeaker":
        """The model with the weights under "model" in `wavlm_large_finetune.pth`, or of the same layout.

        Raises:
            MissingError: They are the weights of something else.
        """
        transformers = extras.load_transformers()
        wavlm_state = fold_tensors(renamed(below(state, "feature_extract.model."), S3PRL), dim=2)
        wavlm = transformers.WavLMModel(transformers.WavLMConfig(**_wavlm_shape(wavlm_state)))
        nn.utils.parametrize.remove_parametrizations(wavlm.encoder.pos_conv_embed.conv, "weight")
        filled(wavlm, wavlm_state, "WavLM in s3prl's layout")
        training = ("feature_extract.", "loss_calculator.")
        heads = {name: value for name, value in state.items() if not name.startswith(training)}
        whole = heads | {f"wavlm.{name}": value for name, value in wavlm.state_dict().items()}
        return filled(cls(wavlm, **_head_shape(heads)), whole, "UniSpeech's speaker verification")

    def forward(self, wav: Tensor) -> Tensor:
        """Embeddings [B, D] of `wav` [B, T]."""
        found = self.wavlm(F.layer_norm(wav, wav.shape[1:]), output_hidden_states=True)
        layers = [*found.hidden_states[:-1], found.last_hidden_state]  # normalised last, which hidden_states may lack
        weights = self.feature_weight.softmax(0)
        frames = (weights[:, None, None, None] * torch.stack(layers)).sum(0).transpose(1, 2) + 1e-6
        first = self.layer1(F.instance_norm(frames))
        second = self.layer2(first)
        third = self.layer3(second)
        x = F.relu(self.conv(torch.cat([second, third, self.layer4(third)], dim=1)))
        scores = self.pooling.linear2(torch.tanh(self.pooling.linear1(x)))
        chances = scores.softmax(2)
        mean = (chances * x).sum(2)
        deviation = ((chances * x.square()).sum(2) - mean.square()).clamp(min=1e-9).sqrt()
        return self.linear(self.bn(torch.cat([mean, deviation], dim=1)))


class Conv(nn.Module):
    """Convolution, ReLU, batch norm; as long as the input, beyond whose ends are zeros."""

    def __init__(self, inputs: int, outputs: int, kernel: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv1d(inputs, outputs, kernel, padding=kernel // 2)
        self.bn = nn.BatchNorm1d(outputs)

    def forward(self, x: Tensor) -> Tensor:
        return self.bn(F.relu(self.conv(x)))


class Block(nn.Module):
    """A Res2Net block with squeeze and excitation, added to its input: [B, C, N] to the same."""

    def __init__(self, width: int, dilation: int, scale: int, squeezed: int) -> None:
        super().__init__()
        self.Conv1dReluBn1, self.Conv1dReluBn2 = Conv(width, width), Conv(width, width)
        part = width // scale
        convs = (nn.Conv1d(part, part, 3, padding=dilation, dilation=dilation) for _ in range(scale - 1))
        norms = (nn.BatchNorm1d(part) for _ in range(scale - 1))
        self.Res2Conv1dReluBn = Group(convs=nn.ModuleList(convs), bns=nn.ModuleList(norms))
        self.SE_Connect = Group(linear1=nn.Linear(width, squeezed), linear2=nn.Linear(squeezed, width))

    def forward(self, x: Tensor) -> Tensor:
        res2, gate = self.Res2Conv1dReluBn, self.SE_Connect
        *parts, last = self.Conv1dReluBn1(x).chunk(len(res2.convs) + 1, dim=1)
        mixed: list[Tensor] = []
        for part, conv, norm in zip(parts, res2.convs, res2.bns, strict=True):
            mixed.append(norm(F.relu(conv(part + mixed[-1] if mixed else part))))
        y = self.Conv1dReluBn2(torch.cat([*mixed, last], dim=1))
        squeezed = F.relu(gate.linear1(y.mean(dim=2)))
        return x + y * gate.linear2(squeezed).sigmoid()[..., None]


def _wavlm_shape(state: State) -> dict[str, Any]:
    """What transformers' WavLMConfig has to say for `state`, which has transformers' names."""
    known = {
        "do_stable_layer_norm": True, "feat_extract_norm": "layer", "conv_bias": False, "num_hidden_layers": 24,
        "hidden_size": 1024, "intermediate_size": 4096, "num_attention_heads": 16,
    }  # fmt: skip
    try:
        hidden = len(state["encoder.layer_norm.bias"])
        channels = len(state["feature_extractor.conv_layers.0.conv.weight"])
        _, per_group, kernel = state["encoder.pos_conv_embed.conv.weight"].shape
        buckets, heads = state["encoder.layers.0.attention.rel_attn_embed.weight"].shape
        intermediate = len(state["encoder.layers.0.feed_forward.intermediate_dense.bias"])
    except KeyError:
        return known  # the names that are missing are said where the weights are loaded
    return known | {
        "hidden_size": hidden, "conv_dim": (channels,) * 7, "num_conv_pos_embeddings": kernel,
        "num_conv_pos_embedding_groups": hidden // per_group, "num_buckets": buckets, "num_attention_heads": heads,
        "intermediate_size": intermediate, "num_hidden_layers": count(state, r"encoder\.layers\.(\d+)\."),
    }  # fmt: skip


def _head_shape(state: State) -> dict[str, int]:
    if not {"linear.bias", "layer2.SE_Connect.linear1.bias", "pooling.linear1.bias", "conv.bias"} <= set(state):
        return {}
    return {
        "width": len(state["layer1.conv.bias"]), "pooled": len(state["conv.bias"]),
        "scale": 1 + count(state, r"layer2\.Res2Conv1dReluBn\.convs\.(\d+)\."),
        "squeezed": len(state["layer2.SE_Connect.linear1.bias"]), "attention": len(state["pooling.linear1.bias"]),
        "embedding": len(state["linear.bias"]),
    }  # fmt: skip
