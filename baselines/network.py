"""What adapters of neural codecs share: the way of one utterance into a network of torch and back."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from evalkit.audio import Wave
from evalkit.codecs import CodecInfo, Codes, Network

if TYPE_CHECKING:
    from torch import Tensor


RANDOM: Mapping[str, object] = {"weights": "random"}
"""The details of a codec whose weights were drawn."""


def draw(make: Callable[[], Any], device: str) -> Any:
    """A model with random weights that are the same every time.

    Args:
        make: Makes it.
        device: A device of torch.

    Returns:
        The model, on `device`.
    """
    import torch

    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(0)
        return make().to(device)


class NetworkCodec(ABC):
    """An nn.Module behind the protocol, on the device that it is on, one utterance at a time; `card` says what it is,
    subclasses how it codes."""

    note = ""
    """What readers of its scores should know."""
    trained_on_metrics: tuple[str, ...] = ()

    def __init__(self, name: str, model: Any, card: CodecInfo, details: Mapping[str, object]) -> None:
        self.name = name
        self.sample_rate = card.sample_rate
        self.frame_rate = card.frame_rate
        self.codebook_sizes = card.codebook_sizes
        self.streaming = bool(card.causal)
        self.details = details
        self._model = model.eval()
        self._device = next(model.parameters()).device

    @abstractmethod
    def tokens(self, audio: "Tensor") -> "Tensor":
        """Tokens [K, N], of any integer type, of audio [T], float32, on the model's device."""

    @abstractmethod
    def audio(self, tokens: "Tensor") -> "Tensor":
        """Audio [N * hop] of tokens [K, N], int64; a few samples less or more do no harm."""

    def encode(self, wav: Wave) -> Codes:
        """Indices [K, N] of `wav` [T] at `sample_rate`."""
        import torch

        with torch.inference_mode():
            tokens = self.tokens(torch.from_numpy(np.array(wav, np.float32)).to(self._device))
        return Codes(len(wav), tokens.cpu().numpy().astype(np.int64), self.codebook_sizes)

    def decode(self, codes: Codes) -> Wave:
        """Audio [codes.length] at `sample_rate`: without the samples of the padding, and with zeros where the network
        makes fewer samples than it was given."""
        import torch

        with torch.inference_mode():
            audio = self.audio(torch.from_numpy(codes.indices).to(self._device))[: codes.length].float().cpu().numpy()
        return np.pad(audio, (0, codes.length - len(audio)))

    def network(self) -> Network:
        """The model, which takes one utterance after another; subclasses whose model takes several say so."""
        import torch

        return Network(
            self._model,
            lambda audio: torch.stack([self.tokens(one) for one in audio]),
            lambda tokens: torch.stack([self.audio(one) for one in tokens]),
        )
