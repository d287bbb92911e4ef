"""Running jobs in worker processes that may die without taking the run with them.

PESQ's C code segfaults on speech with many bursts, and no Python code can catch that. So every job runs in a worker
process; when one dies, its job is split into smaller ones until the culprit is alone, and only that one is lost.
"""

import os
import pickle
import signal
import sys
import threading
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, TimeoutError, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from math import inf
from types import TracebackType
from typing import Any, Generic, Protocol, TypeVar

from pebble import ProcessExpired, ProcessPool

from evalkit import interrupt, plugins
from evalkit.codecs import Codec
from evalkit.environment.contained import opening
from evalkit.environment.machine import default_workers
from evalkit.errors import MissingError, describe
from evalkit.pipeline import isolation
from evalkit.pipeline.coders import Coder, LocalCoder
from evalkit.pipeline.isolation import EXITED, context_for, initialize, noticed

Task = TypeVar("Task")
Result = TypeVar("Result")

TIMEOUT = 600.0
"""Seconds after which one metric on one pair, or one codec on one utterance, counts as hung, unless a run says
otherwise. The slowest metric takes a few seconds for a minute of audio."""
GRACE = 5.0
"""Seconds that a worker gets beyond its time to say itself that something took too long."""

RESTARTS = 3
"""Times in a row that processes are started again which ended before they took a job."""
LOOK = 1.0
"""Seconds after which it is looked whether there are still processes to wait for."""

THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
LEAKED = "ignore::UserWarning:multiprocessing.resource_tracker"
"""A worker that is ended early leaves semaphores, such as numba's. multiprocessing's tracker, which takes over this
option from `sys.warnoptions` when it starts, removes them, and would warn of it in the middle of the results."""
_starting = threading.Lock()


@dataclass(frozen=True)
class CrashedJob(Generic[Task]):
    """A job that could not be split further and whose worker died or hung."""

    job: Task
    reason: str


@dataclass(frozen=True)
class WorkerCrash:
    """What became of a job whose worker died or hung."""

    reason: str


class Workers(Protocol):
    """Processes that take jobs, on this machine (Processes) or on a cluster (evalkit/pipeline/ray_workers.py)."""

    window: int
    """Jobs to keep under way at once, so that no worker waits and memory stays bounded."""

    def __enter__(self) -> "Workers": ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def submit(self, function: Callable[[Any], Any], job: Any) -> Any:
        """Begin `function(job)` in a worker; returns a handle."""
        ...

    def collect(self, handles: Collection[Any]) -> Iterator[tuple[Any, Any]]:
        """Wait for one or more of `handles`, of these workers or others of their kind, and yield each that is done with
        its result, or WorkerCrash. Yield nothing where a job was lost with its worker and runs again."""
        ...


class Executor(Workers, Protocol):
    """Workers for what needs no model, and those that hold one."""

    here: bool
    """Whether they are on this machine, so that they may open the cache: SQLite on a shared disk is not safe."""

    timeout: float
    """Seconds that one metric may take for one pair, and a codec for one utterance."""

    def models(self, device: str) -> Workers:
        """Workers of this kind that hold a model on `device`, to work beside these."""
        ...

    def coder(self, build: Callable[[str], Codec], codec: Codec, device: str) -> Coder:
        """Where `codec` runs, or another that `build` makes for a device."""
        ...


class ExecutorFactory(Protocol):
    """What the name of an executor stands for, under the entry point group `evalkit.executors`."""

    def __call__(self, jobs: int | None, timeout: float, metrics: Sequence[str], device: str) -> Executor:
        """Workers that score.

        Args:
            jobs: How many of them; None for as many as suit.
            timeout: Seconds that one metric may take for one pair, and a codec for one utterance; 0 for no limit.
            metrics: Names of what they will score.
            device: Where models and codecs run, a device of torch.
        """
        ...


