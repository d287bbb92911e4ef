"""Losses and discriminators of the recipe: upstream's values (`make oracle-training`), and what training relies on."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TypeVar

import numpy as np
import pytest
import torch
import yaml
from torch import Tensor, nn

from nanocodec.testing import seeded_audio, seeded_state, tiny_wavlm
from nanocodec.training.discriminators import (
    DiscriminatorConfig,
    Discriminators,
    MultiBandSTFTDiscriminator,
    MultiPeriodDiscriminator,
    SLMDiscriminator,
    build_discriminators,
)
from nanocodec.training.frozen import resample_fft
from nanocodec.training.paper_losses import (
    discriminator_loss,
    feature_matching_loss,
    generator_loss,
    mel_loss,
    stft_loss,
)

RATE, SAMPLES, SLM_SAMPLES = 22_050, 3 * 1764, 1600
NARROW = DiscriminatorConfig((2, 5), (3, 4, 5, 6, 6), (512, 128), ((0.0, 0.3), (0.3, 1.0)), 3)
Module = TypeVar("Module", bound=nn.Module)
GOLDEN = Path(__file__).parents[1] / "golden" / "upstream-training.npz"


@pytest.fixture(scope="module")
def golden() -> dict[str, np.ndarray]:
    with np.load(GOLDEN) as stored:
        return dict(stored)


@pytest.fixture(scope="module")
def pair() -> tuple[Tensor, Tensor]:
    """Real and generated audio, [2, T] each."""
    real, generated = (torch.stack([seeded_audio(SAMPLES, seed=seed) for seed in seeds]) for seeds in ((0, 1), (2, 3)))
    return real, generated


@pytest.fixture(scope="module")
def narrow() -> Discriminators:
    return seeded(build_discriminators(NARROW, RATE))


@pytest.fixture(scope="module")
def wavlm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_wavlm(tmp_path_factory.mktemp("wavlm"))


@pytest.fixture(scope="module")
def slm(wavlm: Path) -> SLMDiscriminator:
    return seeded(SLMDiscriminator(16_000, str(wavlm), channels=4))


def seeded(module: Module) -> Module:
    module.load_state_dict(seeded_state(module.state_dict()))
    return module


def spaced(tensor: Tensor, count: int = 48) -> np.ndarray:
    flat = tensor.detach().flatten()
    return flat[torch.linspace(0, len(flat) - 1, count).round().long()].numpy()


def described(discriminator: nn.Module, real: Tensor, generated: Tensor) -> dict[str, np.ndarray]:
    """What the oracle script writes of upstream's discriminator, said by ours."""
    generated = generated.clone().requires_grad_()
    scores_real, maps_real = discriminator(real)
    scores_gen, maps_gen = discriminator(generated)
    generator, matching = generator_loss(scores_gen), feature_matching_loss(maps_real, maps_gen)
    (gradient,) = torch.autograd.grad(generator + matching, generated, retain_graph=True)
    both = discriminator_loss(scores_real, scores_gen)
    values = {f"score{i}": spaced(score) for i, score in enumerate(scores_gen)}
    values |= {f"map{i}.{j}": spaced(layer) for i, layers in enumerate(maps_gen) for j, layer in enumerate(layers)}
    values |= {f"real{i}": spaced(score) for i, score in enumerate(scores_real)}
    values["gradient"] = spaced(gradient)
    parts = {"generator": generator, "matching": matching, "discriminator": both}
    return values | {key: value.detach().numpy() for key, value in parts.items()}


def farthest(values: Mapping[str, np.ndarray], golden: Mapping[str, np.ndarray], prefix: str) -> float:
    """The largest difference of any value: that of gradients, which are small, relative to their spread, and that of
    values beyond 1, of which float32 has fewer digits after the point, relative to the largest."""
    expected = {key.removeprefix(prefix): value for key, value in golden.items() if key.startswith(prefix)}
    assert values.keys() == expected.keys()

    def scale(key: str) -> float:
        value = expected[key]
        return float(value.std() if key.endswith("gradient") else max(1.0, np.abs(value).max()))

    return max(float(np.abs(values[key] - value).max()) / scale(key) for key, value in expected.items())


def test_scores_maps_losses_and_gradients_are_upstreams(
    narrow: Discriminators, pair: tuple[Tensor, Tensor], golden: dict[str, np.ndarray]
) -> None:
    assert farthest(described(narrow, *pair), golden, "narrow.") <= 1e-5


