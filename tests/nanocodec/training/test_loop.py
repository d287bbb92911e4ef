"""The trainer: losses fall, a resumed run is the same run, and what it says and leaves behind."""

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml

from nanocodec.checkpoint import load
from nanocodec.cli import main
from nanocodec.config import DecoderConfig, EncoderConfig, get_config
from nanocodec.model import NanoCodec
from nanocodec.training.config import AuxiliaryWeights, ConfigError, DataConfig, LossWeights, Phase, TrainConfig
from nanocodec.training.data import DataError
from nanocodec.training.discriminators import DiscriminatorConfig
from nanocodec.training.loop import Trainer, duration

TINY = dataclasses.replace(
    get_config("mini-1.1k"), encoder=EncoderConfig(2, (3,), (1,)), decoder=DecoderConfig(32, (3,), (1,))
)


DISCRIMINATORS = DiscriminatorConfig(
    periods=(2, 3), period_channels=(2, 4), resolutions=(256,), bands=((0.0, 0.5), (0.5, 1.0)), stft_channels=2
)


RUN = TrainConfig(
    model=TINY,
    phases=(
        Phase(until=3, batch=4, frames=2, waveform=False, quantized=0.5),
        Phase(until=4, batch=4, frames=2, quantized=0.5),
        Phase(until=5, batch=4, frames=2, auxiliary_heads=False),
        Phase(until=7, batch=4, frames=2, freeze_encoder=True),
    ),
    optimizer="muon",
    lr=4e-3,
    weight_norm=False,
    standardize=True,
    auxiliary_heads=AuxiliaryWeights(),
    losses=LossWeights(mel=0, stft=0, spectral=1),
    n_ffts=(512, 256),
    n_mels=(20, 0),
    discriminators=DISCRIMINATORS,
    discriminator_every=1,
    warmup=2,
    decay=3,
    clip=1.0,
    data=DataConfig(level=0.06, gain_db=6, speed=1.1, eq_db=6, room=0.3, loaders=0),
    save_every=2,
    log_every=1,
    validate_every=100,
    validation_utterances=2,
)


PAPER = dataclasses.replace(
    TrainConfig(model=TINY, phases=(Phase(until=4, batch=2, frames=2),)),
    discriminators=DISCRIMINATORS, log_every=1, save_every=2, validate_every=100, data=DataConfig(loaders=0),
)  # fmt: skip


def trainer(config: TrainConfig, data: Path, run: Path) -> Trainer:
    return Trainer(config, [(str(data), 1.0)], run, data.parent / "cache")


def rows(run: Path) -> list[dict]:
    return [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]


def quiet(text: str) -> None:
    pass


@pytest.fixture(scope="module")
def whole_run(speechlike: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Trainer, Path]:
    run = tmp_path_factory.mktemp("whole")
    made = trainer(RUN, speechlike, run)
    made.validate = dict  # type: ignore[method-assign]  # scored elsewhere
    made.train(quiet)
    return made, run


@pytest.mark.parametrize("config", [RUN, PAPER], ids=["short recipe", "paper's recipe"])
def test_resume_is_bit_identical(
    config: TrainConfig, whole_run: tuple[Trainer, Path], speechlike: Path, tmp_path: Path
) -> None:
    first, second = (trainer(config, speechlike, tmp_path / "cut") for _ in range(2))
    reference, whole = (
        whole_run if config is RUN else (trainer(config, speechlike, tmp_path / "whole"), tmp_path / "whole")
    )
    for made in (reference, first, second):
        made.validate = dict  # type: ignore[method-assign]  # scored elsewhere
    if config is not RUN:
        reference.train(quiet)
    kill_at = config.steps - 1 - config.steps % 2

    class Killed(Exception):
        pass

    def kill(text: str) -> None:
        if text.startswith(f"step {kill_at} "):  # the last saved state is the one before
            raise Killed

    with pytest.raises(Killed):
        first.train(kill)
    assert second.resume()
    assert second.step == kill_at - 1
    assert [row["step"] for row in rows(tmp_path / "cut")] == list(range(1, kill_at))
    second.train(quiet)
    for name, tensor in reference.training_model.state_dict().items():
        assert torch.equal(tensor, second.training_model.state_dict()[name]), name
    for name, tensor in reference.discriminators.state_dict().items():
        assert torch.equal(tensor, second.discriminators.state_dict()[name]), name
    for a, b in zip(reference.average, second.average, strict=True):
        assert torch.equal(a, b)
    drop = {"audio_s_per_s", "code_coverage", "entropy_bits"}  # speed, and statistics that begin anew
    curves = [
        [{key: value for key, value in row.items() if key not in drop} for row in rows(run)]
        for run in (whole, tmp_path / "cut")
    ]
    assert curves[0] == curves[1]


