"""What the machine was and did while it measured: for the provenance of a bench."""

import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from evalkit.environment.machine import describe_machine

BUSY = 0.5
"""Load per core, at the beginning, above which a reader is told."""
VARIABLES = ("OMP_NUM_THREADS", "OMP_WAIT_POLICY", "MKL_NUM_THREADS", "KMP_AFFINITY", "CUDA_VISIBLE_DEVICES")
"""Of the environment, that change how fast torch computes."""


@contextmanager
def use_threads(count: int) -> Iterator[None]:
    """Let torch compute with `count` threads meanwhile: the last digits of what others compute may depend on them."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def describe(device: str, threads: int, codecs: Mapping[str, Any], **more: Any) -> dict[str, Any]:
    """Provenance of a bench that starts now.

    Args:
        device: A device of torch.
        threads: Of torch.
        codecs: What is said of each.
        **more: Further keys.

    Returns:
        JSON values.
    """
    return (
        describe_machine()
        | {
            "device": device,
            "threads": threads,
            "governor": _governor(),
            "environment": {name: os.environ[name] for name in VARIABLES if name in os.environ},
            "torch": _torch(device),
            "codecs": dict(codecs),
        }
        | more
    )


def load() -> float | None:
    """Average number of processes that wanted a core in the last minute; None where nobody counts."""
    return round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None


def busy(about: Mapping[str, Any]) -> str | None:
    """A note to readers where the machine had other work."""
    found = about.get("load")
    if found is None or found <= BUSY * about["cores"]:
        return None
    return (
        f"The machine was busy at the start (load {found:g}, cores for this bench: {about['cores']}): trust ratios and "
        "CPU seconds, not times."
    )


def _governor() -> str | None:
    try:
        return Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor").read_text().strip()
    except OSError:
        return None


def _torch(device: str) -> dict[str, Any]:
    if "torch" not in sys.modules:
        return {}
    import torch

    about: dict[str, Any] = {"threads": torch.get_num_threads()}
    if device.startswith("cuda"):
        about |= {
            "gpu": torch.cuda.get_device_name(device),
            "cuda": torch.version.cuda,
            "tf32": {"convolutions": torch.backends.cudnn.allow_tf32, "products": torch.get_float32_matmul_precision()},
        }
    return about
