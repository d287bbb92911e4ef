"""UTMOS, the strong learner of Saeki et al. 2022 (arXiv 2204.02152), with the state dict that SpeechMOS publishes."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from evalkit.metrics.networks.states import below, filled
from evalkit.metrics.networks.wav2vec2 import FAIRSEQ, Wav2Vec2


class Utmos(nn.Module):
    """Audio [B, T] at 16 kHz to mean opinion scores [B].

    Frames of wav2vec 2.0, beside them one embedding of the listening test and one of the listener, go through a
    recurrent layer and two linear ones to a score for each frame; the mean m of these gives 2 m + 3.

    Args:
        wav2vec2: The frames.
        embeddings: Widths of the two embeddings, 128 each.
        recurrent: Width of the recurrent layer, 512.
        hidden: Width between the linear layers, 2048.
    """

    def __init__(
        self, wav2vec2: Wav2Vec2, embeddings: tuple[int, int] = (128, 128), recurrent: int = 512, hidden: int = 2048
    ) -> None:
        super().__init__()
        width: int = wav2vec2.encoder.layer_norm.normalized_shape[0]
        self.wav2vec2 = wav2vec2
        self.domain_emb, self.judge_emb = (nn.Parameter(torch.zeros(1, size)) for size in embeddings)
        self.blstm = nn.LSTM(width + sum(embeddings), recurrent, batch_first=True, bidirectional=True)
        self.projection = nn.Sequential(nn.Linear(2 * recurrent, hidden), nn.ReLU(), nn.Linear(hidden, 1))

    @classmethod
    def of(cls, state: Mapping[str, Tensor]) -> "Utmos":
        """The network with the weights of `utmos22_strong_step7459_v1.pt`, or of the same layout.

        Raises:
            MissingError: They are the weights of something else.
        """
        wav2vec2 = Wav2Vec2.of(below(state, "wav2vec2."), FAIRSEQ)
        shape: dict[str, Any] = {}
        if "domain_emb" in state and "judge_emb" in state and "blstm.weight_hh_l0" in state:
            shape = {
                "embeddings": (state["domain_emb"].shape[1], state["judge_emb"].shape[1]),
                "recurrent": state["blstm.weight_hh_l0"].shape[1], "hidden": len(state["projection.0.bias"]),
            }  # fmt: skip
        heads = {name: value for name, value in state.items() if not name.startswith("wav2vec2.")}
        frames = {f"wav2vec2.{name}": value for name, value in wav2vec2.state_dict().items()}
        return filled(cls(wav2vec2, **shape), heads | frames, "UTMOS")

    def forward(self, wav: Tensor) -> Tensor:
        """Scores [B] of `wav` [B, T]."""
        frames = self.wav2vec2(wav)
        beside = (one[:, None].expand(*frames.shape[:2], -1) for one in (self.domain_emb, self.judge_emb))
        scores = self.projection(self.blstm(torch.cat([frames, *beside], dim=2))[0])
        return scores.mean(dim=1)[:, 0] * 2 + 3
