"""Jobs whose processes die: only the culprit is lost."""

import errno
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from evalkit import plugins
from evalkit.errors import MissingError
from evalkit.pipeline.workers import CrashedJob, Processes, _cause, run_isolated

Job = tuple[str, ...]


def work(job: Job) -> Job:
    if "crash" in job:
        os.kill(os.getpid(), signal.SIGSEGV)
    if "exit" in job:
        os._exit(7)
    return job


def split(job: Job) -> Sequence[Job]:
    return [(part,) for part in job]


def outcome(jobs: Sequence[Job]) -> tuple[list[Job], list[CrashedJob[Job]]]:
    results = list(run_isolated(work, split, (jobs, Processes(2))))
    return sorted(r for r in results if not isinstance(r, CrashedJob)), [
        r for r in results if isinstance(r, CrashedJob)
    ]


def test_results_of_all_jobs_come_back() -> None:
    jobs = [(str(number),) for number in range(20)]
    assert outcome(jobs) == (sorted(jobs), [])


def test_a_crash_costs_its_own_part_only() -> None:
    results, deaths = outcome([("a", "b"), ("c", "crash", "d"), ("e",)])
    assert results == [("a", "b"), ("c",), ("d",), ("e",)]
    assert [(death.job, death.reason) for death in deaths] == [(("crash",), "its process crashed: SIGSEGV")]


def test_an_exit_is_reported_with_its_code() -> None:
    _, deaths = outcome([("exit",)])
    assert [death.reason for death in deaths] == ["its process crashed with exit code 7"]


LEFT = """
import sys, time
from evalkit.pipeline.workers import Processes
def stay(_):
    print("busy", file=sys.stderr, flush=True)
    time.sleep(90)
def main():
    with Processes(1, timeout=0) as workers:
        workers.submit(stay, None).future.result()
"""


def test_workers_end_when_their_parent_was_killed(tmp_path: Path) -> None:
    (tmp_path / "left.py").write_text(LEFT)
    command = [sys.executable, "-c", "import left; left.main()"]  # where the worker finds it, too
    with subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True) as parent:
        assert parent.stderr is not None
        assert parent.stderr.readline() == "busy\n"
        parent.kill()
        parent.communicate(timeout=30)  # standard error ends when all who hold it have ended


LEAKS = """
from multiprocessing import resource_tracker
from evalkit.pipeline.workers import Processes
with Processes(1):
    resource_tracker.register("/mp-left", "semaphore")  # as of a worker that was ended before it could remove its own
"""


def test_nothing_is_said_of_semaphores_that_a_worker_left() -> None:
    assert subprocess.run([sys.executable, "-c", LEAKS], capture_output=True, text=True).stderr == ""


def test_jobs_are_drawn_only_as_they_are_needed() -> None:
    drawn = []

    def jobs() -> object:
        for number in range(100):
            drawn.append(number)
            yield (str(number),)

    results = run_isolated(work, split, (jobs(), Processes(2)))  # type: ignore[arg-type]
    next(results)
    assert len(drawn) <= 6
    results.close()  # type: ignore[attr-defined]


def tell(job: Job) -> tuple[str, float, float]:
    start = time.monotonic()
    time.sleep(float(job[1]))
    return job[0], start, time.monotonic()


def test_no_more_jobs_are_under_way_than_the_memory_holds() -> None:
    """What needs more than there is by itself runs alone."""
    needs = {str(number): 40.0 for number in range(4)} | {"long": 1000.0}
    under_way: list[str] = []

    def jobs() -> Iterator[Job]:
        yield from [("0",), ("1",), ("2",), ("long",), ("3",)]

    class Counting(Processes):
        def submit(self, function: Callable[[Any], Any], job: Any) -> Any:
            under_way.append(job[0])
            assert len(under_way) == 1 or sum(needs[name] for name in under_way) <= 100
            return super().submit(function, job)

    def need(job: Job) -> float:
        return needs[job[0]]

    done = []
    for result in run_isolated(work, split, (jobs(), Counting(2)), need=need, memory=100.0):
        assert not isinstance(result, CrashedJob)
        done.append(result[0])
        under_way.remove(result[0])
    assert sorted(done) == sorted(needs)


def test_lanes_run_beside_each_other_each_with_its_own_workers() -> None:
    lanes = [[(name, "0.3")] * 4 for name in ("light", "model")]
    results = list(run_isolated(tell, split, *((jobs, Processes(1)) for jobs in lanes)))  # type: ignore[arg-type]
    spans = {name: sorted((a, b) for n, a, b in results if n == name) for name in ("light", "model")}
    for mine in spans.values():
        assert len(mine) == 4
        assert all(before[1] <= after[0] for before, after in pairwise(mine)), "one worker, one job at a time"
    (a, b), (c, d) = ((mine[0][0], mine[-1][1]) for mine in spans.values())
    assert max(a, c) < min(b, d), "one lane did not wait for the other"


def test_a_crash_in_one_lane_costs_the_other_nothing() -> None:
    lanes = [[("a", "crash", "b")], [("c",), ("d",)]]
    results = list(run_isolated(work, split, *((jobs, Processes(1)) for jobs in lanes)))
    deaths = [result for result in results if isinstance(result, CrashedJob)]
    assert [death.job for death in deaths] == [("crash",)]
    assert sorted(r for r in results if not isinstance(r, CrashedJob)) == [("a",), ("b",), ("c",), ("d",)]


def test_threads_of_this_process_are_left_alone() -> None:
    before = dict(os.environ)
    threads = [threading.Thread(target=outcome, args=[[("a",)]]) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert dict(os.environ) == before


def die_later(job: Job) -> Job:
    threading.Timer(0.1, os.kill, [os.getpid(), signal.SIGKILL]).start()
    return job


def test_processes_that_end_between_two_jobs_are_started_again() -> None:
    """As the system ends them where memory is short."""

    def jobs() -> Iterator[Job]:
        for number in range(4):
            yield (str(number),)
            time.sleep(0.3 * (number % 2))

    assert sorted(run_isolated(die_later, split, (jobs(), Processes(1)))) == [(str(n),) for n in range(4)]  # type: ignore[type-var]


class Odd:
    """Raises where it is pickled, or unpickled."""

    def __init__(self, there: bool) -> None:
        self._there = there

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        if not self._there:
            raise RuntimeError("not here")
        return undo, ("not there",)


def undo(text: str) -> None:
    raise RuntimeError(text)


def test_what_cannot_travel_to_a_process_costs_itself() -> None:
    jobs = [(Odd(there=False),), (Odd(there=True),), ("a",)]
    results = list(run_isolated(work, split, (jobs, Processes(1))))  # type: ignore[arg-type]
    assert ("a",) in results
    assert sorted(one.reason for one in results if isinstance(one, CrashedJob)) == [
        "it cannot be read in another process: RuntimeError: not there",
        "it cannot be sent to another process: RuntimeError: not here",
    ]


@pytest.mark.parametrize(("there", "said"), [(False, "sent to other processes: .*not here"), (True, "not there")])
def test_metrics_that_cannot_travel_are_refused(there: bool, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plugins, "_REGISTERED", {("metric", "odd"): Odd(there)})
    with pytest.raises(MissingError, match=said), Processes(1):
        pass


def test_processes_that_cannot_be_started_are_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **more: object) -> None:
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(multiprocessing.context.BaseContext, "Pipe", refuse)
    with pytest.raises(MissingError, match="Too many open files"), Processes(1):
        pass


def test_signals_without_a_name_are_told() -> None:
    assert _cause(-40) == "its process crashed: signal 40" and _cause(-9) == "its process crashed: SIGKILL"
