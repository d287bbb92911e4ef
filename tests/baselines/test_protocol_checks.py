"""`check_codec` finds what is wrong with a codec, and says it."""

import numpy as np
import pytest

from evalkit.audio import Wave
from evalkit.baselines.pcm import PcmCodec
from evalkit.codecs import Codes
from evalkit.testing import ANY_RATE, check_codec


class Short(PcmCodec):
    def decode(self, codes: Codes) -> Wave:
        return super().decode(codes)[:-1]


class Double(PcmCodec):
    def decode(self, codes: Codes) -> Wave:
        return super().decode(codes).astype(np.float64)


class Late(PcmCodec):
    def decode(self, codes: Codes) -> Wave:
        delay = ANY_RATE // 500
        return np.concatenate([np.zeros(delay, np.float32), super().decode(codes)])[: codes.length]


class Silent(PcmCodec):
    def decode(self, codes: Codes) -> Wave:
        wav = super().decode(codes)
        with np.errstate(invalid="ignore"):
            return wav / np.abs(wav).max()


class Random(PcmCodec):
    generator = np.random.default_rng(0)

    def decode(self, codes: Codes) -> Wave:
        return super().decode(codes) + self.generator.normal(0, 1e-3, codes.length).astype(np.float32)


class Remembering(PcmCodec):
    heard = np.zeros(0, np.float32)

    def encode(self, wav: Wave) -> Codes:
        self.heard = wav
        return super().encode(wav)

    def decode(self, codes: Codes) -> Wave:
        return self.heard


class Greedy(PcmCodec):
    def encode(self, wav: Wave) -> Codes:
        codes = super().encode(wav)
        wav *= 0.5
        return codes


class OutOfRange(PcmCodec):
    codebook_sizes = (4,)

    def encode(self, wav: Wave) -> Codes:
        return Codes(len(wav), np.full((1, len(wav)), 4), (4,))


class NoRate(PcmCodec):
    sample_rate = 0


class Nameless(PcmCodec):
    name = ""


class Unwritable(PcmCodec):
    details = {"weights": object()}  # noqa: RUF012


@pytest.mark.parametrize(
    ("codec", "message"),
    [
        (Short(), r"1 samples came back as shape \(0,\)"),
        (Double(), "must return a float32 array, not float64"),
        (Late(), "the output is 2.00 ms late"),
        (Silent(), "silence came back with NaN"),
        (Random(), "different audio the second time"),
        (Remembering(), "decode may use only the codes"),
        (Greedy(), "encode changed its input"),
        (OutOfRange(), r"codebook 0 has codes outside 0\.\.3"),
        (NoRate(), "sample_rate must be above 0 or None, not 0"),
        (Nameless(), "name must be a string"),
        (Unwritable(), "details must be a mapping of JSON values"),
        (object(), "does not follow the protocol"),
    ],
    ids=lambda value: type(value).__name__ if not isinstance(value, str) else "",
)
def test_what_is_wrong_is_said(codec, message) -> None:
    with pytest.raises(AssertionError, match=message):
        check_codec(codec, waveform=True)


def test_a_bitrate_that_is_not_the_declared_one() -> None:
    with pytest.raises(AssertionError, match=r"512000\.0 bit/s measured, 256000\.0 declared"):
        check_codec(PcmCodec(), bitrate=256_000)
