"""A cache that is damaged, old or something else: it costs time, and no row and no digit."""

import os
import shutil
import sqlite3
from functools import cache
from pathlib import Path
from random import Random

import pandas as pd

from . import damage
from .attempt import CHEAP, MULAW, Fault, check_rows, evalkit, shared, sound, speech

COMMAND = ("run", "--codec", MULAW, "--metrics", ",".join(CHEAP), "--overwrite")


@cache
def good_cache() -> tuple[Path, pd.DataFrame]:
    """A folder with data and a cache, and the rows of the run that filled it."""
    folder = shared() / "cached"
    for i in range(2):
        sound(folder / "data" / f"u{i}.wav", speech(0.4, number=i))
    return folder, _run(folder, "first")[0]


def _run(folder: Path, output: str) -> tuple[pd.DataFrame, str]:
    """The rows of a run with the cache in `folder`, and what it said."""
    os.environ["EVALKIT_CACHE"] = str(folder / "cache")
    done = evalkit(*COMMAND, "--dataset", f"folder:{folder / 'data'}", "--output", folder / output, allowed=(0, 2))
    if done.code == 2 and not (folder / "cache").is_dir():  # asked for a cache where there can be none
        evalkit(
            *COMMAND, "--dataset", f"folder:{folder / 'data'}", "--output", folder / output, "--no-cache", allowed=(0,)
        )
    elif done.code or done.err.count("cannot be used") > 1:
        raise Fault(f"not one sentence on the cache: {done.err}")
    return check_rows(folder / output, 2), done.err


def attempt(rng: Random, folder: Path) -> None:
    """Damage the cache, run, look at it, clear it, run again."""
    good, expected = good_cache()
    for name in ("data", "cache"):
        shutil.copytree(good / name, folder / name)
    _damage(folder / "cache", rng)
    pd.testing.assert_frame_equal(_run(folder, "run")[0], expected)
    evalkit("cache", "info", allowed=(0, 2, 3))
    cleared = evalkit("cache", "clear", allowed=(0, 2, 3))
    rows, said = _run(folder, "again")
    pd.testing.assert_frame_equal(rows, expected)
    if cleared.code == 0 and "cannot be used" in said:
        raise Fault(f"a cache that was cleared cannot be used: {said}")


def _damage(there: Path, rng: Random) -> None:
    database = there / "cache.sqlite"
    kind = rng.randrange(8)
    if kind <= 1:
        damage.put(database, damage.content(database.read_bytes(), rng), rng)
    elif kind == 2:
        clip = rng.choice(sorted(there.rglob("*.wav")))
        damage.put(clip, damage.content(clip.read_bytes(), rng), rng)
    elif kind == 3:
        name = rng.choice(
            ("cache.sqlite-wal", "cache.sqlite-shm", "in-use.lock", "digests.json", "cache.sqlite-journal")
        )
        damage.put(there / name, rng.randbytes(1000), rng)
    elif kind == 4:
        shutil.rmtree(there)
        damage.put(there, b"not a folder", rng)
    elif kind == 5:
        shutil.rmtree(there / "audio")
        damage.put(there / "audio", b"not a folder", rng)
    else:
        with sqlite3.connect(database) as open_:
            tables = [name for (name,) in open_.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
            table = rng.choice(tables)
            columns = [row[1] for row in open_.execute(f"PRAGMA table_info({table})")]
            column = rng.choice(columns[1:])
            value = rng.choice((None, b"\x00\xff", "x", "", -1, 1e308, 2**60, "[" * 10_000, "{}", "[]", "null"))
            if table == "scores" and column == "value" and isinstance(value, float | int):
                value = "a text"  # another number could not be told from the right one
            if table == "scores" and column == "reason":
                value = b"\x00"
            try:
                if kind == 6:
                    open_.execute(f"UPDATE {table} SET {column} = ?", (value,))
                else:
                    open_.execute(
                        rng.choice((f"DROP TABLE {table}", f"ALTER TABLE {table} RENAME COLUMN {column} TO other"))
                    )
            except sqlite3.Error:  # a column that takes no null
                open_.execute(f"DROP TABLE {table}")
        open_.close()
