"""Which utterances to listen to, and their audio as a page can carry it."""

import base64
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import soundfile

from evalkit.audio import Audio
from evalkit.results.run import Run
from evalkit.results.run_directory import REFERENCE_FOLDER, slug
from evalkit.soundfiles import read

from .plots import spectrogram


@dataclass(frozen=True)
class Clip:
    """One version of an utterance: WAV (16 bit) and a PNG of its mel spectrogram, both as data URIs."""

    audio: str
    picture: str

    @property
    def size(self) -> int:
        return len(self.audio) + len(self.picture)


@dataclass(frozen=True)
class Example:
    """An utterance to listen to. `clips` by codec, and the reference's where it was saved; `why` it was chosen."""

    utterance: str
    why: str
    clips: dict[str, Clip]


def choose(rows: pd.DataFrame, metric: str, direction: str, worst: int, chance: int, seed: int = 0) -> dict[str, str]:
    """Utterance -> why: the `worst` of each codec by `metric`, then `chance` more at random."""
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
) -> tuple[list[Example], list[str]]:
    """Examples for the `chosen` utterances that have audio in `runs`, up to `budget` bytes in all, and the names of
    those that no longer fitted."""
    found, left_out = [], []
    for utterance, why in chosen.items():
        example = Example(utterance, why, dict(_clips(runs, codecs, utterance)))
        if not set(example.clips) - {REFERENCE_FOLDER}:
            continue
        budget -= sum(clip.size for clip in example.clips.values())
        if budget < 0:
            left_out.append(utterance)
        else:
            found.append(example)
    return found, left_out


def _clips(runs: Sequence[Run], codecs: Sequence[str], utterance: str) -> Iterator[tuple[str, Clip]]:
    paths = {name: _audio_file(runs, name, utterance) for name in (REFERENCE_FOLDER, *codecs)}
    audio = {name: read(path) for name, path in paths.items() if path is not None}
    peak = max((float(np.abs(version.wav).max()) for version in audio.values()), default=0.0)
    for name, version in audio.items():  # one gain for all, so that they stay comparable
        yield name, Clip(_wav(Audio(version.wav / max(1.0, peak), version.sample_rate)), _picture(version))


def _audio_file(runs: Sequence[Run], folder: str, utterance: str) -> Path | None:
    paths = [run.path / "audio" / slug(folder) / f"{slug(utterance)}.wav" for run in runs]
    return next((path for path in paths if path.is_file()), None)


def _wav(audio: Audio) -> str:
    """WAV, though FLAC is half as large: Chromium's demuxer fails now and then to seek in a FLAC data URI."""
    out = io.BytesIO()
    soundfile.write(out, audio.wav, audio.sample_rate, format="WAV", subtype="PCM_16")
    return _data_uri("audio/wav", out.getvalue())


def _picture(audio: Audio) -> str:
    return _data_uri("image/png", spectrogram(audio))


def _data_uri(kind: str, content: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"
