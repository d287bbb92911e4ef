"""What becomes of jobs whose actor is gone, on a Ray of a few lines; on a real one in test_ray_workers.py."""

import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from evalkit.pipeline.coders import Coder
from evalkit.pipeline.ray_workers import RETRIES, RayWorkers
from evalkit.pipeline.workers import CrashedJob, run_isolated

KILLS, HANGS, WAITS = "kills its process", "hangs", "waits"


class ActorUnavailableError(Exception):
    """Its actor is gone; that the node is, too, has yet to be noticed."""


class Actor:
    """Of `kind`, in a process that is there, or not yet, or no more."""

    there = came = killed = False

    def __init__(self, kind: type, arguments: Sequence[Any]) -> None:
        self._kind, self._arguments = kind, arguments

    def come(self) -> None:
        self.there = self.came = True
        self.own = self._kind(*self._arguments)

    def __getattr__(self, name: str) -> Any:
        method = SimpleNamespace(remote=lambda *arguments: Call(self, name, arguments))
        method.options = lambda max_task_retries: method
        return method


class Call:
    """What `actor` is to do: it waits for one that has never been there, and fails with one that is gone."""

    def __init__(self, actor: Actor, name: str, arguments: Sequence[Any]) -> None:
        self.actor, self._name, self._arguments = actor, name, arguments
        self.result: Any = WAITS
        self._run()

    def _run(self) -> None:
        if self._name == "__ray_ready__":
            self.result = self.actor.there or WAITS
        elif self.result is WAITS and self.actor.there:
            self.result = getattr(self.actor.own, self._name)(*self._arguments)
            if self.result == KILLS:
                self.actor.there, self.result = False, ActorUnavailableError("socket closed")
        elif self.result is WAITS and self.actor.came:
            self.result = ActorUnavailableError("connection refused")

    @property
    def done(self) -> bool:
        self._run()
        return self.result not in (WAITS, HANGS)


class Ray:
    """`size` nodes, with `room` for actors: these come, or come again, once nothing else is left to wait for."""

    def __init__(self) -> None:
        kinds = ("TaskCancelledError", "WorkerCrashedError", "NodeDiedError", "ObjectLostError")
        errors: dict[str, type] = {name: type(name, (Exception,), {}) for name in kinds}
        self.exceptions = SimpleNamespace(**errors, RayActorError=ActorUnavailableError)
        self.actors: list[Actor] = []
        self.size = self.room = 2

    def is_initialized(self) -> bool:
        return True

    def cluster_resources(self) -> dict[str, float]:
        return {"CPU": 2}

    def nodes(self) -> list[dict[str, bool]]:
        return [{"Alive": True}] * self.size

    def remote(self, **options: Any) -> Callable[[type], Any]:
        assert not options.get("max_task_retries"), "tries of Ray's own go to the actor that is gone"

        def make(kind: type, *arguments: Any) -> Actor:
            self.actors.append(Actor(kind, arguments))
            return self.actors[-1]

        return lambda kind: SimpleNamespace(remote=lambda *arguments: make(kind, *arguments))

    def wait(self, calls: list[Call], num_returns: int = 1, timeout: float | None = None) -> tuple[list[Call], None]:
        if not any(call.done for call in calls) and timeout is None:
            absent = [actor for actor in self.actors if not actor.there and not actor.killed]
            for actor in absent[: self.room - sum(actor.there for actor in self.actors)]:
                actor.come()
            assert any(call.done for call in calls), "would wait forever"
        return [call for call in calls if call.done][:num_returns], None

    def get(self, call: Call) -> Any:
        if not call.done:
            assert call.actor.killed, "would wait forever"
            raise ActorUnavailableError("killed")
        if isinstance(call.result, Exception):
            raise call.result
        return call.result

    def kill(self, actor: Actor) -> None:
        actor.there, actor.killed = False, True


