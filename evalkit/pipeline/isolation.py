"""How worker processes start, and how they end when they should.

A worker never imports the caller's main module: scripts without `if __name__ == "__main__"`, notebooks and `python -`
can start runs. It ends when its parent is gone, whatever it is busy with.
"""

import ctypes
import multiprocessing
import os
import signal
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from multiprocessing import forkserver
from multiprocessing.context import BaseContext, ForkServerContext, ForkServerProcess, SpawnContext, SpawnProcess
from multiprocessing.process import BaseProcess
from typing import Any

from evalkit import plugins
from evalkit.errors import describe

EXITED = 70
"""Exit code of a worker in which somebody called os._exit(0): the pool takes 0 for a good end."""
LONGEST_TEMPORARY = 60
"""Characters of the temporary folder that leave room for the name of a Unix socket, which ends at 108."""
PARENT_DEATH_SIGNAL = 1
"""PR_SET_PDEATHSIG of prctl(2)."""

_hiding = threading.Lock()


@contextmanager
def _main_hidden() -> Iterator[None]:
    """While this lasts, multiprocessing finds no main module that a child would have to import."""
    main = sys.modules["__main__"].__dict__
    hidden = {name: main[name] for name in main.keys() & {"__spec__", "__file__"}}
    with _hiding:
        main["__spec__"] = None
        main.pop("__file__", None)
        try:
            yield
        finally:
            main.update(hidden)


class _ForkServerProcess(ForkServerProcess):
    @staticmethod
    def _Popen(process_obj: BaseProcess) -> Any:
        with _main_hidden():
            return ForkServerProcess._Popen(process_obj)


class _SpawnProcess(SpawnProcess):
    @staticmethod
    def _Popen(process_obj: BaseProcess) -> Any:
        with _main_hidden():
            return SpawnProcess._Popen(process_obj)


class _ForkServer(ForkServerContext):
    Process = _ForkServerProcess


class _Spawn(SpawnContext):
    Process = _SpawnProcess


def context_for(preload: Sequence[str]) -> BaseContext:
    """How processes start that share the modules of `preload`, where this system can do that."""
    forks = "forkserver" in multiprocessing.get_all_start_methods()
    if not forks or len(tempfile.gettempdir()) > LONGEST_TEMPORARY:  # the fork server listens on a socket there
        return _Spawn()
    context = _ForkServer()
    context.set_forkserver_preload(list(preload))
    return context


unread = ""
"""What is wrong with the objects that a parent registered, in a worker that cannot read them."""


def initialize(objects: bytes) -> None:
    """Make this process a worker that knows the `objects` which its parent registered."""
    global unread
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches every process of the terminal; the main one answers
    os.dup2(2, 1)  # standard output is for results: what metrics print, C code as well, goes to standard error
    sys.stdout = sys.stderr
    _end_with_parent()
    try:
        plugins.unpack(objects)
    except Exception as error:  # somebody else's objects: whatever they raise
        unread = describe(error)


def _end_with_parent() -> None:
    # The parent may be the fork server, which stays while a process holds this descriptor: a worker must not.
    server: Any = forkserver._forkserver
    if server._forkserver_alive_fd is not None:
        os.close(server._forkserver_alive_fd)
        server._forkserver_alive_fd = None
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PARENT_DEATH_SIGNAL, signal.SIGKILL)
        return
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            threading.Event().wait(1.0)
        os.kill(os.getpid(), signal.SIGKILL)

    threading.Thread(target=watch, daemon=True).start()


def noticed(function: Callable[[Any], Any], job: Any, timeout: float) -> Any:
    """`function(job)`; where code in it ends the process, the pool notices. A process that it forks, and that comes
    back, ends: it would answer the job once more."""
    real, process = os._exit, os.getpid()
    os._exit = lambda code: real(code or EXITED if os.getpid() == process else code)  # type: ignore[assignment]
    try:
        return function(job)
    finally:
        os._exit = real
        if os.getpid() != process:
            real(0)
