"""Training speech and recipe in one folder, for a machine without a network and with little installed.

    python -m nanocodec.training.pack mini-1.1k-short pack/ --data speech/:0.7 --data synthetic/:0.3

Opus at 16 kHz and about 44 kbit/s, or what `--kbps` says, in files of ten minutes (3 MB; none is ever above 60 MiB),
which decode side by side. One recording in 32 is held out, as in every run here. `nanocodec.training.short` trains on
the folder.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import soundfile
import soxr

from nanocodec.training.config import ConfigError, TrainConfig, load_config, resolved
from nanocodec.training.data import AudioSource, DataError, Segment, parse_source
from nanocodec.training.packed import INDEX, RATE, RECIPE

PART = 600 * RATE  # samples of a file
KBPS = 43.5  # far above what 16 kHz mono needs to sound like itself
LOWEST, HIGHEST = 6.0, 256.0  # kbit/s of Opus between which libsndfile's compression level goes from 1 to 0
LARGEST = 60 * 2**20  # bytes of a file
PEAK = 0.99


def pack(
    config: TrainConfig, sources: Sequence[AudioSource], folder: Path, hours: float | None = None, kbps: float = KBPS
) -> float:
    """Write the sources' speech and its index.

    Args:
        config: says which level recordings are brought to.
        sources: where from; their shares of the excerpts are kept.
        folder: written into; empty or new.
        hours: at most so much, of every source its share, chosen by a hash of names; None for all.
        kbps: bitrate of Opus in kbit/s, from 6 to 256; 24 halves the files, at a PESQ-WB of 4.5.

    Returns:
        Hours written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    level = (HIGHEST - kbps) / (HIGHEST - LOWEST)
    parts: list[str] = []
    recordings: list[dict[str, int | bool]] = []
    waiting: list[np.ndarray] = []

    def flush() -> None:
        if waiting:
            parts.append(f"speech-{len(parts):04d}.ogg")
            path = folder / parts[-1]
            wave = np.concatenate(waiting)
            soundfile.write(path, wave, RATE, format="OGG", subtype="OPUS", compression_level=level)
            if path.stat().st_size > LARGEST:
                raise DataError(f"{path}: above {LARGEST >> 20} MiB; cut recordings that are hours long")
            waiting.clear()

    total = sum(source.share for source in sources)
    for number, source in enumerate(sources):
        left = float("inf") if hours is None else hours * 3600 * source.share / total
        for segment in sorted(source.segments, key=_order):
            if left <= 0:
                break
            wave = _levelled(source, segment, config.data.level)
            if sum(map(len, waiting)) + len(wave) > PART:
                flush()
            start = sum(map(len, waiting))
            recordings.append(
                {
                    "part": len(parts),
                    "start": start,
                    "length": len(wave),
                    "source": number,
                    "held_out": segment.held_out,
                }
            )
            waiting.append(wave)
            left -= len(wave) / RATE
    flush()
    index = {"parts": parts, "shares": [source.share for source in sources], "recordings": recordings}
    (folder / INDEX).write_text(json.dumps(index), encoding="utf-8")
    return sum(int(one["length"]) for one in recordings) / RATE / 3600


def _order(segment: Segment) -> str:
    return hashlib.sha256(segment.name.encode()).hexdigest()


def _levelled(source: AudioSource, segment: Segment, level: float) -> np.ndarray:
    wave = soxr.resample(source.read(segment, 0, segment.length), segment.rate, RATE)
    wave = wave * (level / segment.rms if level and segment.rms else 1.0)
    return np.asarray(wave / max(1.0, float(np.abs(wave).max(initial=0.0)) / PEAK), np.float32)


def main(argv: Sequence[str] | None = None) -> int:
    """Pack; 2 where the recipe or the data cannot be used."""
    parser = argparse.ArgumentParser(
        "python -m nanocodec.training.pack", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("recipe", help="a configuration, as for `nanocodec train`")
    parser.add_argument("folder", type=Path, help="where the packed speech goes; must be empty or new")
    parser.add_argument(
        "--data", action="append", required=True, metavar="SOURCE[:SHARE]", help="as for `nanocodec train`"
    )
    parser.add_argument("--hours", type=float, metavar="H", help="pack at most this many hours")
    parser.add_argument("--kbps", type=float, default=KBPS, help="bitrate of Opus in kbit/s (default: %(default)g)")
    arguments = parser.parse_args(argv)
    folder: Path = arguments.folder
    try:
        if not LOWEST <= arguments.kbps <= HIGHEST:
            raise DataError(f"--kbps {arguments.kbps:g}: Opus takes {LOWEST:g} to {HIGHEST:g} kbit/s")
        if folder.exists() and any(folder.iterdir()):
            raise DataError(f"{folder}: is not empty; name a new folder")
        config = load_config(arguments.recipe)
        with tempfile.TemporaryDirectory() as cache:
            sources = [AudioSource(text, Path(cache), share) for text, share in map(parse_source, arguments.data)]
        hours = pack(config, sources, folder, arguments.hours, arguments.kbps)
    except (ConfigError, DataError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    (folder / RECIPE).write_text(json.dumps(resolved(arguments.recipe), indent=1), encoding="utf-8")
    size = sum(path.stat().st_size for path in folder.iterdir())
    print(f"{folder}: {hours:.1f} h of speech, {size / 2**20:.0f} MiB in {len(list(folder.glob('*.ogg')))} files")
    return 0


if __name__ == "__main__":
    sys.exit(main())
