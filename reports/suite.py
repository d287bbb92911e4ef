"""The table of one comparison of the paper: its codecs in its order, and a word on what of it was not measured."""

from collections.abc import Sequence
from dataclasses import replace

from evalkit.errors import UsageError
from evalkit.pipeline.suites import Suite
from evalkit.results.run import Run
from evalkit.stats import DEFAULTS, Settings

from .table import Table, build_tables


def build_suite_tables(runs: Sequence[Run], suite: Suite, settings: Settings = DEFAULTS) -> list[Table]:
    """A table for each dataset in `runs`, of those codecs and metrics of `suite` that were measured."""
    measured = [name for run in runs for name in run.rows["codec"].unique()]
    known = [name for codec in suite.codecs for name in (codec, f"{codec} (rendered)")]
    codecs = [codec for codec in (*known, *suite.also) if codec in measured]
    if not codecs:
        raise UsageError(f"no run has a codec of {suite.name}: {', '.join((*suite.codecs, *suite.also))}")
    described = [name for run in runs for name in run.provenance["metrics"]]
    metrics = [metric for metric in suite.metrics if metric in described]
    missing = [codec for codec in suite.codecs if codec not in codecs and f"{codec} (rendered)" not in codecs]
    missing += [metric for metric in suite.metrics if metric not in metrics]
    notes = (f"Not measured: {', '.join(missing)}.",) if missing else ()
    return [
        replace(table, title=f"{suite.title} ({table.title})", notes=table.notes + notes)
        for table in build_tables(runs, metrics, settings, codecs)
    ]