def test_the_slm_discriminator_is_upstreams(
    slm: SLMDiscriminator, pair: tuple[Tensor, Tensor], golden: dict[str, np.ndarray]
) -> None:
    real, generated = (audio[:, :SLM_SAMPLES] for audio in pair)
    assert farthest(described(slm, real, generated), golden, "slm.") <= 1e-5


def test_the_defaults_have_upstreams_names_and_shapes(golden: dict[str, np.ndarray]) -> None:
    with torch.device("meta"):
        state = build_discriminators(DiscriminatorConfig(), RATE).state_dict()
    assert {name: list(tensor.shape) for name, tensor in state.items()} == json.loads(golden["full.shapes"].tobytes())


@pytest.mark.parametrize(
    "name",
    [
        "discriminators.0.discriminators.1.conv_layers.3.conv.parametrizations.weight.original0",
        "discriminators.0.discriminators.0.conv_post.conv.bias",
        "discriminators.1.discriminators.0.discriminators.1.conv_layers.2.conv.parametrizations.weight.original1",
        "discriminators.1.discriminators.1.window",
    ],
)
def test_one_wrong_weight_is_noticed(name: str, pair: tuple[Tensor, Tensor], golden: dict[str, np.ndarray]) -> None:
    wrong = seeded(build_discriminators(NARROW, RATE))
    wrong.state_dict()[name].view(-1)[::3] *= 1.02
    assert farthest(described(wrong, *pair), golden, "narrow.") > 1e-3


def test_every_loss_of_a_batch_is_the_mean_over_its_halves(narrow: Discriminators, pair: tuple[Tensor, Tensor]) -> None:
    def losses(real: Tensor, generated: Tensor) -> Tensor:
        scores_real, maps_real = narrow(real)
        scores, maps = narrow(generated)
        return torch.stack(
            [
                mel_loss(generated, real, RATE),
                stft_loss(generated, real),
                generator_loss(scores),
                discriminator_loss(scores_real, scores),
                feature_matching_loss(maps_real, maps),
            ]
        )

    real, generated = (torch.cat([audio, audio.flip(1)]) for audio in pair)
    with torch.no_grad():
        halves = [losses(real[part], generated[part]) for part in (slice(0, 2), slice(2, 4))]
        assert (losses(real, generated) - torch.stack(halves).mean(0)).abs().max() <= 1e-6


def test_real_and_generated_may_share_a_batch_in_any_order(narrow: Discriminators, pair: tuple[Tensor, Tensor]) -> None:
    real, generated = pair
    with torch.no_grad():
        alone, (together, _) = narrow(generated)[0], narrow(torch.cat([real, generated]))
        swapped, _ = narrow(torch.cat([generated, real]))
    for one, two, three in zip(alone, together, swapped, strict=True):
        assert torch.allclose(one, two[2:], atol=1e-6)
        assert torch.allclose(one, three[:2], atol=1e-6)


def test_equal_audio_has_no_reconstruction_or_matching_loss(
    narrow: Discriminators, pair: tuple[Tensor, Tensor]
) -> None:
    real = pair[0].clone().requires_grad_()
    loss = (
        mel_loss(real, pair[0], RATE)
        + stft_loss(real, pair[0])
        + feature_matching_loss(narrow(real)[1], narrow(pair[0])[1])
    )
    loss.backward()
    assert float(loss.detach()) <= 1e-6
    assert real.grad is not None and real.grad.isfinite().all()


def test_silence_has_finite_gradients(narrow: Discriminators) -> None:
    silence = torch.zeros(1, SAMPLES, requires_grad=True)
    loss = mel_loss(silence, silence.detach() + 0.1, RATE) + stft_loss(silence, silence.detach() + 0.1)
    (loss + generator_loss(narrow(silence)[0])).backward()
    assert silence.grad is not None and silence.grad.isfinite().all()


def test_a_discriminator_learns_to_tell(pair: tuple[Tensor, Tensor]) -> None:
    torch.manual_seed(0)
    discriminators = build_discriminators(NARROW, RATE)
    optimizer = torch.optim.Adam(discriminators.parameters(), lr=5e-3, betas=(0.8, 0.99))
    losses = []
    for _ in range(12):
        loss = discriminator_loss(discriminators(pair[0])[0], discriminators(0.3 * pair[1])[0])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.7 * losses[0]


