"""The recipe can learn: the built-in codec's size and configuration, one excerpt, until it is all but transparent."""

import dataclasses
from pathlib import Path

import pytest
import soundfile

from evalkit.datasets import load_dataset
from nanocodec.training.config import DataConfig, Phase, load_config
from nanocodec.training.loop import Trainer
from nanocodec.training.validation import load_scorer, score

STEPS = 1600


@pytest.mark.slow
def test_one_excerpt_is_learned_by_heart(tmp_path: Path) -> None:
    """1.12 s of speech through the quantizer, against the discriminators: PESQ-WB above 3.5 (about 15 minutes)."""
    config = load_config("mini-1.1k")
    rate = config.model.sample_rate
    excerpt = load_dataset("builtin").utterances[0].audio().at(rate).wav[rate : rate + 14 * config.model.hop]
    soundfile.write(tmp_path / "speech.wav", excerpt, rate, subtype="FLOAT")
    config = dataclasses.replace(
        config,
        phases=(Phase(STEPS // 4, 1, 14, waveform=False), Phase(STEPS, 1, 14)),
        lr=4e-3, decay=3 * STEPS // 4, ema=0.99, data=DataConfig(loaders=0),
        log_every=100, save_every=STEPS, validate_every=2 * STEPS,
    )  # fmt: skip
    trainer = Trainer(config, [(str(tmp_path), 1.0)], tmp_path / "run", tmp_path / "cache")
    trainer.validate = dict  # type: ignore[method-assign]
    trainer.train()
    scores, _ = score(trainer.averaged(), [excerpt], load_scorer("evalkit.metrics.validation:score"))
    assert scores["pesq_wb"] > 3.5
