"""What `evalkit score` costs beside calling `pesq` and `pystoi` directly in as many processes.

    python benchmarks/scoring.py [--pairs 100] [--seconds 6] [--rounds 3]

Both are whole commands, start-up included, over the same files in turn; the ratio of their wall times is taken round by
round, because the speed of a shared machine drifts. Scores must agree to 1e-6.
"""

import argparse
import json
import multiprocessing
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import soundfile

from evalkit.datasets import load_dataset
from evalkit.environment.machine import default_workers
from evalkit.metrics.base import SCORE_RATE
from evalkit.pipeline.workers import THREAD_VARIABLES
from evalkit.results.run import read_run


def make_pairs(folder: Path, count: int, seconds: float) -> None:
    """Speech of the built-in set, and the same with noise at 5 to 25 dB, as 16-bit WAV at 16 kHz."""
    rng = np.random.default_rng(0)
    voice = np.concatenate([utterance.audio().at(SCORE_RATE).wav for utterance in load_dataset("builtin")])
    length = int(seconds * SCORE_RATE)
    for kind in ("reference", "decoded"):
        (folder / kind).mkdir()
    for number in range(count):
        wav = np.roll(voice, -number * SCORE_RATE)[:length]
        noise = rng.standard_normal(length) * wav.std() * 10 ** (-rng.uniform(5, 25) / 20)
        for kind, samples in (("reference", wav), ("decoded", wav + noise)):
            soundfile.write(folder / kind / f"{number:03}.wav", np.clip(samples, -1, 1), SCORE_RATE)


def direct(folder: Path, workers: int) -> dict[str, tuple[float, float]]:
    """name -> (PESQ-WB, STOI), as one would write it without evalkit."""
    names = sorted(path.stem for path in (folder / "reference").iterdir())
    with multiprocessing.Pool(workers) as pool:
        return dict(zip(names, pool.map(direct_pair, [(folder, name) for name in names], chunksize=1), strict=True))


def direct_pair(job: tuple[Path, str]) -> tuple[float, float]:
    from pesq import pesq
    from pystoi import stoi

    folder, name = job
    reference, decoded = (soundfile.read(folder / kind / f"{name}.wav")[0] for kind in ("reference", "decoded"))
    return pesq(SCORE_RATE, reference, decoded, "wb"), stoi(reference, decoded, SCORE_RATE)


def time_direct(folder: Path, workers: int) -> tuple[float, dict[str, tuple[float, float]]]:
    """A process of its own, so that its start-up counts as evalkit's does."""
    code = (
        "import sys, json, pathlib; sys.path.insert(0, sys.argv[1]); import scoring; "
        "print(json.dumps(scoring.direct(pathlib.Path(sys.argv[2]), int(sys.argv[3]))))"
    )
    command = [sys.executable, "-c", code, str(Path(__file__).parent), str(folder), str(workers)]
    environment = os.environ | dict.fromkeys(THREAD_VARIABLES, "1")
    start = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    took = time.perf_counter() - start
    return took, {name: tuple(scores) for name, scores in json.loads(done.stdout).items()}


def time_evalkit(folder: Path, workers: int) -> tuple[float, dict[str, tuple[float, float]]]:
    """With an empty cache, so that everything is computed and kept."""
    shutil.rmtree(folder / "cache", ignore_errors=True)
    environment = os.environ | {"EVALKIT_CACHE": str(folder / "cache")}
    command = [
        sys.executable, "-m", "evalkit.cli", "score", "--metrics", "pesq-wb,stoi", "--jobs", str(workers),
        "--reference", str(folder / "reference"), "--decoded", str(folder / "decoded"), "--output", str(folder / "run"),
        "--overwrite",
    ]  # fmt: skip
    start = time.perf_counter()
    subprocess.run(command, capture_output=True, check=True, env=environment)
    took = time.perf_counter() - start
    table = read_run(folder / "run").rows.pivot(index="utterance", columns="metric", values="value")
    return took, {str(name): (row["pesq-wb"], row["stoi"]) for name, row in table.iterrows()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=100)
    parser.add_argument("--seconds", type=float, default=6.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--jobs", type=int, default=default_workers())
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_pairs(folder, args.pairs, args.seconds)
        ratios = []
        for number in range(args.rounds):
            plain, expected = time_direct(folder, args.jobs)
            ours, found = time_evalkit(folder, args.jobs)
            ratios.append(ours / plain)
            difference = max(abs(a - b) for key in expected for a, b in zip(expected[key], found[key], strict=True))
            print(
                f"round {number + 1}: direct {plain:.2f} s, evalkit {ours:.2f} s, ratio {ratios[-1]:.2f}, "
                f"largest difference of a score {difference:.1e}"
            )
    ratio = statistics.median(ratios)
    print(f"{args.pairs} pairs of {args.seconds:g} s, {args.jobs} processes: median ratio {ratio:.2f}")


if __name__ == "__main__":
    main()