@pytest.mark.slow
@pytest.mark.parametrize("steps", [(1, 2, 3), (8, 14, 20)], ids=str)
def test_two_processes_lose_what_one_does(steps: tuple[int, int, int], speechlike: Path, tmp_path: Path) -> None:
    """Two processes of batch 2 against one of batch 4: the first losses, to numerical noise."""
    size = {"batch": 4, "frames": 2}
    first, second, last = steps
    phases = [{"until": first, "waveform": False}, {"until": second}, {"until": last, "freeze_encoder": True}]
    settings = {
        "phases": [{**phase, **size} for phase in phases],
        "lr": 5e-4,
        "save_every": last,
        "validation_utterances": 1,
        "scorer": "evalkit.metrics.validation:score",
    }
    config = tmp_path / "config.yaml"
    config.write_text(yaml.safe_dump({**json.loads(json.dumps(dataclasses.asdict(RUN))), **settings}))
    curves = []
    for devices in ("1", "2"):
        run = tmp_path / devices
        command = ["train", str(config), "--data", str(speechlike), "--run", str(run), "--devices", devices]
        if devices == "1":
            assert main(command) == 0
        else:
            environment = {**os.environ, "CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"}
            subprocess.run([sys.executable, "-m", "nanocodec.cli", *command], check=True, env=environment, timeout=600)
        curves.append([row["loss"] for row in rows(run) if row["kind"] == "train"])
        (validation,) = (row for row in rows(run) if row["kind"] == "validation")
        assert {"mel", "code_coverage", "entropy_bits"} <= set(validation)
    assert len(curves[0]) == last
    assert curves[0] == pytest.approx(curves[1], rel=1e-3)
    assert (tmp_path / "2" / "codec.safetensors").exists()


@pytest.mark.parametrize("damage", ["truncated", "empty", "another model"])
def test_a_state_that_cannot_be_resumed_is_named(
    damage: str, whole_run: tuple[Trainer, Path], speechlike: Path, tmp_path: Path
) -> None:
    state = (whole_run[1] / "state.pt").read_bytes()
    (tmp_path / "state.pt").write_bytes({"truncated": state[:5000], "empty": b""}.get(damage, state))
    model = dataclasses.replace(TINY, num_codebooks=4) if damage == "another model" else TINY
    with pytest.raises(DataError, match=r"state\.pt: cannot be resumed"):
        trainer(dataclasses.replace(RUN, model=model), speechlike, tmp_path).resume()


