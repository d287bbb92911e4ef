"""The table of delta rates: what it draws, and what it says of that."""

from pathlib import Path

import numpy as np
import pytest

from evalkit.cli import main
from evalkit.errors import UsageError
from evalkit.reports.bd_rate import build_bd_rates
from evalkit.results.rows import CORPUS, Row
from evalkit.results.run import Run, read_run
from evalkit.results.run_directory import RunWriter
from evalkit.stats import Settings

METRICS = {
    "quality": {"label": "Quality", "direction": "up", "unit": "", "version": "1", "decimals": 3},
    "bitrate": {"label": "bit/s", "direction": "none", "unit": "bit/s", "version": "1", "decimals": 1},
}
RATES = (1, 2, 4, 8)


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Two families, of which the second needs twice the rate; four speakers differ in that, not their utterances."""
    names = [f"{family}@{rate}k" for family in ("first", "second") for rate in RATES]
    rng = np.random.default_rng(0)
    with RunWriter(tmp_path / "run", names, {"metrics": METRICS, "dataset": {"name": "set", "n": 40}}) as writer:
        for number in range(40):
            speaker, own = number % 4, 0.02 * rng.standard_normal()
            for level, rate in enumerate(RATES):
                for family, quality in (("first", level), ("second", level - 1 + 0.4 * (speaker - 1.5))):
                    value = float(quality + own + 0.02 * rng.standard_normal())
                    writer.add(
                        [Row(f"{family}@{rate}k", "set", f"u{number:02}", "quality", value, speaker=f"s{speaker}")]
                    )
        writer.add(Row(name, "set", CORPUS, "bitrate", 1000 * RATES[i % 4]) for i, name in enumerate(names))
    return read_run(tmp_path / "run")


def test_clusters_are_drawn_whole(run: Run) -> None:
    widths = {}
    for cluster in (None, "speaker"):
        (table,) = build_bd_rates([run], ["quality"], Settings(cluster=cluster), "first")
        _, _, _, bd, low, high, n, _ = table.rows[0]
        assert bd.value == pytest.approx(100, abs=2) and n.value == 40
        assert low.value is not None and high.value is not None and low.value < 100 < high.value
        widths[cluster] = high.value - low.value
        assert ("clusters of one speaker" if cluster else "over utterances") in table.notes[0]
    # Ten utterances a speaker that differ in nothing: drawing them one by one finds a third of the spread.
    assert widths["speaker"] > 2 * (widths[None] or 0)


def test_a_column_that_rows_do_not_have_is_refused(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(UsageError, match="the column 'language' is empty"):
        build_bd_rates([run], None, Settings(cluster="language"))
    assert main(["bd-rate", str(run.path), "--cluster", "speaker", "--anchor", "first"]) == 0
    assert "clusters of one" in capsys.readouterr().out
