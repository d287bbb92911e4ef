"""Golden values for the training recipe's losses, discriminators and speaker encoder, from NVIDIA NeMo's own classes.

Runs in an environment that has NeMo (`make oracle-training` makes one). Weights and audio follow from seeds, so the
file holds the answers alone: every loss, and evenly spaced samples of every score, feature map and gradient.

    python tests/oracle/training.py FOLDER     write FOLDER/upstream-training.npz
"""

from __future__ import annotations

import json
import logging
import sys
import tempfile
import warnings
from pathlib import Path

warnings.filterwarnings("ignore")
logging.disable(logging.WARNING)

import numpy as np  # noqa: E402
import torch  # noqa: E402
from nemo.collections.tts.losses import audio_codec_loss as losses  # noqa: E402
from nemo.collections.tts.modules import audio_codec_modules as modules  # noqa: E402
from torch import Tensor, nn  # noqa: E402

from nanocodec.testing import seeded_audio, seeded_state, tiny_wavlm  # noqa: E402

SEEDS = ((0, 1), (2, 3))  # of the real and of the generated audio
SAMPLES = 3 * 1764
RATE = 22_050
PERIODS, PERIOD_CHANNELS = (2, 5), (3, 4, 5, 6, 6)
RESOLUTIONS, BANDS, STFT_CHANNELS = (512, 128), ((0.0, 0.3), (0.3, 1.0)), 3
SLM_SAMPLES, SLM_CHANNELS = 1600, 4
SPEAKER_BLOCKS, SPEAKER_CHANNELS, SPEAKER_SIZE, SPEAKER_SAMPLES = (1, 2, 1, 1), (8, 8, 16, 16), 12, 8000
FULL_BANDS = ((0.0, 0.1), (0.1, 0.25), (0.25, 0.5), (0.5, 0.75), (0.75, 1.0))
FULL_RESOLUTIONS = tuple((n, n // 4, n) for n in (2048, 1024, 512))
LOSS_RESOLUTIONS = [[n, n // 4, n] for n in (32, 64, 128, 256, 512, 1024, 2048)]
MEL_DIMS = [5, 10, 20, 40, 80, 160, 320]


def spaced(tensor: Tensor, count: int = 48) -> np.ndarray:
    """`count` evenly spaced values of a flattened tensor."""
    flat = tensor.detach().flatten()
    return flat[torch.linspace(0, len(flat) - 1, count).round().long()].numpy()


def narrowed(layer: modules.Conv2dNorm, inputs: int, outputs: int) -> modules.Conv2dNorm:
    """Upstream's layer with other widths; kernel, stride and dilation are read off the original."""
    conv = layer.conv
    return modules.Conv2dNorm(inputs, outputs, kernel_size=conv.kernel_size, stride=conv.stride, dilation=conv.dilation)


def narrow_discriminator() -> modules.Discriminator:
    """Upstream's classes with few channels, which it cannot be asked for."""
    periods = modules.MultiPeriodDiscriminator(periods=PERIODS)
    for tower in periods.discriminators:
        widths = (1, *PERIOD_CHANNELS)
        tower.conv_layers = nn.ModuleList(
            narrowed(layer, widths[i], widths[i + 1]) for i, layer in enumerate(tower.conv_layers)
        )
        tower.conv_post = narrowed(tower.conv_post, widths[-1], 1)
    spectra = modules.MultiResolutionDiscriminatorSTFT([(n, n // 4, n) for n in RESOLUTIONS], BANDS)
    for resolution in spectra.discriminators:
        resolution.discriminators = nn.ModuleList(modules.DiscriminatorSTFT(filters=STFT_CHANNELS) for _ in BANDS)
    return modules.Discriminator([periods, spectra])


def judged(discriminator: nn.Module, real: Tensor, generated: Tensor) -> dict[str, np.ndarray]:
    """Scores, feature maps and adversarial losses, and the gradient of the generator's two at the generated audio."""
    generated = generated.clone().requires_grad_()
    scores_real, scores_gen, maps_real, maps_gen = discriminator(audio_real=real, audio_gen=generated)
    generator = losses.GeneratorSquaredLoss()(disc_scores_gen=scores_gen)
    matching = losses.FeatureMatchingLoss()(fmaps_real=maps_real, fmaps_gen=maps_gen)
    both = losses.DiscriminatorSquaredLoss()(disc_scores_real=scores_real, disc_scores_gen=scores_gen)
    (gradient,) = torch.autograd.grad(generator + matching, generated)
    values = {f"score{i}": spaced(score) for i, score in enumerate(scores_gen)}
    values |= {f"map{i}.{j}": spaced(layer) for i, layers in enumerate(maps_gen) for j, layer in enumerate(layers)}
    values |= {f"real{i}": spaced(score) for i, score in enumerate(scores_real)}
    parts = {"generator": generator, "matching": matching, "discriminator": both}
    return values | {key: value.detach().numpy() for key, value in parts.items()} | {"gradient": spaced(gradient)}


def reconstruction(real: Tensor, generated: Tensor) -> dict[str, np.ndarray]:
    """The mel and STFT losses and their gradients."""
    lengths = torch.tensor([real.shape[1]] * len(real))
    mel = losses.MultiResolutionMelLoss(sample_rate=RATE, resolutions=LOSS_RESOLUTIONS, mel_dims=MEL_DIMS)
    stft = losses.MultiResolutionSTFTLoss(resolutions=LOSS_RESOLUTIONS)
    values = {}
    for name, loss in (
        ("mel", lambda x: mel(audio_real=real, audio_gen=x, audio_len=lengths)[0]),
        ("stft", lambda x: stft(audio_real=real, audio_gen=x, audio_len=lengths)),
    ):
        audio = generated.clone().requires_grad_()
        value = loss(audio)
        (gradient,) = torch.autograd.grad(value, audio)
        values |= {name: value.detach().numpy(), f"{name}.gradient": spaced(gradient)}
    return values


def speakers() -> dict[str, np.ndarray]:
    """A narrow speaker encoder's embeddings and consistency loss, and what its full size is called."""
    encoder = modules.ResNetSpeakerEncoder(
        layers=SPEAKER_BLOCKS, num_filters=SPEAKER_CHANNELS, proj_dim=SPEAKER_SIZE
    ).eval()
    encoder.load_state_dict(seeded_state(encoder.state_dict()))
    real, generated = (torch.stack([seeded_audio(SPEAKER_SAMPLES, seed=seed) for seed in seeds]) for seeds in SEEDS)
    audio = torch.cat([real, generated]).requires_grad_()
    embeddings = encoder(audio * 1.0, l2_norm=True)
    loss = -torch.nn.functional.cosine_similarity(*embeddings.unsqueeze(-1).chunk(2)).mean()
    (gradient,) = torch.autograd.grad(loss, audio)
    return {
        "embeddings": encoder(audio * 1.0).detach().numpy(),
        "loss": loss.detach().numpy(),
        "gradient": spaced(gradient[2:]),
        "shapes": shapes(modules.ResNetSpeakerEncoder()),
    }


def shapes(module: nn.Module) -> np.ndarray:
    """Every name and shape of upstream's default widths, as the bytes of a JSON object."""
    state = {name: list(tensor.shape) for name, tensor in module.state_dict().items()}
    return np.frombuffer(json.dumps(state).encode(), np.uint8)


def main() -> None:
    real, generated = (torch.stack([seeded_audio(SAMPLES, seed=seed) for seed in seeds]) for seeds in SEEDS)
    narrow = narrow_discriminator()
    narrow.load_state_dict(seeded_state(narrow.state_dict()))
    golden = {f"narrow.{key}": value for key, value in judged(narrow, real, generated).items()}
    golden |= {f"loss.{key}": value for key, value in reconstruction(real, generated).items()}
    full = (modules.MultiPeriodDiscriminator(), modules.MultiResolutionDiscriminatorSTFT(FULL_RESOLUTIONS, FULL_BANDS))
    golden["full.shapes"] = shapes(modules.Discriminator(full))
    with tempfile.TemporaryDirectory() as folder:
        slm = modules.SLMDiscriminator(
            str(tiny_wavlm(Path(folder))),
            input_sr=16_000,  # its own resampler is not compared
            slm_hidden=16,
            slm_layers=3,
            initial_channel=SLM_CHANNELS,
        )
    head = {name: tensor for name, tensor in slm.state_dict().items() if not name.startswith("slm_model.")}
    slm.load_state_dict(seeded_state(head), strict=False)
    slm.eval()
    heard = judged(slm, real[:, :SLM_SAMPLES], generated[:, :SLM_SAMPLES])
    golden |= {f"slm.{key}": value for key, value in heard.items()}
    golden |= {f"speaker.{key}": value for key, value in speakers().items()}
    path = Path(sys.argv[1]) / "upstream-training.npz"
    with path.open("wb") as file:
        np.savez_compressed(file, **golden)
    print(f"{path}: {path.stat().st_size:,} bytes")
    print({key: float(value) for key, value in golden.items() if value.ndim == 0})


if __name__ == "__main__":
    main()