def test_the_log_and_the_shipped_weights(whole_run: tuple[Trainer, Path]) -> None:
    reference, run = whole_run
    log = rows(run)
    assert [row["step"] for row in log if row["kind"] == "train"] == [1, 2, 3, 4, 5, 6, 7]
    assert "spectral" not in log[0]
    assert "spectral" in log[3]
    assert "adversarial" not in log[0]
    assert {"adversarial", "feature_matching", "discriminator"} <= set(log[3])
    assert log[0]["audio_seconds"] == pytest.approx(4 * 2 * 1764 / 22050, abs=0.06)
    assert list((run / "tensorboard").iterdir())
    codec = load(run / "codec.safetensors")
    assert codec.config == TINY
    audio = torch.from_numpy(reference.excerpts.batch(99, 2, 4 * 1764))
    with torch.no_grad():
        assert torch.equal(codec.encode(audio)[0], reference.averaged().encode(audio)[0])
        latent, _ = codec.encode_latent(torch.from_numpy(reference.excerpts.batch(2**31, 32, 2 * 1764)))
    torch.testing.assert_close(latent.std(dim=(0, 2)), torch.full((32,), 0.9), atol=1e-2, rtol=0)


def test_a_frozen_encoder_keeps_its_codes(speechlike: Path, tmp_path: Path) -> None:
    made = trainer(RUN, speechlike, tmp_path)
    audio = torch.from_numpy(made.excerpts.batch(99, 2, 4 * 1764))
    seen = []
    made.validate = dict  # type: ignore[method-assign]
    made.save = lambda: seen.append(made.averaged().encode(audio)[0])  # type: ignore[method-assign]
    config = dataclasses.replace(RUN, save_every=1)
    made.config = config
    made.train(quiet)
    codes = dict(enumerate(seen, start=1))
    assert not torch.equal(codes[4], codes[5])
    assert torch.equal(codes[6], codes[5])
    assert torch.equal(codes[7], codes[5])


@pytest.mark.slow
@pytest.mark.parametrize("base", [RUN, PAPER], ids=["short recipe", "paper's recipe"])
def test_a_few_steps_reduce_the_loss(base: TrainConfig, speechlike: Path, tmp_path: Path) -> None:
    phase = Phase(until=25, batch=4, frames=3)
    config = dataclasses.replace(base, phases=(phase,), lr=1.5e-2 if base is RUN else 2e-3, decay=15, save_every=99)
    made = trainer(config, speechlike, tmp_path)
    made.save = lambda: None  # type: ignore[method-assign]
    made.validate = dict  # type: ignore[method-assign]
    fixed = torch.from_numpy(made.excerpts.batch(10**6, 8, 3 * 1764))
    noise, every = torch.zeros(8, 32, 3), torch.ones(8, 1, 1, dtype=torch.bool)

    def loss() -> float:
        with torch.no_grad():
            return float(made.training_model(fixed, noise, every, True, True, False).loss)

    before = loss()
    made.train(quiet)
    assert loss() < 0.95 * before


def test_mixed_precision_loses_what_float32_does(
    whole_run: tuple[Trainer, Path], speechlike: Path, tmp_path: Path
) -> None:
    assert RUN.precision == "32-true"
    made = trainer(dataclasses.replace(RUN, precision="bf16-mixed"), speechlike, tmp_path)
    made.validate = dict  # type: ignore[method-assign]
    made.train(quiet)
    assert {p.dtype for p in made.parameters} == {torch.float32}
    curves = [[row["loss"] for row in rows(run) if row["kind"] == "train"] for run in (whole_run[1], tmp_path)]
    assert curves[0] != curves[1]
    assert curves[0] == pytest.approx(curves[1], rel=0.05)


def test_training_starts_from_trained_weights(speechlike: Path, tmp_path: Path) -> None:
    start = NanoCodec(TINY).fold()
    for config, run in ((RUN, "plain"), (PAPER, "normed")):
        made = Trainer(config, [(str(speechlike), 1.0)], tmp_path / run, tmp_path, start=start)
        audio = torch.from_numpy(made.excerpts.batch(0, 1, 4 * 1764))
        with torch.no_grad():
            torch.testing.assert_close(made.training_model.codec(audio), start(audio), atol=1e-6, rtol=1e-5)


