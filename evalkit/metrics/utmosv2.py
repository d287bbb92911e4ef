"""UTMOSv2: the mean opinion score that listeners would give, predicted from random parts of the decoded audio."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from evalkit.audio import Wave
from evalkit.environment.downloads import File
from evalkit.metrics.base import SCORE_RATE, Pair
from evalkit.metrics.checks import require_length, require_playable
from evalkit.metrics.mel import mel_filters
from evalkit.metrics.model import ModelMetric, Scorer

if TYPE_CHECKING:
    from torch import Tensor

    from evalkit.metrics.networks.utmosv2 import Utmosv2

SHORTEST = 1_600
"""Samples: a tenth of a second."""
SPEECH, PART = 3 * SCORE_RATE, 22_400
"""Samples that the speech model is given, and that one spectrogram shows: 3 and 1.4 s."""
PARTS = 2
WINDOWS = (4096, 2048, 1024, 512)
"""Samples of the window of each kind of spectrogram."""
FFT, HOP, BANDS, SIDE = 4096, 32, 512, 512
"""Samples of the FFT and between two frames, mel bands, and the side of the image that a spectrogram becomes."""
RANGE = 80.0
"""dB below its loudest point at which a spectrogram ends."""
MIX = 0.4
"""Both parameters of the beta distribution by which the spectrograms of two parts are mixed."""
SARULAB = 1
"""Number of the data domain `sarulab`, upstream's default."""


class Utmosv2Model(Scorer):
    """UTMOSv2, open."""

    def __init__(self, network: "Utmosv2", device: str) -> None:
        super().__init__()
        self._network, self._device = network.to(device), device

    def infer(self, wavs: Sequence[Wave], language: str) -> Sequence[NDArray[Any]]:
        """The scores, each of shape []."""
        return [self._score(wav) for wav in wavs]

    def _score(self, wav: Wave) -> NDArray[Any]:
        import torch

        random = np.random.RandomState(0)  # what upstream draws from numpy's global state, in its order
        speech = _random_part(wav, SPEECH, random)
        speech = (speech - speech.mean()) / np.sqrt(speech.var() + 1e-7)
        images = []
        with torch.inference_mode():
            for _ in range(PARTS):
                first = _random_part(wav, PART, random)
                for window in WINDOWS:
                    second = _random_part(wav, PART, random)
                    share = random.beta(MIX, MIX)
                    mixed = share * _spectrogram(first, window) + (1 - share) * _spectrogram(second, window)
                    images.append(
                        torch.nn.functional.interpolate(
                            mixed[None, None].float(), (SIDE, SIDE), mode="bilinear", antialias=True
                        )[0, 0]
                    )
            spectrograms = torch.stack(images).unflatten(0, (PARTS, len(WINDOWS)))[None]
            given = torch.from_numpy(speech[None].astype(np.float32)), spectrograms
            found = self._network(*(one.to(self._device) for one in given), SARULAB)
        return np.asarray(found[0].cpu().numpy())

    def score(self, metric: "Utmosv2Metric", pair: Pair) -> Mapping[str, float]:
        """The predicted opinion of the decoded audio.

        Raises:
            UndefinedScore: Too short, silent, or not finite.
        """
        require_length(pair, SHORTEST)
        require_playable(pair)
        return {metric.name: float(self.features(pair.decoded))}


def _random_part(wav: Wave, length: int, random: np.random.RandomState) -> Wave:
    """`length` samples from a random place of `wav`, which is repeated where it has no more than that."""
    if len(wav) <= length:
        wav = np.tile(wav, length // len(wav) + 1)
    start = random.randint(0, len(wav) - length)
    return wav[start : start + length]


def _spectrogram(wav: Wave, window: int) -> "Tensor":
    """Mel power spectrogram [BANDS, frames] in dB of its peak, from 0 (RANGE below) to 1."""
    import torch

    spectrum = torch.stft(
        torch.from_numpy(wav), FFT, HOP, window, torch.hann_window(window), pad_mode="constant", return_complex=True
    )
    mel = torch.from_numpy(mel_filters(FFT, BANDS, unit_area=True)).T @ spectrum.abs().square()
    decibel = 10 * mel.clamp(min=1e-10).log10()
    return ((decibel - decibel.max()).clamp(min=-RANGE) + RANGE) / RANGE


@dataclass(frozen=True)
class Utmosv2Metric(ModelMetric):
    """Predicted mean opinion score of the decoded audio, from random parts of it: 3 s for wav2vec 2.0, and twice 1.4 s
    as mel spectrograms of four kinds, each mixed with that of another part. The original is not used.

    Upstream draws new parts at each call. Here they are drawn from seed 0 for every recording, so that scores repeat.
    Settings: one repetition, fold 0, the data domain `sarulab`, and silence left in, as in the paper (upstream's
    package now removes passages that stay below a tenth of full scale for 0.3 s: `remove_silent_section`). The network
    is our own (networks/utmosv2.py) and loads upstream's weights.

    Range:
        MOS, about 1 to 5. Higher is better.

    Source:
        Baba, Nakata, Saito, Saruwatari 2024 (arXiv 2409.09305), sarulab-speech/UTMOSv2@cc2700d (MIT), the checkpoint of
        `fusion_stage3`, fold 0. The paper averages five folds, each over five draws.

    Misses:
        Words and voice. Of a long recording, one draw uses only 3 s, so rely on means over many utterances.

    Undefined:
        For silence, for less than 0.1 s, above ten minutes, and beyond twice full scale.

    Example:
        >>> from evalkit.testing import example_pair
        >>> model = UTMOSV2_FOLD0.open("cpu")  # doctest: +SKIP
        >>> model.score(UTMOSV2_FOLD0, example_pair())  # doctest: +SKIP
        {'utmosv2-fold0': 2.5}
    """

    uses_reference: ClassVar[bool] = False
    max_seconds: ClassVar[float] = 600.0

    @property
    def model(self) -> str:
        return self.name

    @property
    def choices(self) -> dict[str, str]:
        return {"fold": "0", "repetitions": "1", "seed": "0", "domain": "sarulab", "silence": "kept"}

    def open(self, device: str) -> Utmosv2Model:
        from evalkit.metrics.networks import states, utmosv2

        return Utmosv2Model(utmosv2.Utmosv2.of(states.read_state(self.files[0].open())), device)


UTMOSV2_FOLD0 = Utmosv2Metric(
    name="utmosv2-fold0",
    label="UTMOSv2",
    direction="up",
    unit="MOS",
    low=float("-inf"),
    high=float("inf"),
    version="1",
    decimals=3,
    files=(
        File(
            "fold0_s42_best_model.pth",
            "MIT",
            818_531_314,
            "sarulab-speech/UTMOSv2",
            "506474f2b33dc77c234d668cc419be1861899cad",
            sha256="c8149d988e4bbf3f347e6966b5d769de347a5f8c59ffca1dc4bd4bf5b8585e57",
        ),
    ),
    packages=(),
    extra="hub",
)
