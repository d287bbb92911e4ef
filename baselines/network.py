"""What adapters of neural codecs share: the way of one utterance into a network of torch and back."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from evalkit.audio import Wave
from evalkit.codecs import CodecInfo, Codes, Network, decoded_shape

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


def spread(model: Any) -> Any:
    """Random numbers for all tensors of a network, under which signals keep their size: many networks begin with zeros,
    or with nothing.

    Args:
        model: A module.

    Returns:
        The same.
    """
    for tensor in model.state_dict().values():
        if tensor.is_floating_point():
            tensor.normal_(0, tensor[0].numel() ** -0.5) if tensor.dim() > 1 else tensor.fill_(0.3)
    return model


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
        if card.output_rate is not None:
            self.output_rate = card.output_rate
        self.streaming = bool(card.causal)
        self.details = details
        self._model = model.eval()
        self._device = next(model.parameters()).device

    @abstractmethod
    def tokens(self, audio: "Tensor") -> "Tensor":
        """Tokens [K, N], of any integer type, of audio [T], float32, on the model's device."""

    @abstractmethod
    def audio(self, tokens: "Tensor") -> "Tensor":
        """Audio [N * hop], at `output_rate` where there is one, of tokens [K, N], int64; a few samples less or more do
        no harm."""

    def encode(self, wav: Wave) -> Codes:
        """Indices [K, N] of `wav` [T] at `sample_rate`."""
        import torch

        with torch.inference_mode():
            tokens = self.tokens(torch.from_numpy(np.array(wav, np.float32)).to(self._device))
        return Codes(len(wav), tokens.cpu().numpy().astype(np.int64), self.codebook_sizes)

    def decode(self, codes: Codes) -> Wave:
        """Audio [codes.length] at `sample_rate`, or as long at `output_rate`: without the samples of the padding, and
        with zeros where the network makes fewer samples than it was given."""
        import torch

        with torch.inference_mode():
            audio = self.audio(torch.from_numpy(codes.indices).to(self._device))
        return self._trimmed(audio, codes.length)

    def _trimmed(self, audio: "Tensor", length: int) -> Wave:
        """What stands for `length` samples of input, with zeros where there is less."""
        assert self.sample_rate
        samples, _ = decoded_shape(self, length, self.sample_rate)
        wav = audio[:samples].float().cpu().numpy()
        return np.pad(wav, (0, samples - len(wav)))

    def network(self) -> Network:
        """The model, which takes one utterance after another; subclasses whose model takes several say so."""
        import torch

        return Network(
            self._model,
            lambda audio: torch.stack([self.tokens(one) for one in audio]),
            lambda tokens: torch.stack([self.audio(one) for one in tokens]),
        )


class BatchNetworkCodec(NetworkCodec):
    """One that takes utterances of several lengths at once, padded with zeros at their ends; needs a frame rate."""

    batch_equal: bool

    @abstractmethod
    def tokens_of_batch(self, audio: "Tensor", lengths: "Tensor") -> "Tensor":
        """Tokens [B, K, N] of audio [B, T] of `lengths` [B] samples, all on the model's device."""

    @abstractmethod
    def audio_of_batch(self, tokens: "Tensor", frames: "Tensor") -> "Tensor":
        """Audio [B, N * hop] of tokens [B, K, N], int64, of `frames` [B] frames, all on the model's device."""

    def encode_batch(self, wavs: Sequence[Wave]) -> list[Codes]:
        """Indices [K, N] of each of `wavs` [T] at `sample_rate`."""
        import torch

        assert self.sample_rate and self.frame_rate
        hop = round(self.sample_rate / self.frame_rate)
        audio, lengths = _padded([torch.from_numpy(np.array(wav, np.float32)) for wav in wavs])
        with torch.inference_mode():
            tokens = self.tokens_of_batch(audio.to(self._device), lengths.to(self._device)).cpu().numpy()
        return [
            Codes(len(wav), one[:, : -(-len(wav) // hop)].astype(np.int64), self.codebook_sizes)
            for wav, one in zip(wavs, tokens, strict=True)
        ]

    def decode_batch(self, codes: Sequence[Codes]) -> list[Wave]:
        """Audio [length] at `sample_rate` of each of `codes`."""
        import torch

        tokens, frames = _padded([torch.from_numpy(one.indices) for one in codes])
        with torch.inference_mode():
            audio = self.audio_of_batch(tokens.to(self._device), frames.to(self._device))
        return [self._trimmed(wav, one.length) for wav, one in zip(audio, codes, strict=True)]


def _padded(tensors: "Sequence[Tensor]") -> "tuple[Tensor, Tensor]":
    """Tensors [..., T] as one of [B, ..., longest T], with zeros after their ends, and their T [B]."""
    import torch

    lengths = [one.shape[-1] for one in tensors]
    whole = [torch.nn.functional.pad(one, (0, max(lengths) - one.shape[-1])) for one in tensors]
    return torch.stack(whole), torch.tensor(lengths)
