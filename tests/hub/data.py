"""Data sets that are downloaded, with a sentence or two, in the layout of each release."""

import io
import json
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import soundfile

from evalkit.datasets import librispeech, libritts, mls, mls44
from evalkit.datasets.languages import NAMES
from evalkit.testing import speech

ANY = "somebody/speech"
"""A set on the hub that no loader knows."""
FETCHED = {"librispeech": librispeech.ARCHIVE, "libritts": libritts.ARCHIVE, "mls44": mls44.FILE}
"""Sets that `evalkit fetch` brings, and their archives."""
READ = {
    "librispeech:hub": (librispeech.HUB, librispeech.HUB_REVISION),
    "mls:hub": (mls.HUB, mls.HUB_REVISION),
    "mls:hub,languages=en": (mls.ENGLISH, mls.ENGLISH_REVISION),
    f"hub:{ANY},language=en": (ANY, None),
}
"""Sets that are read from the hub as parquet: repository and commit."""


def write_archive(name: str, path: Path) -> None:
    """The archive of the set `name`, at `path`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    members = {"librispeech": _librispeech, "libritts": _libritts, "mls44": _mls44}[name]()
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w") as archive:
            for member, content in members.items():
                archive.writestr(member, content)
        return
    with tarfile.open(path, "w:gz") as archive:
        for member, content in members.items():
            about = tarfile.TarInfo(member)
            about.size = len(content)
            archive.addfile(about, io.BytesIO(content))


def write_repository(repository: str, folder: Path) -> None:
    """The parquet files of `repository`, in `folder`, among others that nobody asked for."""
    if repository == librispeech.HUB:
        rows = [_row("1089-134686-0000", "HE HOPED"), _row("1089-134686-0001", "STUFF IT", start=1.5)]
        _parquet(folder / "all" / "test.clean" / "0000.parquet", rows)
        _parquet(folder / "all" / "test.other" / "0000.parquet", rows)
    elif repository == mls.HUB:
        for number, (language, _) in enumerate(NAMES.values()):
            if language != "english":
                _parquet(folder / language / "test-00000-of-00001.parquet", [_row(f"1_2_00000{number}", "ja")])
                _parquet(folder / language / "dev-00000-of-00001.parquet", [_row("1_2_000009", "no")])
    elif repository == mls.ENGLISH:
        row = _row("10_20_000003", "words") | {"original_path": "x.mp3", "begin_time": "0.0", "book_id": "20"}
        del row["id"]
        _parquet(folder / "data" / "test-00000-of-00001.parquet", [row | {"speaker_id": "10"}])
    else:
        _parquet(
            folder / "data" / "test-00000-of-00001.parquet", [_row("a", "some words"), _row("b", "more", start=1.5)]
        )
    (folder / "README.md").write_text("---\nlicense: cc-by-4.0\n---\n")


def _librispeech() -> dict[str, bytes]:
    folder = "LibriSpeech/test-clean/1089/134686"
    return {
        f"{folder}/1089-134686-0000.flac": sound(16_000),
        f"{folder}/1089-134686.trans.txt": b"1089-134686-0000 HE HOPED THERE WOULD BE STEW\n",
        "LibriSpeech/README.TXT": b"not unpacked",
    }


def _libritts() -> dict[str, bytes]:
    stem = "LibriTTS/test-clean/1089/134686/1089_134686_000001_000001"
    return {f"{stem}.wav": sound(24_000, "WAV"), f"{stem}.normalized.txt": b"He hoped.", f"{stem}.original.txt": b"He"}


def _mls44() -> dict[str, bytes]:
    return {
        "mls/german/audio/1_2_000003.wav": sound(44_100, "WAV"),
        "mls/german/transcripts.txt": b"1_2_000003\tein satz\n",
        "mls/polish/audio/7_8_000001.wav": sound(44_100, "WAV", 1.0),
    }


def sound(rate: int, form: str = "FLAC", start: float = 0.0) -> bytes:
    """1.5 s of speech as a file."""
    buffer = io.BytesIO()
    soundfile.write(buffer, speech(start + 1.5, rate)[round(start * rate) :], rate, format=form)
    return buffer.getvalue()


def _row(name: str, text: str, start: float = 0.0) -> dict[str, Any]:
    audio = {"bytes": sound(16_000, start=start), "path": f"{name}.flac"}
    return {"audio": audio, "id": name, "transcript": text, "speaker_id": name.replace("-", "_").split("_")[0]}


def _parquet(path: Path, rows: list[dict[str, Any]]) -> None:
    """A shard as the hub has them: bytes in a struct, and the feature types in the metadata."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    path.parent.mkdir(parents=True, exist_ok=True)
    kinds = {name: {"_type": "Value", "dtype": "string"} for name in rows[0]} | {"audio": {"_type": "Audio"}}
    about = {"huggingface": json.dumps({"info": {"features": kinds}})}
    pq.write_table(pa.Table.from_pylist(rows).replace_schema_metadata(about), path)
