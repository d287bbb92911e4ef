"""Finding reference and decoded files."""

from pathlib import Path

import pytest

from evalkit.errors import UsageError
from evalkit.pipeline.pairs import from_folders, from_manifest


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
    with pytest.raises(UsageError, match="not a folder"):
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
        ("utterance,decoded\nu,a\n", r"lacks the column\(s\) reference"),
        ("utterance,reference,decoded\n", "a header and no rows"),
        ("utterance,reference,decoded\nu,,b.wav\n", "line 2: no value for reference"),
        ("utterance,reference,decoded\nu,a.wav,b.wav,c\n", "line 2: more cells than the header"),
        ("utterance,reference,decoded\nu,a.wav,b.wav\nu,a.wav,c.wav\n", "lines 2 and 3: the same utterance"),
        ("utterance,reference,decoded,bitrate_kbps\nu,a.wav,b.wav,fast\n", "'fast' is not a number"),
        ("utterance,reference,decoded,value\nu,a.wav,b.wav,1\n", "evalkit's own: rename"),
    ],
)
def test_a_wrong_manifest_names_the_line_and_the_problem(tmp_path: Path, text: str, message: str) -> None:
    manifest = tmp_path / "m.csv"
    manifest.write_text(text)
    with pytest.raises(UsageError, match=message):
        from_manifest(manifest)


def test_a_manifest_that_is_not_there_or_not_text(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"none.csv cannot be read"):
        from_manifest(tmp_path / "none.csv")
    binary = tmp_path / "b.csv"
    binary.write_bytes(bytes(range(256)))
    with pytest.raises(UsageError, match=r"b.csv cannot be read"):
        from_manifest(binary)
