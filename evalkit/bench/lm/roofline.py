"""What a speech LM costs by arithmetic: bytes over bandwidth, operations over their rate, launches of kernels.

An estimate, not a measurement. Assumed: a share of the peak rates is reached (`reached_*`); where a device runs kernels
by itself, the host launches them meanwhile, and the slower of the two counts; the codec decodes once in the end, at
half the rate of the LM. Kernels of an eager step: 47 a layer, 28 a codebook, 30, counted in the authors' code.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from math import ceil

import numpy as np

from evalkit.bench.lm.config import Cache, Heads, LanguageModel, Speech, TokenSpec
from evalkit.errors import choose_from


@dataclass(frozen=True)
class Hardware:
    """A machine. `launch` is what the host takes to launch a kernel, `kernel` what a kernel takes at the least."""

    name: str
    bandwidth: float
    """Bytes a second."""
    flops: float
    """Operations a second."""
    width: int
    """Bytes of a number."""
    launch: float
    kernel: float
    reached_bandwidth: float = 0.8
    reached_flops: float = 0.5

    @property
    def bytes_rate(self) -> float:
        """Bytes a second that are reached."""
        return self.bandwidth * self.reached_bandwidth

    @property
    def flops_rate(self) -> float:
        """Operations a second that are reached."""
        return self.flops * self.reached_flops


EAGER, GRAPH = 8e-6, 0.0
"""Seconds that a host takes to launch a kernel from Python; CUDA graphs are launched once."""
HARDWARE = {
    machine.name: machine
    for machine in (
        Hardware("a100-fp32", 2.04e12, 19.5e12, 4, EAGER, 3e-6),
        Hardware("a100-tf32", 2.04e12, 156e12, 4, EAGER, 3e-6, reached_flops=0.35),
        Hardware("a100-bf16-graph", 2.04e12, 312e12, 2, GRAPH, 1.5e-6, reached_flops=0.3),
        Hardware("a100-bf16-ideal", 2.04e12, 312e12, 2, GRAPH, 0.0, reached_flops=0.3),
        Hardware("h100-bf16", 3.35e12, 990e12, 2, EAGER, 2.5e-6, reached_flops=0.3),
        Hardware("h100-bf16-graph", 3.35e12, 990e12, 2, GRAPH, 1.2e-6, reached_flops=0.3),
        Hardware("h200-bf16", 4.8e12, 990e12, 2, EAGER, 2.5e-6, reached_flops=0.3),
        Hardware("h200-bf16-graph", 4.8e12, 990e12, 2, GRAPH, 1.2e-6, reached_flops=0.3),
    )
}
"""NVIDIA's data sheets: memory bandwidth, dense operations a second."""
HERE = "this"
"""Names the machine that this runs on, by its own measured ceilings."""


@dataclass(frozen=True)
class Estimate:
    """RTF and time to first audio in seconds, the mean step in seconds, and shares: of the LM in the RTF, of the first
    chunk's own frames and of those that it waits for in the time to first audio (the rest is the codec's)."""

    rtf: float
    ttfa: float
    step: float
    lm_share: float
    first_share: float
    wait_share: float


def hardware(words: list[str]) -> list[Hardware]:
    """Machines by name.

    Args:
        words: Names in HARDWARE, beginnings of names, or HERE, which is measured.

    Returns:
        In the order of `words`.

    Raises:
        UsageError: A word names none.
    """
    found = []
    for word in words:
        named = [about for name, about in HARDWARE.items() if name == word or name.startswith(f"{word}-")]
        if word == HERE:
            named = [measured()]
        if not named:
            raise choose_from("hardware", word, [*HARDWARE, HERE])
        found += named
    return found


def measured() -> Hardware:
    """This machine's own ceilings, with the threads that torch has: a copy, a product, an addition of one number."""
    import torch

    big, out = torch.ones(2, 1 << 24)
    a, one = torch.ones(1024, 1024), torch.ones(1)
    copy = _fastest(lambda: out.copy_(big), 5)
    product = _fastest(lambda: a @ a, 5)
    addition = _fastest(lambda: [one + one for _ in range(1000)], 5) / 1000
    return Hardware(HERE, 2 * 4 * big.numel() / copy, 2 * 1024**3 / product, 4, addition, 0.0, reached_flops=0.6)


def _fastest(job: Callable[[], object], times: int) -> float:
    taken = []
    for _ in range(times):
        start = time.perf_counter()
        job()
        taken.append(time.perf_counter() - start)
    return float(np.min(taken))


def parameters(lm: LanguageModel, spec: TokenSpec, text_vocabulary: int = 100) -> dict[str, float]:
    """Numbers of the model by part, with parallel heads.

    Args:
        lm: Its sizes.
        spec: The codec's codebooks.
        text_vocabulary: Text tokens.

    Returns:
        Counts by the name of the part.
    """
    d, entries = lm.width, sum(lm.entries(size) for size in spec.codebook_sizes)
    return {
        "text encoder": lm.text_layers * (4 * d * d + 2 * d * lm.hidden * lm.text_kernel),
        "decoder self attention": lm.layers * 4 * d * d,
        "decoder cross attention": lm.layers * 4 * d * lm.cross_width,
        "decoder FFN": lm.layers * 2 * d * lm.hidden * lm.kernel,
        "codebook embeddings": entries * d,
        "head": entries * d,
        "positions, text embedding": 2 * lm.positions * d + (text_vocabulary * d if lm.text_layers else 0),
    }


