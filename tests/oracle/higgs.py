"""Compare this project's Higgs tokenizer with transformers' HiggsAudioV2TokenizerModel: same tokens, same samples.

Needs transformers 5.17 or newer and torchaudio, whose library need not load. The same seeded weights, saved once, are
opened by both. Exits with 1 where a token differs or a sample is too far away.

    python tests/oracle/higgs.py                   a narrow model and one of published width
    python tests/oracle/higgs.py --golden FILE     write the golden vectors of the ordinary tests
"""

import sys
import tempfile
from pathlib import Path

import torch
from common import Upstream, arguments, compare, golden

from evalkit.baselines import higgs
from evalkit.baselines.testing import higgs as narrow
from evalkit.environment import extras

LENGTHS = (120, 479, 959, 960, 1079, 1080, 1439, 24_001)


def upstream(folder: Path, rate: str) -> Upstream:
    """transformers' own class."""
    extras.load_torchaudio()
    model = extras.load_transformers().HiggsAudioV2TokenizerModel.from_pretrained(folder).eval()
    kbps = higgs.FAMILY.rates[rate] / 1000
    return Upstream(
        lambda wav: model.encode(wav[None, None], bandwidth=kbps).audio_codes[0],
        lambda tokens: model.decode(tokens[None]).audio_values[0, 0],
    )


def main() -> int:
    args = arguments(__doc__)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "narrow"
        narrow.write(path, "2k")
        if args.golden:
            golden(args.golden, 0.9, [("higgs", upstream(path, "2k"), higgs.SAMPLE_RATE)])
            return 0
        fine = [
            compare(f"higgs@{rate}, narrow", upstream(path, rate), higgs.FAMILY.build_from(path, rate), LENGTHS)
            for rate in ("0.5k", "2k")
        ]
        if not args.narrow:
            wide = Path(folder) / "wide"
            narrow.model(published=True).save_pretrained(wide)
            fine.append(compare("higgs@2k", upstream(wide, "2k"), higgs.FAMILY.build_from(wide, "2k"), (120, 48_000)))
    return 0 if all(fine) else 1


if __name__ == "__main__":
    with torch.inference_mode():
        sys.exit(main())
