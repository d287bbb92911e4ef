"""Batches of utterances: the rows, codes and cache of single runs, and one bad utterance costs one row."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

import evalkit
from evalkit.audio import Wave
from evalkit.codecs import Batched, Codes
from evalkit.errors import CodecError
from evalkit.pipeline.coders import BatchCoder
from evalkit.results.run import read_run

RATE = 16_000
SIZES = (256, 256)


class Levels:
    """Codes 10 ms of audio each by its peak and its RMS, and refuses what is louder than full scale."""

    name = "levels"
    sample_rate: int | None = RATE
    frame_rate: float | None = 100.0
    codebook_sizes: tuple[int, ...] = SIZES
    streaming = True
    details: dict[str, object] = {}  # noqa: RUF012
    batch_equal = True

    def __init__(self, batch_equal: bool = True) -> None:
        self.batch_equal = batch_equal
        self.alone, self.batches = 0, list[int]()

    def encode(self, wav: Wave) -> Codes:
        self.alone += 1
        return self._encode(wav)

    def decode(self, codes: Codes) -> Wave:
        assert codes.indices is not None
        return np.repeat(codes.indices[0].astype(np.float32) / 255, 160)[: codes.length]

    def encode_batch(self, wavs: Sequence[Wave]) -> list[Codes]:
        self.batches.append(len(wavs))
        return [self._encode(wav) for wav in wavs]

    def decode_batch(self, codes: Sequence[Codes]) -> list[Wave]:
        return [self.decode(one) for one in codes]

    def _encode(self, wav: Wave) -> Codes:
        if np.abs(wav).max() > 1:
            raise ValueError("too loud")
        frames = np.pad(np.abs(wav), (0, -len(wav) % 160)).reshape(-1, 160)
        levels = np.stack([frames.max(1), np.sqrt((frames**2).mean(1))])
        return Codes(len(wav), np.round(255 * levels).astype(np.int64), SIZES)


def taken(coder: BatchCoder, wavs: Sequence[Wave]) -> list[Any]:
    """What comes of `wavs`, all of them begun before the first is asked for."""
    out: list[Any] = []
    for finish in [coder.start(wav, 0) for wav in wavs]:
        try:
            out.append(finish())
        except Exception as error:
            out.append(error)
    return out


def tones(*lengths: int) -> list[Wave]:
    return [np.float32(0.5) * np.sin(0.1 * np.arange(n, dtype=np.float32)) for n in lengths]


def test_a_batch_gives_what_single_runs_give() -> None:
    codec, wavs = Levels(), tones(1000, 161, 160, 1)
    assert isinstance(codec, Batched)
    coder = BatchCoder(codec, 3, 0)
    made = taken(coder, wavs)
    assert coder.ahead == 2 and codec.batches == [3] and codec.alone == 1, "a batch of three and a rest of one"
    for wav, (codes, audio) in zip(wavs, made, strict=True):
        alone = codec.encode(wav)
        assert np.array_equal(codes.indices, alone.indices) and codes.length == len(wav)
        assert np.array_equal(audio, codec.decode(alone))


def test_one_that_fails_is_done_alone_and_costs_no_other() -> None:
    codec, wavs = Levels(), tones(300, 400, 500)
    wavs[1] *= 3
    coder = BatchCoder(codec, 3, 0)
    first, second, third = taken(coder, wavs)
    assert isinstance(second, ValueError) and str(second) == "too loud"
    assert first[0].length == 300 and third[0].length == 500 and codec.alone == 3
    assert coder.failures == ["ValueError: too loud"]


@pytest.mark.parametrize("what", ["codes", "audio"])
def test_one_that_is_out_of_range_falls_back_alone(what: str) -> None:
    class Off(Levels):
        def encode_batch(self, wavs: Sequence[Wave]) -> list[Codes]:
            made = super().encode_batch(wavs)
            if what == "codes":
                made[1] = Codes(made[1].length, np.full((2, 3), 256), SIZES)
            return made

        def decode_batch(self, codes: Sequence[Codes]) -> list[Wave]:
            made = super().decode_batch(codes)
            if what == "audio":
                made[1] = np.full_like(made[1], np.nan)
            return made

    codec, wavs = Off(), tones(300, 400, 500)
    made = taken(BatchCoder(codec, 3, 0), wavs)
    assert codec.batches == [3] and codec.alone == 1
    for wav, (codes, audio) in zip(wavs, made, strict=True):
        assert np.array_equal(codes.indices, codec.encode(wav).indices) and np.isfinite(audio).all()


def test_too_few_answers_and_a_batch_that_hangs_are_done_one_by_one() -> None:
    class Short(Levels):
        def encode_batch(self, wavs: Sequence[Wave]) -> list[Codes]:
            return super().encode_batch(wavs)[:-1]

    class Hangs(Levels):
        def encode_batch(self, wavs: Sequence[Wave]) -> list[Codes]:
            time.sleep(10)
            return []

    for codec, timeout, reason in (
        (Short(), 0.0, "a batch of 2 must return a list of as many"),
        (Hangs(), 0.05, "took longer than 0.1 s"),
    ):
        coder = BatchCoder(codec, 2, timeout)
        made = taken(coder, tones(300, 400))
        assert [codes.length for codes, _ in made] == [300, 400] and codec.alone == 2
        assert len(coder.failures) == 1 and reason in coder.failures[0]


def test_ctrl_c_in_a_batch_is_no_failure_of_it() -> None:
    class Interrupted(Levels):
        def encode_batch(self, wavs: Sequence[Wave]) -> list[Codes]:
            raise KeyboardInterrupt

    coder = BatchCoder(Interrupted(), 2, 0)
    finish, _ = [coder.start(wav, 0) for wav in tones(300, 400)]
    with pytest.raises(KeyboardInterrupt):
        finish()


def test_a_protocol_error_has_the_reason_that_it_has_alone() -> None:
    class Wrong(Levels):
        def _encode(self, wav: Wave) -> Codes:
            return Codes(7, np.zeros((2, 1), np.int64), SIZES)

    made = taken(BatchCoder(Wrong(), 2, 0), tones(300, 400))
    assert all(isinstance(one, CodecError) and "Codes of length 7 for" in str(one) for one in made)


@pytest.fixture
def folder(tmp_path: Path, speech: np.ndarray) -> Path:
    folder = tmp_path / "data"
    folder.mkdir()
    for number, name in enumerate("abcde"):
        gain = 5.0 if name == "c" else 1.0  # too loud for the codec
        wav = gain * speech[number * 4000 :][: RATE - 1000 * number] / np.abs(speech).max()
        soundfile.write(folder / f"{name}.wav", wav, RATE, subtype="FLOAT")
    return folder


def test_rows_codes_and_cache_of_a_run_are_those_without_batches(folder: Path, tmp_path: Path) -> None:
    def run(name: str, batch: int, cache: object) -> tuple[Levels, Path]:
        codec = Levels()
        made = evalkit.run(codec, f"folder:{folder}", "si-sdr,bitrate", tmp_path / name, batch=batch, cache=cache)
        return codec, made.path

    alone, one_by_one = run("alone", 1, False)
    codec, together = run("together", 2, tmp_path / "cache")
    assert alone.alone == 5 and codec.batches == [2, 2] and codec.alone == 3, "of [a b] [c d] [e], the second fails"
    for file in ("rows.parquet", "codes.parquet"):
        assert (one_by_one / file).read_bytes() == (together / file).read_bytes()
    lost = read_run(together).rows.query("codec == 'levels' and utterance == 'c'")
    assert lost["reason"].str.contains("too loud").all() and len(lost) == 1
    again, _ = run("again", 1, tmp_path / "cache")
    assert again.alone == 1 and not again.batches, "all but the one that fails came from the cache"


def test_a_codec_whose_batches_are_unequal_is_another_to_table_and_cache(folder: Path, tmp_path: Path) -> None:
    counts = []
    for name, batch in (("alone", 1), ("together", 3)):
        codec = Levels(batch_equal=False)
        about = evalkit.run(
            codec, f"folder:{folder}", "si-sdr", tmp_path / name, batch=batch, cache=tmp_path / "cache"
        ).provenance
        counts.append(codec.alone)
        details = {"batch (unlike single runs)": 3} if batch == 3 else {}
        assert about.codecs["levels"].details == details
        assert any("in batches of up to 3" in note for note in about.notes) == (batch == 3)
    assert counts[1] > 0 and counts[0] == 5, "nothing of the single run was taken for a batch's"
