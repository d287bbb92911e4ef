"""UTMOSv2 (Baba et al. 2024, arXiv 2409.09305): its fusion of a speech model and spectrograms, in upstream's names."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from evalkit.metrics.networks.efficientnet import EfficientNetV2
from evalkit.metrics.networks.states import Group, State, below, count, filled
from evalkit.metrics.networks.wav2vec2 import Wav2Vec2

HEADS = 8
"""Of each attention."""


class Utmosv2(nn.Module):
    """Audio and spectrograms to mean opinion scores [B].

    All layers of wav2vec 2.0 are mixed; so are the feature maps that one EfficientNetV2 for each kind of spectrogram
    makes. Each mix is pooled twice, by the mean of an attention over it and by its maximum, and one linear layer makes
    the score of both and of the data domain.

    Args:
        state: Weights as upstream names them; they say every width.
    """

    def __init__(self, state: State) -> None:
        super().__init__()
        wav2vec2 = Wav2Vec2.of(below(state, "ssl.encoder.model."))
        width: int = wav2vec2.encoder.layer_norm.normalized_shape[0]
        spectral = below(state, "spec_long.")
        backbones = [
            EfficientNetV2.of(below(spectral, f"backbones.{i}.")) for i in range(count(spectral, r"backbones\.(\d+)\."))
        ]
        self.ssl = Group(
            encoder=Group(model=wav2vec2),
            attn=nn.ModuleList(_attention(width) for _ in range(count(state, r"ssl\.attn\.(\d+)\."))),
        )
        self.ssl.weights = nn.Parameter(torch.zeros(len(wav2vec2.encoder.layers) + 1))
        maps = 2 * backbones[0].conv_head.out_channels if backbones else HEADS
        self.spec_long = Group(backbones=nn.ModuleList(backbones), attn=_attention(maps))
        self.spec_long.weights = nn.Parameter(torch.zeros(len(backbones)))
        # Each branch has room for the data domain once more, where upstream leaves zeros.
        self.domains = (state["fc.weight"].shape[1] - 2 * width - 2 * maps) // 3 if "fc.weight" in state else 1
        self.fc = nn.Linear(2 * width + 2 * maps + 3 * self.domains, 1)

    @classmethod
    def of(cls, state: Mapping[str, Tensor]) -> "Utmosv2":
        """The network with the weights of `fold0_s42_best_model.pth`, or of the same layout.

        Raises:
            MissingError: They are the weights of something else.
        """
        network = cls(dict(state))
        prefix = "ssl.encoder.model."
        heads = {name: value for name, value in state.items() if not name.startswith(prefix)}
        frames = {f"{prefix}{name}": value for name, value in network.ssl.encoder.model.state_dict().items()}
        return filled(network, heads | frames, "UTMOSv2")

    def forward(self, wav: Tensor, spectrograms: Tensor, domain: int) -> Tensor:
        """Scores [B].

        Args:
            wav: [B, T] at 16 kHz, of mean 0 and variance 1.
            spectrograms: [B, P, K, H, W]: P parts of the recording, each as K kinds of spectrogram.
            domain: Which listening test the scores are to be those of.
        """
        x = torch.stack(self.ssl.encoder.model.layers(wav), dim=-1) @ self.ssl.weights
        y = x
        for attention in self.ssl.attn:
            y = attention(y, y, y, need_weights=False)[0]
        speech = torch.cat([y.mean(1), x.amax(1)], dim=1)

        parts = []
        for part in spectrograms.unbind(1):
            images = (one[:, None].expand(-1, 3, -1, -1) for one in part.unbind(1))
            maps = [backbone(one) for backbone, one in zip(self.spec_long.backbones, images, strict=True)]
            parts.append(sum(one * weight for one, weight in zip(maps, self.spec_long.weights, strict=True)))
        joined = torch.cat(parts, dim=3)
        pooled = torch.cat([joined.mean(3), joined.amax(3)], dim=1).transpose(1, 2)
        mixed = self.spec_long.attn(pooled, pooled, pooled, need_weights=False)[0]
        spectral = torch.cat([mixed.mean(1), pooled.amax(1)], dim=1)

        empty = wav.new_zeros(len(wav), self.domains)
        chosen = empty.clone()
        chosen[:, domain] = 1
        return self.fc(torch.cat([speech, empty, spectral, empty, chosen], dim=1))[:, 0]


def _attention(width: int) -> nn.MultiheadAttention:
    return nn.MultiheadAttention(width, HEADS, batch_first=True)
