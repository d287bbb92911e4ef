"""Codecs and metrics on an existing Ray cluster: `--executor ray` (the extra `ray`).

Metrics without a model run as tasks, one a CPU. Codecs and models of metrics run in actors, one a GPU where the run is
on `cuda` and the cluster has any, else one a node: each is built or opened once in each of them.

The cluster is the one that RAY_ADDRESS names, or that runs on this machine; evalkit starts none. Its nodes need the
same evalkit and, at the same path, weights and files that are given by name; audio travels along. A node that is lost
costs nothing: its jobs are done again elsewhere. A job that kills its worker wherever it runs is what
evalkit/pipeline/workers.py splits.
"""

import logging
import os
from collections import deque
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any

from evalkit.audio import Wave
from evalkit.codecs import Codec, Codes
from evalkit.environment.extras import install
from evalkit.errors import MissingError
from evalkit.pipeline.coders import reconstruct
from evalkit.pipeline.ray_actors import Actors
from evalkit.pipeline.workers import THREAD_VARIABLES, TIMEOUT, WorkerCrash

RETRIES = 3
"""Times that a job is tried again whose worker or node is gone."""


class RayWorkers:
    """Tasks, one for each CPU of the cluster."""

    here = False

    def __init__(self, device: str = "cpu", timeout: float = TIMEOUT) -> None:
        """Raises MissingError where Ray is not installed, or there is no cluster to join, or none for `device`."""
        try:
            import ray
        except ImportError as error:
            raise MissingError(f"--executor ray needs Ray: {install('ray')}") from error
        if not ray.is_initialized():
            try:
                environment = {"env_vars": dict.fromkeys(THREAD_VARIABLES, "1")}
                ray.init(address="auto", log_to_driver=False, logging_level=logging.ERROR, runtime_env=environment)
            except ConnectionError as error:
                address = os.environ.get("RAY_ADDRESS", "this machine")
                raise MissingError(
                    f"there is no Ray cluster at {address}: start one with `ray start --head`, or set RAY_ADDRESS"
                ) from error
        if device.startswith("cuda") and not ray.cluster_resources().get("GPU"):
            raise MissingError(f"--device {device} cannot be used: the Ray cluster has no GPU. Use --device cpu.")
        self._ray = ray
        self.timeout = timeout
        errors = ray.exceptions
        self.gone = (
            errors.TaskCancelledError, errors.WorkerCrashedError, errors.NodeDiedError, errors.RayActorError,
            errors.ObjectLostError,
        )  # fmt: skip
        """What stands for the result of a job whose process or node is gone."""
        self._functions: dict[Callable[[Any], Any], Any] = {}
        self._open: Actors | None = None
        self.window = 2 * max(1, int(ray.cluster_resources().get("CPU", 1)))

    def __enter__(self) -> "RayWorkers":
        return self

    def submit(self, function: Callable[[Any], Any], job: Any) -> Any:
        if function not in self._functions:
            self._functions[function] = self._ray.remote(num_cpus=1, max_retries=RETRIES)(function)
        return self._functions[function].remote(job)

    def collect(self, handles: Collection[Any]) -> Iterator[tuple[Any, Any]]:
        running: dict[Any, RayModels | None] = {one: None for one in handles if not isinstance(one, _ModelJob)}
        asked: dict[Any, RayModels] = {}
        for models in {one.models for one in handles if isinstance(one, _ModelJob)}:
            running |= dict.fromkeys(models.running, models)
            asked |= dict.fromkeys(models.actors.asked, models)
        # What waits for an actor does not hang: the cluster may get room for one.
        limit = self.timeout if running else None
        done, _ = self._ray.wait([*running, *asked], num_returns=1, timeout=limit or None)
        for call in done or list(running):
            if holder := asked.get(call) or running[call]:
                yield from holder.finish(call, hung=not done)
                continue
            if not done:
                self._ray.cancel(call, force=True)
            yield call, self.result(call, hung=not done)

    def result(self, call: Any, hung: bool) -> Any:
        """What came of `call`, which is done or, with `hung`, was ended."""
        try:
            return self._ray.get(call)
        except self.gone:
            return WorkerCrash(f"took longer than {self.timeout:g} s" if hung else "its process crashed")

    def models(self, device: str) -> "RayModels":
        return RayModels(self._ray, device, self)

    def use(self, actors: Actors | None) -> None:
        """Start `actors` unless they run, and end those before them, which hold GPUs."""
        if actors is not self._open:
            if self._open is not None:
                self._open.end()
            self._open = actors
            if actors is not None:
                actors.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """The cluster goes on without us."""
        self.use(None)

    def coder(self, build: Callable[[str], Codec], codec: Codec, device: str) -> "RayCoder":
        """Where the codec that `build` makes runs."""
        return RayCoder(self._ray, build, device, self)


