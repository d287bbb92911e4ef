"""ViSQOL: how good decoded audio sounds beside the reference, from the similarity of two gammatone spectrograms."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.util import find_spec
from math import isfinite
from typing import Any, ClassVar, Literal

import numpy as np

from evalkit.codecs import READY, Availability
from evalkit.environment import extras
from evalkit.errors import UndefinedScore
from evalkit.metrics.base import Direction, Pair, PairMetric
from evalkit.metrics.checks import require_length, require_playable
from evalkit.metrics.visqol_arrays import without_loops
from evalkit.streams import without_messages_of_c

SHORTEST = 0.5
"""Seconds. Below it no patch of speech may be left to compare."""


@dataclass(frozen=True)
class Visqol(PairMetric):
    """Virtual speech quality objective listener, mapped to MOS-LQO.

    Both signals are brought to one level and aligned; patches of their gammatone spectrograms are matched and compared
    by the neurogram similarity index (NSIM), and the similarities of all bands are mapped to an opinion score:

    - `visqol-speech`: 16 kHz, 21 bands, only patches with voice, mapped by a deep lattice network. Google's default.
    - `visqol-speech-exp`: the same, mapped by an exponential and scaled so that a perfect copy has 5. Values published
      with the Python bindings (as by VERSA) have this definition: the bindings never switch the lattice on.
    - `visqol-audio`: 48 kHz, 32 bands, all patches, mapped by support vector regression. Made for music: speech
      resampled from 16 kHz scores 4.2 to 4.4 with any codec.

    Range:
        MOS-LQO, 1 to 5; a perfect copy has 4.64 on average (`speech`), 5 (`speech-exp`) or 4.73 (`audio`). Higher is
        better.

    Source:
        Chinen et al. 2020 (arXiv 2004.09584), google/visqol 3.3.3, in the port `visqol-python` 3.8, whose models are
        inside the package (Apache-2.0). In audio mode, eight of Google's nine conformance pairs agree within 1e-6 and
        one within 1.2e-4; in speech mode, the port agrees within 0.0024.

    Misses:
        Delays and levels, which it removes first.

    Undefined:
        Below half a second and above ten minutes; for silence; beyond twice full scale; where no patch of speech is
        found.

        With Numba installed, which makes it a third faster, the very first call compiles for up to a minute; the
        results are the same.

    Example:
        >>> from evalkit.testing import example_pair
        >>> pair = example_pair()  # speech, and the same with white noise 20 dB below it
        >>> round(VISQOL_SPEECH.score(pair), 1), round(VISQOL_SPEECH_EXP.score(pair), 1)
        (2.8, 4.5)
        >>> round(VISQOL_AUDIO.score(example_pair(rate=48_000)), 1)
        1.8
    """

    imports: ClassVar[tuple[str, ...]] = ("visqol.api", "visqol.numba_accel")
    max_seconds: ClassVar[float] = 600.0

    direction: Direction = "up"
    unit: str = "MOS-LQO"
    low: float = 1.0
    high: float = 5.0
    version: str = "1 (visqol-python 3.8)"
    decimals: int = 3
    mode: Literal["speech", "audio"] = "speech"
    lattice: bool = True

    def availability(self, languages: Sequence[str] = ()) -> Availability:
        wanted = ["visqol", "libsvm"] + ["ai_edge_litert"] * (self.mode == "speech" and self.lattice)
        absent = [package for package in wanted if find_spec(package) is None]
        return Availability("needs extra", extras.install("visqol")) if absent else READY

    def score(self, pair: Pair) -> float:
        """MOS-LQO of `pair`.

        Args:
            pair: Reference and decoded audio [T] at the metric's `rate`, 16 or 48 kHz.

        Returns:
            1 to 5.

        Raises:
            UndefinedScore: Too short, silent, or without speech.
            MissingError: The package is not installed.
        """
        require_length(pair, round(SHORTEST * self.rate), "ViSQOL finds no patch to compare", self.rate)
        require_playable(pair)
        sides = (side.astype(np.float64) for side in (pair.reference, pair.decoded))
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", RuntimeWarning)  # of logarithms of silent frames
                value = _api(self.mode, self.lattice).measure_from_arrays(*sides, self.rate).moslqo
        except (IndexError, ValueError) as error:
            raise UndefinedScore(f"ViSQOL finds no patch to compare ({str(error)[:100]})") from error
        if not isfinite(value):
            raise UndefinedScore("ViSQOL is not a number: it finds no speech in the audio")
        # The last digits of the package depend on how its threads share the work.
        return round(float(np.clip(value, self.low, self.high)), 9)


@dataclass(frozen=True)
class VisqolAudio(Visqol):
    __doc__ = Visqol.__doc__
    rate: ClassVar[int] = 48_000


@lru_cache
def _api(mode: str, lattice: bool) -> Any:
    api = extras.load("visqol.api", "visqol").VisqolApi()
    if extras.load("visqol.numba_accel", "visqol").has_numba():
        import numba

        numba.set_num_threads(1)  # workers share the processor's cores already
    with without_messages_of_c():  # LiteRT tells every new user how it computes
        api.create(mode=mode, use_lattice_model=lattice)
    without_loops(api._manager)
    return api


VISQOL_SPEECH = Visqol(name="visqol-speech", label="ViSQOL")
VISQOL_SPEECH_EXP = Visqol(name="visqol-speech-exp", label="ViSQOL (exp.)", lattice=False)
VISQOL_AUDIO = VisqolAudio(name="visqol-audio", label="ViSQOL audio 48 kHz", mode="audio", lattice=False)
