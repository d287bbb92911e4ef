"""Processes on a Ray cluster that keep a codec or a model, and which of them are there."""

from collections import deque
from collections.abc import Callable
from typing import Any


class Actors:
    """Actors of one kind, one a GPU where `device` is one, else one a node.

    Ray makes a lost one again once it has noticed that the node is gone, some 15 s later, and where there is room: on a
    GPU perhaps never. Until then calls to it fail or wait, and so do those that Ray itself tries again. So an actor
    gets jobs from when it has answered until it is lost, and a lost job is for another one.
    """

    def __init__(self, ray: Any, kind: type, device: str, *arguments: Any) -> None:
        gpus = int(ray.cluster_resources().get("GPU", 0)) if device.startswith("cuda") else 0
        # They claim no CPU: they would hold it while the scores that wait for them need it.
        share = {"num_gpus": 1 if gpus else 0, "num_cpus": 0, "scheduling_strategy": "SPREAD"}
        remote = ray.remote(**share, max_restarts=-1)(kind)
        self._ray = ray
        self._make: Callable[[], Any] = lambda: remote.remote(*arguments)
        self.count = gpus or len([node for node in ray.nodes() if node["Alive"]])
        self.ready: deque[Any] = deque()
        self.asked: dict[Any, Any] = {}
        """Those that are yet to come, or to come again, by the call that they answer then."""

    def start(self) -> None:
        """Have them come, each where there is room."""
        for _ in range(self.count):
            self._ask(self._make())

    def lost(self, actor: Any) -> None:
        """`actor` is gone, and others may be with it, as on the same node: none gets a job until it answers."""
        for one in (*self.ready, actor):
            if one not in self.asked.values():
                self._ask(one)
        self.ready.clear()

    def replace(self, actor: Any) -> None:
        """End `actor`, which hangs, and start another one."""
        self._ray.kill(actor)
        self._ask(self._make())

    def _ask(self, actor: Any) -> None:
        self.asked[actor.__ray_ready__.options(max_task_retries=-1).remote()] = actor

    def next(self) -> Any:
        """One that is there, each in its turn; waits where none is."""
        if self.asked:
            answered, _ = self._ray.wait(list(self.asked), timeout=0 if self.ready else None)
            self.ready.extend(self.asked.pop(call) for call in answered)
        self.ready.rotate(-1)
        return self.ready[-1]

    def end(self) -> None:
        """End those that have no job, and leave their GPUs to others."""
        for actor in (*self.ready, *self.asked.values()):
            self._ray.kill(actor)
        self.ready.clear()
        self.asked.clear()
