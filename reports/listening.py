"""Which utterances to listen to, and their audio as a page can carry it."""

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import soundfile

from evalkit.audio import Audio
from evalkit.errors import AudioError
from evalkit.files import slug
from evalkit.results.run import Run
from evalkit.results.run_directory import REFERENCE_FOLDER
from evalkit.soundfiles import read

from .plots import spectrogram


@dataclass(frozen=True)
class Clip:
    """One version of an utterance: FLAC (16 bit) and a PNG of its mel spectrogram, both as data URIs."""

    audio: str
    picture: str

    @property
    def size(self) -> int:
        """Bytes."""
        return len(self.audio) + len(self.picture)


@dataclass(frozen=True)
class Example:
    """An utterance to listen to. `clips` by codec, and the reference's where it was saved; `why` it was chosen."""

    utterance: str
    why: str
    clips: dict[str, Clip]


def choose(rows: pd.DataFrame, metric: str, direction: str, worst: int, chance: int, seed: int = 0) -> dict[str, str]:
    """Which utterances a page plays.

    Args:
        rows: Of all codecs.
        metric: Which decides.
        direction: "up" or "down", its better end.
        worst: How many of each codec's worst.
        chance: How many more at random.
        seed: Of the draw.

    Returns:
        Utterance -> why.
    """
    values = rows[rows["metric"] == metric].dropna(subset="value")
    chosen: dict[str, list[str]] = {}
    for codec, part in values.groupby("codec", sort=False):
        ordered = part.sort_values(["value", "utterance"], ascending=[direction == "up", True])
        for utterance in ordered["utterance"].head(worst):
            chosen.setdefault(utterance, []).append(f"among the worst of {codec}")
    rest = sorted(set(values["utterance"]) - set(chosen))
    drawn = np.random.default_rng(seed).permutation(len(rest))[:chance]
    return {name: ", ".join(why) for name, why in chosen.items()} | {rest[i]: "at random" for i in sorted(drawn)}


def examples(
    runs: Sequence[Run], codecs: Sequence[str], chosen: dict[str, str], budget: int
) -> tuple[list[Example], list[str], list[str]]:
    """Audio for a page.

    Args:
        runs: Where it lies.
        codecs: Whose.
        chosen: Utterance -> why.
        budget: Bytes, in all.

    Returns:
        Examples; the names of those that no longer fitted; and, for each file that is damaged or cut, which it is and
        why.
    """
    found, left_out, damaged = [], [], []
    for utterance, why in chosen.items():
        clips, unreadable = _clips(runs, codecs, utterance)
        damaged += unreadable
        if not set(clips) - {REFERENCE_FOLDER}:
            continue
        budget -= sum(clip.size for clip in clips.values())
        if budget < 0:
            left_out.append(utterance)
        else:
            found.append(Example(utterance, why, clips))
    return found, left_out, damaged


def _clips(runs: Sequence[Run], codecs: Sequence[str], utterance: str) -> tuple[dict[str, Clip], list[str]]:
    audio, damaged = {}, []
    for name in (REFERENCE_FOLDER, *codecs):
        if (path := _audio_file(runs, name, utterance)) is not None:
            try:
                audio[name] = read(path)
            except AudioError as error:
                damaged.append(str(error))
    peak = max((float(np.abs(version.wav).max(initial=0.0)) for version in audio.values()), default=0.0)
    gain = 1 / max(1.0, peak)  # one for all, so that they stay comparable
    clips = {
        name: Clip(_flac(Audio(version.wav * np.float32(gain), version.sample_rate)), _picture(version))
        for name, version in audio.items()
    }
    return clips, damaged


def _audio_file(runs: Sequence[Run], folder: str, utterance: str) -> Path | None:
    paths = [run.path / "audio" / slug(folder) / f"{slug(utterance)}.wav" for run in runs]
    return next((path for path in paths if path.is_file()), None)


def _flac(audio: Audio) -> str:
    """Half as large as WAV. Browsers decode it whole before they play it (page.js): seeking in a stream of it failed in
    Chromium now and then."""
    out = io.BytesIO()
    soundfile.write(out, audio.wav, audio.sample_rate, format="FLAC", subtype="PCM_16")
    return _data_uri("audio/flac", out.getvalue())


def _picture(audio: Audio) -> str:
    return _data_uri("image/png", spectrogram(audio))


def _data_uri(kind: str, content: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"