@pytest.fixture
def ray(monkeypatch: pytest.MonkeyPatch) -> Ray:
    fake = Ray()
    monkeypatch.setitem(sys.modules, "ray", fake)  # type: ignore[arg-type]
    return fake


def outcome(ray: Ray, *odd: str, then: Callable[[], None] = lambda: None) -> tuple[list[Any], list[Any], Counter[Any]]:
    """Of ten jobs and `odd` ones between them: what was done, what was given up, and how often each was tried. `then`
    happens before the third."""
    tried: Counter[Any] = Counter()

    def work(job: Any) -> Any:
        tried[job] += 1
        return job

    def jobs() -> Iterator[Any]:
        yield from (0, 1)
        then()
        yield from (2, *odd, *range(3, 10))

    workers = RayWorkers()
    results = list(run_isolated(work, lambda job: [job], (jobs(), workers.models("cpu"))))
    done = sorted(one for one in results if not isinstance(one, CrashedJob))
    return done, [one for one in results if isinstance(one, CrashedJob)], tried


@pytest.mark.parametrize("size", [2, 3 + RETRIES])
@pytest.mark.parametrize(("left", "room"), [(2, 1), (1, 2), (1, 1), (0, 2), (0, 1)])
def test_a_node_that_is_lost_costs_no_job(ray: Ray, size: int, left: int, room: int) -> None:
    """A node with all actors but `left` of them; from then on there is `room` for as many."""
    ray.size, ray.room = size, room if left == 2 else size

    def lose() -> None:
        ray.room = room
        for actor in ray.actors[left:]:
            actor.there = False

    done, given_up, tried = outcome(ray, then=lose)
    assert done == list(range(10)) and not given_up and set(tried.values()) == {1}


def test_a_job_that_kills_every_process_costs_itself(ray: Ray) -> None:
    done, (crashed,), tried = outcome(ray, KILLS)
    assert done == list(range(10)) and crashed == CrashedJob(KILLS, "its process crashed")
    assert tried.pop(KILLS) == 1 + RETRIES and set(tried.values()) == {1}


def test_a_hung_job_is_tried_once(ray: Ray) -> None:
    done, (hung,), tried = outcome(ray, HANGS)
    assert done == list(range(10)) and hung == CrashedJob(HANGS, "took longer than 600 s")
    assert set(tried.values()) == {1} and len(ray.actors) == 3


@pytest.fixture
def new_coder(monkeypatch: pytest.MonkeyPatch) -> Callable[[RayWorkers], Coder]:
    """Codecs that give back what they are given, and the seed for codes."""
    monkeypatch.setattr("evalkit.pipeline.ray_workers.reconstruct", lambda codec, wav, timeout, seed: (seed, wav))
    codec: Any = None
    return lambda workers: workers.coder(lambda device: codec, codec, "cpu")


@pytest.mark.parametrize("room", [1, 2])
def test_a_codec_goes_on_in_another_actor(ray: Ray, new_coder: Callable[[RayWorkers], Coder], room: int) -> None:
    ray.size = ray.room = 3 + RETRIES
    coder = new_coder(RayWorkers())
    for _ in range(ray.size):
        coder.start(np.zeros(1), 0)()
    ray.room = room
    for actor in ray.actors[1:]:
        actor.there = False
    finishes: list[Callable[[], Any]] = [coder.start(np.zeros(1), seed) for seed in range(8)]
    assert [finish()[0] for finish in finishes] == list(range(8))


def test_actors_of_a_codec_end_before_the_next_begin(ray: Ray, new_coder: Callable[[RayWorkers], Coder]) -> None:
    workers = RayWorkers()
    coders = [new_coder(workers) for _ in range(2)]
    for coder in coders:
        coder.start(np.zeros(1), 0)
    assert [actor.killed for actor in ray.actors] == [True, True, False, False]
    with workers.models("cpu"):
        assert [actor.killed for actor in ray.actors] == [True, True, True, True, False, False]
