"""Loaders of public data, on miniature trees in the official layouts, broken ones among them."""

import hashlib
import io
import json
import pickle
import zipfile
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unicodedata import normalize

import numpy as np
import pytest
import soundfile

from evalkit import plugins
from evalkit.audio import Audio
from evalkit.cache import Cache
from evalkit.codecs import CodecInfo, Codes
from evalkit.datasets import Dataset, daps, load_dataset, mls44
from evalkit.environment.listing import list_datasets
from evalkit.errors import AudioError, MissingError, UsageError
from evalkit.pipeline.coders import LocalCoder
from evalkit.pipeline.jobs import Source


@pytest.fixture(autouse=True)
def no_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder for data that are named without one."""
    folder = tmp_path / "data"
    monkeypatch.setenv("EVALKIT_DATA", str(folder))
    return folder


def sound(seconds: float = 0.1, rate: int = 16_000, form: str = "FLAC") -> bytes:
    buffer = io.BytesIO()
    wav = 0.1 * np.sin(2 * np.pi * 300 * np.arange(round(seconds * rate)) / rate)
    soundfile.write(buffer, wav, rate, format=form)
    return buffer.getvalue()


def put(path: Path, content: bytes | str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def loaded(dataset: Dataset) -> dict[str, Audio | str]:
    """The audio of each utterance, or what is wrong with it, fetched as a worker process would."""
    found: dict[str, Audio | str] = {}
    for utterance in pickle.loads(pickle.dumps(dataset)):
        try:
            found[utterance.id] = utterance.audio()
        except AudioError as error:
            found[utterance.id] = str(error)
    return found


# --- mls ---------------------------------------------------------------------------------------------------------


def mls_tree(root: Path, language: str = "german", suffix: str = ".flac", count: int = 3) -> Path:
    folder = root / f"mls_{language}"
    lines = []
    for speaker in range(count):
        name = f"{speaker}_77_{speaker:06d}"
        put(folder / "test" / "audio" / str(speaker) / "77" / (name + suffix), sound())
        lines.append(f"{name}\tein satz von {speaker}\n")
    put(folder / "test" / "transcripts.txt", "".join(reversed(lines)))
    return folder


def test_mls_reads_the_official_layout(tmp_path: Path) -> None:
    for language in ("polish", "german"):
        mls_tree(tmp_path, language)
    folder = tmp_path / "mls_german"
    folder.rename(tmp_path / "mls_german_opus")  # ids of the two languages differ in reality
    put(tmp_path / "mls_polish" / "test" / "transcripts.txt", "9_8_000001\tzdanie\n")
    dataset = load_dataset(f"mls:{tmp_path}")
    assert dataset.name == "mls" and dataset.license == "CC BY 4.0" and dataset.languages == ("de", "pl")
    assert [u.id for u in dataset] == ["0_77_000000", "1_77_000001", "2_77_000002", "9_8_000001"]
    first = dataset.utterances[0]
    assert (first.language, first.speaker, first.transcript) == ("de", "0", "ein satz von 0")
    audio = loaded(dataset)
    assert isinstance(first := audio["0_77_000000"], Audio) and first.sample_rate == 16_000
    assert "no such file" in str(audio["9_8_000001"])
    one = load_dataset(f"mls:{tmp_path},languages=german")
    assert one.languages == ("de",) and one.revision != dataset.revision
    assert load_dataset(f"mls:{tmp_path / 'mls_polish'}").languages == ("pl",)


def test_mls_is_found_in_the_data_folder(no_data: Path) -> None:
    mls_tree(no_data / "mls")
    assert len(load_dataset("mls")) == 3


def test_mls_counts_audio_that_its_list_does_not_name(tmp_path: Path) -> None:
    folder = mls_tree(tmp_path)
    assert load_dataset(f"mls:{tmp_path}").notes == ()
    put(folder / "test" / "transcripts.txt", "0_77_000000\tone\u2028two\n")
    dataset = load_dataset(f"mls:{tmp_path}")
    assert [u.transcript for u in dataset] == ["one\u2028two"]
    assert "2 audio files in its folder are not listed, for example 1/77/1_77_000001" in dataset.notes[0]


def test_a_missing_transcript_is_none_and_a_bad_file_costs_itself(tmp_path: Path) -> None:
    folder = mls_tree(tmp_path)
    put(folder / "test" / "transcripts.txt", "0_77_000000\t\n1_77_000001\tb\n2_77_000002\tc\n")
    put(folder / "test" / "audio" / "1" / "77" / "1_77_000001.flac", b"not audio")
    put(folder / "test" / "audio" / "2" / "77" / "2_77_000002.flac", sound(rate=8000))
    dataset = load_dataset(f"mls:{tmp_path}")
    assert dataset.utterances[0].transcript is None
    audio = loaded(dataset)
    assert isinstance(audio["0_77_000000"], Audio)
    assert "cannot be read as audio" in str(audio["1_77_000001"])
    assert "8000 Hz, but MLS has 16000 Hz" in str(audio["2_77_000002"])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("0_77_000000\ta\n0_77_000000\tb\n", "lines 1 and 2: two entries for '0_77_000000'"),
        ("0_77_000000 no tab\n", "line 1: expected SPEAKER_BOOK_INDEX, a tab"),
        ("\n../../x_1_2\ta\n", "line 2: expected SPEAKER_BOOK_INDEX"),
    ],
)
def test_a_damaged_list_of_transcripts_says_where(tmp_path: Path, text: str, message: str) -> None:
    put(mls_tree(tmp_path) / "test" / "transcripts.txt", text)
    with pytest.raises(UsageError, match=message):
        load_dataset(f"mls:{tmp_path}")


def test_mls_that_is_not_there_says_how_to_get_it(tmp_path: Path) -> None:
    with pytest.raises(MissingError, match=r"openslr\.org/94"):
        load_dataset("mls")
    with pytest.raises(MissingError, match="holds no folder such as mls_german"):
        load_dataset(f"mls:{tmp_path}")
    mls_tree(tmp_path)
    with pytest.raises(MissingError, match="has no mls_polish"):
        load_dataset(f"mls:{tmp_path},languages=de+pl")
    with pytest.raises(MissingError, match="list of transcripts cannot be read"):
        load_dataset(f"mls:{tmp_path},split=dev")
    mls_tree(tmp_path, "german_opus")
    with pytest.raises(UsageError, match="the same language"):
        load_dataset(f"mls:{tmp_path}")


# --- hub ---------------------------------------------------------------------------------------------------------


def parquet(path: Path, rows: list[dict[str, object]]) -> None:
    """A shard as the hub has them: bytes in a struct, and the feature types in the metadata."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    path.parent.mkdir(parents=True, exist_ok=True)
    table = pa.Table.from_pylist(rows)
    kinds = {name: {"_type": "Value", "dtype": "string"} for name in rows[0]} | {"audio": {"_type": "Audio"}}
    about = json.dumps({"info": {"features": kinds}})
    pq.write_table(table.replace_schema_metadata({"huggingface": about}), path)


