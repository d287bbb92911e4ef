"""Gathering public speech, from a git repository made on the spot."""

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import soundfile

from nanocodec.training import gather
from nanocodec.training.gather import RATE, Corpus, GatherError, joined, main, read, trim


def tone(seconds: float, level: float = 0.1) -> np.ndarray:
    return (level * np.sin(2 * np.pi * 440 * np.arange(int(seconds * RATE)) / RATE)).astype(np.float32)


def silence(seconds: float) -> np.ndarray:
    return np.zeros(int(seconds * RATE), np.float32)


@pytest.fixture
def repository(tmp_path: Path) -> Corpus:
    """Three clips of 4 s in 44.1 kHz stereo, each in a second of silence, and one of nothing."""
    folder = tmp_path / "origin"
    (folder / "clips").mkdir(parents=True)
    for number in range(3):
        time = np.arange(6 * 44_100) / 44_100
        audio = 0.1 * np.sin(2 * np.pi * 440 * time) * ((time > 1) & (time < 5))
        soundfile.write(folder / "clips" / f"{number}.wav", np.stack([audio, audio], axis=1), 44_100)
    soundfile.write(folder / "clips" / "quiet.wav", silence(3), RATE)

    def git(*arguments: str) -> str:
        identity = ("-c", "user.name=a", "-c", "user.email=a@b.c")
        return subprocess.run(
            ["git", *identity, *arguments], cwd=folder, check=True, capture_output=True, text=True
        ).stdout.strip()

    git("init", "--quiet")
    git("add", ".")
    git("commit", "--quiet", "-m", "clips")
    return Corpus("voice", "CC0-1.0", f"git:{folder}#{git('rev-parse', 'HEAD')}", "clips/*.wav")


def test_a_repository_becomes_joined_recordings_without_their_silence(
    repository: Corpus, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(tmp_path / "speech")], [repository]) == 0
    assert capsys.readouterr().out == "voice: 0.2 min, CC0-1.0\n"
    files = sorted((tmp_path / "speech" / "voice").iterdir())
    lengths = [soundfile.info(file).duration for file in files]
    assert lengths == pytest.approx([2 * 4.2, 4.2], abs=0.05)  # 0.1 s of margin on either side
    assert soundfile.info(files[0]).samplerate == RATE
    audio, _ = soundfile.read(files[1])
    assert np.sqrt(np.mean(audio**2)) == pytest.approx(gather.LEVEL, rel=0.01)


def test_what_is_there_is_kept_and_what_cannot_be_had_is_left_out(
    repository: Corpus, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "speech"
    (folder / "voice").mkdir(parents=True)
    lost = Corpus("lost", "CC0-1.0", f"git:{tmp_path}/nowhere#{'0' * 40}", "*.wav")
    empty = Corpus("empty", "CC0-1.0", repository.origin, "*.mp3")
    assert main([str(folder)], [lost, repository, empty]) == 3
    said = capsys.readouterr().err
    assert "lost: left out (git fetch" in said
    assert "empty: left out" in said and "holds no *.mp3" in said
    assert [item.name for item in folder.iterdir()] == ["voice"]


def test_a_missing_program_is_named(
    repository: Corpus, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert main([str(tmp_path / "speech")], [repository]) == 3
    assert "git is not installed" in capsys.readouterr().err


def test_trim_keeps_pauses_and_drops_silence() -> None:
    kept = trim(np.concatenate([silence(1), tone(1), silence(0.5), tone(1), silence(1)]))
    assert kept is not None
    assert len(kept) / RATE == pytest.approx(2.7, abs=0.03)
    assert trim(silence(2)) is None
    assert trim(tone(0.05)) is None


def test_joined_pieces_hold_every_sample_and_all_but_the_last_are_long() -> None:
    recordings = [tone(seconds) for seconds in (0.5, 7, 2, 2, 2, 1)]
    pieces = list(joined(recordings))
    np.testing.assert_array_equal(np.concatenate(pieces), np.concatenate(recordings))
    assert [round(len(piece) / RATE, 1) for piece in pieces] == [7.5, 6.0, 1.0]


def test_a_file_that_is_not_audio_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_bytes(b"no audio")
    with pytest.raises(GatherError, match=r"a\.wav is not readable as audio"):
        read(tmp_path / "a.wav")


@pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="ffmpeg, which decodes G.722, is not installed")
def test_g722_is_read(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", tone(1), RATE)
    subprocess.run(["ffmpeg", "-v", "error", "-i", tmp_path / "a.wav", tmp_path / "a.g722"], check=True)
    audio = read(tmp_path / "a.g722")
    assert len(audio) == pytest.approx(RATE, abs=200)
    assert np.sqrt(np.mean(audio[2000:-2000] ** 2)) == pytest.approx(0.1 / np.sqrt(2), rel=0.05)