def test_bfloat16_autocast_stays_near(narrow: Discriminators, pair: tuple[Tensor, Tensor]) -> None:
    real, generated = pair[0], pair[1].clone().requires_grad_()

    def losses() -> Tensor:
        (scores_real, maps_real), (scores, maps) = narrow(real), narrow(generated)
        return torch.stack(
            [
                mel_loss(generated, real, RATE),
                stft_loss(generated, real),
                generator_loss(scores),
                discriminator_loss(scores_real, scores),
                feature_matching_loss(maps_real, maps),
            ]
        )

    exact = losses().detach()
    with torch.autocast("cpu", torch.bfloat16):
        rounded = losses()
    assert rounded.dtype == torch.float32
    rounded.sum().backward()
    assert torch.equal(rounded[:2].detach(), exact[:2]), "spectra are never rounded"
    assert torch.allclose(rounded.detach(), exact, rtol=0.02)


def test_wavlm_neither_learns_nor_is_saved_nor_drops_out(slm: SLMDiscriminator, pair: tuple[Tensor, Tensor]) -> None:
    assert all(name.startswith(("pre", "conv")) for name in slm.state_dict())
    assert {id(parameter) for parameter in slm.parameters()} == {
        id(parameter) for layer in (slm.pre, slm.convs, slm.conv_post) for parameter in layer.parameters()
    }
    audio = pair[0][:, :SLM_SAMPLES].clone().requires_grad_()
    scores = [slm.train()(audio)[0][0] for _ in range(2)]
    assert torch.equal(*scores)
    generator_loss(scores[:1]).backward()
    assert audio.grad is not None and audio.grad.abs().max() > 0
    assert all(parameter.grad is None for parameter in slm.slm_model.network.parameters())
    slm.zero_grad()


def test_an_slm_built_from_a_config_takes_codec_frames(wavlm: Path, pair: tuple[Tensor, Tensor]) -> None:
    config = DiscriminatorConfig.from_dict({"periods": [], "resolutions": [], "slm": str(wavlm), "slm_channels": 2})
    (score,), (maps,) = build_discriminators(config, RATE)(pair[0])
    assert score.shape == (2, 1, 383)  # 3 frames are 3840 samples at 16 kHz; (3840 - 10) // 5 + 1, halved
    assert [layer.shape[1] for layer in maps] == [4, 8, 8]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"period": [2]}, "unknown key 'period'"),
        ({"periods": [], "resolutions": []}, "name at least one"),
        ({"periods": [2.5]}, "periods must be a list of positive whole numbers"),
        ({"resolutions": 512}, "resolutions must be a list"),
        ({"bands": [[0.5, 0.1]]}, "a band is"),
        ({"stft_channels": 0}, "stft_channels must be"),
        ({"gain": 0}, "gain must be a positive number"),
        ({"gain": float("nan")}, "gain must be a positive number"),
    ],
)
def test_a_wrong_config_is_named(data: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        DiscriminatorConfig.from_dict(data)


@pytest.mark.parametrize("config", [DiscriminatorConfig(), DiscriminatorConfig.small()])
def test_a_config_is_plain_yaml(config: DiscriminatorConfig) -> None:
    lists = json.loads(json.dumps(asdict(config)))
    assert DiscriminatorConfig.from_dict(yaml.safe_load(yaml.safe_dump(lists))) == config


def test_gain_amplifies_the_audio() -> None:
    quiet, loud = 0.05 * torch.randn(2, SAMPLES), DiscriminatorConfig(**asdict(NARROW) | {"gain": 16.0})
    discriminators = build_discriminators(NARROW, RATE)
    amplified = build_discriminators(loud, RATE)
    amplified.load_state_dict(discriminators.state_dict())
    for score, expected in zip(amplified(quiet)[0], discriminators(16 * quiet)[0], strict=True):
        torch.testing.assert_close(score, expected)


def test_everything_follows_the_audio_to_its_device(wavlm: Path) -> None:
    config = DiscriminatorConfig(**asdict(NARROW) | {"slm": str(wavlm)})
    audio = torch.zeros(2, SAMPLES, device="meta")  # where a tensor left on the CPU raises as it does on a GPU
    scores, maps = build_discriminators(config, RATE).to("meta")(audio)
    losses = [
        stft_loss(audio, audio),
        discriminator_loss(scores, scores),
        feature_matching_loss(maps, maps),
        resample_fft(audio, RATE, 16_000),
    ]
    assert {loss.device.type for loss in losses} == {"meta"}


def test_a_band_without_bins_is_named() -> None:
    with pytest.raises(ValueError, match="n_fft 128: every band needs 17 of the 65 bins"):
        MultiBandSTFTDiscriminator(128, [(0, 0.1)])


def test_periods_pad_by_reflection_to_whole_rows() -> None:
    scores, maps = MultiPeriodDiscriminator((7,), (2, 2))(torch.randn(3, 1000))
    assert maps[0][0].shape == (3, 2, 48, 7)  # 143 rows, stride 3
    assert scores[0].shape == (3, 7, 48)
