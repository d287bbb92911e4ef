"""Finding reference and decoded files."""

from pathlib import Path
from unicodedata import normalize

import pandas as pd
import pytest

from evalkit.errors import UsageError
from evalkit.pipeline.pairs import from_folders, from_frame, from_manifest


def touch(*paths: Path) -> None:
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")


def test_files_match_by_path_without_suffix(tmp_path: Path) -> None:
    ref, dec = tmp_path / "ref", tmp_path / "mimi"
    touch(ref / "en/1.wav", ref / "en/2.wav", dec / "en/1.FLAC", dec / "en/3.wav", ref / "notes.txt", ref / ".x.wav")
    pairs = from_folders(ref, dec)
    assert [(p.utterance, p.decoded, p.system) for p in pairs] == [
        ("en/1", dec / "en/1.FLAC", "mimi"),
        ("en/2", None, "mimi"),
    ]


def test_folders_that_cannot_match_are_refused(tmp_path: Path) -> None:
    ref, dec = tmp_path / "ref", tmp_path / "dec"
    with pytest.raises(UsageError, match="does not exist"):
        from_folders(ref, dec)
    touch(ref / "readme.txt", dec / "b.wav")
    with pytest.raises(UsageError, match="holds no audio"):
        from_folders(ref, dec)
    touch(ref / "a.wav")
    with pytest.raises(UsageError, match=r"no file in .* has the name of a file in"):
        from_folders(ref, dec)
    touch(ref / "a.flac")
    with pytest.raises(UsageError, match="have the same name"):
        from_folders(ref, dec)


def test_a_manifest_keeps_its_columns(tmp_path: Path) -> None:
    manifest = tmp_path / "m.csv"
    manifest.write_text(
        "utterance,reference,decoded,system,language,speaker,bitrate_kbps,accent\n"
        "u1,a.wav,x/a.wav,mimi,en,s1,1.1,Scots\nu1,a.wav,/abs/a.wav,lfsc,,,,\n",
        encoding="utf-8-sig",
    )
    first, second = from_manifest(manifest)
    assert first.reference == tmp_path / "a.wav" and first.decoded == tmp_path / "x/a.wav"
    assert (first.system, first.language, first.bitrate_kbps, first.extra) == ("mimi", "en", 1.1, {"accent": "Scots"})
    assert (second.decoded, second.language, second.bitrate_kbps) == (Path("/abs/a.wav"), "en", None)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"lacks the column\(s\) utterance, reference, decoded; it has: none"),
        ("utterance;reference;decoded\nu;a;b\n", "it has: utterance;reference;decoded. Separate them by commas"),
        ("utterance,decoded\nu,a\n", r"lacks the column\(s\) reference"),
        ("utterance,reference,decoded\n", "a header and no rows"),
        ("utterance,reference,decoded\nu,,b.wav\n", "line 2: no value for reference"),
        ("utterance,reference,decoded\nu,a.wav,b.wav,c\n", "line 2: more cells than the header"),
        ("utterance,reference,decoded\nu,a.wav,b.wav\nu,a.wav,c.wav\n", "lines 2 and 3: the same utterance"),
        ("utterance,reference,decoded,bitrate_kbps\nu,a.wav,b.wav,fast\n", "'fast' is not a number"),
        ("utterance,reference,decoded,bitrate_kbps\nu,a.wav,b.wav,nan\n", "line 2: bitrate_kbps 'nan' is not a number"),
        ('utterance,reference,decoded\nu,a.wav,b.wav\nv,a.wav,"b.wav\n', "line 3: .*Close every quotation mark"),
        ("utterance,reference,decoded,reference\nu,a.wav,b.wav,c.wav\n", "occur twice"),
        ("utterance,reference,decoded,value\nu,a.wav,b.wav,1\n", "evalkit's own: rename"),
    ],
)
def test_a_wrong_manifest_names_the_line_and_the_problem(tmp_path: Path, text: str, message: str) -> None:
    manifest = tmp_path / "m.csv"
    manifest.write_text(text)
    with pytest.raises(UsageError, match=message):
        from_manifest(manifest)


def frame(**columns: list[object]) -> pd.DataFrame:
    return pd.DataFrame({"utterance": ["u", "v"], "reference": ["a.wav", "b.wav"], "decoded": ["c", "d"]} | columns)