@pytest.fixture
def own_datasets_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    datasets = pytest.importorskip("datasets", reason="the package datasets is not installed")
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(tmp_path / "cache"))
    datasets.disable_progress_bars()


def row(name: str, content: bytes, text: str | None = "tekst") -> dict[str, object]:
    return {"audio": {"bytes": content, "path": f"{name}.flac"}, "id": name, "transcript": text, "speaker_id": "7"}


@pytest.mark.usefixtures("own_datasets_cache")
def test_hub_reads_parquet_without_decoding_by_torchcodec(tmp_path: Path) -> None:
    parquet(tmp_path / "repo" / "dutch" / "test-0.parquet", [row("a", sound()), row("b", b"no audio", None)])
    put(tmp_path / "repo" / "dutch" / "train-0.parquet", b"a shard that must not be touched")
    dataset = load_dataset(f"hub:{tmp_path / 'repo'},files=dutch/test-*,language=nl")
    a, b = dataset
    assert (a.id, a.language, a.speaker, a.transcript, b.transcript) == ("a", "nl", "7", "tekst", None)
    audio = loaded(dataset)
    assert isinstance(audio["a"], Audio) and audio["a"].sample_rate == 16_000
    assert "cannot be read as audio" in str(audio["b"])
    with pytest.raises(UsageError, match="no column 'words'"):
        load_dataset(f"hub:{tmp_path / 'repo'},text=words")


