"""The table of one comparison of the paper: its codecs in its order, and a word on what of it was not measured."""

from collections.abc import Sequence
from dataclasses import replace

from evalkit.errors import UsageError
from evalkit.pipeline.suites import AVAILABLE, CEILING, Suite
from evalkit.results.run import Run
from evalkit.stats import DEFAULTS, Settings

from .table import Table, build_tables


def build_suite_tables(runs: Sequence[Run], suite: Suite, settings: Settings = DEFAULTS) -> list[Table]:
    """The tables of a suite.

    Args:
        runs: What to read.
        suite: Which names codecs and metrics.
        settings: How differences are judged.

    Returns:
        A table for each dataset, of those of the suite's codecs and metrics that were measured.

    Raises:
        UsageError: None was.
    """
    measured = [name for run in runs for name in run.rows["codec"].unique()]
    wanted = [codec.partition("=")[0] for codec in suite.codecs]  # rows are called by the label, where there is one
    known = [name for codec in wanted for name in (codec, f"{codec} (rendered)")]
    ceiling = [name for name in dict.fromkeys(measured) if name.partition("@")[0] == CEILING]
    codecs = [codec for codec in dict.fromkeys((*known, *suite.also, *ceiling)) if codec in measured]
    if not set(codecs) - set(ceiling):
        raise UsageError(f"no run has a codec of {suite.name}: {', '.join((*suite.codecs, *suite.also))}")
    described = [name for run in runs for name in run.provenance["metrics"]]
    asked = [metric for metric in suite.metrics if metric != AVAILABLE]
    metrics = [metric for metric in asked if metric in described]
    missing = [codec for codec in wanted if codec not in codecs and f"{codec} (rendered)" not in codecs]
    missing += [metric for metric in asked if metric not in metrics]
    notes = (f"Not measured: {', '.join(missing)}.",) if missing else ()
    return [
        replace(table, title=f"{suite.title} ({table.title})", notes=table.notes + notes)
        for table in build_tables(runs, metrics, settings, codecs)
    ]
