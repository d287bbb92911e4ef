"""A run with its tables, tests, plots, report and gate: what the Python API returns."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from evalkit.files import expanded
from evalkit.results.run import Run, read_run

if TYPE_CHECKING:
    from evalkit.reports.gate import Verdict
    from evalkit.reports.shown import Shown


class Evaluation(Run):
    """A run whose tables print on a terminal and render in a notebook."""

    @classmethod
    def load(cls, path: Path) -> "Evaluation":
        """The run in `path`; raises UsageError if it cannot be read."""
        run = read_run(path)
        return cls(run.path, run.rows, run.provenance)

    def table(self, *others: Run, metrics: list[str] | None = None, codecs: list[str] | None = None) -> "Shown":
        """Means of this run and `others`, one table per dataset, as in `evalkit table`."""
        from evalkit.reports.shown import Shown
        from evalkit.reports.table import build_tables

        return Shown(build_tables([self, *others], metrics, codecs=codecs))

    def compare(self, *others: Run, metrics: list[str] | None = None, codecs: list[str] | None = None) -> "Shown":
        """Paired tests between every pair of codecs, as in `evalkit compare`."""
        from evalkit.reports.compare import build_comparisons
        from evalkit.reports.shown import Shown
        from evalkit.stats import DEFAULTS

        return Shown(build_comparisons([self, *others], codecs, metrics, DEFAULTS))

    def plot(self, *others: Run) -> dict[str, Any]:
        """Matplotlib figures by name, as `evalkit plot` saves them."""
        from evalkit.reports.plots import all_plots

        return dict(all_plots([self, *others]))

    def report(self, output: str | Path, *others: Run, title: str = "") -> Path:
        """Write the HTML report to `output`; returns its path."""
        from evalkit.reports.page import build_page

        path = expanded(output)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(build_page([self, *others], title), encoding="utf-8")
        return path

    def gate(self, baseline: str | Path, config: str | Path | None = None, codec: str | None = None) -> "Verdict":
        """Compare this run with a baseline, as `evalkit gate` does; `passed` of the result is the verdict."""
        from evalkit.reports.gate import check
        from evalkit.reports.gate_baseline import read_baseline
        from evalkit.reports.gate_rules import read_rules

        rules = read_rules(None if config is None else expanded(config))
        return check(self, read_baseline(expanded(baseline)), rules, codec)

    def _repr_html_(self) -> str:
        return self.table()._repr_html_()