def ray_cluster(
    jobs: int | None = None, timeout: float = TIMEOUT, metrics: Sequence[str] = (), device: str = "cpu"
) -> RayWorkers:
    """The executor `ray`. The cluster decides how many jobs run at once."""
    return RayWorkers(device, timeout)


@dataclass(eq=False)
class _ModelJob:
    """A job for an actor of `models`, and how often it was lost with one."""

    models: "RayModels"
    function: Callable[[Any], Any]
    job: Any
    lost: int = 0


class RayModels:
    """Models of metrics in actors, one job at a time in each: what kills its process takes no other job along."""

    def __init__(self, ray: Any, device: str, beside: RayWorkers) -> None:
        self._beside = beside
        self.actors = Actors(ray, _Models, device)
        self.window = self.actors.count
        self.running: dict[Any, tuple[Any, _ModelJob]] = {}
        """What actors are at, by call."""
        self._waiting: deque[_ModelJob] = deque()

    def __enter__(self) -> "RayModels":
        self._beside.use(self.actors)
        return self

    def submit(self, function: Callable[[Any], Any], job: Any) -> _ModelJob:
        handle = _ModelJob(self, function, job)
        self._waiting.append(handle)
        self._hand_out()
        return handle

    def _hand_out(self) -> None:
        while self._waiting and self.actors.ready:
            actor, handle = self.actors.ready.popleft(), self._waiting.popleft()
            self.running[actor.run.remote(handle.function, handle.job)] = actor, handle

    def finish(self, call: Any, hung: bool) -> Iterator[tuple[_ModelJob, Any]]:
        """The job that `call` ended, if it ended any, and its result. One that was lost is tried again; with `hung` it
        is given up."""
        if call in self.actors.asked:
            self.actors.ready.append(self.actors.asked.pop(call))
            self._hand_out()
            return
        actor, handle = self.running.pop(call)
        if hung:
            self.actors.replace(actor)
        result = self._beside.result(call, hung)
        lost = isinstance(result, WorkerCrash) and not hung
        if lost:
            self.actors.lost(actor)
            handle.lost += 1
        elif not hung:
            self.actors.ready.append(actor)
        if again := lost and handle.lost <= RETRIES:
            self._waiting.appendleft(handle)
        self._hand_out()
        if not again:
            yield handle, result

    def collect(self, handles: Collection[Any]) -> Iterator[tuple[Any, Any]]:
        return self._beside.collect(handles)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._beside.use(None)
        self.running.clear()
        self._waiting.clear()


class RayCoder:
    """A codec in actors."""

    def __init__(self, ray: Any, build: Callable[[str], Codec], device: str, workers: RayWorkers) -> None:
        self._ray, self._workers = ray, workers
        self._actors = Actors(ray, _Codec, device, build, device, workers.timeout)
        self.ahead = 2 * self._actors.count

    def start(self, wav: Wave, seed: int) -> Callable[[], tuple[Codes, Wave]]:
        self._workers.use(self._actors)
        actor = self._actors.next()
        call = actor.reconstruct.remote(wav, seed)

        def finish() -> tuple[Codes, Wave]:
            nonlocal actor, call
            left = RETRIES
            while True:
                try:
                    return self._ray.get(call)
                except self._workers.gone:  # its node is gone, or the codec killed it: ask the next
                    self._actors.lost(actor)
                    if not left:
                        raise
                    left -= 1
                    actor = self._actors.next()
                    call = actor.reconstruct.remote(wav, seed)

        return finish


class _Models:
    """A process of the cluster that keeps the model open which it used last (evalkit/pipeline/score.py)."""

    def run(self, function: Callable[[Any], Any], job: Any) -> Any:
        return function(job)


class _Codec:
    """A codec in a process of the cluster."""

    def __init__(self, build: Callable[[str], Codec], device: str, timeout: float) -> None:
        self._codec, self._timeout = build(device), timeout

    def reconstruct(self, wav: Wave, seed: int) -> tuple[Codes, Wave]:
        return reconstruct(self._codec, wav, self._timeout, seed)
