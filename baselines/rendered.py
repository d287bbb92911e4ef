"""Codecs that exist here only as decoded audio, in a folder: `--codec ts3@0.85k --rendered DIR`.

TS3-Codec (Wu et al., 2024, arXiv 2411.18803) has neither public code nor public weights; its paper offers decoded audio
by e-mail to the first author. `rendered` stands for any other codec, without a name or declared bitrate. Codecs that do
run here also accept --rendered, for audio decoded by their authors.
"""

from collections.abc import Mapping

from evalkit.codecs import Availability, Codec, CodecInfo
from evalkit.errors import MissingError


class RenderedFamily:
    """A codec that does not run here; `why` says the reason, `cards` what is known of it at each rate."""

    def __init__(
        self, name: str, rates: Mapping[str, float], why: str, cards: Mapping[str, CodecInfo], license: str
    ) -> None:
        self.name = name
        self.rates = rates
        self.default_rate = next(iter(rates))
        self.license = license
        self._why = why
        self._cards = cards

    def availability(self, rate: str) -> Availability:
        """Never ready by itself."""
        return Availability(
            "rendered only", f"{self._why}: add --rendered DIR, with one file per utterance, named by its id"
        )

    def info(self, rate: str) -> CodecInfo:
        """What is known of it."""
        return self._cards.get(rate, CodecInfo())

    def build(self, rate: str, device: str = "cpu") -> Codec:
        """Always raises MissingError, with the remedy."""
        raise MissingError(f"{self.name}@{rate}: {self.availability(rate).remedy}")


TS3 = RenderedFamily(
    "ts3",
    {"0.85k": 850.0},
    "TS3-Codec was never released; its paper (arXiv 2411.18803) offers decoded audio by e-mail to the first author",
    {"0.85k": CodecInfo(16_000, causal=True)},
    "none: neither code nor weights are public",
)
FAMILY = RenderedFamily("rendered", {"undeclared": float("nan")}, "audio that another codec decoded", {}, "unknown")