@pytest.mark.usefixtures("own_datasets_cache")
def test_speaker_0_and_id_0_are_values(tmp_path: Path) -> None:
    rows = [row(str(number), sound()) | {"id": number, "speaker_id": number} for number in range(2)]
    parquet(tmp_path / "repo" / "test-0.parquet", rows)
    assert [(u.id, u.speaker) for u in load_dataset(f"hub:{tmp_path / 'repo'}")] == [("0", "0"), ("1", "1")]
    unnamed = [{key: value for key, value in one.items() if key != "id"} for one in rows]
    parquet(tmp_path / "unnamed" / "test-0.parquet", unnamed)
    numbered = load_dataset(f"hub:{tmp_path / 'unnamed'}")
    assert [u.id for u in numbered] == ["0", "1"] and "named by row number" in numbered.notes[0]
    with pytest.raises(UsageError, match="no column 'name'"):
        load_dataset(f"hub:{tmp_path / 'unnamed'},id=name")


@pytest.mark.usefixtures("own_datasets_cache")
def test_mls_on_the_hub_is_read_by_language_and_says_that_it_is_lossy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from evalkit.datasets import mls

    monkeypatch.setattr(mls, "HUB", str(tmp_path / "repo"))
    parquet(tmp_path / "repo" / "dutch" / "test-0.parquet", [row("a", sound())])
    parquet(tmp_path / "repo" / "polish" / "test-0.parquet", [row("b", sound())])
    dataset = load_dataset("mls:hub,languages=pl+nl")
    assert [(u.id, u.language) for u in dataset] == [("b", "pl"), ("a", "nl")]
    assert dataset.name == "mls-hub" and "Opus" in dataset.notes[0]


@pytest.mark.usefixtures("own_datasets_cache")
def test_english_of_mls_on_the_hub_has_its_ids_and_the_revision_that_was_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from evalkit.datasets import huggingface, mls

    def spoken(original: str, file: str, begin: float) -> dict[str, object]:
        return {
            "audio": {"bytes": sound(), "path": file}, "original_path": original, "begin_time": begin,
            "transcript": "words", "speaker_id": "10", "book_id": "20",
        }  # fmt: skip

    mp3 = "http://www.archive.org/download/item/stem_01_64kb.mp3"
    parquet(
        tmp_path / "repo" / "data" / "test-0.parquet",
        [
            spoken("10_20_000003.opus", "x.flac", 0.0),
            spoken(mp3, "10_20_000004.flac", 1.0),
            spoken(mp3, "99_20_000005.flac", 12.345),  # of another speaker: no official id of this one
        ],
    )
    asked: list[tuple[str, str | None]] = []
    real = huggingface.open_table

    def open_table(source: str, files: str, split: str, revision: str | None) -> tuple[object, str]:
        asked.append((source, revision))
        return real(str(tmp_path / "repo"), files, split, None)[0], str(revision)

    monkeypatch.setattr(huggingface, "open_table", open_table)
    dataset = load_dataset("mls:hub,languages=en,revision=" + "a" * 40)
    assert [u.id for u in dataset] == ["10_20_000003", "10_20_000004", "10_20_stem_01_64kb_12.35"]
    assert {(u.language, u.speaker, u.transcript) for u in dataset} == {("en", "10", "words")}
    assert any("does not give the official ids of 1 utterances" in note for note in dataset.notes)
    assert any(f"parler-tts/mls_eng at {'a' * 40}" in note for note in dataset.notes)
    load_dataset("mls:hub,languages=en")
    load_dataset("mls:hub,languages=en,english-revision=" + "b" * 40)
    assert asked == [(mls.ENGLISH, revision) for revision in ("a" * 40, mls.ENGLISH_REVISION, "b" * 40)]
    with pytest.raises(UsageError, match="revision is for mls:hub"):
        load_dataset(f"mls:{tmp_path},revision=x")


