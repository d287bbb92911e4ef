"""Two threads for one computation: the branches of a layer side by side, for inference on a processor.

A convolution that all of torch's threads share makes them wait for one another at its end, hundreds of times, and a
short one is hardly worth sharing. The branches of a residual layer meet but once, and the last, with the longest
kernel, costs as much as all others. So each of two threads takes half of torch's. Both are apart from the caller, whose
own threads would spin, on the processors that are needed here, after everything they shared. The same bits come out
(docs/decisions/0043-decoding-in-blocks.md has the gain).
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial, reduce
from typing import Any

import torch
from torch import Tensor

Aside = Callable[..., Callable[[], Tensor]]  # takes a function and its arguments, gives what waits for the result


def averaged(branches: Any, follow: Callable[[Any, Tensor], Tensor], x: Tensor, aside: Aside) -> Tensor:
    """The mean of what each of a residual layer's branches makes of `x`, the last being followed aside."""
    *others, last = branches
    results: list[Callable[[], Tensor]] = [*(partial(follow, branch, x) for branch in others), aside(follow, last, x)]
    return reduce(Tensor.add_, (result() for result in results)).div_(len(results))


class _Pair:
    """Two threads with torch's own threads between them; they end when the pair is forgotten."""

    def __init__(self, threads: int) -> None:
        self.made_for = os.getpid(), threads
        self.near, self.far = _thread(threads - threads // 2), _thread(threads // 2)
        torch.set_num_threads(threads)  # for threads to come: they begin with what was set last, in whatever thread

    def aside(self, job: Callable[..., Tensor], *arguments: Any) -> Callable[[], Tensor]:
        return self.far.submit(_infer, torch.is_inference_mode_enabled(), job, *arguments).result


def _thread(threads: int) -> ThreadPoolExecutor:
    def begin() -> None:
        torch.get_num_threads()  # or the first operation would set it anew
        torch.set_num_threads(threads)

    thread = ThreadPoolExecutor(1, "nanocodec", begin)
    thread.submit(int).result()
    return thread


def _infer(inference: bool, job: Callable[..., Tensor], *arguments: Any) -> Tensor:
    with torch.inference_mode(inference), torch.no_grad():  # modes are a thread's own, and the outer sets the inner
        return job(*arguments)


_callers = threading.local()  # every thread that computes has its own pair, or two would wait for each other


def side_by_side(device: torch.device, job: Callable[[Aside], Tensor]) -> Tensor:
    """What `job` gives, called without gradients and with a way to have something computed beside itself.

    On an accelerator, or where torch has one thread, the caller computes it, when its turn comes.
    """
    threads = torch.get_num_threads()
    if device.type != "cpu" or threads == 1:
        return job(partial)
    pair = getattr(_callers, "pair", None)
    if pair is None or pair.made_for != (os.getpid(), threads):  # threads do not survive a fork
        pair = _callers.pair = _Pair(threads)
    return pair.near.submit(_infer, torch.is_inference_mode_enabled(), job, pair.aside).result()
