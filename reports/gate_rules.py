"""What a gate allows: configs/gates.yaml, or a file like it."""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import yaml

from evalkit.errors import UsageError
from evalkit.files import read_bytes
from evalkit.schema import read_yaml
from evalkit.stats import CORRECTIONS, LEVEL
from evalkit.stats.multiple import Correction


@dataclass(frozen=True)
class Margin:
    """How much worse a mean may be: `amount` in the metric's unit, or in % of the baseline's mean."""

    amount: float
    percent: bool = False

    def of(self, mean: float) -> float:
        """In the metric's unit, for a baseline with this `mean`.

        Args:
            mean: Of the baseline, in the metric's unit.

        Returns:
            The margin in that unit, 0 or more.
        """
        return abs(mean) * self.amount / 100 if self.percent else self.amount


@dataclass(frozen=True)
class Rules:
    """A gates.yaml that was read."""

    margins: Mapping[str, Margin]
    confidence: float = LEVEL
    correction: Correction = "holm"
    cluster: str | None = None
    max_failed: int = 0


def read_rules(path: Path | None = None) -> Rules:
    """Margins and how strictly they are held.

    Args:
        path: A YAML file; None for configs/gates.yaml.

    Returns:
        The rules.

    Raises:
        UsageError: The file cannot be read; the message names what is wrong in it.
    """
    source = files("evalkit.configs").joinpath("gates.yaml") if path is None else path
    name = "gates.yaml" if path is None else str(path)
    try:
        about = read_yaml((source.read_bytes() if path is None else read_bytes(path)).decode())
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
        raise UsageError(f"{name} cannot be read as YAML: {error}") from error
    known = {"confidence", "correction", "cluster", "max_failed", "metrics"}
    if not isinstance(about, dict) or not isinstance(about.get("metrics"), dict) or not about["metrics"]:
        raise UsageError(f"{name} needs a mapping `metrics` with a margin for each metric to gate")
    if unknown := sorted(map(str, set(about) - known)):
        raise UsageError(f"{name} has the unknown key(s) {', '.join(unknown)}. Known: {', '.join(sorted(known))}.")
    margins = {str(metric): _margin(name, metric, entry) for metric, entry in about.pop("metrics").items()}
    rules = Rules(margins, **about)
    if not (isinstance(rules.confidence, float) and 0.5 <= rules.confidence < 1):
        raise UsageError(f"{name}: confidence must be a number from 0.5 to below 1, not {rules.confidence!r}")
    if rules.correction not in CORRECTIONS:
        raise UsageError(f"{name}: correction must be one of {', '.join(CORRECTIONS)}, not {rules.correction!r}")
    if not isinstance(rules.max_failed, int) or rules.max_failed < 0:
        raise UsageError(f"{name}: max_failed must be a number of utterances, not {rules.max_failed!r}")
    return rules


def _margin(name: str, metric: object, entry: object) -> Margin:
    given = entry.get("margin") if isinstance(entry, dict) and set(entry) == {"margin"} else None
    text = str(given).strip()
    try:
        margin = Margin(float(text.removesuffix("%")), text.endswith("%"))
    except ValueError:
        margin = Margin(-1)
    if not 0 <= margin.amount < float("inf"):
        raise UsageError(f"{name}: {metric} needs `margin: 0.05` or `margin: 2%`, not {entry!r}")
    return margin
