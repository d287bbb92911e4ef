"""Files that are not the audio they say, and names that are no names."""

import csv
import io
import os
from pathlib import Path
from random import Random

import numpy as np
import soundfile

from evalkit.soundfiles import SUFFIXES

from . import damage
from .attempt import CHEAP, MULAW, Fault, check_rows, evalkit, good_file, sound, speech

FORMATS = [
    ("WAV", "PCM_16"), ("WAV", "FLOAT"), ("WAV", "PCM_24"), ("WAV", "PCM_U8"), ("WAV", "ULAW"), ("WAV", "MS_ADPCM"),
    ("WAVEX", "PCM_16"), ("RF64", "PCM_16"), ("W64", "PCM_16"), ("FLAC", "PCM_16"), ("FLAC", "PCM_24"), ("OGG",
    "VORBIS"),
    ("OGG", "OPUS"), ("MP3", "MPEG_LAYER_III"), ("AIFF", "PCM_16"), ("AU", "PCM_16"), ("CAF", "PCM_16"), ("CAF",
    "ALAC_16"),
    ("NIST", "PCM_16"), ("SVX", "PCM_16"), ("VOC", "PCM_16"), ("IRCAM", "FLOAT"), ("HTK", "PCM_16"), ("SDS", "PCM_16"),
]  # fmt: skip
ENDINGS = {"WAVEX": "wav", "NIST": "sph", "OGG": "ogg", "HTK": "htk"}


def attempt(rng: Random, folder: Path) -> None:
    """Damaged audio beside a good pair: it costs its own rows, whether by folders, by a manifest or through a codec."""
    sides = rng.choice((("decoded",), ("reference",), ("reference", "decoded")))
    suffix, data = _recording(rng)
    if rng.random() < 0.7:
        data = damage.content(data, rng)
    stem = rng.choice(damage.NASTY).replace("/", "_")[:200] if rng.random() < 0.3 else "bad"
    stem = stem.strip(". *") or "bad"  # hidden files are left out, and `*` is the whole set: another matter
    for side in ("reference", "decoded"):
        sound(folder / side / "good.wav", speech())
        if side in sides:
            damage.put(folder / side / f"{stem}{suffix}", data, rng)
        else:
            (folder / side / f"{stem}.wav").write_bytes(good_file().read_bytes())
    references = [name for name in sorted(os.listdir(folder / "reference")) if _is_audio(folder / "reference" / name)]
    metrics = CHEAP if rng.random() < 0.9 else (*CHEAP, "pesq-wb", "stoi", "estoi", "lsd-2048")
    common = ["--metrics", ",".join(metrics), "--output", folder / "run"]
    common += [one for one in ("--align", "--no-cache") if rng.random() < 0.3]
    by = rng.randrange(3)
    if by == 0:
        done = evalkit("score", "--reference", folder / "reference", "--decoded", folder / "decoded", *common)
    elif by == 1:
        _write_manifest(folder / "pairs.csv", references, sorted(os.listdir(folder / "decoded")))
        done = evalkit("score", "--manifest", folder / "pairs.csv", *common)
        if done.code == 2 and "pairs.csv, line" in done.err:  # a name that cannot stand in a list
            return
    else:
        codec = rng.choice(("pcm", "opus@6k", "codec2@1.2k", MULAW))
        common += [one for one in ("--save-audio",) if rng.random() < 0.3]
        done = evalkit("run", "--codec", codec, "--dataset", f"folder:{folder / 'reference'}", *common)
    if done.code not in (0, 4):
        raise Fault(f"one bad file ended the run: {done.err}")
    # A link to a folder brings the files of that.
    links = by != 1 and any(one.is_symlink() and one.is_dir() for one in (folder / "reference").iterdir())
    rows = check_rows(folder / "run", None if links else len(references), metrics)
    if rows[(rows["utterance"] == "good") & (rows["metric"] == CHEAP[0])]["value"].isna().any():
        raise Fault(f"the good pair lost its value: {rows}")


def _is_audio(path: Path) -> bool:
    """Whether an evaluation has to have an utterance for `path`."""
    return path.suffix.lower() in SUFFIXES and not path.is_dir()


def _write_manifest(path: Path, references: list[str], decoded: list[str]) -> None:
    stems = {name.rpartition(".")[0]: name for name in decoded}
    with path.open("w", newline="", encoding="utf-8", errors="surrogateescape") as file:
        table = csv.writer(file)
        table.writerow(["utterance", "reference", "decoded"])
        for name in references:
            stem = name.rpartition(".")[0]
            table.writerow([stem, f"reference/{name}", f"decoded/{stems.get(stem, name)}"])


def _recording(rng: Random) -> tuple[str, bytes]:
    """Suffix and content of a short file in any format."""
    form, subtype = rng.choice(FORMATS)
    rate = rng.choice((8000, 16_000, 24_000, 48_000)) if form != "SVX" else 16_000
    wav = speech(rng.choice((0.01, 0.3, 1.0)), rate, rng.randrange(3))
    wav = wav * rng.choice((0.0, 1.0, 1.0, 1.0, 4.0))
    if subtype == "FLOAT" and rng.random() < 0.2:
        wav = wav.copy()
        wav[rng.randrange(len(wav))] = rng.choice((np.nan, np.inf, 3e38))
    channels = rng.choice((1, 1, 2, 3)) if form in ("WAV", "FLAC") and subtype != "MS_ADPCM" else 1
    buffer = io.BytesIO()
    soundfile.write(buffer, np.stack([wav] * channels, 1), rate, format=form, subtype=subtype)
    suffix = ENDINGS.get(form, form.lower())
    return (
        f".{suffix if rng.random() < 0.9 else rng.choice(('raw', 'wav', 'mp3', 'txt', 'WAV', 'flac'))}",
        buffer.getvalue(),
    )
