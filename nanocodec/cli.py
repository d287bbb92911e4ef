"""The `nanocodec` command: arguments and printing only.

Exit codes: 0 done, 2 usage (wrong arguments or input files), 3 environment (missing weights, data or packages).
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

from nanocodec.config import VARIANTS, CodecConfig, UnknownVariantError, get_config

DEFAULT_MODEL = "mini-1.1k"


class _Formatter(argparse.RawDescriptionHelpFormatter):
    pass


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="nanocodec",
        description="NanoCodec, a low-frame-rate neural speech codec: encode, decode, inspect, export, train.",
        epilog="examples:\n"
        "  nanocodec encode speech.wav tokens.npz\n"
        "  nanocodec decode tokens.npz decoded.wav\n"
        "  nanocodec info 1.78k\n"
        "  nanocodec COMMAND --help",
        formatter_class=_Formatter,
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {version('nanocodec-evalkit')}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)

    info = commands.add_parser(
        "info",
        help="list the variants, or describe a variant, a weights file or a token file",
        epilog="examples:\n  nanocodec info\n  nanocodec info 1.1k\n  nanocodec info model.safetensors\n"
        "  nanocodec info tokens.npz",
        formatter_class=_Formatter,
    )
    info.add_argument("what", nargs="?", help="a variant's name, a weights file or folder, or a .npz of tokens")

    encode = commands.add_parser(
        "encode",
        help="encode an audio file to a token file",
        epilog="example:\n  nanocodec encode speech.flac tokens.npz",
        formatter_class=_Formatter,
    )
    encode.add_argument(
        "audio", type=Path, help="any format of libsndfile (WAV, FLAC, Ogg, MP3, ...); mixed to mono and resampled"
    )
    encode.add_argument("tokens", type=Path, help="the .npz file to write")

    decode = commands.add_parser(
        "decode",
        help="decode a token file to an audio file",
        epilog="example:\n  nanocodec decode tokens.npz decoded.wav",
        formatter_class=_Formatter,
    )
    decode.add_argument("tokens", type=Path, help="a .npz file that `nanocodec encode` wrote")
    decode.add_argument("audio", type=Path, help="the .wav or .flac file to write")

    for command, default in ((encode, DEFAULT_MODEL), (decode, None)):
        command.add_argument(
            "--model",
            default=default,
            help="built-in or released weights by name, a folder that `convert` wrote, a .safetensors or .nemo file "
            + (f"(default: {default})" if default else "(default: the model that made the tokens)"),
        )
        command.add_argument("--device", default="cpu", help="cpu (default) or cuda")

    convert = commands.add_parser(
        "convert",
        help="convert weights to a folder of safetensors",
        description="Convert weights saved by NVIDIA NeMo (.nemo) to model.safetensors, with weight "
        "normalisation folded,\nand config.json. Does not need NeMo and executes no code from the file.",
        epilog="examples:\n  nanocodec convert model.nemo out/\n  nanocodec convert 1.78k out/\n"
        "  nanocodec encode speech.wav tokens.npz --model out/",
        formatter_class=_Formatter,
    )
    convert.add_argument("source", help="a .nemo or .safetensors file, or the name of released weights")
    convert.add_argument("folder", type=Path, help="the folder to write")

    export = commands.add_parser(
        "export",
        help="export the codec as ONNX: encoder and decoder",
        description="Write encoder.onnx (audio [B, N * hop] to codes [B, K, N]) and decoder.onnx (codes to "
        "audio),\nwith dynamic batch size and length, and check both in ONNX Runtime. Needs the extra `export`.",
        epilog="examples:\n  nanocodec export onnx/\n  nanocodec export onnx/ --model model.nemo",
        formatter_class=_Formatter,
    )
    export.add_argument("folder", type=Path, help="the folder to write")
    export.add_argument("--format", choices=("onnx",), default="onnx", help="onnx (default)")
    export.add_argument("--model", default=DEFAULT_MODEL, help=f"weights, as for encode (default: {DEFAULT_MODEL})")

    train = commands.add_parser(
        "train",
        help="train a codec",
        description="Train a codec. The run's folder receives state.pt, log.jsonl, codec.safetensors (averaged "
        "weights)\nand tensorboard/. Needs the extra `train`.",
        epilog="examples:\n"
        "  nanocodec train mini-1.1k --data speech/ --run runs/mini\n"
        "  nanocodec train mini-1.1k --data speech/:0.7 --data synthetic/:0.3 --synthesize synthetic/ --run runs/mini "
        "--resume\n"
        "  nanocodec train nanocodec-1.1k --data mls.jsonl:0.9 --data hub:OWNER/SET#train:0.1 --run runs/1.1k "
        "--device cuda --devices 8 --nodes 6\n"
        "  nanocodec train my.yaml --data speech/ --run runs/mine     # `extends: mini-1.1k` and what differs",
        formatter_class=_Formatter,
    )
    train.add_argument("config", help="a YAML file, or the name of a built-in configuration, such as mini-1.1k")
    train.add_argument(
        "--data", action="append", required=True, metavar="SOURCE[:SHARE]",
        help="audio to train on and its share of the excerpts (default 1): a folder, a manifest (CSV with a column "
        "path, or NeMo's JSON lines) or hub:ID[@REVISION][#SPLIT]; repeatable; validation uses the first",
    )  # fmt: skip
    train.add_argument("--run", type=Path, required=True, metavar="DIR", help="folder for state, log and weights")
    train.add_argument(
        "--cache", type=Path, metavar="DIR", help="folder for the data's index (default: RUN/cache); runs may share it"
    )
    train.add_argument("--resume", action="store_true", help="continue from the state in the run's folder")
    train.add_argument(
        "--steps", type=int, metavar="N", help="stop after N steps in total; the learning rate decays by then"
    )
    train.add_argument("--start", metavar="MODEL", help="start from trained weights of the same or a narrower model")
    train.add_argument("--device", default="cpu", help="cpu (default) or cuda")
    train.add_argument(
        "--devices", type=int, default=1, metavar="N", help="processes per machine; with cuda, one GPU each"
    )
    train.add_argument("--nodes", type=int, default=1, metavar="N", help="machines (torchrun or SLURM starts them)")
    train.add_argument(
        "--synthesize", type=Path, metavar="DIR",
        help="first fill DIR with speech synthesized by whichever of espeak-ng, flite and festival are installed",
    )  # fmt: skip
    train.add_argument(
        "--utterances", type=int, default=1200, metavar="N",
        help="number of utterances for --synthesize (default 1200)",
    )  # fmt: skip
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; the exit code is returned (argparse itself exits with 2 on wrong arguments)."""
    from nanocodec.files import FileError

    arguments = _parser().parse_args(argv)
    commands = {
        "info": _info,
        "encode": _encode,
        "decode": _decode,
        "convert": _convert,
        "export": _export,
        "train": _train,
    }
    command = commands[arguments.command]
    try:
        command(arguments)
    except (FileError, UnknownVariantError) as error:
        return _fail(error, 2)
    except ImportError as error:
        return _fail(f"{error}; install the package with its dependencies" if error.name else error, 3)
    except KeyboardInterrupt:
        return _fail("interrupted", 130)
    except BrokenPipeError:
        return 0
    except Exception as error:
        code = _exit_code(error)
        if code is None:
            raise
        return _fail(error, code)
    return 0


