"""Excerpts are a function of seed, step and row; sources are read strictly and say what they pass over."""

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from nanocodec.config import get_config
from nanocodec.files import AUDIO_SUFFIXES
from nanocodec.training.config import ConfigError, DataConfig, Phase, TrainConfig
from nanocodec.training.data import AudioSource, DataError, Excerpts, parse_source


def excerpts(source: AudioSource, seed: int = 0, **options: float) -> Excerpts:
    return Excerpts([source], 22050, seed, DataConfig(level=0.06, gain_db=6, **options))  # type: ignore[arg-type]


def test_batches_depend_on_seed_and_step_alone(speechlike: Path, tmp_path: Path) -> None:
    source = AudioSource(str(speechlike), tmp_path)
    one, two = excerpts(source, speed=1.1, eq_db=6, room=0.5), excerpts(source, speed=1.1, eq_db=6, room=0.5)
    one.batch(3, 4, 5000)
    assert np.array_equal(one.batch(7, 4, 5000), two.batch(7, 4, 5000))
    assert not np.array_equal(one.batch(7, 4, 5000), one.batch(8, 4, 5000))
    assert not np.array_equal(excerpts(source).batch(7, 4, 5000), excerpts(source, seed=1).batch(7, 4, 5000))
    batch = one.batch(0, 16, 5000)
    assert batch.shape == (16, 5000)
    assert batch.dtype == np.float32
    assert np.abs(batch).max() <= 1
    config = TrainConfig(get_config("mini-1.1k"), (Phase(until=2, batch=4, frames=2),), data=DataConfig(loaders=0))
    halves = [list(one.loader(config, 0, rank, 2)) for rank in (0, 1)]
    assert np.array_equal(torch.cat([halves[0][1], halves[1][1]]).numpy(), one.batch(1, 4, 2 * 1764))


def test_held_out_files_are_never_trained_on(speechlike: Path, tmp_path: Path) -> None:
    source = AudioSource(str(speechlike), tmp_path)
    held_out = {item.name for item in source.segments if item.held_out}
    assert 0 < len(held_out) < 8
    made = excerpts(source)
    assert not {item.name for item in made._choices[0][0]} & held_out
    assert len(made.held_out(1, 1.0)) == 1


def test_the_index_is_reused_until_the_folder_changes(speechlike: Path, tmp_path: Path) -> None:
    first = AudioSource(str(speechlike), tmp_path)
    stamps = {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    again = AudioSource(str(speechlike), tmp_path)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()} == stamps
    assert again.segments == first.segments
    assert len(first.segments) == 40
    AudioSource(str(speechlike / "more"), tmp_path)
    assert len(list(tmp_path.iterdir())) == 2 * len(stamps)