def cached_bytes(lm: LanguageModel, speech: Speech, width: int) -> int:
    """Keys and values that a frame adds to the cache, however many codebooks it has.

    Args:
        lm: Sizes of the model.
        speech: How it is used.
        width: Bytes of a number.

    Returns:
        Bytes.
    """
    return speech.batch * lm.layers * 2 * lm.width * width


def step(
    lm: LanguageModel, spec: TokenSpec, speech: Speech, cache: Cache, positions: float, width: int
) -> tuple[float, float]:
    """What one step takes.

    Args:
        lm: Sizes of the model.
        spec: The codec's codebooks.
        speech: What is said.
        cache: What is kept of earlier steps.
        positions: In the sequence so far.
        width: Bytes of a number.

    Returns:
        Operations and bytes.
    """
    d, layers, b = lm.width, lm.layers, speech.batch
    attention, cross = 4 * d * d, 2 * d * lm.cross_width
    feed, sizes = 2 * d * lm.hidden * lm.kernel, [lm.entries(size) for size in spec.codebook_sizes]
    head = sum(sizes) * d
    attended = positions if cache == "none" else 1
    rest = 1 if cache == "full" else positions
    seen = positions + (speech.text if lm.cross_width else 0)
    operations = 2 * b * (layers * (attention + cross) * attended + (layers * feed + head) * rest)
    operations += 4 * b * layers * d * seen * attended
    weights = layers * (attention + cross + feed) + head
    activations = b * rest * (layers * (22 * d + 6 * lm.hidden) + sum(sizes))
    return operations, width * (weights + activations + b * layers * 2 * d * seen)


def kernels(lm: LanguageModel, spec: TokenSpec) -> int:
    """Kernels that an eager step starts.

    Args:
        lm: Sizes of the model.
        spec: The codec's codebooks.

    Returns:
        How many.
    """
    return 47 * lm.layers + 28 * spec.codebooks + 30


def _seconds(machine: Hardware, operations: float, moved: float, count: int) -> float:
    device = count * machine.kernel + max(moved / machine.bytes_rate, operations / machine.flops_rate)
    return max(device, count * machine.launch) if machine.kernel else device + count * machine.launch


def step_seconds(
    lm: LanguageModel, spec: TokenSpec, speech: Speech, machine: Hardware, cache: Cache, positions: float
) -> float:
    """Time of a step with parallel heads.

    Args:
        lm: Sizes of the model.
        spec: The codec's codebooks.
        speech: What is said.
        machine: Where.
        cache: What is kept of earlier steps.
        positions: In the sequence so far.

    Returns:
        Seconds.
    """
    return _seconds(machine, *step(lm, spec, speech, cache, positions, machine.width), kernels(lm, spec))


def local_seconds(lm: LanguageModel, spec: TokenSpec, speech: Speech, machine: Hardware) -> float:
    """What the transformer over codebooks adds to a step: a pass for each codebook, one after another.

    Args:
        lm: Sizes of the model.
        spec: The codec's codebooks.
        speech: What is said.
        machine: Where.

    Returns:
        Seconds.
    """
    local = lm.local
    weights = local.layers * (4 * local.width**2 + 2 * local.width * local.hidden)
    weights += lm.entries(spec.codebook_sizes[0]) * local.width
    one = _seconds(machine, 2 * speech.batch * weights, machine.width * weights, 24 * local.layers + 2)
    return spec.codebooks * one


def estimate(
    lm: LanguageModel, spec: TokenSpec, speech: Speech, machine: Hardware, cache: Cache, heads: Heads, first: int
) -> Estimate:
    """Time of one utterance by arithmetic.

    Args:
        lm: Sizes of the model.
        spec: The codec's frame rate, codebooks, lookahead and cost.
        speech: What is said.
        machine: Where.
        cache: What is kept of earlier steps.
        heads: How the codebooks of a frame are predicted.
        first: Frames of the first chunk that is decoded.

    Returns:
        Real-time factor, and seconds until the first audio.
    """
    frames, delay = speech.frames(spec), lm.delay if heads == "delay" else 0
    steps, prompt = frames + delay, speech.prompt(spec) - 1
    depth = local_seconds(lm, spec, speech, machine) if heads == "local" else 0.0
    taken = [step_seconds(lm, spec, speech, machine, cache, prompt + i + 1) + depth for i in range(steps)]
    encoder = parameters(lm, spec)["text encoder"]
    prefill = max(
        2 * speech.batch * encoder * speech.text / machine.flops_rate, encoder * machine.width / machine.bytes_rate
    )
    prefill += step_seconds(lm, spec, speech, machine, "none", prompt + 1)
    codec = 2e9 * (spec.gmac or 0.0) / (machine.flops_rate / 2)  # a second of audio
    ahead = ceil(spec.ahead)
    wait = sum(taken[first : first + ahead + delay])
    chunk = codec * (first + ahead) / spec.frame_rate
    ttfa = prefill + sum(taken[1:first]) + wait + chunk
    lm_total = prefill + sum(taken)
    total = lm_total + codec * speech.seconds
    return Estimate(
        total / speech.seconds, ttfa, sum(taken) / steps, lm_total / total, 1 - (wait + chunk) / ttfa, wait / ttfa
    )
