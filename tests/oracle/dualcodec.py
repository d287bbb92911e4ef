"""Compare this project's DualCodec with upstream's own classes: same tokens, same samples.

Takes a checkout of jiaqili3/DualCodec (commit 5e807645) and needs torchaudio, whose library need not load, and einops
beside the test environment; packages that only training uses are answered by empty modules. The same seeded weights,
saved once, are opened by both, and upstream's half precision is switched off. Exits with 1 where a token differs or a
sample is too far away.

    python tests/oracle/dualcodec.py CHECKOUT                   narrow models and one of published width
    python tests/oracle/dualcodec.py CHECKOUT --golden FILE     write the golden vectors of the ordinary tests
"""

import sys
import tempfile
from contextlib import nullcontext
from importlib import import_module
from pathlib import Path
from types import ModuleType

import torch
from common import Upstream, arguments, compare, golden
from safetensors.torch import load_file
from torch import Tensor, nn

from evalkit.baselines import dualcodec
from evalkit.baselines.dualcodec_model import Shape
from evalkit.baselines.testing import dualcodec as narrow
from evalkit.environment import extras

LENGTHS = (2_040, 2_041, 3_841, 9_600, 24_001)
ENDS = {"12hz": ("0.175k-12hz", "1.225k-12hz"), "25hz": ("0.35k-25hz", "3.1k-25hz")}
"""Labels with one codebook and with all."""


def stubs(checkout: Path) -> None:
    """Upstream's packages without what their `__init__` imports, and empty ones for what training uses."""
    extras.load_torchaudio()
    for name in ("dualcodec", "dualcodec.model_codec", "dualcodec.infer", "dualcodec.infer.dualcodec"):
        package = ModuleType(name)
        package.__path__ = [str(checkout / name.replace(".", "/"))]
        sys.modules[name] = package
    made = {
        "audiotools": {"AudioSignal": None}, "audiotools.ml": {"BaseModel": nn.Module},
        "easydict": {"EasyDict": Namespace}, "cached_path": {"cached_path": str},
    }  # fmt: skip
    for name, content in made.items():
        sys.modules[name] = ModuleType(name)
        sys.modules[name].__dict__.update(content)
    torch.autocast = lambda **options: nullcontext()


class Namespace(dict):
    """What easydict gives: keys that are attributes."""

    def __getattr__(self, name: str) -> object:
        if name not in self:
            raise AttributeError(name)
        return self[name]


def upstream(folder: Path, model: str, shape: Shape, count: int) -> Upstream:
    """Upstream's own classes."""
    codec = import_module("dualcodec.model_codec.dualcodec_model").DualCodec(
        shape.filters, list(shape.strides), shape.latents, shape.initial, list(shape.strides[::-1]), shape.codebooks,
        shape.entries, shape.semantic, convnext_dim=shape.width, is_causal=True,
        semantic_downsample_factor=shape.features, sample_rate=24_000,
    )  # fmt: skip
    if shape.speech != 1024:  # which upstream has written into its code
        codec.convnext_encoder[0] = nn.utils.weight_norm(nn.Conv1d(shape.speech, shape.width, 1))
        codec.convnext_decoder[-1] = nn.utils.weight_norm(nn.Conv1d(shape.width, shape.latents, 1))
    codec.load_state_dict(load_file(folder / dualcodec.TENSORS[model]))
    inference_class = import_module("dualcodec.infer.dualcodec.inference_with_semantic").Inference
    inference = inference_class(codec, str(folder), str(folder / dualcodec.SPEECH), device="cpu", autocast=False)

    def encode(wav: Tensor) -> Tensor:
        first, rest = inference.encode(wav[None, None], n_quantizers=count)
        return first[0] if rest is None else torch.cat([first, rest], 1)[0]

    def decode(tokens: Tensor) -> Tensor:
        rest = tokens[None, 1:] if count > 1 else None
        return inference.decode(tokens[None, :1], rest)[0, 0]

    return Upstream(encode, decode)


def main() -> int:
    args = arguments(__doc__, "checkout")
    stubs(args.checkout)
    models, fine, build = [], [], dualcodec.FAMILY.build_from
    extractor = extras.load_transformers().SeamlessM4TFeatureExtractor()
    with tempfile.TemporaryDirectory() as place:
        for model, labels in ENDS.items():
            folder = Path(place) / model
            folder.mkdir()
            narrow.write(folder, labels[0])
            extractor.save_pretrained(folder / dualcodec.SPEECH)
            for label in labels:
                count = dualcodec.VARIANTS[label][1]
                models.append((label, upstream(folder, model, narrow.shape(model), count), dualcodec.SAMPLE_RATE))
                if not args.golden:
                    fine.append(compare(f"dualcodec@{label}, narrow", models[-1][1], build(folder, label), LENGTHS))
        if args.golden:
            golden(args.golden, 1.0, [one for one in models if dualcodec.VARIANTS[one[0]][1] > 1])
            return 0
        if not args.narrow:
            folder, shape = Path(place) / "wide", narrow.shape("12hz", published=True)
            narrow.save(shape, "12hz", folder)
            narrow.speech_model(published=True).save_pretrained(folder / dualcodec.SPEECH)
            extractor.save_pretrained(folder / dualcodec.SPEECH)
            theirs, ours = upstream(folder, "12hz", shape, 8), build(folder, "1.225k-12hz")
            fine.append(compare("dualcodec@1.225k-12hz", theirs, ours, (48_000,)))
    return 0 if all(fine) else 1


if __name__ == "__main__":
    with torch.inference_mode():
        sys.exit(main())
