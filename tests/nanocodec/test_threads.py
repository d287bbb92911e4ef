"""Branches in two threads: the bits of one, whoever asks and however, and nothing of the caller's changed."""

import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from nanocodec import NanoCodec, threads
from nanocodec.config import VARIANTS
from nanocodec.testing import narrow, seeded_audio, seeded_model


@pytest.fixture(scope="module")
def model() -> NanoCodec:
    return seeded_model(narrow(VARIANTS["1.1k"]))


@pytest.fixture
def two() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def helpers() -> int:
    return sum(thread.name.startswith("nanocodec") for thread in threading.enumerate())


def everything(model: NanoCodec, seed: int = 1) -> list[torch.Tensor]:
    """Latents, codes, the whole decoded and the same frame by frame."""
    audio = seeded_audio(5 * model.hop + 3, seed=seed)[None]
    latent = model.encode_latent(audio)[0]
    codes = model.encode(audio)[0]
    stream = model.streaming_decoder()
    return [latent, codes, model.decode(codes), *(stream.push(frame) for frame in codes.split(1, dim=2))]


def same(one: list[torch.Tensor], other: list[torch.Tensor]) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


@torch.inference_mode()
def test_two_threads_give_the_bits_of_one(model: NanoCodec, two: None, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    own = threads._Pair.second_thread
    monkeypatch.setattr(threads._Pair, "second_thread", lambda pair, *job: asked.append(1) or own(pair, *job))
    beside = everything(model)
    stages = len(model.config.strides)
    assert len(asked) == stages * 9  # two encodings, the whole, six frames
    torch.set_num_threads(1)
    assert same(beside, everything(model))
    assert len(asked) == stages * 9


@torch.no_grad()
def test_callers_in_several_threads_do_not_meet(model: NanoCodec, two: None) -> None:
    alone = [everything(model, seed) for seed in range(4)]
    before = helpers()

    def job(seed: int) -> list[torch.Tensor]:
        with torch.no_grad():
            return everything(model, seed)

    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(job, range(4)))
    assert all(same(a, b) for a, b in zip(alone, together, strict=True))
    for thread in [t for t in threading.enumerate() if t.name.startswith("nanocodec")][before:]:
        thread.join(10)
    assert helpers() == before  # they went with those who had called them


@torch.no_grad()
def test_the_callers_threads_and_modes_stay(model: NanoCodec, two: None) -> None:
    decoded = everything(model)[2]
    assert not decoded.is_inference()  # autograd may go on from it
    assert torch.get_num_threads() == 2
    with ThreadPoolExecutor(1) as pool:  # a thread that begins later
        assert pool.submit(torch.get_num_threads).result() == 2
    assert helpers() == 2
    with torch.inference_mode():
        assert everything(model)[2].is_inference()
    assert helpers() == 2


@torch.no_grad()
def test_an_error_in_the_second_thread_is_raised(model: NanoCodec, two: None, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> torch.Tensor:
        raise RuntimeError("no memory")

    codes = model.encode(seeded_audio(model.hop)[None])[0]
    monkeypatch.setattr("nanocodec.causal.CausalBranch.__call__", fail)
    with pytest.raises(RuntimeError, match="no memory"):
        model.decode(codes)
    monkeypatch.undo()
    model.decode(codes)


@pytest.mark.skipif(sys.platform == "win32", reason="no fork")
def test_a_fork_has_its_own() -> None:
    program = """
import os, torch
from nanocodec.config import VARIANTS
from nanocodec.testing import narrow, seeded_model
torch.set_num_threads(2)
model = seeded_model(narrow(VARIANTS["1.1k"]))
stream, codes = model.streaming_decoder(), torch.zeros(1, model.config.num_codebooks, 1, dtype=torch.int64)
stream.push(codes)
child = os.fork()
if not child:
    stream.push(codes)
    os._exit(7)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == "7", done.stderr
