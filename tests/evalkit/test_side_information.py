"""Codecs that the plain protocol does not hold: side information, two sampling rates, frames of unequal length, numbers
in place of tokens. Each keeps the protocol, and passes a run, its cache and its files."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import evalkit
from evalkit.audio import Wave, resample
from evalkit.codecs import LEVEL, PADDING, CodecInfo, Codes
from evalkit.conditions.tandem import Tandem
from evalkit.errors import CodecError, UsageError
from evalkit.pipeline.coders import reconstruct
from evalkit.results.rows import Coded, coded_from, codes_table
from evalkit.testing import check_codec, speech

RATE = 16_000


class Scalar:
    """256 evenly spaced levels of what an utterance's loudest sample is scaled to; the scale is side information."""

    name, sample_rate, frame_rate, codebook_sizes, streaming = "scalar", RATE, float(RATE), (256,), True
    details: Mapping[str, object] = {}

    def encode(self, wav: Wave) -> Codes:
        peak = max(float(np.abs(wav).max()), 1e-5)
        tokens = np.rint((wav / peak + 1) * 127.5).astype(np.int64)[None]
        return Codes(len(wav), tokens, self.codebook_sizes, extra={"peak": np.float32([peak])}, extra_bits=32)

    def decode(self, codes: Codes) -> Wave:
        assert codes.indices is not None
        return ((codes.indices[0] / 127.5 - 1) * codes.extra["peak"]).astype(np.float32)


class Wide(Scalar):
    """The same, decoded to 24 kHz."""

    name, output_rate = "wide", 24_000

    def decode(self, codes: Codes) -> Wave:
        return resample(super().decode(codes), RATE, self.output_rate)[: -(-codes.length * 3 // 2)]


class Variable:
    """A token for each run of equal signs, which says how long it is: frames of unequal length."""

    name, sample_rate, frame_rate, codebook_sizes, streaming = "variable", RATE, None, (4096,), True
    details: Mapping[str, object] = {}

    def encode(self, wav: Wave) -> Codes:
        ends = np.flatnonzero(np.diff(np.signbit(wav))) + 1
        runs = np.diff([0, *ends, len(wav)])
        tokens = np.concatenate([[len(wav) > 0 and np.signbit(wav[0])], np.minimum(runs, 4095)]).astype(np.int64)
        return Codes(len(wav), tokens[None], self.codebook_sizes)

    def decode(self, codes: Codes) -> Wave:
        assert codes.indices is not None
        (first, *runs), sign = codes.indices[0], 1
        signs = [(-1 if first else 1) * sign * (-1) ** number for number in range(len(runs))]
        wav = np.repeat(np.float32(signs) * np.float32(0.1), runs)[: codes.length]
        return np.pad(wav, (0, codes.length - len(wav)))


class Continuous:
    """The mean of every 160 samples, as a number."""

    name, sample_rate, frame_rate, codebook_sizes, streaming = "continuous", RATE, 100.0, (), False
    details: Mapping[str, object] = {}

    def encode(self, wav: Wave) -> Codes:
        means = np.pad(wav, (0, -len(wav) % 160)).reshape(-1, 160).mean(1, keepdims=True).T
        return Codes(len(wav), latents=np.ascontiguousarray(means, np.float32))

    def decode(self, codes: Codes) -> Wave:
        assert codes.latents is not None
        return np.repeat(codes.latents[0], 160)[: codes.length]


INFO = {
    Scalar: CodecInfo(RATE, float(RATE), (256,), causal=True, extra_bits=32, depends_on=()),
    Wide: CodecInfo(RATE, float(RATE), (256,), causal=True, extra_bits=32, output_rate=24_000, depends_on=()),
    Variable: CodecInfo(RATE, None, (4096,), causal=True, variable=True),
    Continuous: CodecInfo(RATE, 100.0, causal=False, continuous=True),
}


@pytest.mark.parametrize("kind", INFO, ids=lambda kind: kind.name)
def test_they_keep_the_protocol(kind: type) -> None:
    check_codec(kind(), waveform=kind in (Scalar, Wide), info=INFO[kind])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"depends_on": (LEVEL,)}, "tokens depend on level; 0.0% of them changed"),
        ({"depends_on": (PADDING,)}, "tokens depend on padding; 0.0% of them changed"),
        ({"extra_bits": 16}, "its family declares extra_bits = 16, but the codec has 32"),
        ({"output_rate": 24_000}, "its family declares output_rate = 24000, but the codec has None"),
        ({"continuous": True}, "its family declares continuous = True"),
    ],
)
def test_what_a_family_says_wrongly_is_found(change: dict[str, object], message: str) -> None:
    with pytest.raises(AssertionError, match=message):
        check_codec(Scalar(), info=replace(INFO[Scalar], **change))


def test_side_information_is_counted_and_noted(speech_file: Path, tmp_path: Path) -> None:
    data = f"folder:{speech_file.parent}"
    for _ in ("computed", "from the cache"):
        output = tmp_path / "run"
        codecs = [Scalar(), Continuous(), Wide()]
        run = evalkit.run(codecs, data, "si-sdr,bitrate", output=output, overwrite=True)
        rows = run.rows.set_index(["codec", "metric"])
        seconds = run.codes["seconds"].iloc[0]
        assert rows["value"]["scalar", "bitrate"] == pytest.approx(8 * RATE + 32 / seconds, rel=1e-3)
        assert np.isnan(rows["value"]["continuous", "bitrate"])
        assert rows["reason"]["continuous", "bitrate"] == "the codec sends continuous latents, which have no bitrate"
        assert np.isnan(rows["bitrate_kbps"]["continuous", "si-sdr"])
        assert rows["value"]["wide", "si-sdr"] > 20  # in time with the reference, at a rate of its own
        notes = [note for note in run.provenance.notes if note.startswith("scalar sends side information, 32 bits")]
        assert len(notes) == 1, run.provenance.notes


def test_codes_are_read_as_they_were_written() -> None:
    wav = speech(0.1, RATE)
    coded = [Coded(one.name, "d", "u", 0.1, one.encode(wav)) for one in (Scalar(), Continuous())]
    for before, record in zip(coded[::-1], codes_table(coded).to_pylist(), strict=True):
        after = coded_from(record).codes
        assert (after.bits == before.codes.bits) or (np.isnan(after.bits) and np.isnan(before.codes.bits))
        assert after.extra_bits == before.codes.extra_bits and (after.latents is None) == (before.codes.latents is None)


def test_conditions_on_codes_refuse_a_decoder_with_a_rate_of_its_own() -> None:
    with pytest.raises(UsageError, match=r"tandem:n=2 does not support codecs that decode at another rate: wide"):
        Tandem(n=2).wrap(Wide(), 0)


def test_codes_that_hide_bits_are_refused() -> None:
    with pytest.raises(
        ValueError, match=r"side information \(peak\) counts towards the bitrate: set extra_bits to its size"
    ):
        Codes(1, np.zeros((1, 1), np.int64), (2,), extra={"peak": np.zeros(1)})

    class Both(Scalar):
        def encode(self, wav: Wave) -> Codes:
            codes = super().encode(wav)
            return Codes(len(wav), codes.indices, (256,), latents=np.zeros((1, 1), np.float32))

    class Short(Wide):
        def decode(self, codes: Codes) -> Wave:
            return super().decode(codes)[: codes.length]

    for codec, message in ((Both(), "latents beside tokens"), (Short(), "decode returned 160 samples for 240")):
        with pytest.raises(CodecError, match=message):
            reconstruct(codec, speech(0.01, RATE), 0, 0)
