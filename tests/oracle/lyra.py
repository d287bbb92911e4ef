"""Compare this project's Lyra with LiteRT running Google's files: the released weights, not seeded ones.

Takes a folder with the three files of google/lyra at 47698da, lyra/model_coeffs, and needs the package ai-edge-litert
2.3.0. LiteRT runs them as upstream does: XNNPACK, one thread, a frame at a time. Exits with 1 where less agrees than
LiteRT's kernels agree with each other (docs/reference/codecs.md), less a margin.

    python tests/oracle/lyra.py FOLDER                  on the built-in speech
    python tests/oracle/lyra.py FOLDER --golden FILE    write the golden vectors of the ordinary tests
"""

import argparse
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ai_edge_litert.interpreter import Interpreter

from evalkit import testing
from evalkit.baselines.lyra import DECODER, ENCODER, QUANTIZER, QUANTIZERS, RELEASE, load

SECONDS = 6.0
GOLDEN_SECONDS = 2.0
STRIDE = 13
"""Every so many samples of the golden audio are kept."""
BOUNDS = {1: 0.93, 16: 0.75, 46: 0.42}
"""Share of equal codes among the first so many codebooks."""
SNR = 18.0
"""dB."""


def litert(folder: Path, wav: np.ndarray) -> tuple[np.ndarray, dict[int, np.ndarray]]:
    """Codes [46, N] of `wav` [T] at 16 kHz, and the audio of the first 16, 30 and 46 rows."""
    encoder, quantizer = _interpreter(folder / ENCODER), Interpreter(str(folder / QUANTIZER), num_threads=1)
    encode, dequantize = (quantizer.get_signature_runner(name) for name in ("encode", "decode"))
    frames = np.pad(wav, (0, -len(wav) % 320)).reshape(-1, 1, 320)
    codes = np.array(
        [encode(input_frames=_invoke(encoder, frame), num_quantizers=np.int32(46))["output_0"] for frame in frames]
    )[:, :, 0, 0].T
    audio = {}
    for count in QUANTIZERS.values():
        decoder = _interpreter(folder / DECODER)  # a new one: its state outlives an utterance
        used = np.where(np.arange(46)[:, None] < count, codes, -1).astype(np.int32)
        features = (dequantize(encoding_indices=frame[:, None, None])["output_0"] for frame in used.T)
        audio[count] = np.concatenate([_invoke(decoder, frame)[0] for frame in features])
    return codes, audio


def _interpreter(path: Path) -> Any:
    interpreter = Interpreter(str(path), num_threads=1)
    interpreter.allocate_tensors()
    return interpreter


def _invoke(interpreter: Any, value: np.ndarray) -> np.ndarray:
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], value)
    interpreter.invoke()
    return interpreter.get_tensor(interpreter.get_output_details()[0]["index"])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--golden", type=Path, metavar="FILE")
    args = parser.parse_args()
    wav = testing.speech(GOLDEN_SECONDS if args.golden else SECONDS, 16_000)
    codes, audio = litert(args.folder, wav)
    if args.golden:
        kept = {f"audio-{count}": samples[::STRIDE].astype(np.float32) for count, samples in audio.items()}
        np.savez_compressed(args.golden, codes=codes.astype(np.uint8), stride=STRIDE, **kept)
        print(f"{args.golden}: {args.golden.stat().st_size:,} bytes")
        return 0
    model = load([args.folder / name for name in RELEASE.files], "oracle")
    with torch.inference_mode():
        whole = torch.from_numpy(np.pad(wav, (0, -len(wav) % 320)))[None]
        equal = model.encode(whole, 46)[0].numpy() == codes
        shares = {count: equal[:count].mean() for count in BOUNDS}
        ours = {count: model.decode(torch.from_numpy(codes[:count]).long()[None])[0].numpy() for count in audio}
    ratios = {n: 10 * np.log10((audio[n] ** 2).sum() / ((ours[n] - audio[n]) ** 2).sum()) for n in audio}
    print(f"{len(wav) / 16_000:g} s: codes equal " + ", ".join(f"{s:.1%} of the first {n}" for n, s in shares.items()))
    print("audio of the same codes: " + ", ".join(f"{ratio:.1f} dB with {n}" for n, ratio in ratios.items()))
    return 0 if all(shares[n] >= least for n, least in BOUNDS.items()) and min(ratios.values()) >= SNR else 1


if __name__ == "__main__":
    sys.exit(main())
