"""What the tests, the comparison with upstream and the benchmarks share: weights made from a seed, and `.nemo` files.

Weights are drawn per name from numpy's RandomState, whose streams are frozen, so that golden vectors need not carry
them: whoever knows the configuration has the weights.
"""

from __future__ import annotations

import io
import tarfile
import zlib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from torch import Tensor

from nanocodec.checkpoint import assemble
from nanocodec.config import CodecConfig, DecoderConfig, EncoderConfig
from nanocodec.layers import folded_weights
from nanocodec.model import NanoCodec
from nanocodec.quantizer import GroupFiniteScalarQuantizer


def narrow(config: CodecConfig, encoder: int = 4, decoder: int = 96) -> CodecConfig:
    """The same codec with few channels: every stride, kernel and dilation stays, weights shrink by hundreds.

    The decoder's default ends in 3 channels, odd as in the real model, so that half-snake splits them unevenly.
    """
    return replace(
        config,
        name="custom",
        encoder=replace(config.encoder, base_channels=encoder),
        decoder=replace(config.decoder, base_channels=decoder if config.decoder.causal else decoder // 3 * 2),
        note="",
    )


def tiny(name: str = "custom") -> CodecConfig:
    """A codec of a few thousand weights and a hop of 16 samples, for tests that are not about sound."""
    return CodecConfig(
        name,
        (8, 7, 6, 6),
        2,
        (2, 2, 4),
        EncoderConfig(4, kernel_sizes=(3, 5), dilations=(1,)),
        DecoderConfig(24, kernel_sizes=(3, 5), dilations=(1, 3)),
    )


def seeded_tensors(config: CodecConfig, seed: int = 0) -> dict[str, Tensor]:
    """Weights under upstream's names (weight-normed), all of them unlike their initial values, none degenerate."""
    with torch.device("meta"), folded_weights():
        plain = {name: tensor.shape for name, tensor in NanoCodec(config).state_dict().items()}
    shapes: dict[str, tuple[int, ...]] = {}
    for name, shape in plain.items():
        if name.endswith(".weight"):  # every convolution has weight normalisation
            stem = name.removesuffix("weight") + "parametrizations.weight.original"
            shapes |= {stem + "0": (shape[0], *[1] * (len(shape) - 1)), stem + "1": shape}
        else:
            shapes[name] = shape
    tensors: dict[str, Tensor] = {}
    for name, shape in shapes.items():
        if name.startswith("vector_quantizer."):
            continue
        random = np.random.RandomState((zlib.crc32(name.encode()) + seed) % 2**32)
        if name.endswith(".alpha"):
            values = random.uniform(0.5, 2.0, shape)
        elif name.endswith(".original0"):
            values = random.uniform(0.6, 1.2, shape) * (0.6 if ".res_layers." in name else 1.2)
        elif name.endswith(".bias"):
            values = 0.05 * random.standard_normal(shape)
        else:
            values = random.standard_normal(shape)
        tensors[name] = torch.from_numpy(values.astype(np.float32))
    quantizer = GroupFiniteScalarQuantizer(config.levels, config.num_codebooks)
    return tensors | quantizer.state_dict(prefix="vector_quantizer.")


def seeded_state(state: Mapping[str, Tensor], seed: int = 0) -> dict[str, Tensor]:
    """Values for any state dict, by name and shape; buffers that are not statistics of a batch normalisation stay."""
    values = dict(state)
    for name, tensor in state.items():
        if not name.endswith(("weight", "bias", "original0", "original1", "running_mean", "running_var")):
            continue
        random = np.random.RandomState((zlib.crc32(name.encode()) + seed) % 2**32)
        if name.endswith((".bias", ".running_mean")):
            drawn = 0.1 * random.standard_normal(tensor.shape)
        elif tensor.dim() == 1 or name.endswith(".original0"):  # gains, variances
            drawn = random.uniform(1.2, 2.0, tensor.shape)
        else:
            drawn = random.standard_normal(tensor.shape) / np.sqrt(tensor[0].numel())
        values[name] = torch.from_numpy(drawn.astype(np.float32))
    return values


def tiny_wavlm(folder: Path) -> Path:
    """A WavLM of a few thousand seeded weights, saved as transformers saves one; 10 samples to a frame."""
    from transformers import WavLMConfig, WavLMModel

    config = WavLMConfig(
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=24,
        conv_dim=(8, 8),
        conv_kernel=(10, 3),
        conv_stride=(5, 2),
        num_conv_pos_embeddings=16,
        num_conv_pos_embedding_groups=2,
    )
    model = WavLMModel(config)
    model.load_state_dict(seeded_state(model.state_dict()))
    model.save_pretrained(folder)
    return folder


def calibrate(tensors: dict[str, Tensor], latent: Tensor) -> None:
    """Rescale the encoder's last layer, in place, so that `latent` [B, D, N], its output, gets unit spread.

    Without it a random encoder says nearly the same code in every frame, and equal tokens would prove nothing.
    """
    mean, std = latent.mean((0, 2)), latent.std((0, 2)).clamp(min=1e-6)
    stem = "audio_encoder.post_conv.conv."
    tensors[stem + "parametrizations.weight.original0"] /= std[:, None, None]
    tensors[stem + "bias"] = (tensors[stem + "bias"] - mean) / std


def attenuate(tensors: dict[str, Tensor], audio: Tensor, level: float = 0.2) -> None:
    """Rescale the decoder's last layer, in place, so that `audio`, its unclipped output, has RMS `level`."""
    stem = "audio_decoder.post_conv.conv."
    scale = level / float((audio - audio.mean()).square().mean().sqrt())
    tensors[stem + "parametrizations.weight.original0"] *= scale
    tensors[stem + "bias"] = (tensors[stem + "bias"] - audio.mean()) * scale


def seeded_model(config: CodecConfig, seed: int = 0) -> NanoCodec:
    """A model with calibrated weights from a seed: folded, in eval mode, saying many codes."""
    tensors = seeded_tensors(config, seed)
    model = assemble(config, tensors, "seeded weights")
    audio = seeded_audio(max(2 * config.sample_rate // 3, 12 * config.hop), seed=1)[None]
    with torch.no_grad():
        calibrate(tensors, model.encode_latent(audio)[0])
    return assemble(config, tensors, "seeded weights")


def seeded_audio(samples: int, seed: int = 0) -> Tensor:
    """Float [samples]: chirps and noise under a slow envelope, all over the spectrum and the dynamic range."""
    random = np.random.RandomState(seed)
    time = np.arange(samples) / 22050
    envelope = 0.55 + 0.45 * np.sin(2 * np.pi * random.uniform(0.7, 3) * time + random.uniform(0, 6))
    chirp = np.sin(2 * np.pi * (random.uniform(80, 300) * time + random.uniform(200, 2000) * time**2))
    noise = random.standard_normal(samples)
    return torch.from_numpy((0.3 * envelope * (chirp + 0.5 * noise)).clip(-1, 1).astype(np.float32))


def nemo_config(config: CodecConfig) -> dict[str, Any]:
    """The part of NeMo's model configuration that describes the codec."""
    modules = "nemo.collections.tts.modules.audio_codec_modules."
    encoder, decoder = config.encoder, config.decoder
    return {
        "target": "nemo.collections.tts.models.audio_codec.AudioCodecModel",
        "sample_rate": config.sample_rate,
        "samples_per_frame": config.hop,
        "audio_encoder": {
            "_target_": modules + "HiFiGANEncoder",
            "encoded_dim": config.latent_dim,
            "down_sample_rates": list(config.strides),
            "base_channels": encoder.base_channels,
            "in_kernel_size": encoder.in_kernel_size,
            "out_kernel_size": encoder.out_kernel_size,
            "resblock_kernel_sizes": list(encoder.kernel_sizes),
            "resblock_dilation_sizes": list(encoder.dilations),
            "activation": "lrelu",
            "pad_mode": encoder.pad_mode,
        },
        "audio_decoder": {
            "_target_": modules + ("CausalHiFiGANDecoder" if decoder.causal else "HiFiGANDecoder"),
            "input_dim": config.latent_dim,
            "up_sample_rates": list(config.strides[::-1]),
            "base_channels": decoder.base_channels,
            "in_kernel_size": decoder.in_kernel_size,
            "out_kernel_size": decoder.out_kernel_size,
            "resblock_kernel_sizes": list(decoder.kernel_sizes),
            "resblock_dilation_sizes": list(decoder.dilations),
            "activation": decoder.activation,
            "output_activation": decoder.output_activation,
            "pad_mode": decoder.pad_mode,
            "n_groups_equal_to_out_channels": decoder.grouped_upsampling,
        },
        "vector_quantizer": {
            "_target_": modules + "GroupFiniteScalarQuantizer",
            "num_groups": config.num_codebooks,
            "num_levels_per_group": list(config.levels),
        },
    }


def nemo_bytes(config: dict[str, Any], tensors: dict[str, Tensor], *, compress: bool = False) -> bytes:
    """A `.nemo` archive as NeMo writes it (or an older, gzipped one)."""
    weights, archive = io.BytesIO(), io.BytesIO()
    torch.save(tensors, weights)
    with tarfile.open(fileobj=archive, mode="w:gz" if compress else "w:") as tar:
        folder = tarfile.TarInfo(".")
        folder.type = tarfile.DIRTYPE
        tar.addfile(folder)
        for name, data in (("config.yaml", yaml.safe_dump(config).encode()), ("weights.ckpt", weights.getvalue())):
            member = tarfile.TarInfo(f"./model_{name}")
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return archive.getvalue()


def write_nemo(path: Path, config: CodecConfig, tensors: dict[str, Tensor], *, compress: bool = False) -> Path:
    """`nemo_bytes` of a codec, as a file."""
    path.write_bytes(nemo_bytes(nemo_config(config), tensors, compress=compress))
    return path
