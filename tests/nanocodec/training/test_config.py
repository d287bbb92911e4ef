"""Training configurations: built in, by name, by file, and what is wrong with them."""

import dataclasses
from pathlib import Path

import pytest

from nanocodec.config import get_config
from nanocodec.training.config import ConfigError, Phase, TrainConfig, builtin_configs, load_config


def test_the_learning_rate_warms_up_holds_and_decays() -> None:
    phases = (Phase(20, 1, 1), Phase(40, 1, 1, lr_scale=0.5))
    config = TrainConfig(get_config("mini-1.1k"), phases, lr=1.0, warmup=4, decay=10, gamma=1.0)
    rates = [config.lr_at(step) for step in range(40)]
    assert rates[:5] == [0.25, 0.5, 0.75, 1.0, 1.0]
    assert rates[20:31] == [0.5] * 11
    assert rates[35] == pytest.approx(0.25)
    assert config.with_steps(10).phases == (Phase(10, 1, 1),)
    assert config.with_steps(30).phases[-1].until == 30
    assert config.with_steps(60).phases[-1].until == 60
    assert len(config.with_steps(60).phases) == 2


@pytest.mark.parametrize("name", sorted(set(builtin_configs()) - {"paper"}))
def test_a_shipped_configuration_loads(name: str) -> None:
    config = load_config(name)
    assert load_config(builtin_configs()[name]) == config
    assert config.scorer == "evalkit.metrics.validation:score"
    assert config.phases[-1].quantized == 1.0
    assert config.discriminators is not None
    if name.startswith("nanocodec-"):
        assert config.model.decoder.base_channels == 864
        assert config.lr == 2e-4
        assert config.betas == (0.8, 0.99)
        assert config.losses.stft == 20.0
        assert 1.0 <= config.phases[0].frames / config.model.frame_rate <= 1.3


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "not readable as YAML"),
        ("- 1", "must be a mapping"),
        ("model: mini-1.1k", "'phases' is missing"),
        ("model: 2k\nphases: [{until: 1, batch: 1, frames: 1}]", "unknown NanoCodec variant '2k'"),
        ("model: mini-1.1k\nphases: [{until: 1, batch: 1}]", "frames"),
        ("model: mini-1.1k\nspeed: 3\nphases: [{until: 1, batch: 1, frames: 1}]", "unknown key 'speed'"),
        ("model: mini-1.1k\ndata: {speeed: 3}\nphases: [{until: 1, batch: 1, frames: 1}]", "unknown key 'speeed'"),
        ("model: mini-1.1k\noptimizer: muon\nphases: [{until: 1, batch: 1, frames: 1}]", "weight_norm: false"),
        ("model: mini-1.1k\nphases: [{until: 1, batch: 1, frames: 1, waveform: false}]", "auxiliary_heads"),
        (
            "model: mini-1.1k\nauxiliary_heads: {}\n"
            "phases: [{until: 1, batch: 1, frames: 1, waveform: false, auxiliary_heads: false}]",
            "auxiliary_heads",
        ),
        ("model: mini-1.1k\ndiscriminators: {periods: two}\nphases: [{until: 1, batch: 1, frames: 1}]", "periods"),
        ("extends: bad.yaml", "extends itself"),
        ("extends: gone.yaml", "no such file"),
        ("model: mini-1.1k\nlr: fast\nphases: [{until: 1, batch: 1, frames: 1}]", "lr"),
        ("model: mini-1.1k\nphases: [{until: 5, batch: 1, frames: 1}, {until: 4, batch: 1, frames: 1}]", "increasing"),
    ],
)
def test_a_bad_configuration_is_named(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=message) as caught:
        load_config(path)
    assert str(tmp_path) in str(caught.value)


def test_a_configuration_may_extend_a_built_in_one_and_a_file_comes_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("mine.yaml").write_text("extends: mini-1.1k\nlr: 0.5\n")
    assert load_config("mine.yaml") == dataclasses.replace(load_config("mini-1.1k"), lr=0.5)
    Path("mini-1.1k").mkdir()  # a run's folder, say
    assert load_config("mini-1.1k").lr != 0.5
    Path("paper").write_text("extends: mine.yaml\nlr: 0.25\n")
    assert load_config("paper").lr == 0.25
    assert load_config(Path("paper")).lr == 0.25


def test_what_is_neither_a_file_nor_built_in_is_said_with_the_names_that_are(tmp_path: Path) -> None:
    for name in ("mini", str(tmp_path / "mini-1.1k")):
        with pytest.raises(ConfigError, match=r"no such file, nor the name .*\(mini-1.1k, .*nanocodec-0.6k") as caught:
            load_config(name)
        assert str(caught.value).startswith(name)
