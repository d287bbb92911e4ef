"""What a run is held to: a JSON file with the rows of an earlier one, and what they rest on."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from math import isfinite
from pathlib import Path
from typing import Any

import pandas as pd

from evalkit.errors import GateError, UsageError
from evalkit.files import read_bytes
from evalkit.results.provenance import DatasetInfo, MetricInfo
from evalkit.results.rows import by_condition
from evalkit.results.run import Run
from nanocodec.atomic import replacing

from .identity import audio_of

FORMAT = 1
"""Of baseline files; readers refuse a newer one."""

_KEPT = ("evalkit", "git", "started", "resampler", "codecs")
"""What a baseline keeps of its run's provenance, beside dataset and metrics."""


@dataclass(frozen=True)
class Baseline:
    """What a run is held to."""

    rows: pd.DataFrame
    about: Mapping[str, Any]
    """Where the rows come from, as in a run's provenance."""
    origin: str
    audio: Mapping[str, str] = field(default_factory=dict)
    """sha256 of the samples of each reference; empty in baselines of earlier versions."""

    @property
    def dataset(self) -> Mapping[str, Any]:
        """What the run said of its data."""
        found: Mapping[str, Any] = self.about["dataset"]
        return found

    @property
    def metrics(self) -> Mapping[str, Mapping[str, Any]]:
        """What the run said of each metric."""
        found: Mapping[str, Mapping[str, Any]] = self.about["metrics"]
        return found


def _finite(value: object) -> float:
    number = float(value)  # type: ignore[arg-type]
    if not isfinite(number):
        raise ValueError(f"a value is {number}")
    return number


def write_baseline(run: Run, path: Path) -> None:
    """Write the rows of a run that have values as a baseline.

    Args:
        run: A whole one.
        path: The file.

    Raises:
        GateError: The run is not whole.
    """
    if run.provenance["state"] != "finished":
        raise GateError(f"{run.path}: {run.provenance['state']}; a baseline needs a run that finished")
    rows = by_condition(run.rows, "codec").dropna(subset="value")
    if rows.empty:
        raise GateError(f"{run.path} has no values, so it cannot be a baseline")
    values: dict[str, dict[str, dict[str, float]]] = {}
    for codec, metric, utterance, value in rows[["codec", "metric", "utterance", "value"]].itertuples(index=False):
        values.setdefault(codec, {}).setdefault(metric, {})[utterance] = value
    provenance = run.provenance.to_json()
    about = {
        "format": FORMAT,
        **{key: provenance.get(key) for key in _KEPT},
        "dataset": provenance.get("dataset", {}),
        "metrics": provenance.get("metrics", {}),
        "audio": audio_of(run),
        "align": bool(run.provenance.align),
        "values": values,
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as partial:
        partial.write_text(json.dumps(about, indent=1, ensure_ascii=False, allow_nan=False) + "\n", encoding="utf-8")


def read_baseline(path: Path) -> Baseline:
    """Read a baseline.

    Args:
        path: The file.

    Returns:
        What was measured then.

    Raises:
        UsageError: There is none that can be read.
    """
    try:
        about = json.loads(read_bytes(path))
        if about["format"] > FORMAT:
            raise UsageError(f"{path} was written by a newer evalkit ({about.get('evalkit')}): update evalkit")
        rows = pd.DataFrame(
            [
                (codec, metric, utterance, _finite(value))
                for codec, metrics in about["values"].items()
                for metric, utterances in metrics.items()
                for utterance, value in utterances.items()
            ],
            columns=["codec", "metric", "utterance", "value"],
        )
        metrics = {metric: MetricInfo.from_json(one) for metric, one in about["metrics"].items()}
        kept = {key: about[key] for key in _KEPT} | {"align": bool(about.get("align"))}
        kept |= {"metrics": metrics, "dataset": DatasetInfo.from_json(about["dataset"])}
        found = Baseline(rows, kept, "", about.get("audio", {}))
        return replace(found, origin=f"{path}, {len(rows)} values, git {str(about['git'])[:12]}, {about['started']}")
    except FileNotFoundError as error:
        raise UsageError(f"there is no baseline {path}: write one with `evalkit gate RUN --update`") from error
    except (OSError, ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        raise UsageError(f"{path} cannot be read as a baseline: {str(error)[:200] or type(error).__name__}") from error
