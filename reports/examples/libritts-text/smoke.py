"""CER by pocketsphinx, a smoke test.

    pip install pocketsphinx
    python reports/examples/libritts-text/smoke.py DATA [FOLDER ...]

DATA is a folder of WavTokenizer's demo page: `GT/`, `wavtokenizer-0.9kbps/`, `wavtokenizer-0.5kbps/` and the
transcripts `text/NAME.normalized.txt`. Each FOLDER holds the same utterances as another codec left them, for instance
`evalkit run --dataset folder:DATA/GT --save-audio`'s.
"""

import sys
from pathlib import Path

import numpy as np
from pocketsphinx import Decoder

from evalkit.metrics.text import character_errors
from evalkit.soundfiles import read

SYSTEMS = ("GT", "wavtokenizer-0.9kbps", "wavtokenizer-0.5kbps")


def transcribe(decoder: Decoder, path: Path) -> str:
    wav = read(path).at(16_000).wav
    decoder.start_utt()
    decoder.process_raw((np.clip(wav, -1, 1) * 32767).astype("<i2").tobytes(), full_utt=True)
    decoder.end_utt()
    found = decoder.hyp()
    return found.hypstr if found else ""


def main(data: Path, *more: Path) -> None:
    decoder = Decoder(samprate=16_000, loglevel="FATAL")
    for system in (*(data / name for name in SYSTEMS), *more):
        counts = []
        for text in sorted((data / "text").glob("*.normalized.txt")):
            (path,) = system.glob(text.name.removesuffix(".normalized.txt") + ".*")
            counts.append(character_errors(text.read_text(encoding="utf-8"), transcribe(decoder, path)))
        errors, characters = np.array(counts).T
        pooled, mean = 100 * errors.sum() / characters.sum(), 100 * np.mean(errors / characters)
        print(f"| {system.name} | {len(counts)} | {pooled:.1f} | {mean:.1f} |", flush=True)


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