def test_a_frame_is_a_manifest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    spoken: list[object] = ["two\nlines", None]
    first, second = from_frame(frame(transcript=spoken, speaker=[0, float("nan")], system=[" x ", pd.NA]))
    assert (first.transcript, first.speaker, first.system) == ("two\nlines", "0.0", "x")
    assert (second.transcript, second.speaker, second.system) == (None, None, "decoded")
    assert first.reference == tmp_path / "a.wav" and second.decoded == tmp_path / "d"


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (frame(decoded=["c", float("nan")]), "^the DataFrame, line 2: no value for decoded"),
        (frame(decoded=[None, "d"]), "^the DataFrame, line 1: no value for decoded"),
        (frame(utterance=["u", "u "]), "^the DataFrame, lines 1 and 2: the same utterance"),
        (frame(bitrate_kbps=[1.0, -1.0]), "^the DataFrame, line 2: bitrate_kbps '-1.0' is not a number above 0"),
        (frame()[:0], "^the DataFrame has a header and no rows"),
        (frame()[["utterance"]], r"^the DataFrame lacks the column\(s\) reference, decoded"),
        (pd.concat([frame(), frame()], axis=1), r"column\(s\) decoded, reference, utterance twice"),
    ],
)
def test_a_wrong_frame_names_the_line_and_the_problem(table: pd.DataFrame, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        from_frame(table)


def test_what_has_no_partner_is_counted(tmp_path: Path) -> None:
    ref, dec = tmp_path / "ref", tmp_path / "dec"
    touch(*(ref / f"{i}.wav" for i in range(3)), *(dec / f"{i}.wav" for i in range(1, 40)), dec / "log.txt")
    pairs = from_folders(ref, dec)
    assert len(pairs) == 3 and pairs[0].decoded is None and pairs[1:][0].decoded == dec / "1.wav"
    assert pairs.notes[0] == f"{dec}: 39 of 40 files were used; skipped: 1 without an audio suffix (.txt)."
    assert pairs.notes[1].startswith(
        f"{dec}: 2 of 3 references have a decoded file; 37 of 39 decoded files have no reference, for instance 10."
    )
    assert from_folders(ref, ref).notes == ()


def test_several_systems_are_named_by_folder_or_by_name(tmp_path: Path) -> None:
    ref, a, b, odd = (tmp_path / name for name in ("ref", "a/out", "b/out", "x=y"))
    touch(*(folder / "1.wav" for folder in (ref, a, b, odd)))
    with pytest.raises(UsageError, match="would both be the system 'out': name them with NAME=DIR"):
        from_folders(ref, [a, b])
    with pytest.raises(UsageError, match="would both be the system 'mimi'"):
        from_folders(ref, [f"mimi={a}", f"mimi={b}"])
    found = from_folders(str(ref), [f"mimi={a}", str(b), str(odd)])
    assert [(p.system, p.decoded) for p in found] == [
        ("mimi", a / "1.wav"), ("out", b / "1.wav"), ("x=y", odd / "1.wav"),
    ]  # fmt: skip
    assert [p.system for p in from_folders(ref, {"one": a, "two": b})] == ["one", "two"]


@pytest.mark.parametrize("pattern", ["{name}_dec", "mimi-{name}", "{name}/decoded"])
def test_a_pattern_pairs_names_that_are_not_the_same(pattern: str, tmp_path: Path) -> None:
    ref, dec = tmp_path / "ref", tmp_path / "dec"
    touch(*(ref / f"en/{i}.wav" for i in "abc"))
    touch(*(dec / f"en/{pattern.replace('{name}', i)}.mp3" for i in "abc"))
    assert all(pair.decoded for pair in from_folders(ref, dec, pattern))


def test_a_near_miss_names_the_pattern_or_the_manifest(tmp_path: Path) -> None:
    ref, dec, flat = tmp_path / "ref", tmp_path / "dec", tmp_path / "flat"
    touch(*(ref / f"en/utt{i}.wav" for i in range(3)), *(dec / f"en/utt{i}_dec.mp3" for i in range(3)))
    with pytest.raises(UsageError, match=r"--match '\{name\}_dec' would pair 3 of them"):
        from_folders(ref, dec)
    touch(ref / "en/x.wav", dec / "en/x.wav")
    assert "--match '{name}_dec' would pair 3 of them." in from_folders(ref, dec).notes[-1]
    touch(flat / "other.wav")
    with pytest.raises(UsageError, match="list the pairs in a manifest: --manifest"):
        from_folders(ref, flat)
    for pattern in ("dec", "{name}{name}", "{other}_{name}", "../{name}", "{name"):
        with pytest.raises(UsageError, match=r"write a name with \{name\} in it once"):
            from_folders(ref, dec, pattern)


def test_names_match_however_their_accents_are_composed(tmp_path: Path) -> None:
    ref, dec = tmp_path / "ref", tmp_path / "dec"
    touch(ref / (normalize("NFC", "été") + ".wav"), dec / (normalize("NFD", "été") + ".wav"))
    (pair,) = from_folders(ref, dec)
    assert pair.utterance == "été" and pair.decoded is not None and pair.decoded.is_file()
    (tmp_path / "m.csv").write_text(f"utterance,reference,decoded\n1,ref/{normalize('NFD', 'été')}.wav,dec/été.wav\n")
    (pair,) = from_manifest(tmp_path / "m.csv")
    assert pair.reference.is_file() and pair.decoded is not None and pair.decoded.is_file()


def test_kaldi_lists_stand_for_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    touch(tmp_path / "a b.wav", tmp_path / "here" / "c.wav", tmp_path / "mimi" / "1.wav", tmp_path / "mimi" / "2.wav")
    monkeypatch.chdir(tmp_path / "here")
    (tmp_path / "wav.scp").write_text("1 a b.wav\n2\tc.wav\n")
    (tmp_path / "lfsc.scp").write_text(f"2 {tmp_path / 'mimi/2.wav'}\n")
    pairs = from_folders(tmp_path / "wav.scp", [tmp_path / "mimi", tmp_path / "lfsc.scp"])
    assert [(p.system, p.utterance, p.decoded and p.decoded.name) for p in pairs] == [
        ("mimi", "1", "1.wav"), ("mimi", "2", "2.wav"), ("lfsc", "1", None), ("lfsc", "2", "2.wav"),
    ]  # fmt: skip
    assert all(pair.reference.is_file() for pair in pairs)  # beside the list, or in the working folder as Kaldi has it
    for text, message in (
        ("1 sox x.flac -t wav - |\n", "line 1: .* commands and ark files are not supported"),
        ("1 raw.ark:42\n", "line 1: .* commands and ark files are not supported"),
        ("1 a.wav\n1 b.wav\n", "lines 1 and 2: two entries for '1'"),
        ("1\n", "line 1: '' is not the path"),
        ("", "lists no audio"),
    ):
        (tmp_path / "bad.scp").write_text(text)
        with pytest.raises(UsageError, match=message):
            from_folders(tmp_path / "bad.scp", tmp_path / "mimi")


def test_json_lines_are_a_manifest(tmp_path: Path) -> None:
    manifest = tmp_path / "m.jsonl"
    manifest.write_text(
        '{"utterance": 0, "reference": "a.wav", "decoded": "b.wav", "system": "mimi", "bitrate_kbps": 1.1, "take": 2}\n'
    )
    (pair,) = from_manifest(manifest)
    assert (pair.utterance, pair.system, pair.bitrate_kbps, pair.extra) == ("0", "mimi", 1.1, {"take": "2"})
    assert pair.place == f"{manifest}, line 1" and pair.reference == tmp_path / "a.wav"


def test_what_one_line_says_of_an_utterance_holds_for_all(tmp_path: Path) -> None:
    manifest = tmp_path / "m.csv"
    head = "utterance,reference,decoded,system,language,speaker,transcript,take\n"
    manifest.write_text(head + "u,a.wav,1.wav,x,,s1,,1\nu,./a.wav,2.wav,y,en,,hello,2\nv,a.wav,3.wav,x,,,,3\n")
    first, second, third = from_manifest(manifest)
    assert (first.language, first.speaker, first.transcript) == ("en", "s1", "hello")
    assert (second.language, second.speaker, second.transcript) == ("en", "s1", "hello")
    assert (third.language, third.speaker, third.transcript) == (None, None, None)
    assert [pair.extra["take"] for pair in (first, second, third)] == ["1", "2", "3"]
    for lines, what in (
        ("u,a.wav,1.wav,x,,,,\nu,b.wav,2.wav,y,,,,\n", "references"),
        ("u,a.wav,1.wav,x,en,,,\nu,a.wav,2.wav,y,de,,,\n", "languages"),
        ("u,a.wav,1.wav,x,,,one,\nu,a.wav,2.wav,y,,,two,\n", "transcripts"),
    ):
        manifest.write_text(head + lines)
        with pytest.raises(UsageError, match=f"lines 2 and 3: the utterance 'u' has two {what}"):
            from_manifest(manifest)


def test_a_home_is_expanded_in_paths_and_in_cells(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    touch(tmp_path / "d" / "1.wav")
    (tmp_path / "m.csv").write_text("utterance,reference,decoded\n1,~/d/1.wav,~/d/1.wav\n")
    for (pair,) in (from_folders("~/d", "~/d"), from_folders(Path("~/d"), ["x=~/d"]), from_manifest("~/m.csv")):
        assert pair.reference == pair.decoded == tmp_path / "d" / "1.wav"


def test_a_manifest_that_is_not_there_or_not_text(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"none.csv cannot be read"):
        from_manifest(tmp_path / "none.csv")
    binary = tmp_path / "b.csv"
    binary.write_bytes(bytes(range(256)))
    with pytest.raises(UsageError, match=r"b.csv cannot be read"):
        from_manifest(binary)
