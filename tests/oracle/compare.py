"""Compare this project's codec with NVIDIA NeMo's own classes: same tokens, same samples, and how long each takes.

Runs in an environment that has NeMo (`make oracle` makes one). For each variant a NeMo model gets random weights, its
last encoder layer calibrated so that the latents have unit spread (else a random encoder says one code for
everything), is saved by NeMo as a `.nemo`, and loaded from that file by `nanocodec`. Then both encode and decode the
same audio. Exits with 1 where a token differs or a sample is further away than 1e-5.

    python tests/oracle/compare.py                    every variant, 10 s for one of them
    python tests/oracle/compare.py --full             10 s for all
    python tests/oracle/compare.py --golden DIR       write the golden vectors that the ordinary tests read
"""

from __future__ import annotations

import argparse
import logging
import resource
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

warnings.filterwarnings("ignore")
logging.disable(logging.WARNING)

import numpy as np  # noqa: E402
import torch  # noqa: E402
from nemo.collections.tts.models.audio_codec import AudioCodecModel  # noqa: E402
from omegaconf import OmegaConf  # noqa: E402

from nanocodec.checkpoint import load  # noqa: E402
from nanocodec.config import VARIANTS, CodecConfig  # noqa: E402
from nanocodec.model import NanoCodec  # noqa: E402
from nanocodec.testing import attenuate, calibrate, narrow, nemo_config, seeded_audio, seeded_tensors  # noqa: E402

RELEASED = ("0.6k", "1.78k", "1.89k", "lfsc")
TOLERANCE = 1e-5
MARGIN = 1e-4  # golden vectors keep this far from where rounding would flip, so that they hold on any machine


def upstream_model(config: CodecConfig, tensors: dict[str, torch.Tensor]) -> AudioCodecModel:
    """NeMo's model of `config`, holding `tensors`; every name must be one that NeMo has, and the other way round."""
    training = {
        "loss_resolutions": [[128, 32, 128]],
        "mel_loss_dims": [10],
        "generator_loss": {"_target_": "nemo.collections.tts.losses.audio_codec_loss.GeneratorSquaredLoss"},
        "discriminator_loss": {"_target_": "nemo.collections.tts.losses.audio_codec_loss.DiscriminatorSquaredLoss"},
        "commit_loss_scale": 0.0,
    }
    model = AudioCodecModel(OmegaConf.create(nemo_config(config) | training)).eval()
    theirs = {name for name in model.state_dict() if not name.startswith(("mel_loss_fn", "stft_loss_fn"))}
    if theirs != set(tensors):
        raise SystemExit(f"{config.name}: names differ: {sorted(theirs ^ set(tensors))[:5]}")
    model.load_state_dict(tensors)
    return model


def pair(config: CodecConfig, folder: Path) -> tuple[AudioCodecModel, NanoCodec, dict[str, torch.Tensor]]:
    """Upstream's model with calibrated random weights, ours loaded from the file that upstream saved, the weights."""
    tensors = seeded_tensors(config)
    model = upstream_model(config, tensors)
    audio = seeded_audio(22050, seed=1)[None]
    encoded, length = model.encode_audio(audio=audio, audio_len=torch.tensor([audio.shape[1]]))
    calibrate(tensors, encoded)
    model.load_state_dict(tensors)
    tokens, length = model.encode(audio=audio, audio_len=torch.tensor([audio.shape[1]]))
    latent = model.dequantize(tokens=tokens, tokens_len=length)
    unclipped = model.audio_decoder
    activation, unclipped.out_activation = unclipped.out_activation, torch.nn.Identity()
    sound, _ = unclipped(inputs=latent, input_len=length)
    unclipped.out_activation = activation
    attenuate(tensors, sound)
    model.load_state_dict(tensors)
    path = folder / "model.nemo"
    model.save_to(str(path))
    ours = load(path)
    path.unlink()
    return model, ours, tensors


