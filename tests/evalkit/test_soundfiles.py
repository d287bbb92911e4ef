"""The boundary to libsndfile: what is read, and what becomes a reason, not a traceback, a hang or gigabytes."""

import io
import os
import pickle
import resource
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from evalkit import soundfiles
from evalkit.audio import Audio, resample
from evalkit.errors import AudioError
from evalkit.soundfiles import duration, fetch, read, read_bytes, write

RATE = 16_000


@pytest.fixture
def tone() -> np.ndarray:
    """A second of a tone with noise, [T] at 16 kHz."""
    noise = 0.01 * np.random.default_rng(0).standard_normal(RATE)
    return (0.3 * np.sin(2 * np.pi * 440 * np.arange(RATE) / RATE) + noise).astype(np.float32)


def put(path: Path, wav: np.ndarray, rate: int = RATE, **how: str) -> Path:
    soundfile.write(path, wav, rate, **how)
    return path


def flac_that_claims(path: Path, wav: np.ndarray, total: int) -> Path:
    """A FLAC file whose STREAMINFO says that it has `total` samples; 0 stands for unknown."""
    content = bytearray(put(path, wav).read_bytes())
    content[21] = content[21] & 0xF0 | total >> 32
    content[22:26] = (total & 0xFFFFFFFF).to_bytes(4, "big")
    path.write_bytes(content)
    return path


def wav_bytes(data: bytes, rate: int = RATE, channels: int = 1, claimed: int | None = None) -> bytes:
    size = len(data) if claimed is None else claimed
    head = struct.pack("<HHIIHH", 1, channels, rate, (2 * rate) % 2**32, 2, 16)
    body = b"WAVEfmt " + struct.pack("<I", 16) + head + b"data" + struct.pack("<I", size) + data
    return b"RIFF" + struct.pack("<I", min(size + 36, 2**32 - 1)) + body


# --- what is read ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(set(soundfile.available_formats()) - {"RAW", "SD2"}))
def test_every_format_that_soundfile_writes_is_read_as_soundfile_reads_it(
    name: str, tone: np.ndarray, tmp_path: Path
) -> None:
    path = tmp_path / f"a.{name.lower()}"
    rate = 8000 if name in ("WVE", "SDS") else RATE  # Psion knows one rate
    put(path, tone, rate, format=name)
    expected, found_rate = soundfile.read(path, dtype="float32")
    found = read(path)
    assert found.sample_rate == found_rate and np.abs(found.wav - expected).max() < 1e-6
    assert path.suffix in soundfiles.SUFFIXES or name in ("MAT4", "MAT5")


@pytest.mark.parametrize("suffix", [".aif", ".aifc", ".oga", ".opus", ".wave", ".snd", ".sph"])
def test_other_names_of_formats_are_audio_too(suffix: str) -> None:
    assert suffix in soundfiles.SUFFIXES and ".raw" not in soundfiles.SUFFIXES and ".txt" not in soundfiles.SUFFIXES


@pytest.mark.parametrize("subtype", ["GSM610", "IMA_ADPCM", "G721_32", "NMS_ADPCM_16"])
def test_formats_that_cannot_seek_are_read(subtype: str, tone: np.ndarray, tmp_path: Path) -> None:
    path = put(tmp_path / "a.wav", tone, 8000, subtype=subtype)
    assert np.array_equal(read(path).wav, soundfile.read(path, dtype="float32")[0])


