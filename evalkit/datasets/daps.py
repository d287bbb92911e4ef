"""DAPS, the device and produced speech data set (Mysore 2015), 44.1 kHz, CC BY-NC 4.0 (non-commercial): `daps:DIR`.

The paper's test speakers are F10 and M10, after DAC. Its recordings last minutes; how the authors cut them was not
published, so they are cut here by a fixed rule, and the numbers are close to the paper's set, not on it.
"""

import re
from functools import lru_cache, partial
from itertools import pairwise
from pathlib import Path

import numpy as np

from evalkit.audio import Audio, Wave
from evalkit.audio_files import audio_files
from evalkit.datasets.base import Dataset, DatasetLoader, Utterance, place, read_at, text_hash
from evalkit.errors import AudioError, MissingError, UsageError
from evalkit.files import shown

RATE = 44_100
LICENSE = "CC BY-NC 4.0 (non-commercial)"
SHORTEST, LONGEST = 2.0, 15.0
"""Seconds of a segment."""
FRAME = 0.01
"""Seconds of the frames whose energy is looked at; every cut is at the border of two."""
GAP = 0.3
"""Seconds that the level has to stay low for a gap to count as one."""
BELOW = 35.0
"""dB below the recording's loud frames (95th percentile) at which the level counts as low."""
SEGMENTATION = "1"
"""Version of the rule: raised whenever it could cut anywhere else."""
HELP = (
    "DAPS is daps.tar.gz (Zenodo record 4660670, md5 303c130b7ce2e02b59c7ca5cd595a89c; CC BY-NC 4.0, non-commercial); "
    "unpack it and give the folder that contains clean/ and cleanraw/: --dataset daps:DIR, or "
    "daps:DIR,version=cleanraw,speakers=f10+m10"
)
_NAME = re.compile(r"([fm]\d+)_script(\d+)_(.+)")


def load(source: str | None = None, *, version: str = "clean", speakers: str = "f10+m10") -> Dataset:
    """Segments of 2 to 15 s, in the order of recordings and time.

    A segment's id is the recording's name with start and end in seconds, `f10_script1_clean_0012.34-0020.10`. A
    recording that cannot be read, or is not at 44.1 kHz, is one utterance that fails with the reason. The audio is
    read once for the cuts. DAPS has no transcripts by segment: use `dcer-mms` for CER.

    Args:
        source: The folder that holds the versions' folders, or the one above it.
        version: `clean`, `cleanraw`, `produced`, or a device and room.
        speakers: Joined by +, or `all`.

    Raises:
        MissingError: where the folder is not there, or lacks the version or a speaker.
        UsageError: where a recording is there twice.
    """
    root = place(source, "daps", HELP)
    folder = next((f for f in (root / version, root / "daps" / version) if f.is_dir()), None)
    if folder is None:
        raise MissingError(f"{root} has no folder {version}. {HELP}")
    recordings, notes = _recordings(folder, version)
    there = {speaker for _, speaker in recordings}
    wanted = there if speakers == "all" else set(speakers.lower().split("+"))
    if wanted - there:
        raise MissingError(f"{folder} has no recordings of {', '.join(sorted(wanted - there))}. {HELP}")
    utterances: list[Utterance] = []
    for path, speaker in recordings:
        if speaker in wanted:
            utterances += _segments_of(path, speaker)
    revision = text_hash(SEGMENTATION, *(u.id for u in utterances))
    note = "DAPS was segmented by evalkit's own rule: the paper's segments were not published."
    name = "daps" if version == "clean" else f"daps-{version}"
    return Dataset(name, tuple(utterances), LICENSE, revision, (note, *notes))