@pytest.mark.usefixtures("own_datasets_cache")
def test_a_hub_that_cannot_be_reached_is_a_missing_piece(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    (tmp_path / "empty").mkdir()
    with pytest.raises(MissingError, match="cannot be read now"):
        load_dataset(f"hub:{tmp_path / 'empty'}")
    pq.write_table(pa.table({"a": [1]}), put(tmp_path / "odd/test-00000-of-00002.parquet", b""))
    pq.write_table(pa.table({"audio": ["x"]}), put(tmp_path / "odd/test-00001-of-00002.parquet", b""))
    with pytest.raises(MissingError, match=r"Couldn't cast\. Check that its Parquet files are complete"):
        load_dataset(f"hub:{tmp_path / 'odd'}")
    pq.write_table(pa.table({"audio": ["x"]}), put(tmp_path / "texts/test-00000.parquet", b""))
    with pytest.raises(AudioError, match="audio holds neither the bytes of an audio file nor its path"):
        load_dataset(f"hub:{tmp_path / 'texts'}").utterances[0].audio()


# --- mls44 -------------------------------------------------------------------------------------------------------


def archive(path: Path, members: dict[str, bytes], monkeypatch: pytest.MonkeyPatch) -> Path:
    """A zip that passes for the authors'."""
    with zipfile.ZipFile(path, "w") as file:
        for name, content in members.items():
            file.writestr(name, content)
    monkeypatch.setattr(mls44, "FILE", replace(mls44.FILE, sha256=hashlib.sha256(path.read_bytes()).hexdigest()))
    return path


MEMBERS = {
    "mls44/polish/audio/7_8_000001.wav": sound(rate=44_100, form="WAV"),
    "mls44/german/audio/1_2_000003.wav": sound(rate=44_100, form="WAV"),
    "mls44/german/audio/1_2_000004.wav": sound(rate=16_000, form="WAV"),
    "mls44/german/audio/._1_2_000004.wav": b"of macOS",
    "mls44/german/transcripts.txt": b"1_2_000003\tein satz\n",
}


def test_a_listing_does_not_read_the_whole_archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive(tmp_path / mls44.ARCHIVE, MEMBERS, monkeypatch)
    monkeypatch.setenv("EVALKIT_DATA", str(tmp_path))
    monkeypatch.setitem(plugins._REGISTERED, ("dataset", "mls44"), mls44.LOADER)

    def refuse(path: Path) -> str:
        raise AssertionError(f"{path} was hashed")

    monkeypatch.setattr(mls44, "sha256", refuse)
    (line,) = [row for row in list_datasets()[1] if row[0] == "mls44"]
    assert line[2:4] == [3, "de, pl"] and line[-1] == "ready"
    with pytest.raises(MissingError, match="was hashed"):
        load_dataset("mls44")


def test_mls44_reads_the_archive_in_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = archive(tmp_path / "set.zip", MEMBERS, monkeypatch)
    dataset = load_dataset(f"mls44:{path}")
    assert [(u.id, u.language, u.transcript) for u in dataset] == [
        ("1_2_000003", "de", "ein satz"), ("1_2_000004", "de", None), ("7_8_000001", "pl", None),
    ]  # fmt: skip
    audio = loaded(dataset)
    assert isinstance(audio["7_8_000001"], Audio) and audio["7_8_000001"].sample_rate == 44_100
    assert "16000 Hz, but mls44 has 44100 Hz" in str(audio["1_2_000004"])
    assert sorted(p.name for p in tmp_path.iterdir()) == ["set.zip"]  # nothing was unpacked
    with zipfile.ZipFile(path) as file:
        file.extractall(tmp_path / "unpacked")
    folder = load_dataset(f"mls44:{tmp_path / 'unpacked'}")
    assert [u.id for u in folder] == [u.id for u in dataset] and "does not check" in folder.notes[0]
    assert isinstance(loaded(folder)["7_8_000001"], Audio)


@pytest.mark.parametrize(
    "name", ["german/../../etc/x.wav", "/german/x.wav", "c:/german/x.wav", "german\\..\\..\\x.wav"]
)
def test_an_archive_that_leads_out_of_itself_is_refused(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = archive(tmp_path / "set.zip", MEMBERS | {name: b""}, monkeypatch)
    with pytest.raises(UsageError, match="a path outside the archive"):
        load_dataset(f"mls44:{path}")


def test_another_archive_is_refused_and_a_bomb_costs_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = archive(tmp_path / "set.zip", MEMBERS, monkeypatch)
    monkeypatch.setattr(mls44, "LARGEST", 100)
    monkeypatch.setattr(mls44, "_transcripts", lambda names, content: ({}, []))
    assert "would unpack to more" in str(loaded(load_dataset(f"mls44:{path}"))["7_8_000001"])
    path.write_bytes(path.read_bytes() + b"more")
    with pytest.raises(UsageError, match="not the authors' archive"):
        load_dataset(f"mls44:{path}")
    with pytest.raises(MissingError, match="evalkit fetch mls44"):
        load_dataset("mls44")


# --- daps --------------------------------------------------------------------------------------------------------


def talk(seconds: float, rate: int = 44_100, seed: int = 0) -> np.ndarray:
    """Noise bursts of 1 to 4 s with gaps of 0.4 to 0.8 s: what a long recording looks like to an energy rule."""
    rng = np.random.default_rng(seed)
    wav = 1e-4 * rng.standard_normal(round(seconds * rate))
    at = 0.0
    while at < seconds:
        burst = rng.uniform(1, 4)
        part = wav[round(at * rate) : round((at + burst) * rate)]
        part += 0.2 * rng.standard_normal(len(part))
        at += burst + rng.uniform(0.4, 0.8)
    return wav.astype(np.float32)


def daps_tree(root: Path) -> Path:
    for version in ("clean", "cleanraw"):
        for speaker in ("f10", "m10", "f1"):
            wav = talk(40, seed=len(version) + len(speaker))
            path = root / version / f"{speaker}_script1_{version}.wav"
            path.parent.mkdir(parents=True, exist_ok=True)
            soundfile.write(path, wav, 44_100)
    put(root / "clean" / "._f10_script2_clean.wav", b"of macOS")
    put(root / "clean" / "breaths" / "f10_script3_clean.wav", b"breaths")
    return root


def test_daps_is_cut_into_segments_that_say_where_they_are(tmp_path: Path) -> None:
    dataset = load_dataset(f"daps:{daps_tree(tmp_path / 'daps')}")
    assert {u.speaker for u in dataset} == {"f10", "m10"} and dataset.name == "daps"
    assert "1 hidden (._f10_script2_clean.wav)" in dataset.notes[1] and "breaths/f10_script3" in dataset.notes[2]
    assert "non-commercial" in dataset.license and dataset.notes
    pieces = [u for u in dataset if u.speaker == "f10"]
    audio = loaded(dataset)
    end = 0.0
    for piece in pieces:
        first, last = (float(x) for x in piece.id.removeprefix("f10_script1_clean_").split("-"))
        assert first == pytest.approx(end) and 2 <= last - first <= 15
        assert isinstance(cut := audio[piece.id], Audio) and cut.seconds == pytest.approx(last - first, abs=1e-4)
        end = last
    assert end == pytest.approx(40, abs=0.01)
    assert load_dataset(f"daps:{tmp_path}").ids_hash == dataset.ids_hash  # the folder above will do
    assert load_dataset(f"daps:{tmp_path},version=cleanraw,speakers=all").name == "daps-cleanraw"


def test_daps_files_that_are_bad_fail_alone(tmp_path: Path) -> None:
    root = daps_tree(tmp_path)
    put(root / "clean" / "f10_script1_clean.wav", b"not audio")
    soundfile.write(root / "clean" / "m10_script1_clean.wav", talk(5, 16_000), 16_000)
    audio = loaded(load_dataset(f"daps:{root}"))
    assert "cannot be read" in str(audio["f10_script1_clean"]) and "16000 Hz" in str(audio["m10_script1_clean"])
    with pytest.raises(MissingError, match="no recordings of m3"):
        load_dataset(f"daps:{root},speakers=m3")
    with pytest.raises(MissingError, match="no folder produced"):
        load_dataset(f"daps:{root},version=produced")


@pytest.mark.parametrize("rate", [16_000, 22_050, 44_100])
@pytest.mark.parametrize("seconds", [0.004, 0.5, 2, 14.99, 15.01, 16, 17.5, 60])
def test_segments_cover_everything_within_their_limits(seconds: float, rate: int) -> None:
    wav = talk(seconds, rate)
    cuts = daps.segments(wav, rate)
    assert cuts == daps.segments(wav.copy(), rate)
    assert all(a[1] == b[0] for a, b in pairwise(cuts))
    if seconds < daps.FRAME:
        assert cuts == []
    else:
        assert cuts[0][0] == 0 and cuts[-1][1] == pytest.approx(seconds, abs=2 * daps.FRAME)
    if seconds >= 2:
        assert all(1.99 <= b - a <= 15.001 for a, b in cuts)


def test_cuts_lie_in_gaps_and_speech_without_any_is_cut_where_it_is_quietest() -> None:
    rate = 16_000
    wav = talk(60, rate)
    for _, end in daps.segments(wav, rate)[:-1]:
        at = round(end * rate)
        assert np.abs(wav[at - 1600 : at + 1600]).max() < 1e-3
    steady = 0.1 * np.random.default_rng(0).standard_normal(20 * rate).astype(np.float32)
    steady[8 * rate : 8 * rate + 160] *= 0.1
    assert daps.segments(steady, rate) == [(0, 8.0), (8.0, 20.0)]


# --- folder ------------------------------------------------------------------------------------------------------


def test_a_folder_of_audio_is_a_dataset(tmp_path: Path) -> None:
    put(tmp_path / "mine" / "b.flac", sound())
    put(tmp_path / "mine" / "a" / "1.wav", sound(form="WAV"))
    put(tmp_path / "mine" / "notes.txt", "no audio")
    dataset = load_dataset(f"folder:{tmp_path / 'mine'},language=de")
    assert [(u.id, u.language) for u in dataset] == [("a/1", "de"), ("b", "de")] and dataset.name == "folder:mine"
    text = "file_name,transcription,text,speaker\nb.flac,x,gesagt,s1\ngone.flac,,,\n"
    put(tmp_path / "mine" / "metadata.csv", text)
    b, gone = load_dataset(f"folder:{tmp_path / 'mine'}")
    assert (b.id, b.transcript, b.speaker) == ("b", "gesagt", "s1") and gone.transcript is None
    assert "no such file" in str(loaded(load_dataset(f"folder:{tmp_path / 'mine'}"))["gone"])


def test_a_folder_says_what_it_passed_over(tmp_path: Path) -> None:
    for name in ("a.wav", "b.wav", "c.aiff"):
        put(tmp_path / "mine" / name, sound(form="WAV"))
    put(tmp_path / "mine" / "notes.txt", "no audio")
    (tmp_path / "mine" / "gone.wav").symlink_to("nowhere.wav")
    (tmp_path / "mine" / "more").symlink_to(tmp_path / "elsewhere")
    put(tmp_path / "elsewhere" / "d.wav", sound(form="WAV"))
    dataset = load_dataset(f"folder:{tmp_path / 'mine'}")
    assert [u.id for u in dataset] == ["a", "b", "c", "gone", "more/d"]
    assert "it is a link to nowhere.wav" in str(loaded(dataset)["gone"])
    assert dataset.notes == (
        f"{tmp_path / 'mine'}: 5 of 6 files were used; skipped: 1 without an audio suffix (.txt).",
    )
    put(tmp_path / "mine" / "metadata.csv", "file_name\na.wav\n./b.wav\n")
    assert (
        "2 utterances were used; 3 audio files in its folder are not listed"
        in (load_dataset(f"folder:{tmp_path / 'mine'}").notes[0])
    )
    (tmp_path / "mine" / "metadata.csv").unlink()
    (tmp_path / "mine" / "metadata.csv").symlink_to("gone.csv")
    with pytest.raises(UsageError, match=r"metadata\.csv cannot be read"):
        load_dataset(f"folder:{tmp_path / 'mine'}")


@pytest.mark.parametrize("name", ["x" * 5000, "nul\0", "gone"])
def test_a_place_that_cannot_be_is_missing(name: str, tmp_path: Path) -> None:
    for kind in ("folder", "mls", "daps", "librispeech", "vctk"):
        with pytest.raises(MissingError, match=r"(does not exist|is not a folder)"):
            load_dataset(f"{kind}:{tmp_path}/{name}")


def test_a_folder_with_commas_or_a_home_in_its_name_can_be_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("a", "a,b", "a,b,language=en"):
        put(tmp_path / name / f"{name[-1]}.wav", sound(form="WAV"))
    assert [u.language for u in load_dataset(f"folder:{tmp_path}/a,language=de")] == ["de"]
    assert [(u.id, u.language) for u in load_dataset(f"folder:{tmp_path}/a,b,language=de")] == [("b", "de")]
    assert [(u.id, u.language) for u in load_dataset("folder:~/a,b,language=en")] == [("n", "")]  # the longest
    assert load_dataset("folder:~/a,b").name == "folder:a,b"


def test_ids_match_however_their_accents_are_composed(tmp_path: Path) -> None:
    for form in ("NFC", "NFD"):
        put(tmp_path / form / f"{normalize(form, 'été')}.wav", sound(form="WAV"))
        put(tmp_path / "ids.txt", normalize("NFD" if form == "NFC" else "NFC", "été"))
        assert len(load_dataset(f"folder:{tmp_path / form}", ids=tmp_path / "ids.txt")) == 1


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        ("file_name\na.wav\na.flac\n", "two utterances have the id 'a'"),
        ("name\na\n", r"lacks the column\(s\) file_name"),
        ("file_name,id\n,x\n", "line 2: no value for file_name"),
        (b"file_name\n\xff\xfe\n", "text in UTF-8"),
        (None, "holds no audio"),
    ],
)
def test_a_folder_that_is_wrong_says_why(metadata: str | bytes | None, message: str, tmp_path: Path) -> None:
    if metadata is not None:
        put(tmp_path / "metadata.csv", metadata)
    with pytest.raises(UsageError, match=message):
        load_dataset(f"folder:{tmp_path}")