def test_blocks_join_without_a_seam_and_channels_are_averaged(
    tone: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stereo = np.stack([tone, tone[::-1]], axis=1)
    for name, wav in (("a.flac", tone), ("b.wav", stereo), ("c.ogg", tone), ("d.mp3", tone)):
        whole = read(put(tmp_path / name, wav)).wav
        monkeypatch.setattr(soundfiles, "BLOCK", 1000)
        assert np.array_equal(read(tmp_path / name).wav, whole), name
        monkeypatch.undo()
    assert np.allclose(read(tmp_path / "b.wav").wav, stereo.mean(axis=1), atol=1e-4)
    assert np.array_equal(read_bytes((tmp_path / "a.flac").read_bytes(), "x").wav, read(tmp_path / "a.flac").wav)


def test_a_flac_file_that_was_written_to_a_pipe_is_read_whole(tone: np.ndarray, tmp_path: Path) -> None:
    expected = read(put(tmp_path / "whole.flac", tone)).wav
    piped = flac_that_claims(tmp_path / "piped.flac", tone, 0)
    assert np.array_equal(read(piped).wav, expected) and duration(piped) == 0
    assert np.array_equal(read_bytes(piped.read_bytes(), "piped").wav, expected)


def test_a_wav_file_that_was_written_to_a_pipe_is_read_whole(tone: np.ndarray) -> None:
    data = (tone * 32767).astype("<i2").tobytes()
    for claimed in (2**32 - 1, 2**31 - 1, 0x7FFFF000):
        assert len(read_bytes(wav_bytes(data, claimed=claimed), "piped").wav) == len(tone)


@pytest.mark.skipif(sys.platform == "darwin", reason="its file systems have no such names")
def test_a_name_that_is_not_utf8_is_read_and_shown(tone: np.ndarray, tmp_path: Path) -> None:
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/stra\xdfe.wav"))
    put(tmp_path / "a.wav", tone).rename(path)
    assert len(read(path).wav) == len(tone)
    path.write_bytes(b"no audio")
    with pytest.raises(AudioError, match=r"stra\\xdfe\.wav: cannot be read as audio") as caught:
        read(path)
    str(caught.value).encode()


# --- what becomes a reason -----------------------------------------------------------------------------------------


def test_what_is_no_file_says_so_without_waiting(tmp_path: Path, tone: np.ndarray) -> None:
    os.mkfifo(tmp_path / "pipe.wav")
    (tmp_path / "folder.wav").mkdir()
    (tmp_path / "dangling.wav").symlink_to("nowhere.wav")
    (tmp_path / "circle.wav").symlink_to("circle.wav")
    (tmp_path / "zero.wav").symlink_to("/dev/zero")
    put(tmp_path / "file.wav", tone)
    for name, message in (
        ("pipe.wav", "a pipe or a device"),
        ("folder.wav", "no such file, but a folder"),
        ("dangling.wav", "no such file: it is a link to nowhere.wav"),
        ("circle.wav", "cannot be opened"),
        ("zero.wav", "a pipe or a device"),
        ("gone.wav", "no such file"),
        ("x" * 300 + ".wav", "cannot be opened .*File name too long"),
        ("nul\0.wav", "cannot be opened .*null"),
        ("file.wav/a.wav", "cannot be opened .*Not a directory"),
    ):
        with pytest.raises(AudioError, match=message):
            read(tmp_path / name)
        assert duration(tmp_path / name) == 0


def test_a_file_that_may_not_be_read_says_so(tmp_path: Path, tone: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*anything: object) -> int:
        raise PermissionError(13, "Permission denied")

    path = put(tmp_path / "a.wav", tone)
    monkeypatch.setattr(soundfiles.os, "open", refuse)
    with pytest.raises(AudioError, match=r"a\.wav: cannot be opened \(Permission denied\)"):
        read(path)


def test_a_raw_file_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "a.raw").write_bytes(bytes(1000))
    with pytest.raises(AudioError, match="convert it to WAV"):
        read(tmp_path / "a.raw")


@pytest.mark.parametrize("rate", [1, 3999, 384_001, 2**31 - 1])
def test_a_rate_that_no_recording_has_is_refused(rate: int) -> None:
    with pytest.raises(AudioError, match=rf"claims {rate} Hz"):
        read_bytes(wav_bytes(bytes(2000), rate=rate), "x.wav")


@pytest.mark.parametrize("rate", [4000, 8000, 384_000])
def test_rates_at_the_edge_are_read(rate: int) -> None:
    assert read_bytes(wav_bytes(bytes(2000), rate=rate), "x.wav").sample_rate == rate


@pytest.mark.parametrize("total", [2**36 - 1, 10**9])
def test_a_header_that_claims_what_its_bytes_cannot_hold_is_refused(
    total: int, tone: np.ndarray, tmp_path: Path
) -> None:
    with pytest.raises(AudioError, match=rf"claims {total} x 1 samples in \d+ bytes"):
        read(flac_that_claims(tmp_path / "a.flac", tone, total))


