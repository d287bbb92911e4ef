"""Where speech is: WebRTC's voice activity detector, as the package `webrtcvad` has it."""

import numpy as np
from numpy.typing import NDArray

from evalkit.audio import Wave
from evalkit.environment import extras
from evalkit.metrics.base import SCORE_RATE

WINDOW = 480
"""Samples of one decision: 30 ms."""


def voiced(pcm: NDArray[np.int16], mode: int, extra: str) -> NDArray[np.bool_]:
    """Decide for each whole window of 30 ms whether it has voice.

    Args:
        pcm: Samples [T] at 16 kHz.
        mode: How readily it says no, 0 to 3.
        extra: The extra of this project that brings the package, for the message where it is absent.

    Returns:
        [T // 480].
    """
    detector = extras.load("webrtcvad", extra).Vad(mode)
    windows = pcm[: len(pcm) // WINDOW * WINDOW].reshape(-1, WINDOW)
    return np.array([detector.is_speech(window.tobytes(), SCORE_RATE) for window in windows], bool)


def integers(wav: Wave, scale: float) -> NDArray[np.int16]:
    """`wav` [T] within full scale as 16-bit integers, cut off towards zero after multiplying by `scale`."""
    return np.clip(np.trunc(wav * scale), -32768, 32767).astype(np.int16)
