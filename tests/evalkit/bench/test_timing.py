"""Rounds, medians, paired ratios and energy counters."""

import time
from pathlib import Path

import numpy as np
import pytest

from evalkit.bench import energy, timing
from evalkit.bench.ratios import exceeds, median, ratio
from evalkit.bench.timing import CALIBRATION, drift, rounds, sample


def test_every_round_takes_every_job_and_the_next_goes_the_other_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timing, "SHORTEST", 0.0)
    called: list[str] = []
    jobs = {name: (lambda name=name: called.append(name)) for name in "abc"}
    found = list(rounds(jobs, 3, warm_up=2))
    assert "".join(called) == "abcabc" + "abc" + "cba" + "abc"
    assert [list(taken) for taken in found] == [["a", "b", "c", CALIBRATION]] * 3


def test_short_jobs_are_called_often_enough_to_be_timed() -> None:
    calls = 0

    def job() -> None:
        nonlocal calls
        calls += 1
        time.sleep(0.005)

    (taken,) = rounds({"short": job}, 1)
    assert calls > 2 + 1 and 0.004 < taken["short"].wall < timing.SHORTEST


def test_wall_and_cpu_seconds_are_told_apart() -> None:
    asleep = sample(lambda: time.sleep(0.1))
    assert asleep.wall >= 0.1 and asleep.cpu < 0.05 and asleep.joules is None

    def work() -> None:
        until = time.process_time() + 0.1
        while time.process_time() < until:
            pass

    assert sample(work).cpu >= 0.1


def test_joules_are_those_of_the_call() -> None:
    counter = iter([10.0, 13.0])
    assert sample(lambda: None, lambda: next(counter)).joules == 3.0


def test_drift_is_how_far_the_machine_moved() -> None:
    assert drift([1.0] * 9) == 0 and drift([1.0, 1.2] * 10) == pytest.approx(0.1 / 1.1)


@pytest.mark.parametrize(("n", "low", "high"), [(6, 1, 6), (7, 1, 7), (9, 2, 8), (12, 3, 10), (20, 6, 15)])
def test_intervals_of_a_median_lie_between_the_order_statistics_of_the_sign_test(n: int, low: int, high: int) -> None:
    """Conover, Practical Nonparametric Statistics, table A3."""
    middle, interval = median(np.arange(1, n + 1)[::-1])
    assert (interval.low, interval.high) == (low, high) and middle == (n + 1) / 2


def test_five_rounds_promise_nothing() -> None:
    assert not median([1, 2, 3, 4, 5])[1].known


def test_intervals_hold_what_they_promise_where_a_neighbour_is_busy() -> None:
    """Times with bursts that slow a round tenfold: ratios stay right, and their intervals cover in 95 % of benches."""
    rng = np.random.default_rng(0)
    covered = off = 0
    for _ in range(400):
        load = np.where(rng.random(9) < 0.3, 10.0, 1.0)  # of the round
        own = np.exp(0.05 * rng.standard_normal((2, 9)))
        middle, interval = ratio(2.0 * load * own[0], load * own[1])
        covered += 2.0 in interval
        off += abs(middle / 2 - 1) > 0.1
    assert covered / 400 >= 0.94 and off / 400 < 0.02


def test_a_ratio_is_held_to_a_limit_by_the_signs_of_its_rounds() -> None:
    fast, slow = np.full(8, 1.0), np.full(8, 1.3)
    assert exceeds(slow, fast, 1.2) == pytest.approx(0.5**8)
    assert exceeds(slow, fast, 1.4) == 1.0 and exceeds(fast, fast, 1.0) == 1.0


def zone(folder: Path, name: str, joules: float, top: int = 1_000_000_000) -> Path:
    path = folder / name
    path.mkdir(parents=True, exist_ok=True)
    (path / "energy_uj").write_text(f"{round(joules * 1e6)}\n")
    (path / "max_energy_range_uj").write_text(f"{top}\n")
    return path


def test_energy_is_the_sum_of_the_packages_and_survives_a_counter_that_begins_anew(tmp_path: Path) -> None:
    first = zone(tmp_path, "intel-rapl:0", 990.0)
    zone(tmp_path, "intel-rapl:1", 5.0)
    zone(tmp_path, "intel-rapl:0:0", 400.0)  # a part of a package
    meter, counter = energy.meter("cpu", tmp_path)
    assert meter is not None and counter == "RAPL, entire CPU packages"
    before = meter()
    (first / "energy_uj").write_text("20000000\n")
    assert meter() - before == pytest.approx(1000 - 990 + 20)


def test_a_machine_without_a_counter_says_so(tmp_path: Path) -> None:
    meter, reason = energy.meter("cpu", tmp_path)
    assert meter is None and "no energy counter" in reason
    broken = zone(tmp_path, "intel-rapl:0", 1.0)
    (broken / "energy_uj").unlink()
    meter, reason = energy.meter("cpu", tmp_path)
    assert meter is None and "cannot be read" in reason
