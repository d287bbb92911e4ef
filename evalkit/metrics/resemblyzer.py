"""Speaker similarity by Resemblyzer, whose weights are inside its package: no download from a hub."""

from dataclasses import dataclass, field
from functools import lru_cache
from hashlib import file_digest
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from scipy.fft import rfft
from scipy.ndimage import binary_dilation

from evalkit.audio import Wave
from evalkit.environment import extras
from evalkit.errors import MissingError, UndefinedScore
from evalkit.metrics.base import SCORE_RATE
from evalkit.metrics.checks import clipped
from evalkit.metrics.mel import hann, mel_filters
from evalkit.metrics.secs import SpeakerModel, SpeakerSimilarity, similarity
from evalkit.metrics.voice import WINDOW, integers, voiced

SHA256 = "39373b86598fa3da9fcddee6142382efe09777e8d37dc9c0561f41f0070f134e"
"""Of `pretrained.pt` in resemblyzer 0.1.4."""
FFT, HOP, BANDS = 400, 160, 40
"""Samples of a frame and between two (25 and 10 ms), and mel bands."""
PART, STEP = 160, 77
"""Frames of a part that has an embedding (1.6 s), and between two (1.3 a second)."""
COVERED = 0.75
"""Least share of the last part that must be audio for it to count."""
QUIETEST = -30.0
"""dB of full scale to which quieter audio is raised."""
SMOOTHED, LONGEST_PAUSE = 8, 6
"""Windows of 30 ms over which speech is smoothed, and beyond which a pause is cut."""


@dataclass(frozen=True)
class ResemblyzerSimilarity(SpeakerSimilarity):
    """Cosine of the speaker embeddings of original and decoded audio, <a, b> / (|a| |b|), by Resemblyzer (GE2E).

    Audio below -30 dB of full scale is raised to that level, long pauses are cut (WebRTC's detector), and the
    embeddings of excerpts of 1.6 s, 1.3 per second, are averaged. The weights come from the package; the rest is own
    code.

    Range:
        0 to 1 (embeddings have no negative entries): 1 for the same voice, above 0.9 for most codecs, 0.6 for
        strangers. Higher is better.

    Source:
        Wan et al. 2018 (arXiv 1710.10467) by the package `resemblyzer` 0.1.4 (Apache-2.0), 256 dimensions; the
        similarity of the LongCat codec's report.

    Misses:
        Words and quality, and small differences between voices. It depends on level: 12 dB less cost 0.02.

    Undefined:
        For silence, below 0.4 s of speech on either side (the package gives 1.0 for 0.05 s and 0.4 for silence), above
        ten minutes, and for audio beyond twice full scale; samples above full scale are clipped.

    Example:
        >>> from evalkit.testing import example_pair
        >>> model = SIM_RESEMBLYZER.open("cpu")
        >>> round(model.score(SIM_RESEMBLYZER, example_pair())["sim-resemblyzer"], 1)
        0.9
    """

    max_seconds = 600.0
    shortest = 6_400
    weights: str = field(kw_only=True, default=SHA256)

    def open(self, device: str) -> SpeakerModel:
        network = _network().to(device)

        def embed(wavs: NDArray[np.float32]) -> NDArray[np.float64]:
            return np.stack([_embedding(network, wav, device) for wav in wavs])

        return SpeakerModel(embed)


@lru_cache(maxsize=1)
def _network() -> Any:
    """The recurrent network with the package's weights: mel spectrograms [B, 160, 40] to embeddings [B, 256]."""
    import torch
    from torch import Tensor, nn

    from evalkit.metrics.networks import states

    class Ge2e(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.lstm, self.linear = nn.LSTM(BANDS, 256, 3, batch_first=True), nn.Linear(256, 256)

        def forward(self, mels: Tensor) -> Tensor:
            raw = torch.relu(self.linear(self.lstm(mels)[1][0][-1]))
            return raw / raw.norm(dim=1, keepdim=True)

    spec = find_spec("resemblyzer")
    if spec is None or spec.origin is None:
        raise MissingError(f"resemblyzer is not installed: {extras.install('resemblyzer')}")
    path = Path(spec.origin).with_name("pretrained.pt")
    with path.open("rb") as file:
        found = file_digest(file, "sha256").hexdigest()
    if found != SHA256:
        raise MissingError(f"{path} is not that of resemblyzer 0.1.4: its sha256 is {found}, not {SHA256}")
    state = states.read_state(path, "model_state")
    state = {name: value for name, value in state.items() if name.startswith(("lstm.", "linear."))}
    return states.filled(Ge2e(), state, "Resemblyzer")


def _embedding(network: Any, wav: Wave, device: str) -> NDArray[np.float64]:
    """Embedding [256] of `wav` [T]."""
    import torch

    speech = _speech(clipped(wav, "audio"))
    if len(speech) < 0.4 * SCORE_RATE:
        raise UndefinedScore("less than 0.4 s of speech: too short for a speaker embedding")
    frames = -(-(len(speech) + 1) // HOP)
    starts = list(range(0, max(1, frames - PART + STEP + 1), STEP))
    if len(starts) > 1 and (len(speech) - starts[-1] * HOP) / (PART * HOP) < COVERED:
        starts.pop()
    speech = np.pad(speech, (0, max(0, (starts[-1] + PART) * HOP - len(speech))))
    mel = _mel(speech)
    with torch.inference_mode():
        parts = network(torch.from_numpy(np.stack([mel[start : start + PART] for start in starts])).to(device))
    return parts.double().cpu().numpy().mean(axis=0)


def _speech(wav: Wave) -> Wave:
    """`wav` [T] at -30 dB of full scale or more, without long pauses."""
    level = 20 * np.log10(np.sqrt(np.mean(np.square(wav, dtype=np.float64))))
    wav = wav * np.float32(10 ** (max(0.0, QUIETEST - level) / 20))
    wav = wav[: len(wav) // WINDOW * WINDOW]
    flags = voiced(integers(np.round(wav * 32767), 1), 3, "resemblyzer").astype(np.float64)
    padded = np.concatenate([np.zeros((SMOOTHED - 1) // 2), flags, np.zeros(SMOOTHED // 2)])
    smooth = np.round(sliding_window_view(padded, SMOOTHED).mean(axis=1)).astype(bool)
    kept = binary_dilation(smooth, np.ones(LONGEST_PAUSE + 1))
    return wav[np.repeat(kept, WINDOW)]


def _mel(wav: Wave) -> NDArray[np.float32]:
    """Mel power spectrogram [frames, 40] of `wav` [T], neither logarithmic nor normalised."""
    frames = sliding_window_view(np.pad(wav, FFT // 2), FFT)[::HOP]
    return (np.abs(rfft(frames * hann(FFT, periodic=True))) ** 2 @ mel_filters(FFT, BANDS, unit_area=True)).astype(
        np.float32
    )


SIM_RESEMBLYZER = ResemblyzerSimilarity(
    **similarity("sim-resemblyzer", "SIM (Resemblyzer)"),
    files=(),
    packages=("resemblyzer", "webrtcvad"),
    extra="resemblyzer",
)
