"""LibriSpeech, LibriTTS, VCTK and SEED-TTS-eval, on miniature trees in the exact layouts of their releases."""

import io
import json
import tarfile
from pathlib import Path

import numpy as np
import pytest
import soundfile

from evalkit.audio import Audio
from evalkit.cli import main
from evalkit.datasets import DatasetLoader, librispeech, libritts, load_dataset
from evalkit.datasets.base import Dataset
from evalkit.environment.archives import Archive
from evalkit.environment.downloads import sha256
from evalkit.errors import AudioError, MissingError, UsageError


@pytest.fixture(autouse=True)
def no_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder for data that are named without one."""
    monkeypatch.setenv("EVALKIT_DATA", str(tmp_path / "data"))
    return tmp_path / "data"


def sound(rate: int = 16_000, form: str = "FLAC") -> bytes:
    buffer = io.BytesIO()
    soundfile.write(buffer, 0.1 * np.sin(np.arange(rate // 10)), rate, format=form)
    return buffer.getvalue()


def put(path: Path, content: bytes | str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def problems(dataset: Dataset) -> dict[str, str]:
    """What is wrong with the utterances that cannot be read."""
    found = {}
    for utterance in dataset:
        try:
            assert isinstance(utterance.audio(), Audio)
        except AudioError as error:
            found[utterance.id] = str(error)
    return found


# --- LibriSpeech -------------------------------------------------------------------------------------------------


def librispeech_tree(root: Path, split: str = "test-clean") -> Path:
    folder = root / "LibriSpeech" / split
    for speaker, chapter, count in (("1089", "134686", 2), ("121", "121726", 1)):
        names = [f"{speaker}-{chapter}-{index:04d}" for index in range(count)]
        for name in names:
            put(folder / speaker / chapter / f"{name}.flac", sound())
        text = "".join(f"{name} HE HOPED THERE WOULD BE STEW\n" for name in names)
        put(folder / speaker / chapter / f"{speaker}-{chapter}.trans.txt", text)
    for name in ("BOOKS", "CHAPTERS", "LICENSE", "README", "SPEAKERS"):
        put(root / "LibriSpeech" / f"{name}.TXT", "text")
    return folder


def test_librispeech_reads_the_release(tmp_path: Path) -> None:
    folder = librispeech_tree(tmp_path)
    for place in (tmp_path, tmp_path / "LibriSpeech", folder):
        dataset = load_dataset(f"librispeech:{place}")
        assert [(u.id, u.language, u.speaker) for u in dataset] == [
            ("1089-134686-0000", "en", "1089"), ("1089-134686-0001", "en", "1089"), ("121-121726-0000", "en", "121"),
        ]  # fmt: skip
        assert {u.transcript for u in dataset} == {"HE HOPED THERE WOULD BE STEW"} and dataset.notes == ()
        assert (dataset.name, dataset.license) == ("librispeech-test-clean", "CC BY 4.0") and not problems(dataset)
    librispeech_tree(tmp_path, "dev-other")
    assert load_dataset(f"librispeech:{tmp_path},split=dev-other").name == "librispeech-dev-other"


def test_librispeech_that_is_damaged_says_where(tmp_path: Path) -> None:
    chapter = librispeech_tree(tmp_path) / "1089" / "134686"
    listed = chapter / "1089-134686.trans.txt"
    put(chapter / "1089-134686-0001.flac", sound(8000))
    put(chapter / "1089-134686-0007.flac", sound())
    put(chapter / "._1089-134686.trans.txt", b"\0of macOS")
    put(listed, "1089-134686-0000 A\n1089-134686-0001 B\n1089-134686-0002 C\n")
    dataset = load_dataset(f"librispeech:{tmp_path}")
    found = problems(dataset)
    assert "8000 Hz, but LibriSpeech has 16000 Hz" in found["1089-134686-0001"] and len(found) == 2
    assert "no such file" in found["1089-134686-0002"]
    assert "1 audio files in its folder are not listed, for example 1089/134686/1089-134686-0007" in dataset.notes[-1]
    for text, message in (
        ("1089-134686-0000 A\n1089-134686-0000 B\n", "lines 1 and 2: two entries for"),
        ("1089-134686-0000 A\n121-134686-0001 B\n", "line 2: expected 1089-134686-INDEX and a transcript"),
        ("../../x A\n", "line 1: expected 1089"),
    ):
        put(listed, text)
        with pytest.raises(UsageError, match=f"1089-134686.trans.txt, {message}"):
            load_dataset(f"librispeech:{tmp_path}")


def test_librispeech_that_is_not_there_says_how_to_get_it(tmp_path: Path) -> None:
    with pytest.raises(MissingError, match="evalkit fetch librispeech"):
        load_dataset("librispeech")
    with pytest.raises(MissingError, match="holds no LibriSpeech/test-clean"):
        load_dataset(f"librispeech:{tmp_path}")
    with pytest.raises(UsageError, match="has no split 'test'; it has: dev-clean"):
        load_dataset(f"librispeech:{tmp_path},split=test")
    with pytest.raises(UsageError, match="revision is for librispeech:hub"):
        load_dataset(f"librispeech:{tmp_path},revision=x")


def test_librispeech_on_the_hub_is_the_same_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    datasets = pytest.importorskip("datasets", reason="the package datasets is not installed")
    import pyarrow as pa
    import pyarrow.parquet as pq

    from evalkit.datasets import huggingface

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(tmp_path / "cache"))
    datasets.disable_progress_bars()
    released = load_dataset(f"librispeech:{librispeech_tree(tmp_path)}")
    rows = [
        {
            "file": f"{one.id}.flac", "audio": {"bytes": sound(), "path": f"{one.id}.flac"}, "text": one.transcript,
            "speaker_id": int(one.speaker), "chapter_id": int(one.id.split("-")[1]), "id": one.id,
        }
        for one in reversed(released.utterances)
    ]  # fmt: skip
    path = tmp_path / "repo" / "all" / "test.clean" / "0000.parquet"
    path.parent.mkdir(parents=True)
    about = json.dumps({"info": {"features": {"audio": {"_type": "Audio"}} | {
        name: {"_type": "Value", "dtype": "int64" if name.endswith("_id") else "string"}
        for name in rows[0] if name != "audio"
    }}})  # fmt: skip
    pq.write_table(pa.Table.from_pylist(rows).replace_schema_metadata({"huggingface": about}), path)
    asked = []
    real = huggingface.open_table

    def open_table(source: str, files: str, split: str, revision: str | None) -> tuple[object, str]:
        asked.append((source, files, revision))
        return real(str(tmp_path / "repo"), files, split, None)[0], str(revision)

    monkeypatch.setattr(huggingface, "open_table", open_table)
    dataset = load_dataset("librispeech:hub")
    assert asked == [(librispeech.HUB, "all/test.clean/*.parquet", librispeech.HUB_REVISION)]
    assert [(u.id, u.speaker, u.transcript) for u in dataset] == [(u.id, u.speaker, u.transcript) for u in released]
    assert (dataset.name, dataset.revision) == (released.name, released.revision) and not problems(dataset)
    load_dataset("librispeech:hub,revision=" + "a" * 40)
    assert asked[1][2] == "a" * 40


def test_librispeech_is_fetched_verified_and_unpacked(
    tmp_path: Path, no_data: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    librispeech_tree(tmp_path / "made")
    path = tmp_path / "served.tar.gz"
    with tarfile.open(path, "w:gz") as file:
        file.add(tmp_path / "made" / "LibriSpeech", "LibriSpeech")
    served = {"url": path.as_uri(), "sha256": sha256(path), "size": path.stat().st_size}
    archive = Archive(**{name: getattr(librispeech.ARCHIVE, name) for name in Archive.__dataclass_fields__} | served)
    monkeypatch.setattr(librispeech, "LOADER", DatasetLoader("librispeech", librispeech.load, files=(archive,)))
    assert main(["fetch", "librispeech"]) == 0
    assert str(no_data / "librispeech" / "LibriSpeech" / "test-clean") in capsys.readouterr().out
    dataset = load_dataset("librispeech")
    assert len(dataset) == 3 and not problems(dataset)
    assert [p.name for p in (no_data / "librispeech").iterdir()] == ["LibriSpeech"]  # neither archive nor leftovers
    path.unlink()
    assert main(["fetch", "librispeech"]) == 0  # it is here


@pytest.mark.parametrize("name", ["LibriSpeech/test-clean/../../../../x", "LibriSpeech/test-clean/link"])
def test_an_archive_that_leads_out_of_itself_is_refused(name: str, tmp_path: Path, no_data: Path) -> None:
    path = tmp_path / "served.tar"
    with tarfile.open(path, "w") as file:
        member = tarfile.TarInfo(name)
        if name.endswith("link"):
            member.type, member.linkname = tarfile.SYMTYPE, "/etc/passwd"
        file.addfile(member, io.BytesIO())
    archive = Archive(
        "x.tar", "CC0-1.0", 0, url=path.as_uri(), kept="x.tar", member="LibriSpeech/test-clean", folder="x/test-clean"
    )
    with pytest.raises(MissingError, match="cannot be unpacked"):
        archive.fetch(lambda name, count: None)
    assert archive.find() is None and not list((no_data / "x").iterdir()) and not (tmp_path / "x").exists()


# --- LibriTTS ----------------------------------------------------------------------------------------------------


def libritts_tree(root: Path) -> Path:
    folder = root / "LibriTTS" / "test-clean"
    for index in range(2):
        name = f"1089_134686_000001_{index:06d}"
        put(folder / "1089" / "134686" / f"{name}.wav", sound(24_000, "WAV"))
        put(folder / "1089" / "134686" / f"{name}.normalized.txt", "He hoped there'd be stew, Mister Lee.\n")
        put(folder / "1089" / "134686" / f"{name}.original.txt", "He hoped there'd be stew, Mr. Lee.\n")
    put(folder / "1089" / "134686" / "1089_134686.trans.tsv", "…")
    put(folder / "1089" / "134686" / "1089_134686.book.tsv", "…")
    return folder


def test_libritts_reads_the_release(tmp_path: Path) -> None:
    folder = libritts_tree(tmp_path)
    for place in (tmp_path, tmp_path / "LibriTTS", folder):
        dataset = load_dataset(f"libritts:{place}")
        assert [(u.id, u.speaker, u.transcript) for u in dataset] == [
            (f"1089_134686_000001_{i:06d}", "1089", "He hoped there'd be stew, Mister Lee.") for i in range(2)
        ]
        assert dataset.name == "libritts-test-clean" and dataset.notes == () and not problems(dataset)
    original = load_dataset(f"libritts:{tmp_path},text=original")
    assert original.utterances[0].transcript == "He hoped there'd be stew, Mr. Lee."
    assert original.revision != dataset.revision
    assert libritts.ARCHIVE.folder.endswith(libritts.ARCHIVE.member)


def test_libritts_that_is_damaged_says_where(tmp_path: Path) -> None:
    chapter = libritts_tree(tmp_path) / "1089" / "134686"
    (chapter / "1089_134686_000001_000000.wav").unlink()
    (chapter / "1089_134686_000001_000001.normalized.txt").unlink()
    dataset = load_dataset(f"libritts:{tmp_path}")
    assert [u.transcript is None for u in dataset] == [False, True] and "1 recordings have no" in dataset.notes[0]
    assert "no such file" in problems(dataset)["1089_134686_000001_000000"]
    put(chapter / "1089_134686_000001_000001.wav", sound())
    assert "16000 Hz, but LibriTTS has 24000 Hz" in problems(dataset)["1089_134686_000001_000001"]
    put(chapter / "1089_134686_000001_000001.flac", sound())
    with pytest.raises(UsageError, match="have the same name"):
        load_dataset(f"libritts:{tmp_path}")
    with pytest.raises(MissingError, match="evalkit fetch libritts"):
        load_dataset("libritts")
    with pytest.raises(MissingError, match="holds no LibriTTS/dev-clean"):
        load_dataset(f"libritts:{tmp_path},split=dev-clean")
    with pytest.raises(UsageError, match="normalized and original, not 'raw'"):
        load_dataset(f"libritts:{tmp_path},text=raw")


# --- VCTK --------------------------------------------------------------------------------------------------------


def vctk_tree(root: Path) -> Path:
    folder = root / "VCTK-Corpus-0.92"
    for speaker, index in (("p225", 1), ("p225", 2), ("p280", 1), ("s5", 1)):
        for mic in ("mic1", "mic2") if speaker != "p280" else ("mic1",):
            name = f"{speaker}_{index:03d}"
            put(folder / "wav48_silence_trimmed" / speaker / f"{name}_{mic}.flac", sound(48_000))
        put(folder / "txt" / speaker / f"{name}.txt", "Please call Stella.  \n")
    put(folder / "wav48_silence_trimmed" / "p315" / "p315_001_mic1.flac", sound(48_000))
    put(folder / "wav48_silence_trimmed" / "log.txt", "…")
    put(folder / "speaker-info.txt", "…")
    return folder


def test_vctk_reads_the_release(tmp_path: Path) -> None:
    folder = vctk_tree(tmp_path)
    for place in (tmp_path, folder):
        dataset = load_dataset(f"vctk:{place}")
        assert [(u.id, u.speaker) for u in dataset] == [
            ("p225_001", "p225"), ("p225_002", "p225"), ("p280_001", "p280"), ("p315_001", "p315"), ("s5_001", "s5"),
        ]  # fmt: skip
        assert dataset.utterances[0].transcript == "Please call Stella." and dataset.utterances[3].transcript is None
        assert dataset.notes == ("vctk: 1 recordings have no text, for instance p315_001.",) and not problems(dataset)
    other = load_dataset(f"vctk:{tmp_path},mic=mic2,speakers=p225+s5")
    assert [u.id for u in other] == ["p225_001", "p225_002", "s5_001"] and other.name == "vctk-mic2"
    assert load_dataset(f"vctk:{tmp_path},mic=mic2").notes == ("vctk: 1 texts have no mic2, for instance p280_001.",)
    with pytest.raises(MissingError, match="has no recordings of p280 by mic2"):
        load_dataset(f"vctk:{tmp_path},mic=mic2,speakers=p280")
    with pytest.raises(UsageError, match="mic1 and mic2, not 'mic3'"):
        load_dataset(f"vctk:{tmp_path},mic=mic3")
    with pytest.raises(MissingError, match=r"VCTK-Corpus-0\.92\.zip"):
        load_dataset("vctk")


# --- SEED-TTS-eval -----------------------------------------------------------------------------------------------


def seed_tree(root: Path) -> Path:
    folder = root / "seedtts_testset"
    for language in ("en", "zh"):
        lines = []
        for index in range(3):
            prompt, name = f"{language}_p{index // 2}", f"{language}_p{index // 2}-{language}_u{index}"
            put(folder / language / "prompt-wavs" / f"{prompt}.wav", sound(form="WAV"))
            put(folder / language / "wavs" / f"{name}.wav", sound(form="WAV"))
            lines.append(f"{name}|text of {prompt}|prompt-wavs/{prompt}.wav|text of {name}\n")
        put(folder / language / "meta.lst", "".join(lines))
        put(folder / language / "non_para_reconstruct_meta.lst", lines[0].strip() + f"|prompt-wavs/{language}_p1.wav\n")
    return folder


def test_seed_tts_eval_reads_its_lists(tmp_path: Path) -> None:
    folder = seed_tree(tmp_path)
    for place in (tmp_path, folder):
        dataset = load_dataset(f"seed-tts-eval:{place}")
        assert [(u.id, u.language, u.transcript) for u in dataset] == [
            (name := f"en_p{i // 2}-en_u{i}", "en", f"text of {name}") for i in range(3)
        ]
        assert dataset.name == "seed-tts-eval-en" and not problems(dataset)
    both = load_dataset(f"seed-tts-eval:{tmp_path},languages=en+zh,recordings=prompts")
    assert [(u.id, u.transcript) for u in both] == [
        (name, f"text of {name}") for name in ("en_p0", "en_p1", "zh_p0", "zh_p1")
    ]
    assert both.languages == ("en", "zh") and both.name == "seed-tts-eval-en+zh-prompts" and not problems(both)
    crossed = load_dataset(f"seed-tts-eval:{tmp_path},meta=non_para_reconstruct_meta.lst")
    assert [(u.id, u.path) for u in crossed] == [("en_p0-en_u0", folder / "en" / "prompt-wavs" / "en_p1.wav")]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a|b|prompt-wavs/c.wav\n", r"line 1: expected NAME\|text of the prompt"),
        ("a|b|prompt-wavs/c.wav|d\n\na|b|prompt-wavs/c.wav|e\n", "line 3: 'a' is already on an earlier line"),
        ("../a|b|prompt-wavs/c.wav|d\n", "line 1: .* is a path outside the dataset"),
        ("a|b|c.wav|d|/etc/x.wav\n", "line 1: .* is a path outside the dataset"),
    ],
)
def test_a_damaged_list_of_seed_tts_eval_says_where(text: str, message: str, tmp_path: Path) -> None:
    put(seed_tree(tmp_path) / "en" / "meta.lst", text)
    with pytest.raises(UsageError, match=f"meta.lst, {message}"):
        load_dataset(f"seed-tts-eval:{tmp_path}")


def test_seed_tts_eval_says_what_it_has(tmp_path: Path) -> None:
    with pytest.raises(MissingError, match=r"github\.com/BytedanceSpeech"):
        load_dataset("seed-tts-eval")
    with pytest.raises(MissingError, match=r"holds no en/meta\.lst"):
        load_dataset(f"seed-tts-eval:{tmp_path}")
    for option, message in (("languages=en+fr", "not fr"), ("recordings=all", "not 'all'")):
        with pytest.raises(UsageError, match=message):
            load_dataset(f"seed-tts-eval:{tmp_path},{option}")
