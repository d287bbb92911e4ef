"""The two networks of SQUIM (Kumar et al. 2023, arXiv 2304.01448), with the state dicts that torchaudio publishes."""

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from evalkit.metrics.networks.states import Group, below, count, filled, renamed
from evalkit.metrics.networks.wav2vec2 import TORCHAUDIO, Wav2Vec2

HIGHEST_PESQ = 0.999 + 4 / (1 + 2.718281828459045 ** (3.8224 - 1.3669 * 4.5))
"""MOS-LQO of a perfect copy: the end of the range of the branch for PESQ, which begins at 1."""
HEADS = ((r"^predictor\.att_pool_layer\.linear1\.", "attention."), (r"^predictor\.att_pool_layer\.linear2\.", "grade."))
"""How torchaudio calls the layers behind the features."""


class Subjective(nn.Module):
    """SQUIM's subjective network: frames of decoded audio and of a clean recording, and the difference in opinion.

    Args:
        ssl: wav2vec 2.0.
        features: Of a frame that go into the comparison, 32.
        grades: Steps of the scale from 0 to 4 whose probabilities are predicted, 5.
    """

    def __init__(self, ssl: Wav2Vec2, features: int = 32, grades: int = 5) -> None:
        super().__init__()
        self.ssl = ssl
        self.projector = nn.Linear(ssl.encoder.layer_norm.normalized_shape[0], features)
        self.attention = nn.Linear(2 * features, 1)
        self.grade = nn.Linear(2 * features, grades)

    @classmethod
    def of(cls, state: Mapping[str, Tensor]) -> "Subjective":
        """The network with the weights of torchaudio's `squim_subjective_bvcc_daps.pth`, or of the same layout."""
        ssl = Wav2Vec2.of(below(state, "ssl_model."), TORCHAUDIO)
        heads = renamed({name: value for name, value in state.items() if not name.startswith("ssl_model.")}, HEADS)
        features, grades = (len(heads.get(f"{name}.bias", "?")) for name in ("projector", "grade"))
        whole = {f"ssl.{name}": value for name, value in ssl.state_dict().items()} | heads
        return filled(cls(ssl, features, grades), whole, "SQUIM's subjective model")

    def features(self, wav: Tensor) -> Tensor:
        """Features [B, N, 32] of `wav` [B, T]."""
        return self.projector(self.ssl(wav))

    def difference(self, reference: Tensor, decoded: Tensor) -> Tensor:
        """Predicted difference in opinion [B], 0 to 4, from the features [B, N, 32] of both."""
        pair = torch.cat((reference, decoded), dim=2)
        weights = F.softmax(self.attention(pair).transpose(1, 2), dim=2)
        chances = F.softmax(self.grade((weights @ pair).squeeze(1)), dim=1)
        return (chances * torch.linspace(0, 4, chances.shape[1], device=chances.device)).sum(1)


