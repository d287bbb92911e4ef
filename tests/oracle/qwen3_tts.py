"""Compare this project's Qwen3-TTS-Tokenizer-12Hz with upstream's own classes: same tokens, same samples.

Takes a checkout of QwenLM/Qwen3-TTS (commit 022e286b) and needs an environment with transformers 4.57.3, which
upstream pins: newer ones cannot import its code. The same seeded weights, saved once, are opened by both. Exits with 1
where a token differs or a sample is too far away.

    python tests/oracle/qwen3_tts.py CHECKOUT                   a narrow model and one of published width
    python tests/oracle/qwen3_tts.py CHECKOUT --golden FILE     write the golden vectors of the ordinary tests
"""

import sys
import tempfile
from pathlib import Path

import torch
from common import Upstream, arguments, compare, golden
from torch import Tensor

from evalkit.baselines import qwen3_tts
from evalkit.baselines.testing import qwen3_tts as narrow

LENGTHS = (1, 1919, 1920, 1921, 24_001, 27 * 24_000)


def upstream(folder: Path, chunked: bool) -> Upstream:
    """Upstream's own classes."""
    from tokenizer_12hz.configuration_qwen3_tts_tokenizer_v2 import Qwen3TTSTokenizerV2Config
    from tokenizer_12hz.modeling_qwen3_tts_tokenizer_v2 import Qwen3TTSTokenizerV2Model

    config = Qwen3TTSTokenizerV2Config.from_pretrained(folder)
    model, report = Qwen3TTSTokenizerV2Model.from_pretrained(folder, config=config, output_loading_info=True)
    if any(report.values()):
        raise SystemExit(f"names differ: {report}")
    model.eval()

    def encode(wav: Tensor) -> Tensor:
        return model.encode(wav[None], padding_mask=torch.ones(1, len(wav), dtype=torch.long)).audio_codes[0].T

    def decode(tokens: Tensor) -> Tensor:
        return model.decode(tokens.T[None]).audio_values[0] if chunked else model.decoder(tokens[None])[0, 0]

    return Upstream(encode, decode)


def main() -> int:
    args = arguments(__doc__, "checkout")
    sys.path.insert(0, str(args.checkout / "qwen_tts" / "core"))
    with tempfile.TemporaryDirectory() as folder:
        path = narrow.save(narrow.config(), Path(folder) / "narrow")
        if args.golden:
            golden(args.golden, 1.2, [("qwen3", upstream(path, chunked=False), qwen3_tts.SAMPLE_RATE)])
            return 0
        build, fine = qwen3_tts.FAMILY.build_from, []
        for rate in qwen3_tts.FAMILY.rates:
            theirs = upstream(path, rate == qwen3_tts.CHUNKED)
            fine.append(compare(f"qwen3-tts-12hz@{rate}, narrow", theirs, build(path, rate), LENGTHS))
        if not args.narrow:
            wide = narrow.save(narrow.config(published=True), Path(folder) / "wide")
            fine.append(compare("qwen3-tts-12hz@2.2k", upstream(wide, False), build(wide, "2.2k"), (1, 48_000)))
    return 0 if all(fine) else 1


if __name__ == "__main__":
    with torch.inference_mode():
        sys.exit(main())