def test_a_file_that_is_cut_short_is_no_recording(tone: np.ndarray, tmp_path: Path) -> None:
    data = (tone * 32767).astype("<i2").tobytes()
    with pytest.raises(AudioError, match="claims 32000 bytes of audio, but there are only 22000"):
        read_bytes(wav_bytes(data)[:-10_000], "a.wav")
    assert len(read_bytes(wav_bytes(data, claimed=len(data) + 36), "a.wav").wav) == RATE  # counts its header, too
    for suffix in ("flac", "aiff", "au"):
        path = put(tmp_path / f"a.{suffix}", tone)
        path.write_bytes(path.read_bytes()[:-8000])
        with pytest.raises(AudioError, match=rf"a\.{suffix}: "):
            read(path)
    with pytest.raises(AudioError, match=r"ends after 16000 of 17000 samples"):
        read(flac_that_claims(tmp_path / "b.flac", tone, 17_000))


CUT = sorted(set(soundfile.available_formats()) - {"RAW", "SD2", "HTK", "IRCAM", "MAT4", "MAT5", "PAF", "PVF", "XI"})
"""Formats that say how long they are, or where they end."""


@pytest.mark.parametrize("name", [*CUT, "OGG OPUS", "MP3 tagged"])
def test_whatever_says_where_it_ends_is_not_read_in_part(name: str, tone: np.ndarray, tmp_path: Path) -> None:
    path = tmp_path / f"a.{name.split()[0].lower()}"
    rate = 8000 if name in ("WVE", "SDS") else RATE
    how = {"subtype": "OPUS"} if name.endswith("OPUS") else {}
    put(path, np.tile(tone, 4), rate, format=name.split()[0], **how)
    if name.endswith("tagged"):
        path.write_bytes(b"ID3\x04\0\0\0\0\x02\x00" + bytes(256) + path.read_bytes())
    whole = path.read_bytes()
    assert abs(len(read(path).wav) - 4 * RATE) < 100
    for part in (0.95, 0.6):
        path.write_bytes(whole[: int(part * len(whole))])
        with pytest.raises(AudioError):
            read(path)
        with pytest.raises(AudioError):
            read_bytes(path.read_bytes(), "a")


JOINED = sorted(set(soundfile.available_formats()) - {"RAW", "SD2", "MAT4", "MAT5"})


@pytest.mark.parametrize("name", [*JOINED, "OGG OPUS"])
def test_a_second_recording_is_not_passed_over_in_silence(name: str, tone: np.ndarray, tmp_path: Path) -> None:
    """`cat a.ogg b.ogg`: players play both, libsndfile reads one, or takes the second head for samples."""
    how = {"subtype": "OPUS"} if name.endswith("OPUS") else {}
    rate = 8000 if name in ("WVE", "SDS") else RATE
    content = b"".join(
        put(tmp_path / "part", wav, rate, format=name.split()[0], **how).read_bytes() for wav in (tone, tone[::2])
    )
    (tmp_path / "joined").write_bytes(content)
    with pytest.raises(AudioError):
        read(tmp_path / "joined")
    with pytest.raises(AudioError):
        read_bytes(content, "joined")


def test_a_stream_of_mp3_is_read_to_its_end_or_not_at_all(tone: np.ndarray, tmp_path: Path) -> None:
    """Where nothing says its length, and the second part is like the first, or at another rate."""
    first, second = (
        put(tmp_path / f"{rate}.mp3", np.tile(tone, 2), rate)
        .read_bytes()
        .replace(b"Xing", bytes(4))
        .replace(b"Info", bytes(4))
        for rate in (RATE, 24_000)
    )
    assert len(read_bytes(first + first, "twice").wav) == 2 * len(read_bytes(first, "once").wav)
    with pytest.raises(AudioError, match="contains several recordings"):
        read_bytes(first + second, "both")
    tagged = b"APETAGEX" + bytes(8000)
    whole = (tmp_path / "16000.mp3").read_bytes()
    assert np.array_equal(read_bytes(whole + tagged, "tagged").wav, read_bytes(whole, "whole").wav)