# --- specs and selections ----------------------------------------------------------------------------------------


def test_an_unknown_option_lists_those_there_are(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="version=…, speakers=…"):
        load_dataset("daps,take=2")
    with pytest.raises(UsageError, match="is not KEY=VALUE"):
        load_dataset(f"daps:{tmp_path},cleanraw")
    with pytest.raises(UsageError, match="builtin alone"):
        load_dataset("builtin:somewhere")


def test_a_selection_follows_ids_and_seed_not_the_order_of_files(tmp_path: Path) -> None:
    for language, count in (("german", 9), ("polish", 2)):
        folder = mls_tree(tmp_path, language, count=count)
        listed = folder / "test" / "transcripts.txt"
        if language == "polish":
            listed.write_text(listed.read_text().replace("_77_", "_78_"))
    some = load_dataset(f"mls:{tmp_path}", per_language=4, seed=3)
    assert [u.language for u in some] == ["de"] * 4 + ["pl"] * 2
    assert some.selection == {"per_language": 4, "seed": 3}
    assert load_dataset(f"mls:{tmp_path}", per_language=4, seed=3).ids_hash == some.ids_hash
    assert load_dataset(f"mls:{tmp_path}", per_language=4, seed=4).ids_hash != some.ids_hash
    alone = load_dataset(f"mls:{tmp_path},languages=de", per_language=4, seed=3)
    assert [u.id for u in alone] == [u.id for u in some][:4]  # other languages change nothing
    ids = put(tmp_path / "ids.txt", "# chosen by hand\n1_77_000001\n3_77_000003\n")
    listed_set = load_dataset(f"mls:{tmp_path}", ids=ids)
    assert [u.id for u in listed_set] == ["1_77_000001", "3_77_000003"] and "seed" not in listed_set.selection
    put(ids, "1_77_000001\n1_77_000001\n")
    with pytest.raises(UsageError, match="lines 1 and 2: '1_77_000001' twice"):
        load_dataset(f"mls:{tmp_path}", ids=ids)
    put(ids, "nobody\n")
    with pytest.raises(UsageError, match="1 of its 1 ids are not in mls"):
        load_dataset(f"mls:{tmp_path}", ids=ids)


def test_a_codec_that_is_given_less_than_its_band_is_flagged(tmp_path: Path) -> None:
    from evalkit.pipeline.encode import RunningCodec

    def notes(name: str, sample_rate: int, codebook_sizes: tuple[int, ...], rates: list[int]) -> list[str]:
        about = {"name": name, "sample_rate": sample_rate, "frame_rate": None, "codebook_sizes": codebook_sizes}
        codec: Any = SimpleNamespace(**about, details={})
        running = RunningCodec(name, codec, LocalCoder(codec, 0), CodecInfo(), "cpu", Cache(None))
        for rate in rates:
            audio = Audio(np.zeros(10, np.float32), rate)
            running._passed(audio, Source(audio, audio.identity()), Codes(10), Source(audio, audio.identity()))
        return list(running.notes(len(rates)))

    assert notes("wide@1k", 22_050, (4,), [16_000] * 3 + [22_050] * 2) == [
        "wide@1k works at 22.05 kHz, but the audio of 3 of 5 utterances is at 16 kHz, with nothing above 8 kHz."
    ]
    assert not notes("opus@6k", 48_000, (), [16_000])
