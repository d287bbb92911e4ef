"""Try evalkit with things that are wrong: `make fuzz`, or `python -m tests.fuzz --tries 2000 --seed 1`.

Each try has a seed of its own, which is printed where it finds a fault and does the same again by itself:
`python -m tests.fuzz --tries 1 --seed SEED`.
"""

import argparse
import os
import shutil
import sys
import tempfile
import time
import traceback
from collections import Counter
from concurrent.futures import TimeoutError
from functools import cache
from pathlib import Path
from random import Random

from pebble import ProcessExpired, ProcessPool

from evalkit import plugins
from evalkit.environment import machine
from evalkit.metrics.load import load_metric

KINDS = {"audio": 24, "manifests": 20, "run_directories": 24, "caches": 8, "plugins": 14, "weights": 10}
"""Tries of each kind in a hundred."""
SLOW = 30.0
"""Seconds of a processor that are too many for one try."""
LIMIT = 300.0
"""Seconds after which a try is given up: something hangs."""


machine.package_versions, machine.git_revision = cache(machine.package_versions), cache(machine.git_revision)


def kind_of(seed: int) -> str:
    """What the try `seed` damages."""
    return Random(f"kind {seed}").choices(list(KINDS), list(KINDS.values()))[0]


def attempt(seed: int, kind: str) -> str | None:
    """The try `seed`; what it found, None for nothing. Runs in a process of its own kind."""
    from importlib import import_module

    module = import_module(f"tests.fuzz.{kind}")
    folder = Path(os.environ["FUZZ_FOLDER"]) / f"try-{seed}"
    temporary = folder / "temporary"
    temporary.mkdir(parents=True)
    os.environ.update(EVALKIT_CACHE=str(folder / "cache"), TMPDIR=str(temporary))
    tempfile.tempdir = str(temporary)  # which it remembers
    os.chdir(folder)
    plugins._REGISTERED.clear()  # what the last try brought along
    plugins._module.cache_clear()
    load_metric.cache_clear()
    started = time.process_time()
    try:
        module.attempt(Random(seed), folder)
        if (took := time.process_time() - started) > SLOW:
            return f"took {took:.0f} s of a processor"
        if left := [path.name for path in temporary.iterdir()]:
            return f"left behind in TMPDIR: {left}"
    except BaseException:  # a plugin may have raised anything
        return traceback.format_exc()
    finally:
        os.chdir("/")
        shutil.rmtree(folder, ignore_errors=True)
    return None


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--tries", type=int, default=2000, help="default: %(default)s")
    parser.add_argument("--seed", type=int, default=None, help="of the first try; default: from the clock")
    parser.add_argument("--seconds", type=float, default=1800, help="start no try after this; default: %(default)s")
    parser.add_argument("--kind", choices=list(KINDS), help="damage this alone; default: all of them")
    parser.add_argument("--quick", action="store_true", help="run no plugin in a process of its own and load no torch")
    parser.add_argument("--jobs", type=int, default=2, help="default: %(default)s")
    args = parser.parse_args()
    first = int(time.time()) if args.seed is None else args.seed
    print(f"seeds {first} to {first + args.tries - 1}", flush=True)
    started = time.monotonic()
    tried: Counter[str] = Counter()
    faults = 0
    with tempfile.TemporaryDirectory(prefix="fuzz-") as folder:
        os.environ.update(FUZZ_FOLDER=folder, OMP_NUM_THREADS="1", HF_HUB_OFFLINE="1", HF_HUB_CACHE=f"{folder}/hub")
        os.environ["TORCHINDUCTOR_CACHE_DIR"] = f"{folder}/inductor"  # else in TMPDIR, where each try looks
        os.environ["FUZZ_QUICK"] = "yes" * args.quick
        with ProcessPool(max_workers=args.jobs, max_tasks=500) as pool:
            pending = []
            for seed in range(first, first + args.tries):
                kind = args.kind or kind_of(seed)
                if args.quick and kind == "weights":  # loads torch
                    kind = "manifests"
                pending.append((seed, kind, pool.schedule(attempt, args=[seed, kind], timeout=LIMIT)))
            for seed, kind, future in pending:
                if time.monotonic() - started > args.seconds:  # all at once: meanwhile the next one begins
                    for *_, waiting in pending:
                        if not waiting.running():
                            waiting.cancel()
                if future.cancelled():
                    continue
                tried[kind] += 1
                if tried.total() % 100 == 0:
                    print(f"{tried.total()} tries, {time.monotonic() - started:.0f} s", flush=True)
                try:
                    found = future.result()
                except TimeoutError:
                    found = f"hung for {LIMIT:g} s"
                except ProcessExpired as error:
                    found = f"the process died ({error})"
                if found:
                    faults += 1
                    again = f"--tries 1 --seed {seed} --kind {kind}{' --quick' * args.quick}"
                    print(f"\n--- {kind}: python -m tests.fuzz {again}\n{found}", flush=True)
    shown = ", ".join(f"{count} {kind}" for kind, count in tried.items())
    print(f"{faults} faults in {tried.total()} tries ({shown}), {time.monotonic() - started:.0f} s")
    return int(faults > 0 or tried.total() < args.tries)


if __name__ == "__main__":
    sys.exit(main())
