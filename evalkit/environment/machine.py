"""This machine and this installation: cores, devices, versions of packages, revision of the checkout."""

import os
import platform
import re
import subprocess
import sys
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from typing import Any

from evalkit.errors import MissingError


def default_workers() -> int:
    """The cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def available_memory() -> int | None:
    """Bytes that processes may still take; None where this system does not say."""
    try:
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    except (OSError, ValueError, IndexError):
        pass
    return None


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


DISTRIBUTION = "nanocodec-evalkit"


def package_versions() -> dict[str, str]:
    """Version of every package that this distribution or one of its extras names, as far as it is installed."""
    named = {re.split(r"[^A-Za-z0-9._-]", line, maxsplit=1)[0] for line in requires(DISTRIBUTION) or ()}
    return {name: found for name in sorted(named, key=str.lower) if (found := package_version(name))}


def extras_of_users() -> dict[str, tuple[str, ...]]:
    """The packages that each extra of this distribution brings; without the one for its developers."""
    found: dict[str, list[str]] = {}
    for line in requires(DISTRIBUTION) or ():
        package, _, condition = line.partition(";")
        if (extra := re.search(r"extra == ['\"]([^'\"]+)['\"]", condition)) and extra[1] != "dev":
            found.setdefault(extra[1], []).append(re.split(r"[^A-Za-z0-9._-]", package.strip(), maxsplit=1)[0])
    return {extra: tuple(packages) for extra, packages in found.items()}


def package_version(package: str) -> str | None:
    """Version of an installed distribution."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def git_revision() -> str | None:
    """Revision of the checkout that evalkit runs from, with "+" where it has changes; None for an installed one."""
    root = Path(__file__).resolve().parents[2]
    if not (root / ".git").exists():
        return None
    try:
        answer = subprocess.run(
            ["git", "-C", str(root), "describe", "--always", "--abbrev=40", "--dirty=+"],
            capture_output=True, text=True, timeout=10, check=True,
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return None
    return answer.stdout.strip()


def describe_machine() -> dict[str, Any]:
    """What every provenance says of this program, the command, and the machine that it runs on."""
    return {
        "evalkit": package_version(DISTRIBUTION) or "",
        "git": git_revision(),
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": tuple(sys.argv),
        "python": platform.python_version(),
        "packages": package_versions(),
        "platform": platform.platform(),
        "processor": processor(),
        "cores": default_workers(),
    }


def processor() -> str:
    """Name of the processor."""
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()