def test_manifests_and_hub_data_are_the_same_audio(speechlike: Path, tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    names = sorted(path.name for path in (speechlike / "more").iterdir())
    (speechlike / "list.csv").write_text("path\n" + "\n".join(f"more/{name}" for name in names))
    lines = [{"audio_filepath": f"more/{name}", "offset": 0.5, "duration": 0.75} for name in names]
    (speechlike / "list.jsonl").write_text("\n".join(json.dumps(line) for line in lines))
    audio = [{"bytes": (speechlike / "more" / name).read_bytes(), "path": f"more/{name}"} for name in names]
    (tmp_path / "hub").mkdir()
    table = datasets.Dataset.from_dict({"audio": audio}).cast_column("audio", datasets.Audio(decode=False))
    table.to_parquet(tmp_path / "hub" / "train.parquet")
    folder, manifest, stretches, hub = (
        AudioSource(text, tmp_path / "cache")
        for text in (
            str(speechlike / "more"),
            str(speechlike / "list.csv"),
            str(speechlike / "list.jsonl"),
            f"hub:{tmp_path / 'hub'}",
        )
    )
    read = lambda source, i, *cut: source.read(source.segments[i], *cut)  # noqa: E731
    wave = read(folder, 3, 0, 24000)
    assert np.array_equal(read(manifest, 3, 0, 24000), wave)
    assert np.array_equal(read(hub, 3, 0, 24000), wave)
    assert np.array_equal(read(stretches, 3, 100, 10**6), wave[8100:20000])
    headers = AudioSource(str(speechlike / "more"), tmp_path / "cache", levels=False)
    assert [item.length for item in headers.segments] == [item.length for item in folder.segments]
    assert {item.rms for item in headers.segments} == {None}
    assert Excerpts([headers], 22050, 0, DataConfig()).batch(0, 2, 5000).std() > 0.01
    assert stretches.segments[0].length == 12000


def test_missing_and_broken_data_is_named(tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    with pytest.raises(DataError, match="nowhere: no such folder"):
        AudioSource(str(tmp_path / "nowhere"), cache)
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(DataError, match="holds no audio"):
        AudioSource(str(empty), cache)
    (empty / "broken.wav").write_text("no audio")
    with pytest.raises(DataError, match=r"broken\.wav: not readable as audio"):
        AudioSource(str(empty), cache)
    for name, text, message in (
        ("a.csv", "file\nbroken.wav", "not a manifest"),
        ("b.jsonl", "{", "not a manifest"),
        ("c.csv", "path\ngone.wav", r"gone\.wav, which is not there"),
        ("d.csv", "path\n", "lists no audio"),
    ):
        (empty / name).write_text(text)
        with pytest.raises(DataError, match=message):
            AudioSource(str(empty / name), cache)
    with pytest.raises(DataError, match=r"hub:.*cannot be loaded"):
        AudioSource(f"hub:{tmp_path / 'nothing'}", cache)


def test_sources_carry_shares(tmp_path: Path) -> None:
    assert parse_source("a/b") == ("a/b", 1.0)
    assert parse_source("a/b:0.3") == ("a/b", 0.3)
    assert parse_source("hub:some/set@main#test:2") == ("hub:some/set@main#test", 2.0)
    assert parse_source("hub:some/set") == ("hub:some/set", 1.0)
    odd = tmp_path / "a:3"
    odd.mkdir()
    assert parse_source(str(odd)) == (str(odd), 1.0)
    with pytest.raises(ConfigError, match="positive"):
        parse_source("a:0")


def tone(path: Path, seconds: float = 1.0, **options: str) -> Path:
    soundfile.write(path, 0.1 * np.sin(np.arange(int(16000 * seconds)) / 9), 16000, **options)
    return path


def test_every_format_of_soundfile_is_read(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    wanted = set()
    for kind in sorted(set(soundfile.available_formats()) - {"RAW", "SD2"}):  # SD2 needs a resource fork
        path = folder / f"tone.{kind.lower()}"
        try:
            tone(path, format=kind)
        except (soundfile.LibsndfileError, ValueError):  # the rate, or no default subtype
            soundfile.write(path, 0.1 * np.sin(np.arange(8000) / 9), 8000, format=kind, subtype="ALAW")
        wanted.add(path.name)
    for suffix, kind in ((".aif", "AIFF"), (".oga", "OGG"), (".wave", "WAV"), (".snd", "AU"), (".WAV", "WAV")):
        wanted.add(tone(folder / f"other{suffix}", format=kind).name)
    wanted.add(tone(folder / "speech.opus", format="OGG", subtype="OPUS").name)
    source = AudioSource(str(folder), tmp_path / "cache")
    assert {segment.name for segment in source.segments} == wanted, source.summary
    assert len(wanted) > 25
    assert ".raw" not in AUDIO_SUFFIXES


def test_what_is_passed_over_is_counted_and_said_again_from_the_index(tmp_path: Path) -> None:
    folder, elsewhere = tmp_path / "data", tmp_path / "elsewhere"
    for path in (folder, elsewhere / "deeper"):
        path.mkdir(parents=True)
    tone(folder / "good.wav")
    tone(elsewhere / "deeper" / "linked.flac")
    (folder / "link").symlink_to(elsewhere)
    (elsewhere / "loop").symlink_to(folder)
    (folder / "dangling.wav").symlink_to(tmp_path / "gone.wav")
    (folder / "broken.wav").write_text("no audio")
    (folder / "a.txt").write_text("one")
    (folder / "b.txt").write_text("two")
    soundfile.write(folder / "silent.wav", np.zeros(16000), 16000)
    soundfile.write(folder / "empty.wav", np.zeros(0), 16000)
    soundfile.write(folder / "nan.wav", np.array([0.1, np.nan] * 800), 16000, subtype="FLOAT")
    soundfile.write(folder / "slow.wav", np.ones(50), 1)
    for _ in range(2):
        source = AudioSource(str(folder), tmp_path / "cache")
        assert {segment.name for segment in source.segments} == {"good.wav", "link/deeper/linked.flac"}
        assert source.found == 10
        assert {name: reason.split(" (")[0] for name, reason in source.passed_over} == {
            "a.txt": "without an audio suffix",
            "b.txt": "without an audio suffix",
            "broken.wav": "not readable as audio",
            "dangling.wav": "a link to a file that is not there",
            "empty.wav": "without samples",
            "nan.wav": "samples that are not finite",
            "silent.wav": "silent",
            "slow.wav": "sampling rate out of range",
        }
        for part in (
            "10 found, 2 taken",
            "2 without an audio suffix: a.txt, ...",
            "slow.wav: sampling rate out of range (1 Hz)",
        ):
            assert part in source.summary
        assert source.seconds == pytest.approx(2.0)


def test_a_header_that_announces_more_than_there_is_costs_no_memory(tmp_path: Path) -> None:
    path = tone(tmp_path / "long.au", format="AU")
    data = bytearray(path.read_bytes())
    data[8:12] = b"\xff\xff\xff\xff"  # the length is unknown, says the header
    path.write_bytes(data)
    (segment,) = AudioSource(str(tmp_path), tmp_path / "cache").segments
    assert segment.length == 16000


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.csv", 'path,text\na.wav,"never closed\na.wav,x\n', "not a manifest .line 2: unexpected end of data"),
        ("n.csv", 'path,text\na.wav,"open\na.wav,"\na.wav,x\n', "line 3: a cell continues from an earlier line"),
        ("b.csv", "path,text\na.wav,well, yes\n", "line 2: 2 columns, but another number of cells"),
        ("c.csv", "path,text\na.wav\n", "line 2: 2 columns, but another number of cells"),
        ("d.csv", "path,path\na.wav,a.wav\n", "line 1: the columns are path, path"),
        ("e.csv", "path,offset\na.wav,soon\n", "line 2: offset is 'soon'"),
        ("f.csv", "path,duration\na.wav,0\n", "line 2: duration is 0"),
        ("g.csv", "path,text\na.wav,x\n,y\n", "line 3: no path"),
        ("h.jsonl", '{"audio_filepath": "a.wav"}\n{"audio_filepath": "a.wav", "offset": -1}\n', "line 2: offset is -1"),
        ("i.jsonl", '{"audio_filepath": "a.wav", "duration": NaN}\n', "line 1: duration is nan"),
        ("j.jsonl", '{"audio_filepath": 3}\n', "line 1: no audio_filepath"),
        ("k.jsonl", '["a.wav"]\n', "line 1: not an object"),
        (
            "l.jsonl",
            '{"audio_filepath": "a.wav"}\n{"audio_filepath": "gone.wav"}\n',
            r"line 2: names .*gone\.wav, which",
        ),
        ("m.csv", b"path\n\xff.wav\n", "not a manifest"),
    ],
)
def test_manifests_are_read_strictly(name: str, text: str | bytes, message: str, tmp_path: Path) -> None:
    tone(tmp_path / "a.wav")
    (tmp_path / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(DataError, match=message) as caught:
        AudioSource(str(tmp_path / name), tmp_path / "cache")
    assert str(caught.value).startswith(str(tmp_path / name))


def test_separators_that_are_no_line_ends_and_quoted_commas_stay_in_their_cells(tmp_path: Path) -> None:
    for name in ("a.wav", "b,c.wav"):
        tone(tmp_path / name)
    (tmp_path / "list.csv").write_text('path,text\na.wav,"one\u2028two\x85three, and four"\n"b,c.wav",x\n')
    (tmp_path / "list.jsonl").write_text('{"audio_filepath": "a.wav", "text": "one\u2028two\x85"}\n\n')
    csv_names, json_names = (
        [segment.name for segment in AudioSource(str(tmp_path / name), tmp_path / "cache").segments]
        for name in ("list.csv", "list.jsonl")
    )
    assert csv_names == ["a.wav", "b,c.wav"]
    assert json_names == ["a.wav"]


def test_stretches_beyond_the_end_are_passed_over(tmp_path: Path) -> None:
    tone(tmp_path / "a.wav")
    (tmp_path / "list.csv").write_text("path,offset,duration\na.wav,0.25,0.5\na.wav,2,\na.wav,3,\n")
    source = AudioSource(str(tmp_path / "list.csv"), tmp_path / "cache")
    assert [(segment.start, segment.length) for segment in source.segments] == [(4000, 8000)]
    assert source.summary == "3 found, 1 taken; 2 shorter than its offset: a.wav, ..."
