"""What a metric's model gains from several recordings at once, with random weights: nothing on a CPU.

    python benchmarks/batches.py [--device cpu] [--seconds 10] [--batch 4] [--rounds 3]

Needs the extra `models`. Times are of the model alone, a recording; processor time on a CPU, since that is what is
short there.
"""

import argparse
import statistics
import time
from collections.abc import Callable

import torch

from evalkit.metrics.networks.ecapa_tdnn import EcapaTdnn
from evalkit.metrics.networks.squim import Subjective
from evalkit.metrics.networks.wav2vec2 import Wav2Vec2


def squim(device: str) -> Callable[[torch.Tensor], object]:
    return Subjective(Wav2Vec2()).eval().to(device).features


def ecapa(device: str) -> Callable[[torch.Tensor], object]:
    return EcapaTdnn().eval().to(device)


def mms(device: str) -> Callable[[torch.Tensor], object]:
    """A quarter of the layers of MMS."""
    from transformers import Wav2Vec2Config, Wav2Vec2ForCTC

    config = Wav2Vec2Config(
        hidden_size=1280, num_hidden_layers=12, num_attention_heads=16, intermediate_size=5120, vocab_size=154,
        do_stable_layer_norm=True, feat_extract_norm="layer", conv_bias=True, adapter_attn_dim=16,
    )  # fmt: skip
    return Wav2Vec2ForCTC(config).eval().to(device)


def seconds(model: Callable[[torch.Tensor], object], wavs: torch.Tensor, rounds: int) -> float:
    """Median for one of `wavs`."""
    clock = time.process_time if wavs.device.type == "cpu" else time.perf_counter
    taken = []
    for _ in range(rounds + 1):
        start = clock()
        with torch.inference_mode():
            model(wavs)
        if wavs.device.type == "cuda":
            torch.cuda.synchronize()
        taken.append((clock() - start) / len(wavs))
    return statistics.median(taken[1:])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    wavs = 0.1 * torch.randn(args.batch, round(16_000 * args.seconds), device=args.device)
    for name, build in (("SQUIM subjective", squim), ("ECAPA-TDNN", ecapa), ("MMS, 12 of 48 layers", mms)):
        model = build(args.device)
        alone, together = seconds(model, wavs[:1], args.rounds), seconds(model, wavs, args.rounds)
        print(f"{name}: {alone:.3f} s alone, {together:.3f} s in a batch of {args.batch} ({alone / together:.2f} x)")


if __name__ == "__main__":
    main()
