"""Compare this project's BigCodec with upstream's own classes: same tokens, same samples.

Takes a checkout of Aria-K-Alethia/BigCodec (commit 09845ab1) and needs einops beside the test environment. The same
seeded weights, saved once, are opened by both. Exits with 1 where a token differs or a sample is too far away.

    python tests/oracle/bigcodec.py CHECKOUT                   a narrow model and one of published width
    python tests/oracle/bigcodec.py CHECKOUT --golden FILE     write the golden vectors of the ordinary tests
"""

import sys
import tempfile
from pathlib import Path

import torch
from common import Upstream, arguments, compare, golden
from torch import Tensor

from evalkit.baselines import bigcodec
from evalkit.baselines.bigcodec_model import PUBLISHED, Shape
from evalkit.baselines.testing import bigcodec as narrow

LENGTHS = (1, 199, 200, 201, 399, 8_001)


def upstream(folder: Path, shape: Shape) -> Upstream:
    """Upstream's own classes, used as its inference.py does."""
    from vq.codec_decoder import CodecDecoder
    from vq.codec_encoder import CodecEncoder

    checkpoint = torch.load(folder / bigcodec.RELEASE.files[0], weights_only=True)
    encoder = CodecEncoder(ngf=shape.filters, out_channels=shape.latents)
    encoder.load_state_dict(checkpoint["CodecEnc"])
    decoder = CodecDecoder(
        shape.latents, shape.initial, shape.filters, vq_dim=shape.latents, codebook_size=shape.codebook,
        codebook_dim=shape.dimension,
    )  # fmt: skip
    decoder.load_state_dict(checkpoint["generator"])
    encoder.eval(), decoder.eval()

    def encode(wav: Tensor) -> Tensor:
        padded = torch.nn.functional.pad(wav, (0, 200 - len(wav) % 200))
        return decoder(encoder(padded[None, None]), vq=True)[1][0]

    def decode(tokens: Tensor) -> Tensor:
        return decoder(decoder.vq2emb(tokens.T[None]).transpose(1, 2), vq=False)[0, 0]

    return Upstream(encode, decode)


def main() -> int:
    args = arguments(__doc__, "checkout")
    with tempfile.TemporaryDirectory() as place:
        folder = narrow.save(narrow.NARROW, Path(place) / "narrow")
        theirs, build = upstream(folder, narrow.NARROW), bigcodec.FAMILY.build_from
        if args.golden:
            golden(args.golden, 0.5, [("bigcodec", theirs, bigcodec.SAMPLE_RATE)])
            return 0
        fine = [compare("bigcodec@1.04k, narrow", theirs, build(folder, "1.04k"), LENGTHS)]
        if not args.narrow:
            wide = narrow.save(PUBLISHED, Path(place) / "wide")
            ours = build(wide, "1.04k")
            fine.append(compare("bigcodec@1.04k", upstream(wide, PUBLISHED), ours, (1, 8_000)))
    return 0 if all(fine) else 1


if __name__ == "__main__":
    with torch.inference_mode():
        sys.exit(main())
