"""Running jobs in worker processes that may die without taking the run with them.

PESQ's C code segfaults on speech with many bursts, and no Python code can catch that. So every job runs in a worker
process; when one dies, its job is split into smaller ones until the culprit is alone, and only that one is lost.
"""

import multiprocessing
import os
import signal
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, TimeoutError, wait
from dataclasses import dataclass
from itertools import chain
from multiprocessing.context import BaseContext
from typing import Generic, TypeVar

from pebble import ProcessExpired, ProcessPool

Job = TypeVar("Job")
Result = TypeVar("Result")

TIMEOUT = 600.0
"""Seconds after which a job counts as hung. The slowest metric takes a few seconds for a minute of audio."""

THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


@dataclass(frozen=True)
class Death(Generic[Job]):
    """A job that could not be split further and whose worker died or hung."""

    job: Job
    reason: str


def default_workers() -> int:
    """The cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def run_isolated(
    function: Callable[[Job], Result],
    jobs: Iterable[Job],
    split: Callable[[Job], Sequence[Job]],
    workers: int | None = None,
    preload: Sequence[str] = (),
) -> Iterator[Result | Death[Job]]:
    """Results of `function` over `jobs`, in the order in which they are done.

    `split(job)` gives the smaller jobs to try when a worker died on `job`: one job means that it cannot be split.
    `jobs` is drawn from lazily, so that at most two jobs a worker are in memory. `preload` names modules that
    workers share instead of importing each their own.
    """
    workers = workers or default_workers()
    pending: dict[Future[Result], Job] = {}
    source = iter(jobs)
    first = next(source, None)
    if first is None:  # nothing to do is not worth a process
        return
    source = chain([first], source)
    exhausted = False
    with _pool(workers, preload) as pool:
        try:
            while pending or not exhausted:
                while not exhausted and len(pending) < 2 * workers:
                    try:
                        job = next(source)
                    except StopIteration:
                        exhausted = True
                    else:
                        pending[pool.schedule(function, args=[job], timeout=TIMEOUT)] = job
                done, _ = wait(pending, return_when=FIRST_COMPLETED)
                for future in done:
                    job = pending.pop(future)
                    try:
                        yield future.result()
                    except (ProcessExpired, TimeoutError) as error:
                        parts = split(job)
                        if len(parts) > 1:
                            for part in parts:
                                pending[pool.schedule(function, args=[part], timeout=TIMEOUT)] = part
                        else:
                            yield Death(job, _cause(error))
        except BaseException:  # the caller stopped listening (Ctrl-C): do not wait for what is under way
            pool.stop()
            raise


def _pool(workers: int, preload: Sequence[str]) -> ProcessPool:
    context = _context(preload)
    # One thread a worker, or numpy's own threads would fight over the cores. The variables count only when numpy is
    # first imported, in the server process that workers are forked from, so they are set while that one starts.
    before = {name: os.environ.get(name) for name in THREAD_VARIABLES}
    os.environ.update(dict.fromkeys(THREAD_VARIABLES, "1"))
    try:
        pool = ProcessPool(max_workers=workers, context=context, initializer=_ignore_interrupts)
        pool.schedule(_ignore_interrupts).result()
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
    return pool


def _context(preload: Sequence[str]) -> BaseContext:
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(list(preload))
    return context


def _ignore_interrupts() -> None:
    """Ctrl-C reaches every process of the terminal; only the main one answers it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _cause(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return f"took longer than {TIMEOUT:.0f} s"
    code = getattr(error, "exitcode", None)
    if isinstance(code, int) and code < 0:
        return f"its process died: {signal.Signals(-code).name}"
    return f"its process died with exit code {code}"
