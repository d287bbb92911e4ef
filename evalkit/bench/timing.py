"""Timing jobs side by side: rounds that take every job once, so that whatever else the machine does meets all alike.

Every second round goes the other way round. Nothing counts before every job has been called WARM_UP times. A fixed
kernel is timed in each round, too: where it drifts, the machine did, and times are less to be trusted than ratios.
CPU seconds are those of all threads and of child processes that have ended.
"""

import os
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from math import ceil

import numpy as np

Job = Callable[[], object]
Meter = Callable[[], float]

WARM_UP = 2
SHORTEST = 0.05
"""Seconds; what is shorter is called several times in a round."""
CALIBRATION = "calibration"
SIDE, COPIED = 512, 1 << 22
"""Of the calibration kernel: a product of SIDE x SIDE matrices, a copy of COPIED numbers."""
DRIFT = 0.05
"""Of the calibration kernel, relative, above which a reader is told."""


@dataclass(frozen=True)
class Sample:
    """One call. `joules` is None where no meter runs."""

    wall: float
    cpu: float
    joules: float | None = None


def cpu_seconds() -> float:
    """CPU seconds that this process has used so far, its threads and ended children included."""
    return time.process_time() + sum(os.times()[2:4])


def sample(job: Job, meter: Meter | None = None, calls: int = 1) -> Sample:
    """What a job takes.

    Args:
        job: What to call.
        meter: Gives the joules so far; None where nothing does.
        calls: How often; the sample is of one call.

    Returns:
        Wall and CPU seconds, and joules.
    """
    before = meter() if meter else 0.0
    wall, cpu = time.perf_counter(), cpu_seconds()
    for _ in range(calls):
        job()
    wall, cpu = time.perf_counter() - wall, cpu_seconds() - cpu
    return Sample(wall / calls, cpu / calls, (meter() - before) / calls if meter else None)


def rounds(
    jobs: Mapping[str, Job], count: int, meter: Meter | None = None, warm_up: int = WARM_UP
) -> Iterator[dict[str, Sample]]:
    """Time jobs side by side.

    Args:
        jobs: By name.
        count: Rounds.
        meter: Gives the joules so far.
        warm_up: Calls of each job before the first round.

    Yields:
        For each round, a sample by the name of the job; the calibration kernel's under CALIBRATION.
    """
    everything = {**jobs, CALIBRATION: calibration()}
    calls = dict.fromkeys(everything, 1)
    for _ in range(warm_up):
        for name, job in everything.items():
            calls[name] = max(calls[name], ceil(SHORTEST / max(sample(job).wall, 1e-6)))
    for number in range(count):
        names = list(everything) if number % 2 == 0 else list(reversed(everything))
        taken = {name: sample(everything[name], meter, calls[name]) for name in names}
        yield {name: taken[name] for name in everything}


def calibration() -> Job:
    """A fixed amount of arithmetic and memory traffic: how fast the machine is just now."""
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((2, SIDE, SIDE), dtype=np.float32)
    source, target = rng.standard_normal((2, COPIED), dtype=np.float32)

    def run() -> None:
        for _ in range(4):
            a @ b
            np.copyto(target, source)

    return run


def drift(seconds: list[float]) -> float:
    """How far the calibration kernel's times spread: half of their middle 80 % over their median."""
    low, middle, high = np.quantile(seconds, (0.1, 0.5, 0.9))
    return float((high - low) / 2 / middle)