def _exit_code(error: Exception) -> int | None:
    """2 or 3 for errors that a user can mend, None for those that are bugs."""
    from nanocodec.checkpoint import CheckpointError
    from nanocodec.export import ExportError
    from nanocodec.training.config import ConfigError
    from nanocodec.training.data import DataError
    from nanocodec.training.synthesize import SynthesizerMissingError

    if isinstance(error, ConfigError | ExportError):
        return 2
    return 3 if isinstance(error, CheckpointError | DataError | SynthesizerMissingError) else None


def _fail(message: object, code: int) -> int:
    print(f"nanocodec: {message}", file=sys.stderr)
    return code


def _describe(config: CodecConfig) -> str:
    lines = [
        ("bitrate", f"{config.bitrate:.1f} bit/s"),
        ("frames", f"{config.frame_rate:.4g} per second, {config.hop} samples each at {config.sample_rate} Hz"),
        ("codebooks", f"{config.num_codebooks} x {config.codebook_size}, FSQ levels {list(config.levels)}"),
        ("latent", f"{config.latent_dim} dimensions"),
        ("strides", str(list(config.strides))),
        ("decoder", "causal" if config.decoder.causal else "non-causal"),
    ]
    if config.note:
        lines.append(("note", config.note))
    return "\n".join(f"{key:<10} {value}" for key, value in lines)


def _info(arguments: argparse.Namespace) -> None:
    what = arguments.what
    if what is None:
        from nanocodec.checkpoint import builtin_names
        from nanocodec.releases import RELEASES

        weights = dict.fromkeys(RELEASES, "released") | dict.fromkeys(builtin_names(), "built in")
        print(f"{'variant':<14}{'bit/s':>8}{'frames/s':>10}{'codebooks':>11}{'size':>7}  weights")
        for name, config in VARIANTS.items():
            print(
                f"{name:<14}{config.bitrate:>8.1f}{config.frame_rate:>10.4g}{config.num_codebooks:>11}"
                f"{config.codebook_size:>7}  {weights.get(name, '-')}"
            )
    elif what.endswith(".npz"):
        from nanocodec.files import read_tokens

        codes, header = read_tokens(Path(what))
        print(f"model      {header['model']}\nsamples    {header['samples']}\ncodes      {list(codes.shape)}")
    elif what.endswith((".safetensors", ".nemo")) or Path(what).is_dir():
        from nanocodec.checkpoint import load

        model = load(Path(what))
        print(f"variant    {model.config.name}\n{_describe(model.config)}")
        print(f"parameters {sum(p.numel() for p in model.parameters()):,}")
    else:
        print(f"variant    {what}\n{_describe(get_config(what))}")


