"""Compare this project's WavTokenizer with upstream's own classes: same tokens, same samples.

Takes a checkout of jishengpeng/WavTokenizer (commit 5cf440d) and needs nothing but the test environment: upstream's
imports of torchaudio, of which its inference uses nothing, are answered by an empty module. Seeded weights are given to
upstream's model and, saved as a Lightning checkpoint, to `evalkit.baselines.wavtokenizer`. Then both encode and decode
the same audio. Exits with 1 where a token differs or a sample is further away than 1e-4.

    python tests/oracle/wavtokenizer.py CHECKOUT                  narrow models and those of published width
    python tests/oracle/wavtokenizer.py CHECKOUT --golden FILE    write the golden vectors of the ordinary tests
"""

import argparse
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor

from evalkit.baselines.testing import seeded
from evalkit.baselines.testing.wavtokenizer import NARROW, save_wavtokenizer, wavtokenizer_state
from evalkit.baselines.wavtokenizer import STRIDES, load
from evalkit.baselines.wavtokenizer_model import PUBLISHED, Shape

TOLERANCE = 1e-4
LENGTHS = (1, 2, 319, 320, 321, 599, 601, 7000, 24_001, 72_000)
GOLDEN_LENGTH = 7_000
MARGIN = 2e-5
"""Golden tokens are nearer than the second nearest by this part of the distance, some ten times what rounding moves
them, so that they hold on any machine."""
BANDWIDTH = torch.tensor([0])


def shape_of(hop: int, narrow: bool) -> Shape:
    return replace(NARROW if narrow else PUBLISHED, strides=STRIDES[hop], window=4 * hop)


def upstream(shape: Shape, state: dict[str, Tensor]) -> Any:
    """Upstream's model of `shape` with the tensors `state`; every name must be one that upstream has, and the other
    way round, but for the decoder that upstream never uses and the codebook's training state."""
    from decoder.feature_extractors import EncodecFeatures
    from decoder.heads import ISTFTHead
    from decoder.models import VocosBackbone
    from decoder.pretrained import WavTokenizer
    from encoder.modules import SEANetEncoder
    from encoder.quantization import ResidualVectorQuantizer

    ratios = list(reversed(shape.strides))
    features = EncodecFeatures("encodec_24khz", [6.6] * 4, True, 1, ratios, vq_bins=shape.codebook, vq_kmeans=200)
    if shape.dimension != 512:  # which upstream has written into its code
        features.encodec.encoder = SEANetEncoder(
            causal=False, n_residual_layers=1, norm="weight_norm", pad_mode="reflect", lstm=2, channels=1,
            dimension=shape.dimension, n_filters=shape.filters, ratios=ratios, activation="ELU", kernel_size=7,
            residual_kernel_size=3, last_kernel_size=7, dilation_base=2, true_skip=False, compress=2,
        )  # fmt: skip
        features.encodec.quantizer = ResidualVectorQuantizer(shape.dimension, 1, shape.codebook)
    backbone = VocosBackbone(shape.dimension, shape.width, shape.hidden, shape.blocks, adanorm_num_embeddings=4)
    head = ISTFTHead(shape.width, shape.window, shape.hop, padding="same")
    model = WavTokenizer(features, backbone, head).eval()
    missing, unexpected = model.load_state_dict(state, strict=False)
    missing = [n for n in missing if ".encodec.decoder." not in n and not n.endswith(("inited", "size", "embed_avg"))]
    if missing or unexpected:
        raise SystemExit(f"names differ: {missing[:5]} {unexpected[:5]}")
    features.encodec.quantizer.vq.layers[0]._codebook.inited.fill_(1)
    return model


def audio(length: int) -> Tensor:
    """Seeded noise [length] that swells and fades."""
    return 0.3 * seeded("audio", (length,), 0) * torch.sin(torch.arange(length) / 3000)


def compare(hop: int, narrow: bool) -> bool:
    shape = shape_of(hop, narrow)
    state = wavtokenizer_state(shape)
    theirs = upstream(shape, state)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.ckpt"
        save_wavtokenizer(state, path)
        ours = load(path, "oracle")
    lengths = LENGTHS if narrow else (1, 24_001)
    different, distance, peak, seen = 0, 0.0, 0.0, set()
    with torch.inference_mode():
        for length in lengths:
            wav = audio(length)[None]
            features, codes = theirs.encode_infer(wav, bandwidth_id=BANDWIDTH)
            assert torch.equal(features, theirs.codes_to_features(codes))
            different += int((ours.encode(wav) != codes[0]).sum())
            seen |= set(codes.flatten().tolist())
            expected = theirs.decode(features, bandwidth_id=BANDWIDTH)
            found = ours.decode(codes[0])
            assert found.shape == expected.shape, (found.shape, expected.shape)
            distance = max(distance, float((found - expected).abs().max()))
            peak = max(peak, float(expected.abs().max()))
    count = sum(p.numel() for p in ours.parameters()) + ours.codebook.numel()
    print(
        f"hop {hop}, {'narrow' if narrow else 'published width'} ({count:,} parameters), {len(lengths)} lengths: "
        f"{different} tokens differ ({len(seen)} distinct), audio within {distance:.1e} of peak {peak:.2f}"
    )
    return different == 0 and distance <= TOLERANCE


def golden(path: Path) -> None:
    """What upstream makes of `audio` with the narrow seeded models."""
    arrays: dict[str, np.ndarray] = {"wav": audio(GOLDEN_LENGTH).numpy()}
    for hop in STRIDES:
        shape = shape_of(hop, narrow=True)
        model = upstream(shape, wavtokenizer_state(shape))
        with torch.inference_mode():
            wav = torch.from_numpy(arrays["wav"])[None]
            features, codes = model.encode_infer(wav, bandwidth_id=BANDWIDTH)
            decoded = model.decode(features, bandwidth_id=BANDWIDTH)
            latents = model.feature_extractor.encodec.encoder(wav[None])[0].T
            entries = model.feature_extractor.encodec.quantizer.vq.layers[0].codebook
            first, second = torch.cdist(latents.double(), entries.double()).topk(2, largest=False).values.T
        margin = float(((second - first) / first).min())
        print(
            f"hop {hop}: {len(set(codes.flatten().tolist()))} distinct of {codes.numel()} tokens, margin {margin:.1e}"
        )
        if margin < MARGIN:
            raise SystemExit(f"too near for golden vectors: {MARGIN}")
        arrays |= {f"codes-{hop}": codes[0].numpy(), f"audio-{hop}": decoded.numpy()}
    np.savez_compressed(path, **arrays)
    print(f"{path}: {path.stat().st_size:,} bytes")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkout", type=Path)
    parser.add_argument("--golden", type=Path, metavar="FILE")
    parser.add_argument("--narrow", action="store_true", help="leave out the models of published width")
    args = parser.parse_args()
    for name in ("torchaudio", "torchaudio.functional", "torchaudio.functional.functional"):
        sys.modules[name] = ModuleType(name)
    sys.modules["torchaudio.functional.functional"].__dict__.update(_hz_to_mel=None, _mel_to_hz=None)
    sys.path.insert(0, str(args.checkout))
    if args.golden:
        golden(args.golden)
        return 0
    sizes = (True,) if args.narrow else (True, False)
    results = [compare(hop, narrow) for narrow in sizes for hop in STRIDES]
    return 0 if all(results) else 1


if __name__ == "__main__":
    sys.exit(main())
