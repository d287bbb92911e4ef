"""The trainer: losses fall, a resumed run is the same run, data and schedules are what they say."""

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
import yaml

from nanocodec.checkpoint import load
from nanocodec.config import CodecConfig, DecoderConfig, EncoderConfig, get_config
from nanocodec.model import NanoCodec
from nanocodec.training.augment import equalize, reverberate
from nanocodec.training.config import (
    ConfigError,
    DataConfig,
    GuideWeights,
    LossWeights,
    Phase,
    TrainConfig,
    load_config,
)
from nanocodec.training.data import DataError, Excerpts, Source, parse_source
from nanocodec.training.discriminators import DiscriminatorConfig
from nanocodec.training.loop import Trainer
from nanocodec.training.optim import MuonAdam, orthogonalize
from nanocodec.training.training_model import copy_weights
from nanocodec.training.validation import code_statistics, score

CONFIGS = Path(__file__).parents[2] / "configs" / "training"

TINY = dataclasses.replace(
    get_config("mini-1.1k"), encoder=EncoderConfig(2, (3,), (1,)), decoder=DecoderConfig(32, (3,), (1,))
)
JUDGE = DiscriminatorConfig(
    periods=(2, 3), period_channels=(2, 4), resolutions=(256,), bands=((0.0, 0.5), (0.5, 1.0)), stft_channels=2
)
RUN = TrainConfig(
    model=TINY,
    phases=(
        Phase(until=3, batch=4, frames=2, waveform=False, quantized=0.5),
        Phase(until=4, batch=4, frames=2, quantized=0.5),
        Phase(until=5, batch=4, frames=2, guided=False),
        Phase(until=7, batch=4, frames=2, freeze_encoder=True),
    ),
    optimizer="muon",
    lr=4e-3,
    weight_norm=False,
    standardize=True,
    guides=GuideWeights(),
    losses=LossWeights(mel=0, stft=0, spectral=1),
    n_ffts=(512, 256),
    n_mels=(20, 0),
    discriminators=JUDGE,
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
    discriminators=JUDGE, log_every=1, save_every=2, validate_every=100, data=DataConfig(loaders=0),
)  # fmt: skip


