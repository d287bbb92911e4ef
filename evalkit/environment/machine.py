"""The processors of this machine: how many cores there are, and whether torch can compute on a device."""

import os

from evalkit.errors import MissingError


def default_workers() -> int:
    """The cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def check_device(device: str) -> None:
    """Raises MissingError where torch cannot compute on `device`."""
    if device == "cpu":  # without loading torch
        return
    import torch

    try:
        torch.zeros(1, device=device)
    except Exception as error:  # each backend has an exception of its own
        reason = str(error).splitlines()[0]
        raise MissingError(f"--device {device} cannot be used here: {reason}. Use --device cpu.") from error
