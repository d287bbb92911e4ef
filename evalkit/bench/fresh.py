"""Start-up time and peak memory of one codec, in a process of its own: `python -m evalkit.bench.fresh` answers in JSON.

Memory is what the process holds, the interpreter and its libraries included; on a GPU what torch has allocated there.
The peak of encoding and of decoding is taken apart, each after the kernel's high-water mark was reset (Linux), else as
the high-water mark of the process so far.
"""

import json
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from evalkit.bench.contenders import Contender, contenders
from evalkit.errors import CodecError

LONGEST = 900
"""Seconds that such a process may take."""
LAST = 300
"""Characters of what a process that failed said last."""


@dataclass(frozen=True)
class Fresh:
    """Seconds from the start of the process until the codec was there, and of its first calls; memory in MB."""

    startup: float
    first_encode: float
    first_decode: float
    loaded: float
    encode: float
    decode: float


def fresh(contender: Contender, device: str, threads: int, seconds: float) -> Fresh:
    """Measure a codec in a new process.

    Args:
        contender: The codec and its weights.
        device: A device of torch.
        threads: Of torch.
        seconds: Of audio to encode and decode.

    Returns:
        Times in s, memory in MB.

    Raises:
        CodecError: It failed; the message is what the process said last.
    """
    weights = contender.choice.weights
    asked = {
        "spec": contender.spec, "weights": [str(weights)] if weights else [], "device": device, "threads": threads,
        "seconds": seconds, "started": time.time(),
    }  # fmt: skip
    command = [sys.executable, "-P", "-m", __name__, json.dumps(asked)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=LONGEST)
    except subprocess.TimeoutExpired as error:
        raise CodecError(f"its process did not end within {LONGEST} s") from error
    if done.returncode != 0:
        said = done.stderr.strip().splitlines()[-1:] or [f"exit code {done.returncode}"]
        raise CodecError(f"its process failed: {said[0][-LAST:]}")
    return Fresh(**json.loads(done.stdout.splitlines()[-1]))


def _measure(asked: dict[str, object]) -> Fresh:
    import numpy as np
    import torch

    from evalkit.bench.timing import sample

    device = str(asked["device"])
    torch.set_num_threads(int(str(asked["threads"])))
    weights = asked["weights"]
    assert isinstance(weights, list)
    codec = contenders([str(asked["spec"])], weights)[0].build(device)
    startup = time.time() - float(str(asked["started"]))
    loaded = _held(device)
    rate = codec.sample_rate or 16_000
    wav = np.random.default_rng(0).uniform(-0.1, 0.1, round(float(str(asked["seconds"])) * rate)).astype(np.float32)
    _reset(device)
    encoding = sample(lambda: codec.encode(wav)).wall
    encode, codes = _peak(device), codec.encode(wav)
    _reset(device)
    decoding = sample(lambda: codec.decode(codes)).wall
    return Fresh(startup, encoding, decoding, loaded, encode, _peak(device))


def _held(device: str) -> float:
    if device.startswith("cuda"):
        import torch

        return torch.cuda.memory_allocated(device) / 1e6
    return _status("VmRSS") or _high_water()


def _peak(device: str) -> float:
    if device.startswith("cuda"):
        import torch

        return torch.cuda.max_memory_allocated(device) / 1e6
    return _status("VmHWM") or _high_water()


def _reset(device: str) -> None:
    if device.startswith("cuda"):
        import torch

        torch.cuda.reset_peak_memory_stats(device)
        return
    with suppress(OSError):  # not Linux, or not allowed: the mark is that of the process so far
        Path("/proc/self/clear_refs").write_text("5")


def _status(name: str) -> float | None:
    """MB of a line of /proc/self/status; None where there is none."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) * 1024 / 1e6 for line in lines if line.startswith(f"{name}:")), None)


def _high_water() -> float:
    import resource

    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6


if __name__ == "__main__":
    print(json.dumps(asdict(_measure(json.loads(sys.argv[1])))))
