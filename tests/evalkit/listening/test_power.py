"""Power as the formula has it, beside panels that are simulated and tested as real ones are."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from evalkit.cli import main
from evalkit.listening.collect import CROSSED, collect
from evalkit.listening.export import export
from evalkit.listening.power import Spread, components, listeners_needed, power, spread_of
from evalkit.results.run import Run
from evalkit.stats import Settings, all_pairs, compare, compare_codecs
from evalkit.stats.means import Means, units_of

Panel = Callable[..., Path]
SPREAD = Spread(6.0, 6.0, 15.0)


def differences(rng: np.random.Generator, listeners: int, items: int, true: float) -> np.ndarray:
    of = (SPREAD.listener * rng.standard_normal((listeners, 1)), SPREAD.item * rng.standard_normal((1, items)))
    return true + of[0] + of[1] + SPREAD.rating * rng.standard_normal((listeners, items))


def test_more_of_either_help_until_the_other_is_the_limit() -> None:
    assert power(5, 12, 12, SPREAD) < power(5, 24, 12, SPREAD) < power(5, 24, 24, SPREAD)
    assert power(5, 10_000, 8, SPREAD) == pytest.approx(power(5, 20_000, 8, SPREAD), abs=1e-3)
    assert power(0, 20, 20, SPREAD) == pytest.approx(0.05, abs=1e-6) and power(50, 5, 20, SPREAD) == 0
    assert power(5, 20, 20, SPREAD, comparisons=10) < power(5, 20, 20, SPREAD)
    fewest = listeners_needed(8, 12, SPREAD)
    assert fewest is not None and power(8, fewest, 12, SPREAD) >= 0.8 > power(8, fewest - 1, 12, SPREAD)
    assert listeners_needed(2, 12, SPREAD) is None


def test_components_of_known_differences() -> None:
    rng = np.random.default_rng(0)
    found = np.mean([components(differences(rng, 30, 20, 5.0)) for _ in range(200)], axis=0)
    assert found == pytest.approx([36, 36, 225], rel=0.1)


def test_crossed_errors_are_those_of_the_model() -> None:
    """The variance of the mean over many panels, beside what each panel says of it."""
    rng = np.random.default_rng(1)
    clusters = [(str(n), str(m)) for n in range(15) for m in range(10)]
    means, errors = [], []
    for _ in range(300):
        values = differences(rng, 15, 10, 0.0).reshape(-1, 1)
        found = Means.crossed(values, units_of(values, clusters))
        means.append(found.mean[0])
        errors.append(found.error[0] ** 2)
    true = 36 / 15 + 36 / 10 + 225 / 150
    assert np.var(means) == pytest.approx(true, rel=0.2) and np.mean(errors) == pytest.approx(true, rel=0.1)


def test_the_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["listen", "power", "--difference", "8", "--items", "12", "--comparisons", "3"]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "corrected over 3 comparisons" in said and "12 items: " in said and "(assumed; --pilot" in said
    for wrong in (
        ["--difference", "0"],
        ["--difference", "5", "--sd-item", "-1"],
        ["--difference", "inf"],
        ["--difference", "5", "--sd-item", "nan"],
        ["--difference", "5", "--pilot", "no"],
    ):
        assert main(["listen", "power", *wrong]) == 2
    capsys.readouterr()
    assert main(["listen"]) == 2


def test_a_pilot_says_how_much_listeners_differ(heard: Run, panel: Panel, tmp_path: Path) -> None:
    kit, _ = export(heard, "mushra", tmp_path / "kit")
    means = dict.fromkeys(kit.systems.values(), 50.0)
    answers = panel(tmp_path / "a.csv", kit, listeners=40, spread=(4, 4, 10), means=means)
    run, _ = collect(kit, [answers], tmp_path / "run")
    found = spread_of(run.rows, "mushra")
    assert found.rating == pytest.approx(10 * 2**0.5, rel=0.1)
    assert found.listener == pytest.approx(4 * 2**0.5, rel=0.4) and found.item == pytest.approx(4 * 2**0.5, rel=0.5)
    assert main(["listen", "power", "--difference", "5", "--pilot", str(run.path)]) == 0
    assert main(["listen", "power", "--difference", "5", "--pilot", str(heard.path)]) == 2


@pytest.mark.slow
@pytest.mark.parametrize(("true", "listeners", "items"), [(0.0, 15, 10), (8.0, 15, 10), (8.0, 20, 12), (6.0, 30, 16)])
def test_simulated_panels_have_the_stated_power(true: float, listeners: int, items: int) -> None:
    """300 panels each; the standard error of a share is 2.9 % at most."""
    rng = np.random.default_rng(2)
    clusters = [(str(n), str(m)) for n in range(listeners) for m in range(items)]
    columns = np.stack([differences(rng, listeners, items, true).reshape(-1) for _ in range(300)], 1)
    found = float(np.mean([one.p < 0.05 for one in compare(columns, clusters)]))
    stated = power(true, listeners, items, SPREAD)
    if true:
        assert found == pytest.approx(stated, abs=0.08)
    else:
        assert found <= 0.09


@pytest.mark.slow
def test_the_true_ordering_is_recovered_with_the_stated_power(heard: Run, panel: Panel, tmp_path: Path) -> None:
    """Three systems 8 points apart, 30 panels, imported and compared: the two neighbouring pairs are found as often as
    the formula says."""
    kit, _ = export(heard, "mushra", tmp_path / "kit")
    means = {"good@2k": 66.0, "fair@1k": 58.0, "bad@1k": 50.0}
    own = Spread(3 * 2**0.5, 3 * 2**0.5, 10 * 2**0.5)
    stated = power(8, 15, 12, own, comparisons=3)
    right = []
    for seed in range(30):
        answers = panel(tmp_path / "a.csv", kit, listeners=15, seed=seed, spread=(3, 3, 10), means=means)
        run, _ = collect(kit, [answers], tmp_path / "run", overwrite=True)
        for found in compare_codecs(run.rows, all_pairs(means, ["mushra"]), Settings(cluster=CROSSED)):
            assert not found.significant or found.test.difference > 0, "never the wrong way round"
            if {found.request.a, found.request.b} != {"good@2k", "bad@1k"}:
                right.append(found.significant)
    assert 0.6 < stated < 0.98 and stated - 0.15 < np.mean(right)
