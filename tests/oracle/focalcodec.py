"""Compare this project's FocalCodec with upstream's own classes: same tokens, same samples.

Takes a checkout of lucadellalib/focalcodec (commit 912b7f2c) and needs nothing but the test environment. The same
seeded weights, saved once, are opened by both, in the released form and in that of upstream's first checkpoints. Exits
with 1 where a token differs or a sample is too far away.

    python tests/oracle/focalcodec.py CHECKOUT                   narrow models and one of published width
    python tests/oracle/focalcodec.py CHECKOUT --golden FILE     write the golden vectors of the ordinary tests
"""

import json
import sys
import tempfile
from pathlib import Path

import torch
from common import Upstream, arguments, compare, golden
from safetensors.torch import load_file

from evalkit.baselines import focalcodec
from evalkit.baselines.testing import focalcodec as narrow

LENGTHS = (1, 399, 400, 719, 720, 1359, 16_001)


def upstream(folder: Path) -> Upstream:
    """Upstream's own class."""
    from focalcodec.codec import FocalCodec

    model = FocalCodec(**json.loads((folder / "config.json").read_text()))
    state = FocalCodec._remap_state_dict(load_file(folder / "model.safetensors"), list(model.state_dict()))
    model.load_state_dict(state)
    model.eval()
    return Upstream(lambda wav: model.sig_to_toks(wav[None]), lambda tokens: model.toks_to_sig(tokens)[0])


def main() -> int:
    args = arguments(__doc__, "checkout")
    build, fine, models = focalcodec.FAMILY.build_from, [], []
    with tempfile.TemporaryDirectory() as place:
        for rate in focalcodec.HOPS:
            about = narrow.config(rate)
            tensors = narrow.state(about)
            folder = narrow.save(about, tensors, Path(place) / rate)
            models.append((rate, upstream(folder), focalcodec.SAMPLE_RATE))
            if not args.golden:
                fine.append(compare(f"focalcodec@{rate}, narrow", models[-1][1], build(folder, rate), LENGTHS))
                old = narrow.save(about, narrow.older(tensors), Path(place) / f"{rate}-old")
                fine.append(compare(f"focalcodec@{rate}, narrow, old form", upstream(old), build(old, rate), LENGTHS))
        if args.golden:
            golden(args.golden, 1.0, models)
            return 0
        if not args.narrow:
            about = narrow.config("0.16k", published=True)
            wide = narrow.save(about, narrow.state(about), Path(place) / "wide")
            fine.append(compare("focalcodec@0.16k", upstream(wide), build(wide, "0.16k"), (1, 48_000)))
    return 0 if all(fine) else 1


if __name__ == "__main__":
    with torch.inference_mode():
        sys.exit(main())
