"""wav2vec 2.0 in its "base" layout: group norm in the first convolution, normalisation behind each block.

Baevski et al. 2020 (arXiv 2006.11477). Names are those of transformers' `Wav2Vec2Model`, so that its weights load as
they are; those of torchaudio and fairseq are renamed.
"""

from collections.abc import Mapping

import torch.nn.functional as F
from torch import Tensor, nn

from evalkit.metrics.networks.states import Group, State, count, filled, renamed
from nanocodec.layers import fold_tensors

KERNELS = (10, 3, 3, 3, 3, 2, 2)
STRIDES = (5, 2, 2, 2, 2, 2, 2)
HEAD = 64
"""Channels of one head of attention."""
RECEPTIVE_FIELD = 400
"""Samples that one frame sees, 25 ms at 16 kHz; frames are 20 ms apart."""

TORCHAUDIO = ((r"^encoder\.feature_projection\.", "feature_projection."), (r"^encoder\.transformer\.", "encoder."))
FAIRSEQ = (
    (r"^(feature_extractor\.conv_layers\.\d+)\.0\.", r"\1.conv."),
    (r"^(feature_extractor\.conv_layers\.\d+)\.2\.", r"\1.layer_norm."),
    (r"^layer_norm\.", "feature_projection.layer_norm."),
    (r"^post_extract_proj\.", "feature_projection.projection."),
    (r"^encoder\.pos_conv\.0\.", "encoder.pos_conv_embed.conv."),
    (r"\.self_attn_layer_norm\.", ".layer_norm."),
    (r"\.self_attn\.", ".attention."),
    (r"\.fc1\.", ".feed_forward.intermediate_dense."),
    (r"\.fc2\.", ".feed_forward.output_dense."),
)
"""How others call what transformers calls otherwise."""


class Wav2Vec2(nn.Module):
    """Audio [B, T] at 16 kHz to frames [B, N, D] every 20 ms, those behind the last block.

    Args:
        channels: Of the convolutions.
        width: D.
        layers: Blocks of attention.
        hidden: Width between the two linear layers of a block.
        kernel: Frames that the positional convolution sees.
        groups: Of that convolution.
    """

    def __init__(
        self, channels: int = 512, width: int = 768, layers: int = 12, hidden: int = 3072, kernel: int = 128,
        groups: int = 16,
    ) -> None:  # fmt: skip
        super().__init__()
        convolutions = (
            Group(conv=nn.Conv1d(channels if position else 1, channels, size, stride, bias=False))
            for position, (size, stride) in enumerate(zip(KERNELS, STRIDES, strict=True))
        )
        self.feature_extractor = Group(conv_layers=nn.ModuleList(convolutions))
        self.feature_extractor.conv_layers[0].layer_norm = nn.GroupNorm(channels, channels)
        self.feature_projection = Group(layer_norm=nn.LayerNorm(channels), projection=nn.Linear(channels, width))
        positions = nn.Conv1d(width, width, kernel, padding=kernel // 2, groups=groups)
        self.encoder = Group(
            pos_conv_embed=Group(conv=positions),
            layer_norm=nn.LayerNorm(width),
            layers=nn.ModuleList(Block(width, hidden) for _ in range(layers)),
        )

    @classmethod
    def of(cls, state: Mapping[str, Tensor], rules: tuple[tuple[str, str], ...] = ()) -> "Wav2Vec2":
        """The model with the weights and the shape of a state dict.

        Args:
            state: Names as transformers has them, once `rules` are applied. `mask_emb` and its like, which only
                training takes, are left out.
            rules: TORCHAUDIO, FAIRSEQ, or none.

        Raises:
            MissingError: They are the weights of something else.
        """
        state = fold_tensors(renamed(state, rules), dim=2)
        state = {name: value for name, value in state.items() if name not in ("mask_emb", "masked_spec_embed")}
        return filled(cls(**_shape(state)), state, "wav2vec 2.0")

    def forward(self, wav: Tensor) -> Tensor:
        """Frames [B, N, D] of `wav` [B, T], with N = (T - 400) // 320 + 1."""
        return self.layers(wav)[-1]

    def layers(self, wav: Tensor) -> list[Tensor]:
        """Frames [B, N, D] of `wav` [B, T] before the first block and behind each."""
        x = wav[:, None]
        for position, layer in enumerate(self.feature_extractor.conv_layers):
            x = layer.conv(x)
            if position == 0:
                x = layer.layer_norm(x)
            x = F.gelu(x)
        projection, encoder = self.feature_projection, self.encoder
        x = projection.projection(projection.layer_norm(x.transpose(1, 2)))
        positions = encoder.pos_conv_embed.conv(x.transpose(1, 2))[..., : x.shape[1]]
        found = [encoder.layer_norm(x + F.gelu(positions).transpose(1, 2))]
        for block in encoder.layers:
            found.append(block(found[-1]))
        return found


class Block(nn.Module):
    """Attention and two linear layers, each added to what came in and then normalised: [B, N, D] to the same."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.attention = Group(**{name: nn.Linear(width, width) for name in ("q_proj", "k_proj", "v_proj", "out_proj")})
        self.layer_norm = nn.LayerNorm(width)
        self.feed_forward = Group(intermediate_dense=nn.Linear(width, hidden), output_dense=nn.Linear(hidden, width))
        self.final_layer_norm = nn.LayerNorm(width)

    def forward(self, x: Tensor) -> Tensor:
        attention, feed = self.attention, self.feed_forward
        heads = (
            getattr(attention, name)(x).unflatten(2, (-1, HEAD)).transpose(1, 2)
            for name in ("q_proj", "k_proj", "v_proj")
        )
        mixed = F.scaled_dot_product_attention(*heads).transpose(1, 2).flatten(2)
        x = self.layer_norm(x + attention.out_proj(mixed))
        fed = feed.output_dense(F.gelu(feed.intermediate_dense(x)))
        return self.final_layer_norm(x + fed)


def _shape(state: State) -> dict[str, int]:
    try:
        width, channels = state["feature_projection.projection.weight"].shape
        _, per_group, kernel = state["encoder.pos_conv_embed.conv.weight"].shape
        hidden = len(state["encoder.layers.0.feed_forward.intermediate_dense.bias"])
    except KeyError:
        return {}  # the names that are missing are said where the weights are loaded
    layers = count(state, r"encoder\.layers\.(\d+)\.")
    return {
        "channels": channels, "width": width, "layers": layers, "hidden": hidden, "kernel": kernel,
        "groups": width // per_group,
    }  # fmt: skip
