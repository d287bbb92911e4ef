"""A short run by the clock: what is packed is what is drawn, the learning rate follows the time, and a run goes on."""

import dataclasses
import itertools
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from torch import Tensor

from nanocodec.checkpoint import load, save
from nanocodec.config import DecoderConfig, EncoderConfig, get_config
from nanocodec.testing import seeded_model
from nanocodec.training import augment, packed, short
from nanocodec.training.config import ConfigError, DataConfig, LossWeights, Phase, TrainConfig, load_config
from nanocodec.training.data import AudioSource
from nanocodec.training.pack import main as pack_main
from nanocodec.training.pack import pack
from nanocodec.training.packed import RATE, TAPS, PackedSpeech, equalize, interpolate, reverberate
from nanocodec.training.training_model import TrainingModel

CPU = torch.device("cpu")
TINY = dataclasses.replace(
    get_config("mini-1.1k"), encoder=EncoderConfig(2, (3,), (1,)), decoder=DecoderConfig(32, (3,), (1,))
)
CONFIG = TrainConfig(
    model=TINY,
    phases=(Phase(until=1000, batch=2, frames=2, auxiliary_heads=False, adversarial=False),),
    optimizer="muon",
    lr=3e-3,
    weight_norm=False,
    standardize=True,
    losses=LossWeights(mel=0, stft=0, adversarial=0, feature_matching=0, spectral=1),
    n_ffts=(512, 256),
    n_mels=(20, 0),
    clip=1.0,
    data=DataConfig(level=0.06, gain_db=6, speed=1.1, eq_db=6, room=0.3),
    log_every=2,
    validate_every=8,
)
LENGTH = 2 * TINY.hop


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """40 recordings of 1.5 s in two sources, packed; every other one is a tone, the others are noise."""
    root = tmp_path_factory.mktemp("packed")
    rng = np.random.default_rng(0)
    for source in ("tones", "noise"):
        (root / source).mkdir()
        for number in range(20):
            tone = np.sin(2 * np.pi * (200 + 40 * number) * np.arange(33_000) / 22_050)
            wave = tone if source == "tones" else rng.standard_normal(33_000)
            soundfile.write(root / source / f"{source}{number}.flac", 0.1 * wave, 22_050)
    sources = [
        AudioSource(str(root / name), root / "cache", share) for name, share in (("tones", 0.25), ("noise", 0.75))
    ]
    hours = pack(CONFIG, sources, root / "pack")
    assert hours == pytest.approx(40 * 33_000 / 22_050 / 3600, rel=1e-3)
    return root / "pack"


@pytest.fixture
def speech(folder: Path) -> PackedSpeech:
    return PackedSpeech(folder, CONFIG.data, TINY.sample_rate, LENGTH, 0, CPU)


def test_packed_speech_keeps_level_length_and_what_is_held_out(folder: Path) -> None:
    index = json.loads((folder / "index.json").read_text())
    held_out = [one["held_out"] for one in index["recordings"]]
    assert len(held_out) == 40 and 0 < sum(held_out) < 10 and index["shares"] == [0.25, 0.75]
    wave, rate = soundfile.read(folder / index["parts"][0], dtype="float32")
    assert rate == RATE and len(index["parts"]) == 1 and (folder / index["parts"][0]).stat().st_size < 60 * 2**20
    for one in index["recordings"]:
        part = wave[one["start"] : one["start"] + one["length"]]
        assert len(part) == 33_000 * RATE // 22_050 + 1 or len(part) == round(33_000 * RATE / 22_050)
        assert np.sqrt(np.mean(np.square(part))) == pytest.approx(
            0.06, rel=0.25
        )  # Opus leaves out the top of the noise's band


