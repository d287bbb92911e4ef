"""Run directories, baselines and configurations of gates that are damaged, for every command that reads them."""

import io
import json
import shutil
from collections.abc import Callable
from functools import cache
from pathlib import Path
from random import Random

import numpy as np
import pandas as pd

from . import damage
from .attempt import ALLOWED, CHEAP, MULAW, Fault, check_rows, evalkit, rows_in, shared, sound, speech

FILES = ("run.json", "run.json", "rows.parquet", "rows.parquet", "codes.parquet", "utterances.parquet",
    "pairing.parquet",
         "summary.csv", "audio")  # fmt: skip
SHARDS = 2


@cache
def good_run() -> Path:
    """Two codecs on eight short utterances, with audio and a baseline."""
    folder = shared() / "data"
    for i in range(8):
        sound(folder / f"u{i}.wav", speech(0.4, number=i % 3))
    common = [
        "--dataset",
        f"folder:{folder}",
        "--metrics",
        f"{','.join(CHEAP)},bitrate,entropy",
        "--no-cache",
        "--save-audio",
    ]
    codecs = ["--codec", "pcm", "--codec", MULAW]
    evalkit("run", *codecs, *common, "--output", shared() / "run", allowed=(0,))
    for i in range(SHARDS):
        evalkit(
            "run", *codecs, *common, "--shard", f"{i + 1}/{SHARDS}", "--output", shared() / f"part{i}", allowed=(0,)
        )
    evalkit("gate", shared() / "run", "--update", "--baseline", shared() / "baseline.json", allowed=(0,))
    return shared()


def attempt(rng: Random, folder: Path) -> None:
    """One damaged file of a run, and one command that reads it."""
    good = good_run()
    for name in ("run", "part0", "part1"):
        shutil.copytree(good / name, folder / name)
    shutil.copy(good / "baseline.json", folder)
    command = rng.choice(COMMANDS)
    if command is _gate and rng.random() < 0.4:
        broken = folder / "baseline.json"
        damage.put(broken, damage.json_text(json.loads(broken.read_text()), rng), rng)
    else:
        _damage(folder / ("part0" if command is _merge else "run"), rng)
    command(folder, rng)


def _damage(run: Path, rng: Random) -> None:
    for name in dict.fromkeys(rng.choice(FILES) for _ in range(rng.choice((1, 1, 2)))):
        path = run / name
        if path.name == "audio":
            clip = rng.choice(sorted(path.rglob("*.wav")))
            damage.put(clip, damage.content(clip.read_bytes(), rng), rng)
        elif not path.is_file():
            continue
        elif rng.random() < 0.3:
            damage.put(path, damage.content(path.read_bytes(), rng), rng)
        elif path.suffix == ".json":
            damage.put(path, damage.json_text(json.loads(path.read_text()), rng), rng)
        elif path.suffix == ".parquet":
            damage.put(path, _table(pd.read_parquet(path), rng), rng)
    if rng.random() < 0.1:  # killed in the middle
        rows = pd.read_parquet(good_run() / "run" / "rows.parquet").head(9).to_json(orient="records", lines=True)
        damage.put(run / "rows.jsonl", damage.text(rows, rng), rng)
    if rng.random() < 0.1:
        damage.put(run / "writing.lock", damage.json_text({"pid": 1, "host": "x", "started": "1"}, rng), rng)