def run_isolated(
    function: Callable[[Task], Result],
    split: Callable[[Task], Sequence[Task]],
    *lanes: tuple[Iterable[Task | None], Workers],
    need: Callable[[Task], float] = lambda job: 0.0,
    memory: float = inf,
) -> Iterator[Result | CrashedJob[Task]]:
    """Results of `function` over the jobs of all `lanes`, in the order in which they are done. Lanes run beside each
    other, each with its own workers, all of one kind.

    `split(job)` gives the smaller jobs to try when a worker died on `job`: one job means that it cannot be split.
    Jobs are drawn lazily, a window of the workers at a time, and fewer where together they `need` more than `memory`,
    in bytes: one that needs more by itself runs alone. A lane gives None where its next job waits for those of lanes
    before it.
    """
    pending: dict[Any, tuple[_Lane[Task], Task]] = {}
    with ExitStack() as stack:
        running = [_Lane(iter(jobs), workers, stack) for jobs, workers in lanes]
        while True:
            for lane in running:
                while (job := lane.draw()) is not None:
                    if pending and need(job) + sum(need(other) for _, other in pending.values()) > memory:
                        lane.put_back(job)
                        break
                    pending[lane.workers.submit(function, job)] = (lane, job)
            if not pending:
                return
            for handle, result in next(iter(pending.values()))[0].workers.collect(pending):
                lane, job = pending.pop(handle)
                lane.under_way -= 1
                if not isinstance(result, WorkerCrash):
                    yield result
                elif len(parts := split(job)) > 1:
                    lane.again += parts
                else:
                    yield CrashedJob(job, result.reason)


@dataclass
class _Lane(Generic[Task]):
    """Jobs and who does them. Nothing to do is not worth a process: workers start with the first job."""

    jobs: Iterator[Task | None]
    workers: Workers
    stack: ExitStack
    started: bool = False
    under_way: int = 0
    again: list[Task] = field(default_factory=list)
    """What is to be drawn before the next of `jobs`: parts of one that was lost, and what had no room."""

    def draw(self) -> Task | None:
        """The next job, where there is one and room for it."""
        if self.started and self.under_way >= self.workers.window:
            return None
        try:
            job = self.again.pop(0) if self.again else next(self.jobs, None)
        finally:
            interrupt.check()
        if job is not None:
            if not self.started:
                self.stack.enter_context(self.workers)
                self.started = True
            self.under_way += 1
        return job

    def put_back(self, job: Task) -> None:
        """Draw `job` again once there is room for it."""
        self.again.insert(0, job)
        self.under_way -= 1


