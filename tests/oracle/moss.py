"""Compare this project's MOSS-Audio-Tokenizer with upstream's own class: same tokens, same samples.

Takes a checkout of OpenMOSS/MOSS-Audio-Tokenizer (commit 56df9eeb) and needs nothing but the test environment. The same
seeded weights, saved once, are opened by both; upstream is given whole frames, to which this project fills audio up.
Exits with 1 where a token differs or a sample is too far away.

    python tests/oracle/moss.py CHECKOUT                   a narrow model, and one of published widths with few layers
    python tests/oracle/moss.py CHECKOUT --golden FILE     write the golden vectors of the ordinary tests
"""

import sys
import tempfile
from importlib import import_module
from pathlib import Path
from types import ModuleType

import torch
from common import Upstream, arguments, compare, golden
from torch import Tensor

from evalkit.baselines import moss
from evalkit.baselines.testing import moss as narrow

LENGTHS = (1, 1919, 1920, 1921, 24_001, 11 * 24_000)
"""The longest reaches beyond what attention sees, 10 s."""


def upstream(folder: Path, checkout: Path, count: int) -> Upstream:
    """Upstream's own class, whose files lie in a folder that is no package."""
    if "moss_upstream" not in sys.modules:
        package = ModuleType("moss_upstream")
        package.__path__ = [str(checkout)]
        sys.modules["moss_upstream"] = package
    model_class = import_module("moss_upstream.modeling_moss_audio_tokenizer").MossAudioTokenizerModel
    model, report = model_class.from_pretrained(folder, output_loading_info=True)
    if any(report.values()):
        raise SystemExit(f"names differ: {report}")
    model.eval()

    def encode(wav: Tensor) -> Tensor:
        whole = torch.nn.functional.pad(wav, (0, -len(wav) % moss.HOP))
        return model.encode(whole[None, None], num_quantizers=count).audio_codes[:, 0]

    return Upstream(encode, lambda tokens: model.decode(tokens[:, None]).audio[0, 0])


def main() -> int:
    args = arguments(__doc__, "checkout")
    with tempfile.TemporaryDirectory() as place:
        folder = narrow.save(narrow.config(), Path(place) / "narrow")
        if args.golden:
            golden(args.golden, 1.0, [("moss", upstream(folder, args.checkout, 16), moss.SAMPLE_RATE)])
            return 0
        fine, build = [], moss.FAMILY.build_from
        for rate, count in (("0.125k", 1), ("4k", 32)):
            theirs = upstream(folder, args.checkout, count)
            fine.append(compare(f"moss@{rate}, narrow", theirs, build(folder, rate), LENGTHS))
        if not args.narrow:
            wide = narrow.save(narrow.config(published=True, layers=1), Path(place) / "wide")
            theirs = upstream(wide, args.checkout, 32)
            fine.append(compare("moss@4k, one layer a stage", theirs, build(wide, "4k"), (1, 48_000)))
    return 0 if all(fine) else 1


if __name__ == "__main__":
    with torch.inference_mode():
        sys.exit(main())
