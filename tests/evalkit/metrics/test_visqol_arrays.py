"""Operations on arrays in place of visqol-python's loops: equal to the package's own, with Numba and without."""

from types import SimpleNamespace

import numpy as np
import pytest

from evalkit.metrics import visqol, visqol_arrays
from evalkit.testing import example_pair

pytest.importorskip("visqol", reason="visqol-python is not installed")

from visqol import analysis_window, audio_utils, gammatone, patch_creator, patch_selector


@pytest.fixture
def without_numba(monkeypatch: pytest.MonkeyPatch) -> None:
    """The package as it is where Numba is not installed."""
    for module in ("numba_accel", "gammatone", "nsim", "patch_selector"):
        monkeypatch.setattr(f"visqol.{module}.has_numba", lambda: False)


@pytest.mark.parametrize("metric", [visqol.VISQOL_SPEECH, visqol.VISQOL_AUDIO], ids=lambda m: m.name)
def test_scores_are_the_same_without_numba(metric: visqol.Visqol, without_numba: None, monkeypatch) -> None:
    pair = example_pair(seconds=1.5, rate=metric.rate)
    calls = []
    searched = visqol_arrays.best_patches
    monkeypatch.setattr(visqol_arrays, "best_patches", lambda *args: calls.append(1) or searched(*args))
    visqol._api.cache_clear()
    found = metric.score(pair)
    with monkeypatch.context() as patch:
        patch.setattr(visqol, "without_loops", lambda manager: None)
        visqol._api.cache_clear()
        expected = metric.score(pair)
    visqol._api.cache_clear()
    assert found == pytest.approx(expected, abs=1e-9) and calls == [1]


def test_voice_is_found_where_the_package_finds_it() -> None:
    wav = example_pair(seconds=3).reference * np.linspace(0, 9, 48_000)  # from silence to far beyond full scale
    signal = SimpleNamespace(data=wav.astype(np.float64))
    expected = patch_creator.VadPatchCreator(20)._get_voice_activity(signal, 9, 47_000, 320)
    assert visqol_arrays.voice_activity(signal, 9, 47_000, 320) == expected and len(set(expected)) == 2


def test_gammatone_spectrogram_is_the_packages(without_numba: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(visqol_arrays, "BLOCK", 7)
    signal = audio_utils.AudioSignal(example_pair(seconds=0.5).decoded.astype(np.float64), 16_000)
    window = analysis_window.AnalysisWindow(16_000, 0.25)
    builder = gammatone.GammatoneSpectrogramBuilder(21, 50.0, speech_mode=True)
    expected = builder.build(signal, window).data
    builder._build_scipy = visqol_arrays.gammatone_spectrogram
    found = builder.build(signal, window).data
    assert found.shape == (21, 22) and found == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("kind", ["noise", "shifted", "constant", "lost", "short", "one"])
@pytest.mark.parametrize("block", [5, 256])
def test_patches_are_found_where_the_package_finds_them(kind: str, block: int, monkeypatch, without_numba) -> None:
    """By its loops in Python, ties and patches that are lost included."""
    monkeypatch.setattr(visqol_arrays, "BLOCK", block)
    draw = np.random.default_rng(0)
    reference = draw.uniform(0, 40, (6, 60))
    if kind == "lost":  # the first patch is where nothing follows: the second is lost
        reference[:, 1:8] = 0
    decoded = {
        "noise": reference + draw.normal(0, 9, reference.shape),
        "shifted": np.roll(reference, 5, axis=1),
        "constant": np.zeros_like(reference),
        "lost": np.concatenate([draw.uniform(0, 40, (6, 59)), reference[:, :1]], axis=1),
        "short": reference[:, :37],
        "one": reference,
    }[kind]
    starts = {"one": [3], "lost": [0, 8]}.get(kind, list(range(0, 52, 8)))
    args = [reference[:, at : at + 8] for at in starts], starts, decoded, 0.02, 8 if kind == "lost" else 2
    found, expected = visqol_arrays.best_patches(*args), patch_selector.find_most_optimal_deg_patches(*args)
    assert len(found) == len(expected) == {"one": 1, "lost": 2, "short": 6}.get(kind, 7)
    assert (kind == "lost") == any(one.deg_patch_end_time == 0 for one in expected)
    for one, other in zip(found, expected, strict=True):
        assert vars(one).keys() == vars(other).keys()
        for name, value in vars(one).items():
            assert value == pytest.approx(getattr(other, name), abs=1e-12), name


def test_nothing_to_find() -> None:
    patch = np.zeros((6, 8))
    with pytest.raises(ValueError, match="too short"):
        visqol_arrays.best_patches([patch], [50], np.zeros((6, 9)), 0.02)