def upstream_run(model: AudioCodecModel, audio: torch.Tensor, lengths: torch.Tensor) -> tuple[Any, Any]:
    """Upstream's tokens [B, K, N] and samples [B, N * hop]."""
    tokens, frames = model.encode(audio=audio, audio_len=lengths)
    decoded, _ = model.decode(tokens=tokens, tokens_len=frames)
    return tokens, decoded


def timed(call: Callable[[], Any]) -> tuple[Any, float, float]:
    """The result, wall seconds and CPU seconds."""

    def cpu() -> float:
        usage = resource.getrusage(resource.RUSAGE_SELF)
        return usage.ru_utime + usage.ru_stime

    wall, used = time.perf_counter(), cpu()
    result = call()
    return result, time.perf_counter() - wall, cpu() - used


def compare_variant(name: str, folder: Path, long: bool, repeats: int) -> bool:
    """Print one line per length; whether all of them agree."""
    theirs, ours, _ = pair(VARIANTS[name], folder)
    hop, rate = ours.hop, ours.sample_rate
    fine = True
    for samples in (1, hop - 1, hop, hop + 1, rate, *((10 * rate,) if long else ())):
        audio = seeded_audio(samples)[None]
        length = torch.tensor([samples])
        label = f"{name:<6} {samples:>7}"
        try:
            tokens, decoded = upstream_run(theirs, audio, length)
        except RuntimeError as error:
            mine = ours.decode(ours.encode(audio)[0])
            reason = str(error).splitlines()[0][:60]
            works = mine.shape == (1, -(-samples // hop) * hop) and bool(mine.isfinite().all())
            print(f"{label}  upstream raises ({reason}...); ours gives {mine.shape[1]} samples", flush=True)
            fine &= works
            continue
        ours.decode(ours.encode(audio)[0])  # a first time, as upstream had
        runs = []
        for _ in range(repeats if samples >= rate else 1):
            _, wall_theirs, cpu_theirs = timed(lambda: upstream_run(theirs, audio, length))  # noqa: B023
            codes, wall_encode, cpu_encode = timed(lambda: ours.encode(audio)[0])  # noqa: B023
            mine, wall_decode, cpu_decode = timed(lambda: ours.decode(codes))  # noqa: B023
            runs.append((wall_theirs, wall_encode + wall_decode, cpu_theirs, cpu_encode + cpu_decode))
        wall_theirs, wall_ours, cpu_theirs, cpu_ours = np.median(runs, axis=0)
        equal = torch.equal(tokens, codes)
        difference = float((decoded - mine).abs().max())
        fine &= equal and difference <= TOLERANCE
        print(
            f"{label} {tokens.unique().numel():>8} {'yes' if equal else 'NO':>6} {difference:>9.1e} "
            f"{float(decoded.std()):>6.3f} {wall_theirs:>9.2f} {wall_ours:>7.2f} {wall_theirs / wall_ours:>6.2f} "
            f"{cpu_theirs / cpu_ours:>8.2f}",
            flush=True,
        )
    return compare_batch(name, theirs, ours) and fine


def compare_batch(name: str, theirs: AudioCodecModel, ours: NanoCodec) -> bool:
    """A ragged batch of ours must equal ours and upstream's item by item; upstream's own batch is reported."""
    hop = ours.hop
    lengths = torch.tensor([9 * hop + 5, 4 * hop, 6 * hop - 1])
    audio = torch.zeros(3, int(lengths.max()))
    for row, samples in enumerate(lengths.tolist()):
        audio[row, :samples] = seeded_audio(samples, seed=row)
    codes, frames = ours.encode(audio, lengths)
    decoded = ours.decode(codes, frames)
    their_codes, their_decoded = upstream_run(theirs, audio, lengths)
    equal, difference, their_tokens, their_difference = True, 0.0, 0, 0.0
    for row, samples in enumerate(lengths.tolist()):
        one = audio[row : row + 1, :samples]
        tokens, sound = upstream_run(theirs, one, lengths[row : row + 1])
        n = tokens.shape[2]
        equal &= torch.equal(codes[row : row + 1, :, :n], tokens) and torch.equal(ours.encode(one)[0], tokens)
        equal &= not codes[row, :, n:].any()
        difference = max(difference, float((decoded[row, : n * hop] - sound[0]).abs().max()))
        their_tokens += int((their_codes[row : row + 1, :, :n] != tokens).sum())
        their_difference = max(their_difference, float((their_decoded[row, : n * hop] - sound[0]).abs().max()))
    print(
        f"{name:<6} ragged batch against upstream's single runs: tokens {'equal' if equal else 'DIFFER'}, "
        f"{difference:.1e}; upstream's own batch: {their_tokens} tokens differ, {their_difference:.1e}",
        flush=True,
    )
    return equal and difference <= TOLERANCE


def write_golden(folder: Path, scratch: Path) -> None:
    """Upstream's answers for narrow models; their weights follow from a seed and the last layers' calibration."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in RELEASED:
        config = narrow(VARIANTS[name])
        theirs, ours, tensors = pair(config, scratch)
        lengths = torch.tensor([4 * config.hop + 7, 4 * config.hop])
        audio = torch.stack([seeded_audio(int(lengths[0]), seed=row) for row in (0, 1)])
        items = [audio[row : row + 1, : int(lengths[row])] for row in (0, 1)]
        answers = [upstream_run(theirs, item, lengths[row : row + 1]) for row, item in enumerate(items)]
        margin = min(rounding_margin(ours, item) for item in items)
        if margin < MARGIN:
            raise SystemExit(f"{name}: a latent lies {margin:.1e} from a rounding boundary; choose another seed")
        ends = ("audio_encoder.post_conv.", "audio_decoder.post_conv.")
        calibrated = {
            key: value.numpy()
            for key, value in tensors.items()
            if key.startswith(ends) and not key.endswith(".original1")
        }
        vectors = {}
        for row, (tokens, sound) in enumerate(answers):
            latent, _ = theirs.encode_audio(audio=items[row], audio_len=lengths[row : row + 1])
            vectors[f"latent{row}"] = latent[0].numpy()
            vectors |= {f"tokens{row}": tokens[0].numpy().astype(np.uint16), f"sound{row}": sound[0].numpy()}
        path = folder / f"upstream-{name}.npz"
        with path.open("wb") as file:
            np.savez_compressed(file, lengths=lengths.numpy(), **vectors, **calibrated)
        codes = int(answers[0][0].unique().numel())
        print(f"{path}: {path.stat().st_size:,} bytes, {codes} distinct codes, rounding margin {margin:.1e}")


def rounding_margin(model: NanoCodec, audio: torch.Tensor) -> float:
    """How far the nearest latent is from the boundary between two levels, in levels."""
    latent, _ = model.encode_latent(audio)
    levels = (
        model.vector_quantizer.squash(latent)
        * torch.cat([fsq.num_levels[0, :, 0] // 2 for fsq in model.vector_quantizer.fsqs])[None, :, None]
    )
    return float((levels - levels.floor() - 0.5).abs().min())


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("variants", nargs="*", default=RELEASED, help=f"default: {' '.join(RELEASED)}")
    parser.add_argument("--full", action="store_true", help="10 s for every variant, not for 1.78k alone")
    parser.add_argument("--repeats", type=int, default=3, help="timed runs per length from 1 s on (default 3)")
    parser.add_argument("--golden", type=Path, metavar="DIR", help="write golden vectors instead of comparing")
    arguments = parser.parse_args()
    torch.set_grad_enabled(False)
    with tempfile.TemporaryDirectory() as scratch:
        if arguments.golden:
            write_golden(arguments.golden, Path(scratch))
            return 0
        print(
            f"{'codec':<6} {'samples':>7} {'distinct':>8} {'tokens':>6} {'max diff':>9} {'RMS':>6} {'upstream':>9} "
            f"{'ours s':>7} {'ratio':>6} {'CPU rat.':>8}",
            flush=True,
        )
        fine = [
            compare_variant(name, Path(scratch), arguments.full or name == "1.78k", arguments.repeats)
            for name in arguments.variants
        ]
    print("all equal" if all(fine) else "DIFFERENCES FOUND")
    return 0 if all(fine) else 1


if __name__ == "__main__":
    sys.exit(main())