def test_an_mp3_file_that_does_not_say_its_length_is_read(tone: np.ndarray, tmp_path: Path) -> None:
    """A part of a stream: its first frame counts nothing."""
    whole = put(tmp_path / "a.mp3", np.tile(tone, 4)).read_bytes()
    (tmp_path / "a.mp3").write_bytes(
        whole.replace(b"Xing", b"\0\0\0\0").replace(b"Info", b"\0\0\0\0")[: len(whole) // 2]
    )
    assert RATE < len(read(tmp_path / "a.mp3").wav) < 3 * RATE


def test_what_libsndfile_prints_of_a_damaged_file_stays_out_of_the_results(tone: np.ndarray, tmp_path: Path) -> None:
    content = bytearray(put(tmp_path / "a.sds", tone, 8000, format="SDS").read_bytes())
    for packet in range(40):
        content[21 + 127 * packet] ^= 1
    (tmp_path / "a.sds").write_bytes(content)
    ours = "import evalkit.soundfiles as s; print('before'); s.read({0!r}); s.duration({0!r}); print('after')"
    theirs = "import soundfile; soundfile.read({0!r})"
    said = [
        subprocess.run(
            [sys.executable, "-c", code.format(str(tmp_path / "a.sds"))], capture_output=True, text=True, check=True
        ).stdout
        for code in (ours, theirs)
    ]
    assert said[0] == "before\nafter\n" and "Error" in said[1]


def test_a_small_file_that_unpacks_without_end_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(soundfiles, "UNQUESTIONED", 2**16)
    path = flac_that_claims(tmp_path / "bomb.flac", np.zeros(20 * 48_000, np.float32), 0)
    with pytest.raises(AudioError, match="unpacks to more than"):
        read(path)


@pytest.mark.parametrize(
    "error", [MemoryError(), RuntimeError("odd"), ValueError("odd"), OSError("odd"), TypeError("odd"), OverflowError()]
)
def test_whatever_the_decoder_raises_is_a_reason(
    error: Exception, tone: np.ndarray, tmp_path: Path, monkeypatch
) -> None:
    def fail(*anything: object, **more: object) -> None:
        raise error

    path = put(tmp_path / "a.wav", tone)
    monkeypatch.setattr(soundfiles._Forward, "read", fail)
    with pytest.raises(AudioError, match=r"a\.wav: cannot be read as audio \((odd|MemoryError|OverflowError)\)"):
        read(path)


def test_samples_that_are_none_are_refused(tmp_path: Path, tone: np.ndarray) -> None:
    for value in (np.nan, np.inf):
        put(tmp_path / "a.wav", np.append(tone, value), subtype="FLOAT")
        with pytest.raises(AudioError, match="NaN or infinite"):
            read(tmp_path / "a.wav")
    put(tmp_path / "a.wav", tone[:0])
    with pytest.raises(AudioError, match="no samples"):
        read(tmp_path / "a.wav")
    (tmp_path / "a.wav").write_bytes(b"")
    with pytest.raises(AudioError, match="the file is empty"):
        read(tmp_path / "a.wav")


FUZZ = """
import io, random, sys
import numpy as np, soundfile
from evalkit.soundfiles import read_bytes
from evalkit.errors import AudioError
wav = np.random.default_rng(0).standard_normal(8000).astype(np.float32) * 0.1
read = refused = 0
for form in ("WAV", "FLAC", "MP3", "OGG", "AIFF", "CAF", "W64", "AU", "RF64", "NIST", "VOC", "SVX", "PAF", "HTK"):
    buffer = io.BytesIO()
    soundfile.write(buffer, wav, 16000, format=form)
    for seed in range(60):
        rng = random.Random(f"{form}{seed}")
        content = bytearray(buffer.getvalue())
        for _ in range(rng.randint(1, 6)):
            content[rng.randrange(min(len(content), 200))] = rng.randrange(256)
        if seed % 3 == 0:
            content = content[: rng.randrange(len(content))]
        try:
            read_bytes(bytes(content), form)
            read += 1
        except AudioError as error:
            assert str(error).startswith(form)
            refused += 1
# Not ru_maxrss, which a process inherits from the one that started it.
peak = next(line for line in open("/proc/self/status") if line.startswith("VmHWM"))
print(read, refused, int(peak.split()[1]) // 1024)
"""


def test_damaged_headers_take_neither_memory_nor_the_process() -> None:
    """840 files of 14 formats with wrong bytes in their headers, in a process of 3 GB at most."""
    limit = 3 * 2**30
    done = subprocess.run(
        [sys.executable, "-c", FUZZ],
        capture_output=True,
        text=True,
        timeout=120,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (limit, limit)),
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr[-2000:]
    readable, refused, megabytes = map(int, done.stdout.split())
    assert readable + refused == 840 and min(readable, refused) > 50 and megabytes < 700


# --- what is kept ------------------------------------------------------------------------------------------------


def test_samples_cannot_be_changed_in_place(tone: np.ndarray) -> None:
    kept = Audio(tone, RATE)
    for one in (kept, pickle.loads(pickle.dumps(kept)), kept.at(8000)):
        with pytest.raises(ValueError, match="read-only"):
            one.wav[0] = 1
        with pytest.raises(ValueError, match="read-only"):
            one.wav *= 2
    tone[0] = 0  # its owner's array stays its owner's
    assert pickle.loads(pickle.dumps(kept)).pcm_hash() == kept.pcm_hash()


def test_the_same_audio_is_the_same_file_at_any_time(tone: np.ndarray, tmp_path: Path) -> None:
    write(tmp_path / "a.wav", Audio(tone, RATE))
    ours, theirs = (tmp_path / "a.wav").read_bytes(), io.BytesIO()
    soundfile.write(theirs, tone, RATE, format="WAV", subtype="FLOAT")
    stamp = theirs.getvalue().index(b"PEAK") + 12
    assert theirs.getvalue()[stamp : stamp + 4] != bytes(4) == ours[stamp : stamp + 4]
    assert ours[:stamp] + ours[stamp + 4 :] == theirs.getvalue()[:stamp] + theirs.getvalue()[stamp + 4 :]


def test_a_failed_write_leaves_what_was_there(
    tone: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "sub" / "a.wav"
    write(path, Audio(tone, RATE))
    before = path.read_bytes()
    assert np.array_equal(read(path).wav, tone)

    def full(self: Path, content: bytes) -> int:
        self.touch()
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError, match="No space left"):
        write(path, Audio(tone[:100], RATE))
    assert path.read_bytes() == before and [p.name for p in path.parent.iterdir()] == ["a.wav"]


def test_what_soxr_cannot_do_is_a_reason(tone: np.ndarray) -> None:
    with pytest.raises(AudioError, match="16000 samples cannot be resampled from 16000 to 0 Hz"):
        resample(tone, RATE, 0)
    assert len(resample(tone, RATE, 8000)) == RATE // 2


AUDIO = Audio(np.linspace(-0.5, 0.5, 800, dtype=np.float32), 16_000)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (None, "the dataset returned no audio: AttributeError"),
        (AUDIO.wav, "the dataset returned no audio: AttributeError"),
        (Audio(np.zeros((800, 2), np.float32), 16_000), r"a float32 array \[800, 2\]: it must be float32 \[T\]"),
        (Audio(np.zeros(0, np.float32), 16_000), r"a float32 array \[0\]"),
        (Audio(np.zeros(800, np.int16), 16_000), "a int16 array"),
        (Audio(AUDIO.wav, 0), "audio at 0 Hz: it must be from 4000 to 384000, whole"),
        (Audio(AUDIO.wav, 16_000.5), "audio at 16000.5 Hz"),
    ],
)
def test_a_function_that_gives_no_audio_is_a_reason(given: Any, message: str) -> None:
    with pytest.raises(AudioError, match=message):
        fetch(lambda: given)


