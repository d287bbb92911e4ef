"""Rebuild the built-in set: speak every sentence of the manifest with its engine and voice.

    python -m evalkit.datasets.builtin.build --output DIR

DIR gets the FLAC files and a manifest with the hash of each one's samples. The same version of an engine gives the
same samples; another version may not, and the differences are then named.
"""

import argparse
import csv
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import soundfile

from evalkit.datasets.builtin import MANIFEST
from evalkit.errors import EvalkitError, MissingError
from evalkit.soundfiles import read

WORDS_A_MINUTE = 150  # espeak-ng's default of 175 is hurried


def espeak_ng(voice: str, text: str, wav: Path) -> list[str]:
    """The command that speaks `text` into the file `wav`: 22.05 kHz, 16 bits."""
    return ["espeak-ng", "-v", voice, "-s", str(WORDS_A_MINUTE), "-w", str(wav), text]


def flite(voice: str, text: str, wav: Path) -> list[str]:
    """The command that speaks `text` into the file `wav`: 16 kHz, 16 bits."""
    return ["flite", "-voice", voice, "-o", str(wav), "-t", text]


ENGINES = {"espeak-ng": espeak_ng, "flite": flite}


def missing_engines() -> list[str]:
    """Engines that are not on this machine."""
    return [engine for engine in ENGINES if shutil.which(engine) is None]


def build(output: Path, manifest: Path = MANIFEST) -> list[str]:
    """Speak every row of `manifest` into `output`; ids whose samples are not those that the manifest names.

    Raises MissingError where an engine is not installed, and EvalkitError where it cannot speak a row.
    """
    if missing := missing_engines():
        names = " ".join(missing)
        raise MissingError(f"not on this machine: {names}. On Debian or Ubuntu: apt-get install {names}")
    with manifest.open(encoding="utf-8", newline="") as lines:
        table = csv.DictReader(lines)
        columns = list(table.fieldnames or ())
        rows = list(table)
    output.mkdir(parents=True, exist_ok=True)
    changed = []
    for row in rows:
        with tempfile.TemporaryDirectory() as folder:
            wav = Path(folder) / "speech.wav"
            command = ENGINES[row["engine"]](row["voice"], row["transcript"], wav)
            spoken = subprocess.run(command, capture_output=True, text=True)
            if spoken.returncode != 0 or not wav.is_file():
                raise EvalkitError(f"{row['id']}: {row['engine']} failed: {spoken.stderr.strip()}")
            samples, rate = soundfile.read(wav, dtype="int16")
        soundfile.write(output / row["file"], samples, rate, subtype="PCM_16", compression_level=1.0)
        pcm_hash = read(output / row["file"]).pcm_hash()
        if pcm_hash != row["pcm_sha256"]:
            changed.append(row["id"])
        row |= {"sample_rate": str(rate), "pcm_sha256": pcm_hash}
    with (output / "manifest.csv").open("w", encoding="utf-8", newline="") as lines:
        writer = csv.DictWriter(lines, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    return changed


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit code: 0 done, 2 a row cannot be spoken, 3 an engine is missing."""
    assert __doc__
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, required=True, metavar="DIR", help="where the set is written")
    output = parser.parse_args(arguments).output
    try:
        changed = build(output)
    except EvalkitError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    print(f"{output}: {'identical to the set that ships' if not changed else 'differs in ' + ', '.join(changed)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