def _device(name: str) -> str:
    import torch

    from nanocodec.files import FileError

    if name not in ("cpu", "cuda"):
        raise FileError(f"--device {name}: use cpu or cuda")
    if name == "cuda" and not torch.cuda.is_available():
        raise FileError("--device cuda: no CUDA device is available here; use --device cpu")
    return name


def _encode(arguments: argparse.Namespace) -> None:
    import torch

    from nanocodec.files import read_audio, write_tokens
    from nanocodec.model import NanoCodec

    device = _device(arguments.device)
    model = NanoCodec.from_pretrained(arguments.model).to(device)
    audio, _ = read_audio(arguments.audio, model.sample_rate)
    with torch.inference_mode():
        codes, _ = model.encode(torch.from_numpy(audio)[None].to(device))
    write_tokens(arguments.tokens, codes[0].cpu().numpy(), len(audio), model.config.to_dict(), arguments.model)
    bits = codes.shape[2] * model.config.bitrate / model.frame_rate
    print(
        f"{arguments.tokens}: {codes.shape[1]} x {codes.shape[2]} codes for {len(audio) / model.sample_rate:.2f} s, "
        f"{bits / (len(audio) / model.sample_rate):.1f} bit/s"
    )


def _decode(arguments: argparse.Namespace) -> None:
    import torch

    from nanocodec.files import FileError, read_tokens, write_audio
    from nanocodec.model import NanoCodec

    device = _device(arguments.device)
    codes, header = read_tokens(arguments.tokens)
    model = NanoCodec.from_pretrained(arguments.model or header["model"]).to(device)
    if CodecConfig.from_dict(header["config"]) != model.config:
        raise FileError(
            f"{arguments.tokens}: made with {header['config']['name']} ({header['model']}), which "
            f"{model.config.name} cannot decode; give its weights with --model"
        )
    try:
        with torch.inference_mode():
            audio = model.decode(torch.from_numpy(codes)[None].to(device))[0, : header["samples"]].cpu().numpy()
    except ValueError as error:
        raise FileError(f"{arguments.tokens}: {error}") from error
    write_audio(arguments.audio, audio, model.sample_rate)
    print(f"{arguments.audio}: {len(audio) / model.sample_rate:.2f} s at {model.sample_rate} Hz")


def _convert(arguments: argparse.Namespace) -> None:
    from nanocodec.checkpoint import convert

    written = convert(arguments.source, arguments.folder)
    print(f"{written}: {written.stat().st_size:,} bytes")


def _export(arguments: argparse.Namespace) -> None:
    from nanocodec.export import export_onnx
    from nanocodec.model import NanoCodec

    made = export_onnx(NanoCodec.from_pretrained(arguments.model), arguments.folder)
    print(f"{made.encoder}: {made.codes - made.wrong_codes} of {made.codes} codes equal in ONNX Runtime")
    print(f"{made.decoder}: at most {made.difference:.1e} from the model in ONNX Runtime")


def _train(arguments: argparse.Namespace) -> None:
    from nanocodec.files import FileError
    from nanocodec.model import NanoCodec
    from nanocodec.training.config import load_config
    from nanocodec.training.synthesize import synthesize

    device = _device(arguments.device)
    config = load_config(arguments.config)
    if arguments.steps is not None:
        config = config.with_steps(arguments.steps)
    if (arguments.run / "state.pt").exists() and not arguments.resume:
        raise FileError(f"{arguments.run}: holds a run already; add --resume to continue it or choose another --run")
    try:
        from lightning_fabric import Fabric
        from lightning_fabric.strategies import DDPStrategy
    except ImportError:
        raise ImportError("training needs Lightning Fabric: pip install 'nanocodec-evalkit[train]'") from None
    from nanocodec.training.data import parse_source
    from nanocodec.training.loop import Trainer

    many = arguments.devices * arguments.nodes > 1
    fabric = Fabric(
        accelerator=device,
        devices=arguments.devices,
        num_nodes=arguments.nodes,
        strategy=DDPStrategy(find_unused_parameters=True) if many else "auto",  # phases leave some layers out
        precision=config.precision,
    )
    fabric.launch()
    if arguments.synthesize and fabric.is_global_zero:
        count = synthesize(arguments.synthesize, arguments.utterances, progress=_say)
        _say(f"{arguments.synthesize}: {count} synthesized utterances")
    fabric.barrier()
    sources = [parse_source(text) for text in arguments.data]
    start = NanoCodec.from_pretrained(arguments.start) if arguments.start else None
    trainer = Trainer(config, sources, arguments.run, arguments.cache or arguments.run / "cache", fabric, start)
    if arguments.resume:
        resumed = trainer.resume()
        if fabric.is_global_zero:
            _say(
                f"Resumed at step {trainer.step:,}" if resumed else f"{arguments.run}: no state yet; starting at step 0"
            )
    trainer.train(_say)


def _say(text: str) -> None:
    print(text, flush=True)


if __name__ == "__main__":
    sys.exit(main())