@pytest.fixture(scope="module")
def speechlike(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of 40 harmonic sounds with gliding pitch, 1.5 s each at 16 kHz, some in a folder below."""
    folder = tmp_path_factory.mktemp("data")
    (folder / "more").mkdir()
    rng = np.random.default_rng(0)
    time = np.arange(24000) / 16000
    for index in range(40):
        pitch = rng.uniform(90, 250) * (1 + 0.2 * np.sin(2 * np.pi * rng.uniform(1, 4) * time))
        phase = 2 * np.pi * np.cumsum(pitch) / 16000
        wave = sum(np.sin(k * phase) / k for k in range(1, 12)) * (0.05 + 0.05 * np.sin(7 * time) ** 2)
        soundfile.write(folder / ("more" if index % 2 else ".") / f"{index}.flac", wave, 16000)
    return folder


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
def test_resume_is_bit_identical(config: TrainConfig, speechlike: Path, tmp_path: Path) -> None:
    reference, first, second = (trainer(config, speechlike, tmp_path / name) for name in ("whole", "cut", "cut"))
    for made in (reference, first, second):
        made.validate = dict  # type: ignore[method-assign]  # scored elsewhere
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
    for name, tensor in reference.trainee.state_dict().items():
        assert torch.equal(tensor, second.trainee.state_dict()[name]), name
    for name, tensor in reference.judge.state_dict().items():
        assert torch.equal(tensor, second.judge.state_dict()[name]), name
    for a, b in zip(reference.average, second.average, strict=True):
        assert torch.equal(a, b)
    drop = {"audio_s_per_s", "utilisation", "entropy_bits"}  # speed, and statistics that begin anew
    curves = [
        [{key: value for key, value in row.items() if key not in drop} for row in rows(tmp_path / name)]
        for name in ("whole", "cut")
    ]
    assert curves[0] == curves[1]


def test_two_processes_lose_what_one_does(speechlike: Path, tmp_path: Path) -> None:
    """Two processes of batch 2 against one of batch 4: the first 20 losses, to numerical noise."""
    size = {"batch": 4, "frames": 2}
    phases = [{"until": 8, "waveform": False}, {"until": 14}, {"until": 20, "freeze_encoder": True}]
    settings = {
        "phases": [{**phase, **size} for phase in phases],
        "lr": 5e-4,
        "save_every": 20,
        "validation_utterances": 1,
    }
    config = tmp_path / "config.yaml"
    config.write_text(yaml.safe_dump({**json.loads(json.dumps(dataclasses.asdict(RUN))), **settings}))
    curves = []
    for devices in ("1", "2"):
        run = tmp_path / devices
        command = ["train", str(config), "--data", str(speechlike), "--run", str(run), "--devices", devices]
        environment = {**os.environ, "CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"}
        subprocess.run([sys.executable, "-m", "nanocodec.cli", *command], check=True, env=environment, timeout=240)
        curves.append([row["loss"] for row in rows(run) if row["kind"] == "train"])
    assert len(curves[0]) == 20
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
            return float(made.trainee(fixed, noise, every, True, True, False).loss)

    before = loss()
    made.train(quiet)
    assert loss() < 0.95 * before


def test_mixed_precision_loses_what_float32_does(speechlike: Path, tmp_path: Path) -> None:
    curves = []
    for precision in ("32-true", "bf16-mixed"):
        config = dataclasses.replace(RUN, precision=precision)  # type: ignore[arg-type]
        made = trainer(config, speechlike, tmp_path / precision)
        made.validate = dict  # type: ignore[method-assign]
        made.train(quiet)
        assert {p.dtype for p in made.parameters} == {torch.float32}
        curves.append([row["loss"] for row in rows(tmp_path / precision) if row["kind"] == "train"])
    assert curves[0] != curves[1]
    assert curves[0] == pytest.approx(curves[1], rel=0.05)


def test_training_starts_from_trained_weights(speechlike: Path, tmp_path: Path) -> None:
    start = NanoCodec(TINY).fold()
    for config, run in ((RUN, "plain"), (PAPER, "normed")):
        made = Trainer(config, [(str(speechlike), 1.0)], tmp_path / run, tmp_path, start=start)
        audio = torch.from_numpy(made.excerpts.batch(0, 1, 4 * 1764))
        with torch.no_grad():
            torch.testing.assert_close(made.trainee.codec(audio), start(audio), atol=1e-6, rtol=1e-5)
    copy_weights(start, other := NanoCodec(TINY))
    with torch.no_grad():
        torch.testing.assert_close(other.fold()(audio), start(audio), atol=1e-6, rtol=1e-5)


def test_a_start_gets_back_the_scale_that_learning_rates_are_made_for(speechlike: Path, tmp_path: Path) -> None:
    start = perturbed(TINY)
    last = start.audio_encoder.post_conv.conv
    with torch.no_grad():  # as a long run leaves it: `fold_standardization` divides by whatever spread there was
        last.weight.mul_(1e-4)
        last.bias.mul_(1e-4)
    made = Trainer(RUN, [(str(speechlike), 1.0)], tmp_path / "run", tmp_path, start=start)
    audio = torch.from_numpy(made.excerpts.batch(0, 4, 2 * 1764))
    with torch.no_grad():
        raw, _ = made.trainee.encode(audio)
        wanted, _ = start.encode_latent(audio)
        torch.testing.assert_close(made.trainee.standardize(raw), wanted, atol=1e-9, rtol=1e-4)
    weight = made.trainee.codec.audio_encoder.post_conv.conv.weight
    assert weight.square().mean().item() == pytest.approx(1 / weight[0].numel(), rel=1e-4)
    spread = made.trainee.latent_std.clone()
    made.train_step(audio)
    assert (made.trainee.latent_std / spread - 1).abs().max() < 0.05, "one batch must not undo what a run has learned"


def wider(config: CodecConfig, encoder: int, decoder: int) -> CodecConfig:
    return dataclasses.replace(
        config,
        name="wider",
        encoder=dataclasses.replace(config.encoder, base_channels=encoder),
        decoder=dataclasses.replace(config.decoder, base_channels=decoder),
    )


def perturbed(config: CodecConfig) -> NanoCodec:
    """Random weights, no two alike: biases and half-snakes too, which else start at 0 and 1."""
    codec = NanoCodec(config).fold().eval()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for p in codec.parameters():
            p.add_(0.1 * torch.randn(p.shape, generator=generator))
    return codec


@pytest.mark.parametrize("name", ["mini-1.1k", "lfsc"])
def test_a_wider_codec_starts_as_the_narrow_one_was(name: str) -> None:
    narrow = wider(get_config(name), 2, 64)
    start = perturbed(narrow)
    grown = perturbed(wider(narrow, 4, 192))
    copy_weights(start, grown)
    audio = 0.1 * torch.randn(2, 3 * narrow.hop, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        latent, _ = start.encode_latent(audio)
        torch.testing.assert_close(grown.encode_latent(audio)[0], latent, atol=1e-5, rtol=1e-4)
        assert latent.std() > 0.1
        codes, _ = start.encode(audio)
        torch.testing.assert_close(grown.decode(codes), start.decode(codes), atol=1e-5, rtol=1e-4)
    assert all(p.ne(0).any() for p in grown.parameters())


def test_a_start_of_another_architecture_is_refused(speechlike: Path, tmp_path: Path) -> None:
    for start in (wider(TINY, 4, 32), dataclasses.replace(TINY, num_codebooks=4)):
        with pytest.raises(ConfigError, match=r"cannot start .*the widths alone may differ"):
            Trainer(RUN, [(str(speechlike), 1.0)], tmp_path / "run", tmp_path, start=NanoCodec(start).fold())
    with pytest.raises(ConfigError, match="odd number of channels"):
        copy_weights(NanoCodec(TINY).fold(), NanoCodec(wider(TINY, 2, 64)))


def excerpts(source: Source, seed: int = 0, **options: float) -> Excerpts:
    return Excerpts([source], 22050, seed, DataConfig(level=0.06, gain_db=6, **options))  # type: ignore[arg-type]


def test_batches_depend_on_seed_and_step_alone(speechlike: Path, tmp_path: Path) -> None:
    source = Source(str(speechlike), tmp_path)
    one, two = excerpts(source, speed=1.1, eq_db=6, room=0.5), excerpts(source, speed=1.1, eq_db=6, room=0.5)
    one.batch(3, 4, 5000)
    assert np.array_equal(one.batch(7, 4, 5000), two.batch(7, 4, 5000))
    assert not np.array_equal(one.batch(7, 4, 5000), one.batch(8, 4, 5000))
    assert not np.array_equal(excerpts(source).batch(7, 4, 5000), excerpts(source, seed=1).batch(7, 4, 5000))
    batch = one.batch(0, 16, 5000)
    assert batch.shape == (16, 5000)
    assert batch.dtype == np.float32
    assert np.abs(batch).max() <= 1
    config = dataclasses.replace(RUN, phases=(Phase(until=2, batch=4, frames=2),))
    halves = [list(one.loader(config, 0, rank, 2)) for rank in (0, 1)]
    assert np.array_equal(torch.cat([halves[0][1], halves[1][1]]).numpy(), one.batch(1, 4, 2 * 1764))


def test_augmentation_changes_colour_but_neither_level_nor_timing() -> None:
    rng = np.random.default_rng(0)
    audio = rng.standard_normal(22050) * np.hanning(22050) * 0.1
    tilted, wet = equalize(audio, 22050, 9.0, rng), reverberate(audio, 22050, rng)
    for changed in (tilted, wet):
        assert changed.shape == audio.shape
        lag = np.correlate(changed[8000:14000], audio[8000:14000], "full").argmax() - 5999
        assert lag == 0
    assert np.square(wet).sum() == pytest.approx(np.square(audio).sum())
    gain = 20 * np.log10(np.abs(np.fft.rfft(tilted)[10:-10]) / np.abs(np.fft.rfft(audio)[10:-10]))
    assert 1 < np.abs(gain).max() <= 9.0


def test_held_out_files_are_never_trained_on(speechlike: Path, tmp_path: Path) -> None:
    source = Source(str(speechlike), tmp_path)
    held_out = {item.name for item in source.utterances if item.held_out}
    assert 0 < len(held_out) < 8
    made = excerpts(source)
    assert not {item.name for item in made._choices[0][0]} & held_out
    assert len(made.held_out(1, 1.0)) == 1


def test_the_index_is_reused_until_the_folder_changes(speechlike: Path, tmp_path: Path) -> None:
    first = Source(str(speechlike), tmp_path)
    stamps = {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    again = Source(str(speechlike), tmp_path)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()} == stamps
    assert again.utterances == first.utterances
    assert len(first.utterances) == 40
    Source(str(speechlike / "more"), tmp_path)
    assert len(list(tmp_path.iterdir())) == 2 * len(stamps)


def test_manifests_and_hub_data_are_the_same_audio(speechlike: Path, tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    names = sorted(path.name for path in (speechlike / "more").iterdir())
    (speechlike / "list.csv").write_text("path\n" + "\n".join(f"more/{name}" for name in names))
    lines = [{"audio_filepath": f"more/{name}", "offset": 0.5, "duration": 0.75} for name in names]
    (speechlike / "list.jsonl").write_text("\n".join(json.dumps(line) for line in lines))
    audio = [{"bytes": (speechlike / "more" / name).read_bytes(), "path": f"more/{name}"} for name in names]
    (tmp_path / "hub").mkdir()
    table = datasets.Dataset.from_dict({"audio": audio}).cast_column("audio", datasets.Audio(decode=False))
    table.to_parquet(tmp_path / "hub" / "train.parquet")
    folder, manifest, stretches, hub = (
        Source(text, tmp_path / "cache")
        for text in (
            str(speechlike / "more"),
            str(speechlike / "list.csv"),
            str(speechlike / "list.jsonl"),
            f"hub:{tmp_path / 'hub'}",
        )
    )
    read = lambda source, i, *cut: source.read(source.utterances[i], *cut)  # noqa: E731
    wave = read(folder, 3, 0, 24000)
    assert np.array_equal(read(manifest, 3, 0, 24000), wave)
    assert np.array_equal(read(hub, 3, 0, 24000), wave)
    assert np.array_equal(read(stretches, 3, 100, 10**6), wave[8100:20000])
    headers = Source(str(speechlike / "more"), tmp_path / "cache", levels=False)
    assert [item.length for item in headers.utterances] == [item.length for item in folder.utterances]
    assert {item.rms for item in headers.utterances} == {None}
    assert Excerpts([headers], 22050, 0, DataConfig()).batch(0, 2, 5000).std() > 0.01
    assert stretches.utterances[0].length == 12000


def test_missing_and_broken_data_is_named(tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    with pytest.raises(DataError, match="nowhere: no such folder"):
        Source(str(tmp_path / "nowhere"), cache)
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(DataError, match="holds no audio"):
        Source(str(empty), cache)
    (empty / "broken.wav").write_text("no audio")
    with pytest.raises(DataError, match=r"broken\.wav: not readable as audio"):
        Source(str(empty), cache)
    for name, text, message in (
        ("a.csv", "file\nbroken.wav", "not a manifest"),
        ("b.jsonl", "{", "not a manifest"),
        ("c.csv", "path\ngone.wav", r"gone\.wav, which is not there"),
        ("d.csv", "path\n", "lists no audio"),
    ):
        (empty / name).write_text(text)
        with pytest.raises(DataError, match=message):
            Source(str(empty / name), cache)
    with pytest.raises(DataError, match=r"hub:.*cannot be loaded"):
        Source(f"hub:{tmp_path / 'nothing'}", cache)


def test_the_learning_rate_warms_up_holds_and_decays() -> None:
    config = dataclasses.replace(
        RUN, lr=1.0, warmup=4, decay=10, phases=(Phase(20, 1, 1), Phase(40, 1, 1, lr_scale=0.5))
    )
    config = dataclasses.replace(config, gamma=1.0)
    rates = [config.lr_at(step) for step in range(40)]
    assert rates[:5] == [0.25, 0.5, 0.75, 1.0, 1.0]
    assert rates[20:31] == [0.5] * 11
    assert rates[35] == pytest.approx(0.25)
    assert config.with_steps(10).phases == (Phase(10, 1, 1),)
    assert config.with_steps(30).phases[-1].until == 30
    assert config.with_steps(60).phases[-1].until == 60
    assert len(config.with_steps(60).phases) == 2


def test_validation_scores_what_has_speech_and_nothing_else() -> None:
    codec = NanoCodec.builtin()
    time = np.arange(2 * 22050) / 22050
    voice = 0.1 * sum(np.sin(2 * np.pi * 120 * k * time) / k for k in range(1, 20)) * (np.sin(6 * time) > -0.5)
    scores, decoded = score(codec, [voice.astype(np.float32)])
    assert set(scores) == {"pesq_wb", "estoi", "mel", "utilisation", "entropy_bits"}
    assert 1 <= scores["pesq_wb"] <= 4.65
    assert decoded[0].shape == voice.shape
    assert set(score(codec, [np.zeros(22050, np.float32)])[0]) == {"mel", "utilisation", "entropy_bits"}
    assert score(codec, []) == ({}, [])


def test_code_statistics_of_known_codes() -> None:
    used, bits = code_statistics(np.array([[0, 1, 2, 3], [5, 5, 5, 5]]), 8)
    assert used == pytest.approx((1.0 + 0.25) / 2)
    assert bits == pytest.approx((2.0 + 0.0) / 2)


@pytest.mark.parametrize("shape", [(3, 8, 8), (2, 6, 20), (1, 20, 6)])
def test_orthogonalize_brings_singular_values_near_one(shape: tuple[int, int, int]) -> None:
    matrices = torch.randn(*shape, generator=torch.Generator().manual_seed(0))
    values = torch.linalg.svdvals(orthogonalize(matrices))
    assert values.max() < 1.4
    assert values[:, :-1].min() > 0.3


@pytest.mark.parametrize("shape", [(2, 6, 20), (1, 20, 6)])
def test_orthogonalize_equals_the_iteration_on_whole_matrices(shape: tuple[int, int, int]) -> None:
    """Muon's published form: X <- aX + (bA + cA^2)X with A = XX^T, here in float64."""
    matrices = torch.randn(*shape, generator=torch.Generator().manual_seed(1)) * torch.logspace(0, -3, shape[2])
    x = matrices.double() / matrices.double().flatten(1).norm(dim=1)[:, None, None]
    for _ in range(5):
        outer = x @ x.mT
        x = 3.4445 * x + (-4.7750 * outer + 2.0315 * outer @ outer) @ x
    torch.testing.assert_close(orthogonalize(matrices).double(), x, atol=2e-5, rtol=0)


def test_the_adam_half_equals_torch_s() -> None:
    torch.manual_seed(0)
    ours, theirs = torch.randn(5).requires_grad_(), torch.zeros(5).requires_grad_()
    theirs.data.copy_(ours.data)
    one = MuonAdam([], [ours], lr=0.1, betas=(0.9, 0.99))
    two = torch.optim.Adam([theirs], lr=0.1, betas=(0.9, 0.99))
    for step in range(5):
        for parameter, optimizer in ((ours, one), (theirs, two)):
            parameter.grad = (parameter.detach() - step) ** 3
            optimizer.step()
    torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize(
    "path", sorted(set(CONFIGS.glob("*.yaml")) - {CONFIGS / "paper.yaml"}), ids=lambda path: path.stem
)
def test_a_shipped_configuration_loads(path: Path) -> None:
    config = load_config(path)
    assert config.phases[-1].quantized == 1.0
    assert config.discriminators is not None
    if path.stem.startswith("nanocodec-"):
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
        ("model: mini-1.1k\nphases: [{until: 1, batch: 1, frames: 1, waveform: false}]", "guides"),
        (
            "model: mini-1.1k\nguides: {}\nphases: [{until: 1, batch: 1, frames: 1, waveform: false, guided: false}]",
            "guides",
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


def test_sources_carry_shares(tmp_path: Path) -> None:
    assert parse_source("a/b") == ("a/b", 1.0)
    assert parse_source("a/b:0.3") == ("a/b", 0.3)
    assert parse_source("hub:some/set@main#test:2") == ("hub:some/set@main#test", 2.0)
    assert parse_source("hub:some/set") == ("hub:some/set", 1.0)
    odd = tmp_path / "a:3"
    odd.mkdir()
    assert parse_source(str(odd)) == (str(odd), 1.0)
    with pytest.raises(ConfigError, match="positive"):
        parse_source("a:0")
