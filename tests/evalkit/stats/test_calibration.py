"""The simulation that the statistics are held to: a part of it always, all of it by `make test-slow`."""

from pathlib import Path

import pandas as pd
import pytest

from evalkit.stats.calibration import (
    HEAD,
    SIZES,
    SKEWED,
    SYMMETRIC,
    Simulation,
    line,
    main,
    real,
    simulate,
    simulate_all,
)

ROWS = Path(__file__).parents[3] / "reports" / "examples" / "authors-demo" / "rows.csv"


def check(cell: Simulation) -> None:
    assert not cell.broken(), f"{', '.join(cell.broken())}\n{HEAD}\n{line(cell)}"


@pytest.mark.parametrize("clustered", [False, True])
@pytest.mark.parametrize("n", [6, 12])
def test_no_false_winners_in_small_tables(n: int, clustered: bool) -> None:
    for kind in ("normal", "normal, rounded to halves"):
        check(simulate(kind, SYMMETRIC[kind], n, clustered, families=60))


def test_real_differences_name_no_more_winners_than_t() -> None:
    for kind, draw in real(pd.read_csv(ROWS)).items():
        cell = simulate(kind, draw, 12, False, families=60)
        check(cell)
        assert cell.winners <= cell.winners_t


def test_a_cell_says_what_it_breaks() -> None:
    good = Simulation("normal", 45, False, 200, 0.05, 0.05, 0.05, 0.05, 0.95, 0.9, 0.9)
    assert not good.broken()
    assert Simulation("normal", 45, False, 200, 0.09, 0.9, 0.09, 0.9, 0.9, 0.5, 0.9).broken() == [
        "false winners", "false alarms", "coverage", "power",
    ]  # fmt: skip
    assert not Simulation("log-normal, sigma 1", 45, False, 200, 0.3, 0.7, 0.3, 0.7, 0.94, 0.9, 0.9).broken()


def test_the_command(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("evalkit.stats.calibration.SIZES", (6,))
    monkeypatch.setattr("evalkit.stats.calibration.SKEWED", {})
    assert main(["--families", "20"]) == 0
    assert "| normal, clustered | 6 | 0.0" in capsys.readouterr().out


@pytest.mark.slow
def test_the_whole_simulation() -> None:
    cells = list(simulate_all(SYMMETRIC | real(pd.read_csv(ROWS)) | SKEWED, SIZES, families=100))
    broken = [line(cell) for cell in cells if cell.broken()]
    assert len(cells) == 2 * 8 * len(SIZES) and not broken, "\n".join([HEAD, *broken])
