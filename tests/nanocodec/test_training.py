"""The trainer: losses fall, a resumed run is the same run, data and schedules are what they say."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from nanocodec.checkpoint import load
from nanocodec.config import DecoderConfig, EncoderConfig, get_config
from nanocodec.model import NanoCodec
from nanocodec.training.config import ConfigError, load_config, parse_source
from nanocodec.training.data import AudioCache, DataError, Excerpts, Source
from nanocodec.training.loop import Phase, TrainConfig, Trainer, code_statistics
from nanocodec.training.optim import MuonAdam, orthogonalize
from nanocodec.training.validation import score

TINY = dataclasses.replace(
    get_config("mini-1.1k"), encoder=EncoderConfig(2, (3,), (1,)), decoder=DecoderConfig(32, (3,), (1,))
)
RUN = TrainConfig(
    model=TINY,
    phases=(
        Phase(until=3, batch=4, frames=2, waveform=False, quantized=0.5),
        Phase(until=5, batch=4, frames=2, quantized=0.5),
        Phase(until=7, batch=4, frames=2, freeze_encoder=True),
    ),
    warmup=2,
    decay=3,
    n_ffts=(512, 256),
    n_mels=(20, 0),
    save_every=2,
    log_every=1,
    validate_every=100,
    validation_utterances=2,
)


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
    return Trainer(config, [(data, 1.0)], run, data.parent / "cache")


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


def test_resume_is_bit_identical(whole_run: tuple[Trainer, Path], speechlike: Path, tmp_path: Path) -> None:
    reference, run = whole_run
    first = trainer(RUN, speechlike, tmp_path)
    first.validate = dict  # type: ignore[method-assign]

    class Killed(Exception):
        pass

    def kill(text: str) -> None:
        if "step 5 " in text:  # before the encoder is frozen; the last saved state is step 4's
            raise Killed

    with pytest.raises(Killed):
        first.train(kill)
    second = trainer(RUN, speechlike, tmp_path)
    second.validate = dict  # type: ignore[method-assign]
    assert second.resume()
    assert second.step == 4
    assert [row["step"] for row in rows(tmp_path)] == [1, 2, 3, 4]
    second.train(quiet)
    for name, tensor in reference.trainee.state_dict().items():
        assert torch.equal(tensor, second.trainee.state_dict()[name]), name
    for a, b in zip(reference.average, second.average, strict=True):
        assert torch.equal(a, b)
    keys = ("step", "loss", "lr", "grad_norm", "audio_seconds")
    assert {key: rows(run)[-2][key] for key in keys} == {key: rows(tmp_path)[-2][key] for key in keys}


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
    assert log[0]["audio_seconds"] == pytest.approx(4 * 2 * 1764 / 22050, abs=0.06)
    codec = load(run / "codec.safetensors")
    assert codec.config == TINY
    audio = torch.from_numpy(reference.excerpts.batch(99, 2, 4 * 1764))
    with torch.no_grad():
        assert torch.equal(codec.encode(audio)[0], reference.averaged().encode(audio)[0])
        latent, _ = codec.encode_latent(torch.from_numpy(reference.excerpts.batch(2**31, 32, 14 * 1764)))
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


def test_a_few_steps_reduce_the_loss(speechlike: Path, tmp_path: Path) -> None:
    phase = Phase(until=25, batch=4, frames=3)
    made = trainer(dataclasses.replace(RUN, phases=(phase,), lr=1.5e-2, decay=15, save_every=99), speechlike, tmp_path)
    made.save = lambda: None  # type: ignore[method-assign]
    made.validate = dict  # type: ignore[method-assign]
    fixed = torch.from_numpy(made.excerpts.batch(10**6, 8, 3 * 1764))

    def loss() -> float:
        with torch.no_grad():
            return float(made.trainee.losses(fixed, phase, made.config, torch.Generator().manual_seed(0))[0])

    before = loss()
    made.train(quiet)
    assert loss() < 0.85 * before


def test_batches_depend_on_seed_and_step_alone(speechlike: Path, tmp_path: Path) -> None:
    cache = AudioCache(speechlike, tmp_path, 22050)
    make = lambda seed: Excerpts([Source(cache, 1.0)], 22050, seed)  # noqa: E731
    one, two = make(0), make(0)
    one.batch(3, 4, 5000)
    assert np.array_equal(one.batch(7, 4, 5000), two.batch(7, 4, 5000))
    assert not np.array_equal(one.batch(7, 4, 5000), one.batch(8, 4, 5000))
    assert not np.array_equal(one.batch(7, 4, 5000), make(1).batch(7, 4, 5000))
    batch = one.batch(0, 16, 5000)
    assert batch.shape == (16, 5000)
    assert batch.dtype == np.float32
    assert np.abs(batch).max() <= 1


def test_held_out_files_are_never_trained_on(speechlike: Path, tmp_path: Path) -> None:
    cache = AudioCache(speechlike, tmp_path, 22050)
    held_out = [item for item in cache.utterances if item.held_out]
    assert 0 < len(held_out) < 8
    excerpts = Excerpts([Source(cache, 1.0)], 22050, 0)
    kept = excerpts._choices[0][0]
    assert not {item.name for item in kept} & {item.name for item in held_out}
    assert len(excerpts.held_out(1, 1.0)) == 1


def test_the_cache_is_reused_until_the_folder_changes(speechlike: Path, tmp_path: Path) -> None:
    first = AudioCache(speechlike, tmp_path, 22050)
    stamps = {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    again = AudioCache(speechlike, tmp_path, 22050)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()} == stamps
    assert again.utterances == first.utterances
    assert len(first.utterances) == 40
    AudioCache(speechlike / "more", tmp_path, 22050)
    assert len(list(tmp_path.iterdir())) == 2 * len(stamps)


def test_missing_and_broken_data_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="nowhere: no such folder"):
        AudioCache(tmp_path / "nowhere", tmp_path / "cache", 22050)
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(DataError, match="holds no audio"):
        AudioCache(empty, tmp_path / "cache", 22050)
    (empty / "broken.wav").write_text("no audio")
    with pytest.raises(DataError, match=r"broken\.wav: not readable as audio"):
        AudioCache(empty, tmp_path / "cache", 22050)


def test_the_learning_rate_warms_up_holds_and_decays() -> None:
    config = dataclasses.replace(
        RUN, lr=1.0, warmup=4, decay=10, phases=(Phase(20, 1, 1), Phase(40, 1, 1, lr_scale=0.5))
    )
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
    scores = score(codec, [voice.astype(np.float32)])
    assert set(scores) == {"pesq_wb", "estoi", "utilisation", "entropy_bits"}
    assert 1 <= scores["pesq_wb"] <= 4.65
    assert set(score(codec, [np.zeros(22050, np.float32)])) == {"utilisation", "entropy_bits"}
    assert score(codec, []) == {}


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


def test_the_shipped_configuration_loads() -> None:
    path = Path(__file__).parents[2] / "configs" / "training" / "mini-1.1k.yaml"
    config = load_config(path)
    assert config.model == get_config("mini-1.1k")
    assert config.phases[-1].quantized == 1.0


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "not readable as YAML"),
        ("- 1", "must be a mapping"),
        ("model: mini-1.1k", "'phases' is missing"),
        ("model: 2k\nphases: [{until: 1, batch: 1, frames: 1}]", "unknown NanoCodec variant '2k'"),
        ("model: mini-1.1k\nphases: [{until: 1, batch: 1}]", "frames"),
        ("model: mini-1.1k\nspeed: 3\nphases: [{until: 1, batch: 1, frames: 1}]", "unknown key 'speed'"),
        ("model: mini-1.1k\nlr: fast\nphases: [{until: 1, batch: 1, frames: 1}]", "lr"),
        ("model: mini-1.1k\nphases: [{until: 5, batch: 1, frames: 1}, {until: 4, batch: 1, frames: 1}]", "increasing"),
    ],
)
def test_a_bad_configuration_is_named(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=message) as caught:
        load_config(path)
    assert str(path) in str(caught.value)


def test_sources_carry_shares(tmp_path: Path) -> None:
    assert parse_source("a/b") == (Path("a/b"), 1.0)
    assert parse_source("a/b:0.3") == (Path("a/b"), 0.3)
    odd = tmp_path / "a:3"
    odd.mkdir()
    assert parse_source(str(odd)) == (odd, 1.0)
    with pytest.raises(ConfigError, match="positive"):
        parse_source("a:0")