def test_excerpts_are_functions_of_seed_and_step_and_follow_the_shares(speech: PackedSpeech) -> None:
    batch = speech.batch(3, 64)
    assert batch.shape == (64, LENGTH) and batch.dtype == torch.float32 and batch.abs().max() <= 1
    assert torch.equal(batch, speech.batch(3, 64)) and not torch.equal(batch, speech.batch(4, 64))
    plain = dataclasses.replace(CONFIG.data, eq_db=0, room=0, gain_db=0)
    speech.config = plain
    spectrum = torch.fft.rfft(speech.batch(0, 256)).abs()
    tones = spectrum.amax(1) > 20 * spectrum.median(1).values
    assert 0.15 < float(tones.float().mean()) < 0.35, "a quarter are tones"
    assert len(speech.held_out()) == sum(
        one["held_out"] for one in json.loads((speech_folder(speech)).read_text())["recordings"]
    )


def speech_folder(speech: PackedSpeech) -> Path:
    return speech.folder / packed.INDEX


def test_interpolation_is_resampling() -> None:
    """Golden: soxr's own resampling of the same noise, at its highest quality."""
    import soxr

    rng = np.random.default_rng(1)
    noise = soxr.resample(rng.standard_normal(4_000), 12_000, RATE)  # nothing in the last quarter of the band
    samples = np.round(3000 * noise).clip(-32768, 32767).astype(np.int16)
    found = interpolate(
        torch.from_numpy(np.pad(samples, TAPS)), torch.tensor([0]), torch.tensor([[RATE / 22_050]]), 5_000
    )[0].numpy()
    expected = soxr.resample(samples / 32768, RATE, 22_050, quality="VHQ")[:5_000]
    error = (found - expected)[100:-100]
    assert np.sqrt(np.mean(error**2) / np.mean(expected**2)) < 2e-3


class Fixed:
    """Gives numbers that were decided before, in place of a generator."""

    def __init__(self, *values: float, noise: np.ndarray | None = None) -> None:
        self.values, self.noise = list(values), noise

    def uniform(self, low: float, high: float, size: int = 0) -> object:
        return np.array([self.values.pop(0) for _ in range(size)]) if size else self.values.pop(0)

    def standard_normal(self, count: int) -> np.ndarray:
        assert self.noise is not None
        return self.noise[:count].copy()


def column(value: float) -> Tensor:
    return torch.tensor([[value]], dtype=torch.float64)


def test_augmentation_on_the_device_is_that_of_the_trainer() -> None:
    rng = np.random.default_rng(2)
    audio, rate = rng.standard_normal(6_000), 22_050
    fixed = Fixed(-4.0, 3.0, 900.0, 0.5)
    expected = augment.equalize(audio, rate, 6.0, fixed)  # type: ignore[arg-type]
    batch = torch.from_numpy(audio)[None]
    found = equalize(batch, rate, column(-4.0), column(3.0), column(float(np.log(900.0))), column(0.5))
    assert np.allclose(found[0].numpy(), expected, atol=1e-5)
    noise = rng.standard_normal(int(0.5 * rate))
    expected = augment.reverberate(audio, rate, Fixed(0.3, 9.0, noise=noise))  # type: ignore[arg-type]
    found = reverberate(batch, rate, column(0.3), column(9.0), torch.from_numpy(noise)[None])
    assert np.allclose(found[0].numpy(), expected, atol=1e-4)


def test_the_learning_rate_follows_the_time() -> None:
    factors = [short.learning_rate_factor(share, 0.4) for share in (0.0, 0.01, 0.3, 0.6, 0.8, 1.0)]
    assert 0 < factors[0] < factors[1] < 1 and factors[2:4] == [1.0, 1.0]
    assert factors[4] == pytest.approx(0.5) and factors[5] == 0


def ticking() -> Callable[[], float]:
    """A clock on which every look takes a tenth of a second, so that no load of the machine changes a run."""
    ticks = itertools.count()
    return lambda: next(ticks) / 10


