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
from collections.abc import Callable, Collection, Iterator, Sequence
from itertools import cycle
from types import TracebackType
from typing import Any

from evalkit.audio import Wave
from evalkit.codecs import Codec, Codes
from evalkit.environment.extras import install
from evalkit.errors import MissingError
from evalkit.pipeline.coders import reconstruct
from evalkit.pipeline.workers import THREAD_VARIABLES, TIMEOUT, WorkerCrash

RETRIES = 3
"""Times that Ray tries a job again whose worker or node is gone."""


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
        self._functions: dict[Callable[[Any], Any], Any] = {}
        self.holders: dict[Any, RayModels] = {}
        """Of the jobs that run in an actor, by handle."""
        self.window = 2 * max(1, int(ray.cluster_resources().get("CPU", 1)))

    def __enter__(self) -> "RayWorkers":
        return self

    def submit(self, function: Callable[[Any], Any], job: Any) -> Any:
        if function not in self._functions:
            self._functions[function] = self._ray.remote(num_cpus=1, max_retries=RETRIES)(function)
        return self._functions[function].remote(job)

    def collect(self, handles: Collection[Any]) -> Iterator[tuple[Any, Any]]:
        errors = self._ray.exceptions
        gone = (errors.TaskCancelledError, errors.WorkerCrashedError, errors.NodeDiedError, errors.RayActorError)
        done, _ = self._ray.wait(list(handles), num_returns=1, timeout=self.timeout or None)
        for handle in done or list(handles):
            if (holder := self.holders.pop(handle, None)) is not None:
                holder.release(handle, hung=not done)
            elif not done:
                self._ray.cancel(handle, force=True)
            try:
                result = self._ray.get(handle)
            except gone:
                result = WorkerCrash("its process crashed" if done else f"took longer than {self.timeout:g} s")
            yield handle, result

    def models(self, device: str) -> "RayModels":
        return RayModels(self._ray, device, self)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """The cluster goes on without us."""

    def coder(self, build: Callable[[str], Codec], codec: Codec, device: str) -> "RayCoder":
        """Where the codec that `build` makes runs."""
        return RayCoder(self._ray, build, device, self.timeout)


def _actor(ray: Any, kind: type, device: str) -> tuple[Any, int]:
    """Makes actors of `kind`, and how many there are to be: one a GPU where `device` is one, else one a node. A lost
    actor is made again where there is room."""
    gpus = int(ray.cluster_resources().get("GPU", 0)) if device.startswith("cuda") else 0
    # They claim no CPU: they would hold it while the scores that wait for them need it.
    share = {"num_gpus": 1 if gpus else 0, "num_cpus": 0, "scheduling_strategy": "SPREAD"}
    remote = ray.remote(**share, max_restarts=-1, max_task_retries=RETRIES)(kind)
    return remote, gpus or len([node for node in ray.nodes() if node["Alive"]])


def ray_cluster(
    jobs: int | None = None, timeout: float = TIMEOUT, metrics: Sequence[str] = (), device: str = "cpu"
) -> RayWorkers:
    """The executor `ray`. The cluster decides how many jobs run at once."""
    return RayWorkers(device, timeout)


class RayModels:
    """Models of metrics in actors, one job at a time in each: what kills its process takes no other job along."""

    def __init__(self, ray: Any, device: str, beside: RayWorkers) -> None:
        self._ray, self._beside = ray, beside
        self._remote, self.window = _actor(ray, _Models, device)
        self._idle: list[Any] = []
        self._busy: dict[Any, Any] = {}

    def __enter__(self) -> "RayModels":
        self._idle = [self._remote.remote() for _ in range(self.window)]
        return self

    def submit(self, function: Callable[[Any], Any], job: Any) -> Any:
        actor = self._idle.pop(0)
        handle = actor.run.remote(function, job)
        self._busy[handle] = actor
        self._beside.holders[handle] = self
        return handle

    def release(self, handle: Any, hung: bool) -> None:
        """The job of `handle` is done or, with `hung`, given up."""
        actor = self._busy.pop(handle)
        if hung:
            self._ray.kill(actor)
        self._idle.append(self._remote.remote() if hung else actor)

    def collect(self, handles: Collection[Any]) -> Iterator[tuple[Any, Any]]:
        return self._beside.collect(handles)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._idle.clear()  # ends the actors
        self._busy.clear()


class RayCoder:
    """A codec in actors."""

    def __init__(self, ray: Any, build: Callable[[str], Codec], device: str, timeout: float) -> None:
        self._ray = ray
        remote, count = _actor(ray, _Codec, device)
        self._actors = cycle([remote.remote(build, device, timeout) for _ in range(count)])
        self.ahead = 2 * count

    def start(self, wav: Wave, seed: int) -> Callable[[], tuple[Codes, Wave]]:
        handle = next(self._actors).reconstruct.remote(wav, seed)

        def finish() -> tuple[Codes, Wave]:
            nonlocal handle
            for _ in range(RETRIES):
                try:
                    return self._ray.get(handle)
                except self._ray.exceptions.RayActorError:  # its node is gone, or the codec killed it: ask the next
                    handle = next(self._actors).reconstruct.remote(wav, seed)
            return self._ray.get(handle)

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
