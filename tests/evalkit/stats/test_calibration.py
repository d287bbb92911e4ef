"""The simulation that the statistics are held to: a part of it always, all of it by `make test-slow`."""

from pathlib import Path

import pandas as pd
import pytest

from evalkit.stats import calibration
from evalkit.stats.calibration import (
    HEAD,
    SIZES,
    SKEWED,
    SYMMETRIC,
    Draw,
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
    assert "| normal, clustered | 6 | 20 | 0.0" in capsys.readouterr().out


def test_what_breaks_a_promise_by_chance_is_simulated_again(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []

    def simulated(kind: str, draw: Draw, n: int, clustered: bool, families: int, seed: int = 7) -> Simulation:
        asked.append(families)
        winners = 0.2 if kind == "bad" or (kind == "lucky" and families == 100) else 0.05
        return Simulation("normal", n, clustered, families, winners, 0.05, 0.05, 0.05, 0.95, 0.9, 0.9)

    monkeypatch.setattr(calibration, "simulate", simulated)
    cells = list(simulate_all(dict.fromkeys(("good", "lucky", "bad"), SYMMETRIC["normal"]), (45,), 100))
    assert asked == 2 * [100, 100, 500, 100, 500]
    assert [(cell.families, cell.broken()) for cell in cells[:3]] == [(100, []), (500, []), (500, ["false winners"])]


@pytest.mark.slow
def test_the_whole_simulation() -> None:
    cells = list(simulate_all(SYMMETRIC | real(pd.read_csv(ROWS)) | SKEWED, SIZES, families=100))
    broken = [line(cell) for cell in cells if cell.broken()]
    assert len(cells) == 2 * 8 * len(SIZES) and not broken, "\n".join([HEAD, *broken])
