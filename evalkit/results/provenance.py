"""Where a run's numbers come from: everything one needs to get them again, or to see why one does not."""

import os
import platform
import subprocess
import sys
from collections.abc import Iterable
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from evalkit import __version__
from evalkit.audio import RESAMPLER
from evalkit.environment.machine import default_workers
from evalkit.metrics.base import SCORE_RATE
from evalkit.metrics.load import load_metric
from evalkit.metrics.model import ModelMetric
from evalkit.stats import DEFAULTS

PACKAGES = (
    "numpy",
    "scipy",
    "soundfile",
    "soxr",
    "pesq",
    "pystoi",
    "pandas",
    "pyarrow",
    "torch",
    "torchaudio",
    "transformers",
    "speechbrain",
    "speechmos",
    "onnxruntime",
    "jiwer",
    "datasets",
    "av",
    "pycodec2",
)


def describe(metrics: Iterable[str], **more: Any) -> dict[str, Any]:
    """Provenance of a run that starts now; `more` are the parts that only the caller knows."""
    return {
        "evalkit": __version__,
        "git": _git_revision(),
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": sys.argv,
        "python": platform.python_version(),
        "packages": {name: found for name in PACKAGES if (found := _version(name))},
        "platform": platform.platform(),
        "processor": _processor(),
        "cores": default_workers(),
        "score_rate": SCORE_RATE,
        "resampler": RESAMPLER,
        "intervals": DEFAULTS.describe(),
        "metrics": {row: about for name in metrics for row, about in _describe_metric(name).items()},
    } | more


def _describe_metric(name: str) -> dict[str, dict[str, Any]]:
    """What is said of a metric, under its name, and of the rows that it pools over a dataset, under theirs."""
    metric = load_metric(name)
    said = ("label", "direction", "unit", "version", "decimals", "ranks", "skewed")
    about = {key: getattr(metric, key) for key in said}
    if isinstance(metric, ModelMetric):
        about |= {"settings": metric.choices, **metric.identity()}
        del about["metric"]
    described = {name: about}
    for row in getattr(metric, "pooled_names", ()):
        described[row] = about | {"label": f"{about['label']} corpus", "of": name}
    return described


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _git_revision() -> str | None:
    """Revision of the checkout that evalkit runs from, with "+" where it has changes; None for an installed one."""
    root = Path(__file__).resolve().parent.parent
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


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or os.uname().machine
