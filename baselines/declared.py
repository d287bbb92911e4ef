"""Systems without an implementation here: what is known of them, why they cannot run, and --rendered for their audio.

    evalkit run --codec vibevoice --rendered their-audio/

Looked up in November 2026 in the repositories named; bit/s are tokens times log2 of the codebook's size.
"""

from collections.abc import Mapping
from math import log2, nan

from evalkit.codecs import PADDING, CodecInfo

from .rendered import RenderedFamily

CONTINUOUS = {"continuous": nan}
"""The rate of a system that has no bitrate."""


def _family(
    name: str, why: str, cards: Mapping[str, CodecInfo], rates: Mapping[str, float] | None = None
) -> RenderedFamily:
    """A family whose bitrates follow from its cards, unless `rates` says them."""
    card = next(iter(cards.values()))
    licenses = f"{card.code_license} (code); {card.weights_license} (weights)"
    return RenderedFamily(name, rates or {rate: _bitrate(card) for rate, card in cards.items()}, why, cards, licenses)


def _bitrate(card: CodecInfo) -> float:
    assert card.frame_rate is not None
    return card.frame_rate * sum(map(log2, card.codebook_sizes))


COSYVOICE2 = _family(
    "cosyvoice2",
    "S3Tokenizer only encodes (its weights are ONNX files, xingchensong/S3Tokenizer at 2abe1c50): CosyVoice 2's flow "
    "matching makes the audio, from tokens, random noise, a speaker vector and a prompt, and its code pins torch 2.3",
    {"0.317k": CodecInfo(16_000, 25.0, (6561,), None, "Apache-2.0", "–", causal=False, output_rate=24_000)},
)
VIBEVOICE = _family(
    "vibevoice",
    "it transmits 64 unquantized numbers at 7.5 frames/s instead of tokens, so it has no bitrate, and adds noise to "
    "them by default (transformers' VibeVoiceAcousticTokenizerModel)",
    {
        "continuous": CodecInfo(
            24_000, 7.5, (), 687_400_000, "Apache-2.0", "–", causal=True, continuous=True, depends_on=None
        )
    },
    CONTINUOUS,
)
POCKET_TTS = _family(
    "pocket-tts",
    "it transmits 32 unquantized numbers at 12.5 frames/s instead of tokens, so it has no bitrate (transformers' "
    "PocketTTSAudioTokenizerModel)",
    {"continuous": CodecInfo(24_000, 12.5, (), 20_050_000, "Apache-2.0", "–", causal=True, continuous=True)},
    CONTINUOUS,
)
NOLACE = _family(
    "opus-nolace",
    "libopus improves its SILK decoder with NoLACE only in builds with --enable-osce and weights from media.xiph.org, "
    "which no package on PyPI has (xiph/opus at 3da9f7a6)",
    {rate: CodecInfo(16_000, 50.0, (), None, "BSD-3-Clause", "–", causal=True) for rate in ("6k", "9k", "12k")},
    {"6k": 6_000.0, "9k": 9_000.0, "12k": 12_000.0},
)
FOCALCODEC_STREAM = _family(
    "focalcodec-stream",
    "the configuration of FocalCodec's causal models (lucadellalib/focalcodec_50hz_*_causal) was not accessible",
    {
        rate: CodecInfo(16_000, 50.0, (size,), None, "Apache-2.0", "Apache-2.0", causal=True, output_rate=24_000)
        for rate, size in (("0.55k", 2048), ("0.6k", 4096), ("0.8k", 65_536))
    },
)
BICODEC = _family(
    "bicodec",
    "Spark-TTS's tokenizer needs XLSR-53 and a reference clip; it is not implemented here yet (SparkAudio/Spark-TTS at "
    "2f1ea908)",
    {
        "0.65k": CodecInfo(
            16_000, 50.0, (8192,), 156_000_000, "Apache-2.0", "CC-BY-NC-SA-4.0", causal=False, extra_bits=384,
            depends_on=(PADDING,),
        )
    },
)  # fmt: skip
KANADE = _family(
    "kanade",
    "its repository states no license, and it needs WavLM and another project's vocoder "
    "(frothywater/kanade-tokenizer at 8e17729e)",
    {
        rate: CodecInfo(
            24_000, frames, (12_800,), None, "none stated", "–", causal=False, extra_bits=128 * 32,
            depends_on=(PADDING,),
        )
        for rate, frames in (("0.17k", 12.5), ("0.34k", 25.0))
    },
)  # fmt: skip
XY_TOKENIZER = _family(
    "xy-tokenizer",
    "each call processes 30 s of audio, in over half a minute on a CPU; it is not implemented here yet "
    "(gyt1145028706/XY-Tokenizer at 5df5609c)",
    {"1k": CodecInfo(16_000, 12.5, (1024,) * 8, 519_600_000, "Apache-2.0", "–", causal=False)},
)
MIMO = _family(
    "mimo",
    "it runs only with flash-attention in bfloat16, and other arithmetic gives different tokens "
    "(XiaomiMiMo/MiMo-Audio at 691ce541)",
    {"1.55k": CodecInfo(24_000, 25.0, (1024, 1024, *(128,) * 6), 1_200_000_000, "Apache-2.0", "MIT")},
)
LONGCAT = _family(
    "longcat",
    "its encoder accepts less than 30 s of audio; it is not implemented here yet "
    "(meituan-longcat/LongCat-Audio-Codec at 98dd5e49)",
    {
        rate: CodecInfo(
            16_000, 50 / 3, (8192, *(8100,) * count), None, "MIT", "MIT", causal=False, output_rate=24_000
        )
        for rate, count in (("0.43k", 1), ("0.65k", 2), ("0.87k", 3))
    },
)  # fmt: skip
MAGICODEC = _family(
    "magicodec",
    "it cannot be built without a GPU and flash-attention 2.3 in bfloat16, and float32 gives different tokens "
    "(Ereboas/MagiCodec at 5bd431ab)",
    {"0.85k": CodecInfo(16_000, 50.0, (131_072,), None, "MIT", "–", causal=False)},
)
