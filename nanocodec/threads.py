"""Two threads for one computation: the branches of a layer side by side, for inference on a processor.

A convolution that all of torch's threads share makes them wait for one another at its end, hundreds of times, and a
short one is hardly worth sharing. The branches of a residual layer meet but once, and the last, with the longest
kernel, costs as much as all others. So each of two threads takes half of torch's. Neither is the caller's, whose own
OpenMP threads would spin on the processors that are needed here after everything they shared. The same bits come out
(docs/decisions/0043-decoding-in-blocks.md has the gain).
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import torch
from torch import Tensor

SecondThread = Callable[..., Callable[[], Tensor]]  # from a function and its arguments to what waits for the result


def side_by_side(
    branches: Sequence[Callable[..., Tensor]], second_thread: SecondThread, *arguments: Any
) -> Iterator[Tensor]:
    """What each of a layer's branches gives for the arguments, in their order; the last runs in the second thread."""
    *others, last = branches
    result = second_thread(last, *arguments)
    for branch in others:
        yield branch(*arguments)
    yield result()


def mean(outputs: Iterable[Tensor]) -> Tensor:
    """The mean of tensors of one shape, summed in their order; the first is overwritten."""
    total, count = None, 0
    for output in outputs:
        total = output if total is None else total.add_(output)
        count += 1
    assert total is not None
    return total.div_(count)


class _Pair:
    """Two threads with torch's own threads divided between them; they end when the pair is forgotten."""

    def __init__(self, threads: int) -> None:
        self.made_for = os.getpid(), threads
        self.first, self.second = _thread(threads - threads // 2), _thread(threads // 2)
        torch.set_num_threads(threads)  # for threads to come: they begin with what was set last, in whatever thread

    def second_thread(self, job: Callable[..., Tensor], *arguments: Any) -> Callable[[], Tensor]:
        return self.second.submit(_infer, torch.is_inference_mode_enabled(), job, *arguments).result


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


def with_second_thread(device: torch.device, job: Callable[[SecondThread], Tensor]) -> Tensor:
    """What `job` gives, called without gradients and with a way to have something computed in a second thread.

    On an accelerator, or where torch has one thread, the caller computes it, when its turn comes.
    """
    threads = torch.get_num_threads()
    if device.type != "cpu" or threads == 1:
        return job(partial)
    pair = getattr(_callers, "pair", None)
    if pair is None or pair.made_for != (os.getpid(), threads):  # threads do not survive a fork
        pair = _callers.pair = _Pair(threads)
    return pair.first.submit(_infer, torch.is_inference_mode_enabled(), job, pair.second_thread).result()