def _recordings(folder: Path, version: str) -> tuple[list[tuple[Path, str]], tuple[str, ...]]:
    """Every recording and its speaker, in natural order, and notes on what is none: breaths, files of macOS."""
    found, others = [], []
    files = audio_files(folder)
    for path in (path for paths in files.files.values() for path in paths):
        name = _NAME.fullmatch(path.stem)
        if name is None or name[3] != version or "breaths" in str(path.relative_to(folder)):
            others.append(shown(path.relative_to(folder)))
            continue
        found.append(((name[1][0], int(name[1][1:]), int(name[2])), path, name[1]))
    if not found:
        raise MissingError(f"{folder} holds no recording such as f10_script1_{version}.wav. {HELP}")
    found.sort()
    twice = next((a for a, b in pairwise(found) if a[0] == b[0]), None)
    if twice is not None:
        raise UsageError(f"{folder} holds {twice[1].name} twice: keep one of them")
    notes = list(files.notes)
    if others:
        notes.append(
            f"{shown(folder)}: {len(others)} audio files are not recordings of {version}, for instance {others[0]}."
        )
    return [(path, speaker) for _, path, speaker in found], tuple(notes)


def _segments_of(path: Path, speaker: str) -> list[Utterance]:
    try:
        audio = read_at(path, RATE, "DAPS")
    except AudioError:
        return [Utterance(path.stem, partial(read_at, path, RATE, "DAPS"), "en", speaker)]
    return [
        Utterance(f"{path.stem}_{start:07.2f}-{end:07.2f}", partial(_cut, path, start, end), "en", speaker)
        for start, end in segments(audio.wav, audio.sample_rate)
    ]


@lru_cache(maxsize=1)
def _recording(path: Path) -> Audio:
    """The recording that was read last, which the next segment is most often of."""
    return read_at(path, RATE, "DAPS")


def _cut(path: Path, start: float, end: float) -> Audio:
    audio = _recording(path)
    first, last = (round(seconds * audio.sample_rate) for seconds in (start, end))
    return Audio(audio.wav[first:last].copy(), audio.sample_rate)


def segments(wav: Wave, rate: int) -> list[tuple[float, float]]:
    """(start, end) in seconds, both multiples of FRAME, of consecutive segments of `wav` [T] that cover it up to its
    last frame; each lasts SHORTEST to LONGEST seconds unless the whole is shorter.

    Each segment ends in the middle of the longest gap that leaves it, and what follows it, long enough; where there is
    no gap, at the quietest frame. Equal samples give equal cuts.
    """
    frames = int(len(wav) / (rate * FRAME))
    if frames == 0:
        return []
    borders = np.round(np.arange(frames + 1) * rate * FRAME).astype(np.int64)
    squares = np.square(wav[: borders[-1]].astype(np.float64))
    energy = np.add.reduceat(squares, borders[:-1]) / np.diff(borders)
    gaps = _gaps(energy)
    shortest, longest = round(SHORTEST / FRAME), round(LONGEST / FRAME)
    cuts = [0]
    while frames - cuts[-1] > longest:
        low, high = cuts[-1] + shortest, min(cuts[-1] + longest, frames - shortest)
        fitting = [(length, -middle) for middle, length in gaps if low <= middle <= high]
        cuts.append(-max(fitting)[1] if fitting else low + int(np.argmin(energy[low : high + 1])))
    cuts.append(frames)
    return [(round(a * FRAME, 2), round(b * FRAME, 2)) for a, b in pairwise(cuts)]


def _gaps(energy: np.ndarray) -> list[tuple[int, int]]:
    """(middle, length) in frames of every run of at least GAP seconds that is BELOW dB under the loud frames."""
    low = energy <= np.percentile(energy, 95) * 10 ** (-BELOW / 10)
    edges = np.flatnonzero(np.diff(np.concatenate([[False], low, [False]]).astype(np.int8)))
    runs = zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True)
    return [((start + end) // 2, end - start) for start, end in runs if end - start >= round(GAP / FRAME)]


LOADER = DatasetLoader(
    "daps",
    load,
    usage="daps[:DIR]",
    about="DAPS in segments, 44.1 kHz (version=clean, speakers=f10+m10)",
    license=LICENSE,
)