def test_a_start_gets_back_the_scale_that_learning_rates_are_made_for(speechlike: Path, tmp_path: Path) -> None:
    torch.manual_seed(0)
    start = NanoCodec(TINY).fold().eval()
    last = start.audio_encoder.post_conv.conv
    with torch.no_grad():  # as a long run leaves it: `fold_standardization` divides by whatever spread there was
        last.weight.mul_(1e-4)
        last.bias.mul_(1e-4)
    made = Trainer(RUN, [(str(speechlike), 1.0)], tmp_path / "run", tmp_path, start=start)
    audio = torch.from_numpy(made.excerpts.batch(0, 4, 2 * 1764))
    with torch.no_grad():
        raw, _ = made.training_model.encode(audio)
        wanted, _ = start.encode_latent(audio)
        torch.testing.assert_close(made.training_model.standardize(raw), wanted, atol=1e-9, rtol=1e-4)
    weight = made.training_model.codec.audio_encoder.post_conv.conv.weight
    assert weight.square().mean().item() == pytest.approx(1 / weight[0].numel(), rel=1e-4)
    spread = made.training_model.latent_std.clone()
    made.train_step(audio)
    assert (made.training_model.latent_std / spread - 1).abs().max() < 0.05, (
        "one batch must not undo what a run has learned"
    )


def test_a_state_of_an_earlier_layout_is_refused(speechlike: Path, tmp_path: Path) -> None:
    torch.save({"step": 3, "weights": {}}, tmp_path / "state.pt")
    with pytest.raises(DataError, match=r"an earlier version wrote it: start a new run with --start"):
        trainer(RUN, speechlike, tmp_path).resume()


def test_a_line_that_a_killed_run_did_not_finish_is_dropped(
    whole_run: tuple[Trainer, Path], speechlike: Path, tmp_path: Path
) -> None:
    (tmp_path / "state.pt").write_bytes((whole_run[1] / "state.pt").read_bytes())
    (tmp_path / "log.jsonl").write_text((whole_run[1] / "log.jsonl").read_text() + '{"kind": "train", "st')
    assert trainer(RUN, speechlike, tmp_path).resume()
    assert rows(tmp_path) == rows(whole_run[1])


def test_the_header_and_the_progress_say_what_is_trained_and_how_long_it_takes(
    speechlike: Path, tmp_path: Path
) -> None:
    (tmp_path / "mixed").mkdir()
    for path in speechlike.rglob("*.flac"):
        (tmp_path / "mixed" / path.name).symlink_to(path)
    (tmp_path / "mixed" / "notes.txt").write_text("not audio")
    run = tmp_path / "a run"
    made = Trainer(RUN, [(str(tmp_path / "mixed"), 1.0)], run, tmp_path)
    made.validate = dict  # type: ignore[method-assign]
    held_out = sum(segment.held_out for segment in made.excerpts.sources[0].segments)
    count = sum(p.numel() for p in made.training_model.codec.parameters())
    said: list[str] = []
    made.train(said.append)
    header = said.pop(0)
    for part in (
        "cpu, 1 process, 32-true",
        f"{(40 - held_out) * 1.5 / 3600:.2f} h to train on, {held_out * 1.5 / 3600:.2f} h held out",
        "41 found, 40 taken; notes.txt: without an audio suffix (.txt)",
        f"codec {count:,}, auxiliary heads ",
        "0 done of 7",
        f"tensorboard --logdir '{run / 'tensorboard'}'",
    ):
        assert part in header, header
    assert said[0].startswith("step 1 of 7  ")
    assert [" left  " in line for line in said[:7]] == [True] * 6 + [False]
    assert made._remaining_audio() == 0


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(40, "40 s"), (89.6, "90 s"), (720, "12 min"), (12_000, "3 h 20 min"), (190_000, "2 d 5 h")],
)
def test_durations_are_said_as_people_say_them(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_a_scorer_that_is_not_there_stops_the_run_before_it_begins(speechlike: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"scorer nowhere:score: cannot be loaded .*scorer: null"):
        trainer(dataclasses.replace(RUN, scorer="nowhere:score"), speechlike, tmp_path)
