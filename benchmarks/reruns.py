"""What the cache saves, and what a second process gives: 100 pairs of 6 s with PESQ, STOI and Mel.

    python benchmarks/reruns.py [--pairs 100] [--seconds 6] [--rounds 3]

Times are of the run itself, without the start of Python; each round has a cache of its own. The ratio of one to two
processes means something only on idle cores.
"""

import argparse
import statistics
import tempfile
import time
from pathlib import Path

from scoring import make_pairs

import evalkit

METRICS = ("pesq-wb", "stoi", "mel-2048-80-ln1p")


def time_run(folder: Path, cache: Path | bool, count: int) -> float:
    options = {"overwrite": True, "jobs": count, "cache": cache}
    start = time.perf_counter()
    evalkit.score(folder / "reference", folder / "decoded", metrics=METRICS, output=folder / "run", **options)
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=100)
    parser.add_argument("--seconds", type=float, default=6.0)
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    cached, parallel = [], []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_pairs(folder, args.pairs, args.seconds)
        time_run(folder, False, 1)  # imports, and the files into the system's cache
        for number in range(args.rounds):
            cache = folder / f"cache-{number}"
            first, second = time_run(folder, cache, 2), time_run(folder, cache, 2)
            alone = time_run(folder, False, 1)
            cached.append(first / second)
            parallel.append(alone / first)
            print(f"round {number + 1}: first {first:.2f} s, again {second:.3f} s; with one process {alone:.2f} s")
    print(f"from the cache: {statistics.median(cached):.0f} times faster (median)")
    print(f"two processes instead of one: {statistics.median(parallel):.2f} times faster (median)")


if __name__ == "__main__":
    main()