def test_a_run_learns_ends_in_time_and_goes_on(
    speech: PackedSpeech, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines: list[str] = []
    fixed = speech.batch(0, 2)
    monkeypatch.setattr(speech, "batch", lambda step, size: fixed[:1].expand(size, -1))
    run = short.ShortRun(CONFIG, speech, tmp_path / "run", clock=ticking())
    run.train(4.0, progress=lines.append)
    rows = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    losses = [row["loss"] for row in rows if row["kind"] == "train"]
    assert 9 < run.step < 40 and losses[-1] < 0.95 * losses[0] and rows[-1]["lr"] == 0 and len(lines) == len(rows)
    assert [row["step"] for row in rows if row["kind"] == "validation"] == [0, 8, run.step]
    assert all(row["steps_per_s"] > 0 and 0 < row["entropy_bits"] < 11 for row in rows if row["kind"] == "train")
    codec = load(tmp_path / "run" / "codec.safetensors")
    assert codec.config == TINY

    again = short.ShortRun(CONFIG, speech, tmp_path / "run", codec)
    assert again.resume() and (again.step, again.share) == (run.step, 0.0)
    for one, other in ((run, again),):
        for name, tensor in one.model.state_dict().items():
            assert torch.equal(tensor, other.model.state_dict()[name]), name
        assert all(torch.equal(a, b) for a, b in zip(one.average, other.average, strict=True))
    first, second = run.train_step(0.5), again.train_step(0.5)
    assert torch.equal(first["loss"], second["loss"])
    assert all(torch.equal(a, b) for a, b in zip(run.parameters, again.parameters, strict=True)), "optimizer and all"


def test_a_run_from_trained_weights_begins_as_they_are(speech: PackedSpeech, tmp_path: Path) -> None:
    codec = seeded_model(TINY)
    run = short.ShortRun(CONFIG, speech, tmp_path, codec)
    audio, noise, pick = run.inputs()
    with torch.inference_mode():
        found = run.model(audio, noise, torch.ones_like(pick), True, False, False)
        codes, _ = codec.encode(audio)
    assert (found.codes != codes).float().mean() < 0.01 and len(codes.unique()) > 20
    assert (found.decoded.clamp(-1, 1) - codec.decode(found.codes)).abs().max() < 1e-4


def test_the_learning_rate_rises_however_long_loading_took(
    speech: PackedSpeech, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    factors: list[float] = []

    def train_step(run: short.ShortRun, factor: float) -> dict[str, torch.Tensor]:
        factors.append(factor)
        run.step += 1
        return {}

    monkeypatch.setattr(short.ShortRun, "train_step", train_step)
    config = dataclasses.replace(CONFIG, log_every=10**6, validate_every=10**6)
    run = short.ShortRun(config, speech, tmp_path, clock=ticking())
    run.train(1034.0, begun=-1000.0, progress=lambda line: None)
    assert factors[0] < 0.2 and max(factors) == 1.0 and factors[-1] < 0.1


def test_a_run_that_was_cut_off_ends_where_its_time_does(speech: PackedSpeech, tmp_path: Path) -> None:
    run = short.ShortRun(CONFIG, speech, tmp_path)
    run.share = 0.9
    run.save()
    again = short.ShortRun(CONFIG, speech, tmp_path, clock=ticking())
    assert again.resume() and again.share == 0.9
    again.train(2.0, progress=lambda line: None)
    rates = [json.loads(line)["lr"] for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert max(rates) <= CONFIG.lr * 0.25 + 1e-9, "it goes on with the fall, not with a rise"


def test_the_state_keeps_within_its_limits(
    speech: PackedSpeech, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = short.ShortRun(CONFIG, speech, tmp_path)
    run.train_step(1.0)
    sizes = [(name, sum(one.nbytes + 256 for one in tensors.values())) for name, tensors in run._units()]
    whole = sum(size for name, size in sizes if not name.startswith("average"))
    monkeypatch.setattr(short, "LARGEST_FILE", whole // 2)
    monkeypatch.setattr(short, "LARGEST_STATE", whole)
    run.save()
    files = sorted((tmp_path / "state").glob("*.safetensors"))
    left_out = json.loads((tmp_path / "state" / "state.json").read_text())["left_out"]
    assert len(files) >= 2 and all(path.stat().st_size <= whole // 2 for path in files)
    assert sum(path.stat().st_size for path in files) <= whole
    assert left_out == [name for name, _ in sizes if name.startswith("average")]
    again = short.ShortRun(CONFIG, speech, tmp_path)
    assert again.resume() and torch.equal(again.average[-1], again.parameters[-1])


def test_a_damaged_state_and_a_folder_without_speech_are_refused(speech: PackedSpeech, tmp_path: Path) -> None:
    run = short.ShortRun(CONFIG, speech, tmp_path)
    assert not run.resume()
    run.save()
    (tmp_path / "state" / "state-00.safetensors").write_bytes(b"\x08" + bytes(40))
    with pytest.raises(ConfigError, match="cannot be resumed"):
        run.resume()
    with pytest.raises(ConfigError, match="not packed speech"):
        PackedSpeech(tmp_path, CONFIG.data, 22_050, LENGTH, 0, CPU)


BLOCKED = """
import sys
for name in ("yaml", "scipy", "soxr", "lightning_fabric", "pandas", "evalkit", "tensorboard", "rich"):
    sys.modules[name] = None
from nanocodec.training.short import main
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.slow
def test_the_script_packs_here_and_trains_there(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The command lines, at a tenth of the size: packed with all that is here, trained with torch, numpy, safetensors
    and soundfile alone."""
    speech, start = folder.parent / "tones", tmp_path / "start.safetensors"
    save(seeded_model(TINY), start)
    assert pack_main(["mini-1.1k-short", str(tmp_path / "pack"), "--data", f"{speech}:1", "--hours", "0.004"]) == 0
    recipe = json.loads((tmp_path / "pack" / "recipe.json").read_text())
    recipe["phases"][0].update(batch=2, frames=2)
    recipe |= {"model": TINY.to_dict(), "log_every": 1}
    (tmp_path / "pack" / "recipe.json").write_text(json.dumps(recipe))
    assert pack_main(["mini-1.1k-short", str(tmp_path / "pack"), "--data", str(speech)]) == 2, "not empty"
    command = [sys.executable, "-c", BLOCKED, str(tmp_path / "pack"), str(tmp_path / "run"), "--start", str(start)]
    done = subprocess.run([*command, "--count", "1"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert " steps/s, " in done.stdout and "convolution" in done.stdout
    train = [str(tmp_path / "pack"), str(tmp_path / "run"), "--start", str(start), "--seconds", "0.1"]
    assert short.main(train) == 0
    assert load(tmp_path / "run" / "codec.safetensors").config == TINY
    assert short.main(train) == 2 and "add --resume to continue" in capsys.readouterr().err
    assert short.main([*train, "--resume"]) == 0


def test_the_recipe_owes_nothing_to_a_metric() -> None:
    config = load_config("mini-1.1k-short")
    assert config.losses == LossWeights(0, 0, 0, 0, 0, 1.0, 0) and not config.phases[0].adversarial
    assert 32 <= config.phases[0].batch <= 256


def test_recording_needs_no_copy_from_the_host(speech: PackedSpeech) -> None:
    """What a CUDA graph may not hold: the second pass makes no tensor from numbers of Python or numpy. Seen by the
    functions that make windows and filters, which must answer from memory."""
    from nanocodec.training import spectral

    model = TrainingModel(CONFIG)
    gradients = short.Gradients(model, bf16=False)
    run = short.ShortRun(CONFIG, speech, speech.folder.parent / "unused")
    gradients(run.inputs())
    before = spectral.mel_filters.cache_info().misses, spectral._window.cache_info().misses
    gradients(run.inputs())
    assert (spectral.mel_filters.cache_info().misses, spectral._window.cache_info().misses) == before