class Objective(nn.Module):
    """SQUIM's objective network: estimates of STOI, wide-band PESQ and SI-SDR from decoded audio alone.

    Frames of a learned filterbank go through recurrent layers within and across overlapping chunks (a dual-path RNN,
    Luo et al. 2020, arXiv 1910.06379), and through one transformer layer for each estimate.

    Args:
        channels: Of the filterbank, 256.
        window: Samples of a frame, 64; frames are half of that apart.
        hidden: Width of the recurrent layers, 256.
        blocks: Pairs of recurrent layers, 2.
        width: Of the transformer layers, 256.
        heads: Of their attention, 4.
        chunk: Frames of a chunk, 71; chunks are half of that, rounded down, apart.
    """

    def __init__(
        self, channels: int = 256, window: int = 64, hidden: int = 256, blocks: int = 2, width: int = 256,
        heads: int = 4, chunk: int = 71,
    ) -> None:  # fmt: skip
        super().__init__()
        self.encoder = Group(conv1d=nn.Conv1d(1, channels, window, window // 2, bias=False))
        self.dprnn = DualPath(channels, hidden, blocks, width, chunk)
        self.branches = nn.ModuleList(_branch(width, heads) for _ in range(3))

    @classmethod
    def of(cls, state: Mapping[str, Tensor], heads: int = 4, chunk: int = 71) -> "Objective":
        """The network with the weights of torchaudio's `squim_objective_dns2020.pth`, or of the same layout."""
        shape = {}
        if "encoder.conv1d.weight" in state and "dprnn.conv.0.weight" in state:
            channels, _, window = state["encoder.conv1d.weight"].shape
            shape = {
                "channels": channels, "window": window, "width": len(state["dprnn.conv.0.weight"]),
                "hidden": state["dprnn.row_rnn.0.rnn.weight_hh_l0"].shape[1],
                "blocks": count(state, r"dprnn\.row_rnn\.(\d+)\."),
            }  # fmt: skip
        return filled(cls(**shape, heads=heads, chunk=chunk), state, "SQUIM's objective model")

    def forward(self, wav: Tensor) -> Tensor:
        """Estimates [B, 3] of STOI, PESQ and SI-SDR (dB) for `wav` [B, T], at any level."""
        wav = wav / (wav.square().mean(1, keepdim=True).sqrt() * 20)
        frames = self.dprnn(F.relu(self.encoder.conv1d(wav[:, None])))
        stoi, pesq, si_sdr = (branch(frames)[:, 0] for branch in self.branches)
        return torch.stack((stoi.sigmoid(), pesq.sigmoid() * (HIGHEST_PESQ - 1) + 1, si_sdr), dim=1)


class DualPath(nn.Module):
    """Recurrent layers within chunks and across them: [B, channels, N] to [B, N, width]."""

    def __init__(self, channels: int, hidden: int, blocks: int, width: int, chunk: int) -> None:
        super().__init__()
        self.row_rnn = nn.ModuleList(BothWays(channels, hidden) for _ in range(blocks))
        self.col_rnn = nn.ModuleList(BothWays(channels, hidden) for _ in range(blocks))
        self.row_norm = nn.ModuleList(nn.GroupNorm(1, channels, eps=1e-8) for _ in range(blocks))
        self.col_norm = nn.ModuleList(nn.GroupNorm(1, channels, eps=1e-8) for _ in range(blocks))
        self.conv = nn.Sequential(nn.Conv2d(channels, width, 1), nn.PReLU())
        self.chunk, self.hop = chunk, chunk // 2

    def forward(self, frames: Tensor) -> Tensor:
        chunk, hop = self.chunk, self.hop
        rest = chunk - (hop + frames.shape[2] % chunk) % chunk
        padded = F.pad(frames, (hop, rest + hop))
        halves = (padded[..., :-hop].unflatten(2, (-1, chunk)), padded[..., hop:].unflatten(2, (-1, chunk)))
        x = torch.stack(halves, dim=3).flatten(2, 3).transpose(2, 3).contiguous()  # [B, channels, chunk, chunks]
        for row, row_norm, column, column_norm in zip(
            self.row_rnn, self.row_norm, self.col_rnn, self.col_norm, strict=True
        ):
            within = row(x.permute(0, 3, 2, 1).flatten(0, 1)).unflatten(0, (len(x), -1)).permute(0, 3, 2, 1)
            x = x + row_norm(within.contiguous())
            across = column(x.permute(0, 2, 3, 1).flatten(0, 1)).unflatten(0, (len(x), -1)).permute(0, 3, 1, 2)
            x = x + column_norm(across.contiguous())
        x = self.conv(x).transpose(2, 3).unflatten(2, (-1, 2))
        x = x[:, :, :, 0].flatten(2)[..., hop:] + x[:, :, :, 1].flatten(2)[..., :-hop]
        return x[..., : frames.shape[2]].transpose(1, 2)


class BothWays(nn.Module):
    """A recurrent layer in both directions and a projection back: [B, N, channels] to the same."""

    def __init__(self, channels: int, hidden: int) -> None:
        super().__init__()
        self.rnn = nn.LSTM(channels, hidden, batch_first=True, bidirectional=True)
        self.proj = nn.Linear(2 * hidden, channels)

    def forward(self, x: Tensor) -> Tensor:
        return self.proj(self.rnn(x)[0])


class Pooling(nn.Module):
    """Mean over frames, each channel weighted by a softmax of itself times a learned sharpness: [B, N, C] to [B, C]."""

    def __init__(self) -> None:
        super().__init__()
        self.alpha = nn.Parameter(torch.ones(1))

    def forward(self, x: Tensor) -> Tensor:
        return (x * F.softmax(x * self.alpha, dim=1)).sum(1)


def _branch(width: int, heads: int) -> nn.Sequential:
    attention = nn.TransformerEncoderLayer(width, heads, 4 * width, dropout=0.0, batch_first=True)
    head = nn.Sequential(nn.Linear(width, width), nn.PReLU(), nn.Linear(width, 1))
    return nn.Sequential(attention, Pooling(), head)
