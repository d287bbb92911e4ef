"""ECAPA-TDNN (Desplanques et al. 2020, arXiv 2005.07143), with the state dict that speechbrain publishes."""

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from evalkit.metrics.networks.states import Group, count, filled, renamed

BANDS = 80
SPEECHBRAIN = ((r"\.(conv|norm)\.(?=[^.]+$)", "."),)
"""speechbrain wraps each convolution and each normalisation in a module of its own."""


class EcapaTdnn(nn.Module):
    """Audio [B, T] at 16 kHz to speaker embeddings [B, D].

    Args:
        width: Channels of the blocks, 1024.
        pooled: Channels before pooling, 3072.
        scale: Parts of a Res2Net block, 8.
        squeezed: Channels of the squeeze in a block, 128.
        attention: Channels of the attention in pooling, 128.
        embedding: D, 192.
    """

    def __init__(
        self, width: int = 1024, pooled: int = 3072, scale: int = 8, squeezed: int = 128, attention: int = 128,
        embedding: int = 192,
    ) -> None:  # fmt: skip
        super().__init__()
        self.blocks = nn.ModuleList([Tdnn(BANDS, width, 5)])
        self.blocks.extend(Block(width, dilation, scale, squeezed) for dilation in (2, 3, 4))
        self.mfa = Tdnn(3 * width, pooled)
        self.asp = StatisticsPooling(pooled, attention)
        self.asp_bn = nn.BatchNorm1d(2 * pooled)
        self.fc = nn.Conv1d(2 * pooled, embedding, 1)

    @classmethod
    def of(cls, state: Mapping[str, Tensor]) -> "EcapaTdnn":
        """The network with the weights of speechbrain's `embedding_model.ckpt`, or of the same layout.

        Raises:
            MissingError: They are the weights of something else.
        """
        state = renamed(state, SPEECHBRAIN)
        shape = {}
        if "fc.bias" in state and "blocks.1.se_block.conv1.bias" in state and "asp.tdnn.conv.bias" in state:
            shape = {
                "width": len(state["blocks.0.conv.bias"]), "pooled": len(state["mfa.conv.bias"]),
                "scale": 1 + count(state, r"blocks\.1\.res2net_block\.blocks\.(\d+)\."),
                "squeezed": len(state["blocks.1.se_block.conv1.bias"]),
                "attention": len(state["asp.tdnn.conv.bias"]), "embedding": len(state["fc.bias"]),
            }  # fmt: skip
        return filled(cls(**shape), state, "ECAPA-TDNN")

    def forward(self, wav: Tensor) -> Tensor:
        """Embeddings [B, D] of `wav` [B, T]."""
        bands = log_mel(wav)
        x = self.blocks[0]((bands - bands.mean(1, keepdim=True)).transpose(1, 2))
        outputs = []
        for block in self.blocks[1:]:
            x = block(x)
            outputs.append(x)
        x = self.asp(self.mfa(torch.cat(outputs, dim=1)))
        return self.fc(self.asp_bn(x)[..., None])[..., 0]


class Tdnn(nn.Module):
    """Convolution, ReLU, batch norm; as long as the input, whose ends are reflected."""

    def __init__(self, inputs: int, outputs: int, kernel: int = 1, dilation: int = 1) -> None:
        super().__init__()
        padding = dilation * (kernel - 1) // 2
        self.conv = nn.Conv1d(inputs, outputs, kernel, dilation=dilation, padding=padding, padding_mode="reflect")
        self.norm = nn.BatchNorm1d(outputs)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(F.relu(self.conv(x)))


class Block(nn.Module):
    """A Res2Net block with squeeze and excitation, added to its input: [B, C, N] to the same."""

    def __init__(self, width: int, dilation: int, scale: int, squeezed: int) -> None:
        super().__init__()
        self.tdnn1 = Tdnn(width, width)
        part = width // scale
        self.res2net_block = Group(blocks=nn.ModuleList(Tdnn(part, part, 3, dilation) for _ in range(scale - 1)))
        self.tdnn2 = Tdnn(width, width)
        self.se_block = Group(conv1=nn.Conv1d(width, squeezed, 1), conv2=nn.Conv1d(squeezed, width, 1))

    def forward(self, x: Tensor) -> Tensor:
        parts = self.tdnn1(x).chunk(len(self.res2net_block.blocks) + 1, dim=1)
        mixed = [parts[0]]
        for position, (part, tdnn) in enumerate(zip(parts[1:], self.res2net_block.blocks, strict=True)):
            mixed.append(tdnn(part if position == 0 else part + mixed[-1]))
        y = self.tdnn2(torch.cat(mixed, dim=1))
        gate = self.se_block.conv2(F.relu(self.se_block.conv1(y.mean(2, keepdim=True))))
        return x + y * gate.sigmoid()


class StatisticsPooling(nn.Module):
    """Mean and deviation over frames with weights from attention: [B, C, N] to [B, 2 C]."""

    def __init__(self, channels: int, attention: int) -> None:
        super().__init__()
        self.tdnn = Tdnn(3 * channels, attention)
        self.conv = nn.Conv1d(attention, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        even = torch.full_like(x[:, :1], 1 / x.shape[2])
        whole = torch.cat([x, *(one[..., None].expand_as(x) for one in _statistics(x, even))], dim=1)
        weights = F.softmax(self.conv(self.tdnn(whole).tanh()), dim=2)
        return torch.cat(_statistics(x, weights), dim=1)


def _statistics(x: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and deviation [B, C] over frames of `x` [B, C, N]."""
    mean = (weights * x).sum(2)
    return mean, (weights * (x - mean[..., None]).square()).sum(2).clamp(min=1e-12).sqrt()


def log_mel(wav: Tensor) -> Tensor:
    """Mel spectrogram [B, N, 80] in dB of `wav` [B, T], no more than 80 dB below its peak.

    Frames of 25 ms every 10 ms in a Hamming window; triangles over 0 to 8 kHz, equally spaced on the mel scale
    2595 log10(1 + f / 700), each as steep on the right as on the left. As speechbrain's `Fbank(n_mels=80)`.
    """
    window = torch.hamming_window(400, device=wav.device)
    power = torch.stft(wav, 400, 160, window=window, pad_mode="constant", return_complex=True)
    power = torch.view_as_real(power).square().sum(-1).transpose(1, 2)
    levels = 10 * torch.log10((power @ _filters().to(wav.device)).clamp(min=1e-10))
    return torch.maximum(levels, levels.amax(dim=(1, 2), keepdim=True) - 80)


def _filters() -> Tensor:
    """Triangular filters [201, 80]."""
    top = 2595 * torch.log10(torch.tensor(1 + 8000 / 700, dtype=torch.float64)).item()
    hz = 700 * (10 ** (torch.linspace(0, top, BANDS + 2) / 2595) - 1)
    slope = (torch.linspace(0, 8000, 201)[:, None] - hz[1:-1]) / (hz[1:] - hz[:-1])[:-1]
    return torch.minimum(slope + 1, 1 - slope).clamp(min=0)
