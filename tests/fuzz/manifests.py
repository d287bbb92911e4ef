"""Lists that somebody spoiled: each line becomes rows, or the list is refused by name."""

import json
import math
from pathlib import Path
from random import Random

from . import damage
from .attempt import Fault, check_rows, evalkit, good_file

COLUMNS = ("utterance", "reference", "decoded", "system", "language", "speaker", "transcript", "bitrate_kbps", "accent")
BITRATES = ("1.1", "", "nan", "1e400", "-1", "0", "1,1", "６", "0x10", "1_000", "inf", "true", " 6 ")


def attempt(rng: Random, folder: Path) -> None:
    """A manifest, a Kaldi list or a `metadata.csv`."""
    for name in ("reference.wav", "decoded.wav"):
        (folder / name).write_bytes(good_file().read_bytes())
    (_manifest, _manifest, _scp, _metadata, _ids)[rng.randrange(5)](rng, folder)


def _manifest(rng: Random, folder: Path) -> None:
    count = rng.randint(1, 4)
    records = [dict(zip(COLUMNS, (f"u{i}", "reference.wav", "decoded.wav", "s", "en", "anna", "Hello, you", "6", ""),
    strict=True))
               for i in range(count)]  # fmt: skip
    for _ in range(rng.randint(0, 3)):
        record = rng.choice(records)
        name = rng.choice(COLUMNS)
        record[name] = rng.choice(BITRATES) if name == "bitrate_kbps" else rng.choice((*damage.NASTY, "u0", "\x00"))
    suffix = rng.choice((".csv", ".csv", ".tsv", ".jsonl"))
    if suffix == ".jsonl":
        strange = [
            dict(one, **{rng.choice(COLUMNS): rng.choice(damage.STRANGE)}) if rng.random() < 0.2 else one
            for one in records
        ]
        text = "\n".join(map(json.dumps, strange))
    else:
        mark = "\t" if suffix == ".tsv" else ","
        quoted = [['"' + value.replace('"', '""') + '"' for value in record.values()] for record in records]
        text = "\n".join(mark.join(line) for line in [list(COLUMNS), *quoted])
    path = folder / f"pairs{suffix}"
    _put(path, text, rng)
    _score(folder, path, "--manifest", path)


def _scp(rng: Random, folder: Path) -> None:
    for side in ("reference", "decoded"):
        lines = [f"u{i} {side}.wav" for i in range(rng.randint(1, 3))]
        if rng.random() < 0.4:
            lines.append(
                f"{rng.choice(damage.NASTY)} {rng.choice((*damage.NASTY, side + '.wav', 'cat x |', 'x.ark:12'))}"
            )
        _put(folder / f"{side}.scp", "\n".join([*lines, ""]), rng)
    _score(folder, None, "--reference", folder / "reference.scp", "--decoded", folder / "decoded.scp")


def _metadata(rng: Random, folder: Path) -> None:
    lines = ["file_name,id,language,speaker,text", 'reference.wav,a,en,s,"Hello, you"', "decoded.wav,b,de,t,Hallo"]
    if rng.random() < 0.5:
        lines.append(f"{rng.choice(damage.NASTY)},{rng.choice(damage.NASTY)},en,s,x")
    _put(folder / "metadata.csv", "\n".join([*lines, ""]), rng)
    _run(folder, "run", "--codec", "pcm", "--dataset", f"folder:{folder}")


def _ids(rng: Random, folder: Path) -> None:
    lines = ["reference", "decoded", *([rng.choice(damage.NASTY)] if rng.random() < 0.5 else [])]
    (folder / "lists").mkdir()
    _put(folder / "lists" / "ids.txt", "\n".join(lines), rng)
    _run(folder, "run", "--codec", "pcm", "--dataset", f"folder:{folder}", "--ids", folder / "lists" / "ids.txt")


def _put(path: Path, text: str, rng: Random) -> None:
    damage.put(path, damage.text(text, rng) if rng.random() < 0.7 else text.encode("utf-8", "surrogatepass"), rng)


def _score(folder: Path, manifest: Path | None, *arguments: object) -> None:
    if not _run(folder, "score", *arguments) or manifest is None:
        return
    rows = check_rows(folder / "run", None)
    lines = _lines(manifest)
    pairs = rows[["codec", "utterance"]].drop_duplicates()
    if len(pairs) != lines:
        raise Fault(f"{len(pairs)} pairs from {lines} lines:\n{manifest.read_bytes()!r}")
    if any(math.isnan(value) or value <= 0 for value in rows["bitrate_kbps"].dropna()):
        raise Fault("a bitrate that is none")


def _run(folder: Path, *arguments: object) -> bool:
    """Whether something was measured; else the refusal says why."""
    done = evalkit(*arguments, "--metrics", "si-sdr,mel-2048-80-ln1p", "--output", folder / "run", "--no-cache")
    if done.code in (0, 4):
        check_rows(folder / "run", None)
        return True
    if str(folder) not in done.err:
        raise Fault(f"the refusal names no file: {done.err}")
    return False


def _lines(path: Path) -> int:
    """Lines that list a pair: not the header, nor lines with nothing in them."""
    text = path.read_bytes().decode("utf-8-sig").replace("\r\n", "\n").replace("\r", "\n")
    lines = [
        line
        for line in text.split("\n")
        if line.strip(',\t" \x0b\x0c\x1c\x1d\x1e\x1f\x85\u2028\xa0\u3000') and line.strip()
    ]
    return len(lines) - (path.suffix != ".jsonl")