class Processes:
    """`count` worker processes on this machine, one a core unless given. `preload` names modules that they share
    instead of importing each their own. Processes that end while they have nothing to do, for which the system may
    have chosen them when memory was short, are started again."""

    here = True

    def __init__(
        self,
        count: int | None = None,
        preload: Sequence[str] = (),
        timeout: float = TIMEOUT,
        steps: Callable[[Any], int] = lambda job: 1,
    ) -> None:
        """`steps` of a job may each take the whole timeout."""
        self._count = count or default_workers()
        self._preload, self._steps = preload, steps
        self.timeout = timeout
        self.window = 2 * self._count
        self._lost = 0
        """Times that all processes have ended since the last result."""

    def __enter__(self) -> "Processes":
        self._start()
        return self

    def _start(self) -> None:
        # One thread a worker, or numpy's own threads would fight over the cores. The variables count only when numpy is
        # first imported, in the server process that workers are forked from, so they are set while that one starts.
        if LEAKED not in sys.warnoptions:
            sys.warnoptions.append(LEAKED)
        with opening("these metrics cannot be sent to other processes"):
            objects = plugins.packed("metric")
        with _one_thread():
            context = context_for(self._preload)
            self._pool = ProcessPool(
                max_workers=self._count, context=context, initializer=initialize, initargs=[objects]
            )
            try:
                unread = self._pool.schedule(_unread).result()
            except (OSError, RuntimeError) as error:  # BrokenProcessPool is one
                self._end()
                raise _not_started(error) from error
        if unread:
            self._end()
            raise MissingError(f"these metrics cannot be loaded in other processes: {unread}")

    def submit(self, function: Callable[[Any], Any], job: Any) -> "_Call":
        limit = self.timeout * self._steps(job) + GRACE if self.timeout else None
        try:
            call = _Call(self, plugins.pickled((function, job)), limit)
        except Exception as error:  # somebody else's object: whatever it raises
            call = _Call(self, b"", limit)
            call.future.set_result(WorkerCrash(f"it cannot be sent to another process: {describe(error)}"))
            return call
        try:
            self._begin(call)
        except RuntimeError:  # all processes have ended
            self._again(call)
        return call

    def _begin(self, call: "_Call") -> None:
        call.pool = self._pool
        call.future = self._pool.schedule(_do, args=[call.content, self.timeout], timeout=call.limit)

    def _again(self, call: "_Call") -> None:
        """Begin `call` once more, whose processes have ended before they took it."""
        if call.pool is self._pool:
            self._lost += 1
            if self._lost > RESTARTS:
                raise _not_started(BrokenProcessPool("they end before they receive a job"))
            self._end()
            self._start()
        self._begin(call)

    def collect(self, handles: "Collection[_Call]") -> "Iterator[tuple[_Call, Any]]":
        calls = {one.future: one for one in handles}
        done, _ = wait(calls, LOOK, return_when=FIRST_COMPLETED)
        if not done:
            for call in calls.values():
                if call.pool is not None and not call.pool.active:
                    call.workers._again(call)
        for future in done:
            call = calls[future]
            try:
                result = future.result()
            except TimeoutError:
                result = WorkerCrash(f"took longer than {self.timeout:g} s")
            except ProcessExpired as error:
                result = WorkerCrash(_cause(error.exitcode))
            except BrokenProcessPool:
                call.workers._again(call)
                continue
            call.workers._lost = 0
            yield call, result

    def models(self, device: str) -> Workers:
        """One: there is one device, and each process would hold a copy of the model."""
        return Processes(1, self._preload, self.timeout, self._steps)

    def coder(self, build: Callable[[str], Codec], codec: Codec, device: str) -> Coder:
        """This process."""
        return LocalCoder(codec, self.timeout)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self._pool.close()
            self._pool.join()
        else:  # Ctrl-C, or nobody listens any more: do not wait for what is under way
            self._end()

    def _end(self) -> None:
        self._pool.stop()
        self._pool.join()


@dataclass(eq=False)
class _Call:
    """A job for a process of `workers`."""

    workers: Processes
    content: bytes
    """What to do, pickled here: pebble does not survive what somebody else's objects raise when it pickles them."""
    limit: float | None
    """Seconds after which it counts as hung."""
    future: "Future[Any]" = field(default_factory=Future)
    pool: ProcessPool | None = None
    """Where it was last begun."""


def _do(content: bytes, timeout: float) -> Any:
    """What a worker does."""
    return noticed(_unpacked, content, timeout)


def _unpacked(content: bytes) -> Any:
    try:
        function, job = pickle.loads(content)
    except Exception as error:  # as above
        return WorkerCrash(f"it cannot be read in another process: {describe(error)}")
    return function(job)


def _not_started(error: Exception) -> MissingError:
    return MissingError(
        f"worker processes cannot be started ({describe(error.__cause__ or error)}): check the limits on memory, "
        "processes and open files (`ulimit -a`), that /dev/shm and the working folder exist, and what third-party "
        "metrics printed above; a lower --jobs needs less"
    )


@contextmanager
def _one_thread() -> Iterator[None]:
    """While this lasts, processes that start compute in one thread; for one run of several threads at a time."""
    with _starting:
        before = {name: os.environ.get(name) for name in THREAD_VARIABLES}
        os.environ.update(dict.fromkeys(THREAD_VARIABLES, "1"))
        try:
            yield
        finally:
            for name, value in before.items():
                if value is None:
                    del os.environ[name]
                else:
                    os.environ[name] = value


def _unread() -> str:
    """What the first worker that has started could not read."""
    return isolation.unread


def _cause(code: int) -> str:
    if code < 0:
        name = signal.Signals(-code).name if -code in list(signal.Signals) else f"signal {-code}"
        return f"its process crashed: {name}"
    if code == EXITED:
        return "its process exited through os._exit"
    return f"its process crashed with exit code {code}"
