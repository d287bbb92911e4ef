"""A local hub, and evalkit beside it."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from .local import Evalkit, Local

LOG = "EVALKIT_HUB_LOG"
"""Names a folder for the logs of requests, one of each file of tests."""


@pytest.fixture(scope="module")
def local(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Local]:
    """A running hub that serves nothing yet."""
    found = Local(tmp_path_factory.mktemp("served"))
    with found.hub.running():
        yield found
    if folder := os.environ.get(LOG):
        path = Path(folder) / f"{request.path.stem}.log"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(f"{one}\n" for one in found.hub.log))


@pytest.fixture(scope="module")
def start(local: Local, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Evalkit]]:
    """Starts evalkit: what the hub serves by then is what its mirror's file knows."""
    home = tmp_path_factory.mktemp("home")
    running: list[Evalkit] = []

    def start(offline: bool = False) -> Evalkit:
        running.append(Evalkit(local, home, offline))
        return running[-1]

    yield start
    for one in running:
        one.stop()


@pytest.fixture(scope="module")
def offline(evalkit: Evalkit, start: Callable[..., Evalkit]) -> Evalkit:
    """The same machine as `evalkit`, later, without a network."""
    return start(offline=True)
