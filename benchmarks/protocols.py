"""The same audio by the definitions that different families of papers use, and how far these are apart.

    python benchmarks/protocols.py [CODEC…]

Prints the tables of docs/explanation/protocols.md: codecs on English utterances of the built-in set, and texts whose
errors are counted by each rule. No recognizer is needed: the texts are given.
"""

import sys
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import pesq

from evalkit.audio import resample
from evalkit.datasets import builtin
from evalkit.errors import UndefinedScore
from evalkit.metrics import lsd, mel, visqol, world
from evalkit.metrics.base import SCORE_RATE, Pair
from evalkit.metrics.text import RULES, text_errors
from evalkit.pipeline.choice import choose

CODECS = ("opus@6k", "nanocodec@1.1k", "codec2@1.2k")
UTTERANCES = 4
TEXTS = (
    ("MISTER QUILTER'S MANNER IS NO LESS INTERESTING", "mr. Quilter's manner is no less interesting"),
    ("AT TWENTY ONE O'CLOCK THE COLOUR WAS GREY", "at 21 o'clock the color was gray"),
    ("YES", "yet"),
)
"""What was said, as LibriSpeech writes it, and what a recognizer wrote down."""


def pairs(codec: str, utterances: int = UTTERANCES) -> Iterator[Callable[[int], Pair]]:
    """For each English utterance what gives the pair of original and decoded audio at a rate in Hz."""
    opened = choose(codec).build()
    spoken = [one for one in builtin.load() if one.language == "en"][:utterances]
    for utterance in spoken:
        audio = utterance.audio()
        rate = opened.sample_rate or audio.sample_rate
        decoded = opened.decode(opened.encode(resample(audio.wav, audio.sample_rate, rate)))

        def at(wanted: int, audio=audio, decoded=decoded, rate=rate) -> Pair:  # type: ignore[no-untyped-def]
            sides = resample(audio.wav, audio.sample_rate, wanted), resample(decoded, rate, wanted)
            length = min(map(len, sides))
            return Pair(sides[0][:length], sides[1][:length])

        yield at


def narrow_band(pair: Pair) -> float:
    """PESQ-NB of a pair at 8 kHz."""
    return float(pesq.pesq(8_000, pair.reference, pair.decoded, "nb"))


def wide_band(pair: Pair, mode: str) -> float:
    return float(pesq.pesq(SCORE_RATE, pair.reference, pair.decoded, mode))


def si_snr(pair: Pair, zero_mean: bool) -> float:
    """Scale-invariant SNR in dB, of signals without their mean or as they are."""
    a, b = (side - side.mean() * zero_mean for side in (pair.reference.astype(float), pair.decoded.astype(float)))
    target = (a @ b) / (a @ a) * a
    return float(10 * np.log10((target @ target) / ((b - target) @ (b - target))))


DEFINITIONS: tuple[tuple[str, str, int, Callable[[Pair], float]], ...] = (
    ("PESQ", "`pesq-wb`, P.862.2 at 16 kHz", 16_000, lambda pair: wide_band(pair, "wb")),
    ("PESQ", "`pesq-nb-16k`, P.862.1 at 16 kHz: PESQ-NB of papers", 16_000, lambda pair: wide_band(pair, "nb")),
    ("PESQ", "P.862.1 at 8 kHz (VERSA below 16 kHz)", 8_000, narrow_band),
    ("ViSQOL", "`visqol-speech`, lattice: Google's program", 16_000, visqol.VISQOL_SPEECH.score),
    ("ViSQOL", "`visqol-speech-exp`, exponential: its Python bindings", 16_000, visqol.VISQOL_SPEECH_EXP.score),
    ("ViSQOL", "`visqol-audio`, 48 kHz: VERSA's default", 48_000, visqol.VISQOL_AUDIO.score),
    ("Mel distance", "`mel-2048-80-ln1p`: NanoCodec", 16_000, mel.PAPER.score),
    ("Mel distance", "`mel-nemo`: NeMo's loss", 16_000, mel.NEMO.score),
    ("Mel distance", "`mel-dac`: DAC's loss", 16_000, mel.DAC.score),
    ("MCD", "`mcd-mel80`", 16_000, lsd.MCD.score),
    ("MCD", "`mcd-world-39`, frame by frame, with c0: VERSA", 16_000, world.MCD_WORLD.score),
    ("SI-SDR", "without the mean: `si-sdr`", 16_000, lambda pair: si_snr(pair, True)),
    ("SI-SDR", "with the mean (VERSA's SI-SNR)", 16_000, lambda pair: si_snr(pair, False)),
)
"""Family, definition, rate in Hz and function."""


def failures(values: Sequence[float]) -> dict[str, float]:
    """The mean of PESQ where one more utterance failed, by what protocols make of the failure."""
    counted = [*values]
    return {
        "no value (evalkit), left out": float(np.mean(counted)),
        "0.0 (VERSA, SimWhisper)": float(np.mean([*counted, 0.0])),
        "1.0 (Codec-SUPERB)": float(np.mean([*counted, 1.0])),
        "-1 (WavTokenizer)": float(np.mean([*counted, -1.0])),
    }


def error_rates() -> dict[str, tuple[float, float]]:
    """WER of TEXTS in percent by text rule: over the corpus, and the mean over utterances."""
    found = {}
    for name, rule in RULES.items():
        edits = [text_errors(spoken, recognized, "words", rule) for spoken, recognized in TEXTS]
        corpus = 100 * sum(errors for errors, _ in edits) / sum(length for _, length in edits)
        found[name] = corpus, 100 * float(np.mean([errors / length for errors, length in edits]))
    return found


def value(function: Callable[[Pair], float], pair: Pair) -> float:
    try:
        return function(pair)
    except UndefinedScore:
        return float("nan")


def main(codecs: Sequence[str] = CODECS) -> None:
    made = {codec: list(pairs(codec)) for codec in codecs}
    print(f"| metric | definition | {' | '.join(codecs)} |\n|---|---|{'---:|' * len(codecs)}")
    wide: list[float] = []
    for family, definition, rate, function in DEFINITIONS:
        means = []
        for codec in codecs:
            values = [value(function, at(rate)) for at in made[codec]]
            means.append(float(np.nanmean(values)))
            if definition.startswith("`pesq-wb`") and codec == codecs[0]:
                wide = values
        print(f"| {family} | {definition} | {' | '.join(f'{mean:.3f}' for mean in means)} |")
    print(f"\n| PESQ-WB of {codecs[0]} where one utterance more failed, which counts as | mean |\n|---|---:|")
    for what, mean in failures(wide).items():
        print(f"| {what} | {mean:.3f} |")
    print("\n| text rule | WER over the corpus | mean over utterances |\n|---|---:|---:|")
    for name, (corpus, mean) in error_rates().items():
        print(f"| `{name}` | {corpus:.1f} | {mean:.1f} |")


if __name__ == "__main__":
    main(sys.argv[1:] or CODECS)