def test_what_a_function_raises_is_a_reason_and_other_floats_are_converted() -> None:
    with pytest.raises(AudioError, match="the dataset returned no audio: KeyError: 'a'"):
        fetch(lambda: {}["a"])
    found = fetch(lambda: Audio(AUDIO.wav.astype(np.float64), 16_000))
    assert found.wav.dtype == np.float32 and np.array_equal(found.wav, AUDIO.wav)
    assert fetch(AUDIO) is AUDIO


def test_a_recording_that_does_not_fit_into_the_memory_is_refused(
    tmp_path: Path, tone: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its file may be as long as it says: one that is mostly holes takes no room on the disk."""
    path = put(tmp_path / "holes.wav", tone, subtype="PCM_16")
    size = 3 * 2**30
    content = bytearray(path.read_bytes()[:44])
    content[4:8], content[40:44] = struct.pack("<I", size - 8), struct.pack("<I", size - 44)
    with path.open("wb") as file:
        file.write(content)
        file.truncate(size)
    monkeypatch.setattr(soundfiles, "available_memory", lambda: 8 * 2**30)
    with pytest.raises(AudioError, match="1611 million samples or more do not fit into"):
        read(path)
    monkeypatch.setattr(soundfiles, "UNQUESTIONED", RATE // 2)
    monkeypatch.setattr(soundfiles, "BLOCK", RATE // 2)
    monkeypatch.setattr(soundfiles, "available_memory", lambda: 4 * RATE)
    with pytest.raises(AudioError, match="do not fit"):
        read(put(tmp_path / "unknown.mp3", tone))