def _table(frame: pd.DataFrame, rng: Random) -> bytes:
    """`frame` with other columns, types or values, as parquet."""
    frame = frame.astype(object) if rng.random() < 0.5 else frame
    for _ in range(rng.randint(1, 2)):
        column = rng.choice(list(frame.columns))
        kind = rng.randrange(9)
        if kind == 0:
            frame = frame.drop(columns=column)
        elif kind == 1:
            frame = frame.rename(columns={column: rng.choice(damage.NASTY)})
        elif kind == 2:
            frame = frame.head(rng.choice((0, 1, 3)))
        elif kind == 3:
            frame = pd.concat([frame, frame.head(5)])
        elif kind == 4:
            frame = frame.assign(**{column: [rng.choice(damage.NASTY) for _ in range(len(frame))]})
        elif kind == 5:
            frame = frame.assign(**{column: rng.choice((None, np.nan, np.inf, -1, 0, True, b"x", 2**62))})
        elif kind == 6:
            frame = frame.sample(frac=1, random_state=rng.randrange(99))
        elif kind == 7:
            frame = frame.assign(**{column: [rng.choice((value, None)) for value in frame[column]]})
        else:
            frame = frame.set_index(column)
        if len(frame.columns) == 0:
            break
    buffer = io.BytesIO()
    try:
        frame.to_parquet(buffer)
    except Exception:  # no parquet can hold it: not a try of evalkit
        return b""
    return buffer.getvalue()


def _form(rng: Random) -> list[str]:
    return ["--format", rng.choice(("terminal", "markdown", "latex", "csv"))]


def _table_command(folder: Path, rng: Random) -> None:
    more = rng.choice(
        (
            [],
            [],
            [],
            [],
            ["--by", "language"],
            ["--against", "paper"],
            ["--suite", "paper-high"],
            ["--cluster", "speaker"],
        )
    )
    evalkit("table", folder / "run", *more, *_form(rng))


def _compare(folder: Path, rng: Random) -> None:
    evalkit("compare", folder / "run", *_form(rng))


def _drift(folder: Path, rng: Random) -> None:
    evalkit("drift", folder / "run", *CHEAP, *_form(rng))


def _claims(folder: Path, rng: Random) -> None:
    evalkit("claims", folder / "run", *_form(rng))


def _report(folder: Path, rng: Random) -> None:
    done = evalkit("report", folder / "run", "--output", folder / "page.html")
    if done.code == 0 and not (folder / "page.html").read_text(encoding="utf-8").rstrip().endswith("</html>"):
        raise Fault("the report is no whole page")


def _plot(folder: Path, rng: Random) -> None:
    evalkit("plot", folder / "run", "--output", folder / "plots", "--format", rng.choice(("svg", "png")))


def _gate(folder: Path, rng: Random) -> None:
    more = [] if rng.random() < 0.7 else ["--codec", "pcm"]
    outcome = evalkit(
        "gate", folder / "run", "--baseline", folder / "baseline.json", "--junit", folder / "j.xml", "--summary",
        folder / "s.md", *more, allowed=(*ALLOWED, 1),
    )  # fmt: skip
    if outcome.code in (0, 1, 4) and not all((folder / name).is_file() for name in ("j.xml", "s.md")):
        raise Fault(f"exit {outcome.code} of the gate wrote no JUnit or no summary")


def _update(folder: Path, rng: Random) -> None:
    before = (folder / "baseline.json").read_bytes()
    outcome = evalkit("gate", folder / "run", "--update", "--baseline", folder / "baseline.json")
    if outcome.code and (folder / "baseline.json").read_bytes() != before:
        raise Fault("the old baseline is gone, and there is no new one")


def _merge(folder: Path, rng: Random) -> None:
    done = evalkit("merge", folder / "part0", folder / "part1", "--output", folder / "whole")
    if done.code == 0:
        check_rows(folder / "whole", None)
        if rows_in(folder / "whole" / "rows.parquet") != rows_in(good_run() / "run" / "rows.parquet"):
            raise Fault("the merged run has other rows than a whole one, and nobody says so")


def _resume(folder: Path, rng: Random) -> None:
    more = ["--overwrite"] if rng.random() < 0.5 else []
    done = evalkit(
        "run", "--codec", "pcm", "--dataset", f"folder:{good_run() / 'data'}", "--metrics", ",".join(CHEAP), "--output",
        folder / "run", *more,
    )  # fmt: skip
    if done.code == 0:
        check_rows(folder / "run", 8)


COMMANDS: tuple[Callable[[Path, Random], None], ...] = (
    _table_command, _table_command, _table_command, _compare, _compare, _drift, _claims, _report, _plot, _gate,
    _gate, _update,
    _merge, _merge, _resume,
)  # fmt: skip
