"""What validation says, and where its metrics come from."""

import numpy as np
import pytest

from nanocodec.model import NanoCodec
from nanocodec.training.config import ConfigError
from nanocodec.training.validation import code_statistics, load_scorer, score


def test_validation_scores_what_has_speech_and_nothing_else() -> None:
    codec = NanoCodec.builtin()
    time = np.arange(2 * 22050) / 22050
    voice = 0.1 * sum(np.sin(2 * np.pi * 120 * k * time) / k for k in range(1, 20)) * (np.sin(6 * time) > -0.5)
    scorer = load_scorer("evalkit.metrics.validation:score")
    scores, decoded = score(codec, [voice.astype(np.float32)], scorer)
    assert set(scores) == {"pesq_wb", "estoi", "mel", "code_coverage", "entropy_bits"}
    assert 1 <= scores["pesq_wb"] <= 4.65
    assert decoded[0].shape == voice.shape
    assert set(score(codec, [np.zeros(22050, np.float32)], scorer)[0]) == {"mel", "code_coverage", "entropy_bits"}
    assert score(codec, [], scorer) == ({}, [])


def test_code_statistics_of_known_codes() -> None:
    used, bits = code_statistics(np.array([[0, 1, 2, 3], [5, 5, 5, 5]]), 8)
    assert used == pytest.approx((1.0 + 0.25) / 2)
    assert bits == pytest.approx((2.0 + 0.0) / 2)


def test_without_a_scorer_the_codes_are_described() -> None:
    codec = NanoCodec.builtin()
    scores, decoded = score(codec, [0.1 * np.random.default_rng(0).standard_normal(22050)])
    assert set(scores) == {"code_coverage", "entropy_bits"}
    assert decoded[0].shape == (22050,)


def test_a_metric_is_averaged_over_what_it_is_defined_for() -> None:
    def scorer(reference: np.ndarray, decoded: np.ndarray, sample_rate: int) -> dict[str, float]:
        assert reference.shape == decoded.shape
        assert sample_rate == 22050
        return {"length": float(len(reference))} | ({"long": 1.0} if len(reference) > 3000 else {})

    scores, _ = score(NanoCodec.builtin(), [np.zeros(length) for length in (2000, 4000)], scorer)
    assert scores["length"] == 3000
    assert scores["long"] == 1


@pytest.mark.parametrize("name", ["nowhere:score", "json", "json:nothing", "json:__name__", ":dumps"])
def test_a_scorer_that_is_no_function_is_named(name: str) -> None:
    with pytest.raises(ConfigError, match=f"scorer {name}: "):
        load_scorer(name)
