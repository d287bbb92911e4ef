"""Compare this project's SpeechTokenizer with upstream's own class: same tokens, same samples.

Takes a checkout of ZhangXInFD/SpeechTokenizer (commit 30c96fb3) and needs einops beside the test environment: what
serves training is answered by an empty module. The same seeded weights, saved once, are opened by both. Exits with 1
where a token differs or a sample is too far away.

    python tests/oracle/speechtokenizer.py CHECKOUT                   a narrow model and one of published width
    python tests/oracle/speechtokenizer.py CHECKOUT --golden FILE     write the golden vectors of the ordinary tests
"""

import sys
import tempfile
from pathlib import Path
from types import ModuleType

import torch
from common import Upstream, arguments, compare, golden

from evalkit.baselines import speechtokenizer as ours
from evalkit.baselines.testing import speechtokenizer as narrow

LENGTHS = (1, 319, 320, 321, 8_001)


def upstream(folder: Path, count: int) -> Upstream:
    """Upstream's own class."""
    from speechtokenizer.model import SpeechTokenizer

    below = folder / ours.FOLDER
    model = SpeechTokenizer.load_from_checkpoint(str(below / ours.CONFIG), str(below / ours.TENSORS)).eval()
    return Upstream(
        lambda wav: model.encode(wav[None, None], n_q=count)[:, 0],
        lambda tokens: model.decode(tokens[:, None])[0, 0],
    )


def main() -> int:
    args = arguments(__doc__, "checkout")
    stub = ModuleType("speechtokenizer.trainer")
    stub.__dict__["SpeechTokenizerTrainer"] = None
    sys.modules["speechtokenizer.trainer"] = stub
    with tempfile.TemporaryDirectory() as place:
        folder = narrow.save(narrow.NARROW, Path(place) / "narrow")
        if args.golden:
            golden(args.golden, 0.6, [("speechtokenizer", upstream(folder, 8), ours.SAMPLE_RATE)])
            return 0
        fine = []
        for rate, count in (("0.5k", 1), ("2k", 4), ("4k", 8)):
            codec = ours.FAMILY.build_from(folder, rate)
            fine.append(compare(f"speechtokenizer@{rate}, narrow", upstream(folder, count), codec, LENGTHS))
        if not args.narrow:
            wide = narrow.save(ours.PUBLISHED, Path(place) / "wide")
            codec = ours.FAMILY.build_from(wide, "4k")
            fine.append(compare("speechtokenizer@4k", upstream(wide, 8), codec, (1, 16_000)))
    return 0 if all(fine) else 1


if __name__ == "__main__":
    with torch.inference_mode():
        sys.exit(main())
