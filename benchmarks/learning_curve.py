"""Draw a training run: losses, codebook entropy and validation scores over the hours of audio trained on.

    python benchmarks/learning_curve.py RUN [RUN ...] --output curve.png

RUN is a folder that `nanocodec train` wrote, or its log.jsonl; several are drawn over one another.
"""

import argparse
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import pandas as pd

PANELS = (
    ("train", ("decoder_mel", "encoder_mel"), "log-mel, L1"),
    ("train", ("decoder_harmonics", "encoder_harmonics"), "spectrum below 1 kHz, L1"),
    ("train", ("wave_36", "wave_6"), "waveform, L1 / level"),
    ("train", ("spectral",), "decoded spectrum, L1"),
    ("train", ("entropy_bits",), "bits per code"),
    ("validation", ("pesq_wb",), "PESQ-WB"),
    ("validation", ("estoi",), "ESTOI"),
    ("validation", ("mel",), "Mel distance"),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN")
    parser.add_argument("--output", type=Path, default=Path("curve.png"))
    arguments = parser.parse_args()
    figure, axes = plt.subplots(2, 4, figsize=(15, 6), sharex=True)
    for run in arguments.runs:
        log = pd.read_json(run / "log.jsonl" if run.is_dir() else run, lines=True)
        for axis, (kind, columns, title) in zip(axes.flat, PANELS, strict=True):
            rows = log[log.kind == kind]
            for column in (name for name in columns if name in rows):
                values = rows[["audio_seconds", column]].dropna()
                if kind == "train":  # single batches differ more than the curve falls
                    values = values.rolling(10, min_periods=1).mean()
                label = column.split("_")[0] if len(columns) > 1 and not column.startswith("wave") else column
                label = f"{run.name} {label}" if len(arguments.runs) > 1 else label
                axis.plot(
                    values.audio_seconds / 3600, values[column], label=label, marker="." if kind != "train" else None
                )
            axis.set_title(title)
            if axis.lines and (len(columns) > 1 or len(arguments.runs) > 1):
                axis.legend(fontsize="small")
    for axis in axes[1]:
        axis.set_xlabel("hours of audio")
    figure.tight_layout()
    figure.savefig(arguments.output, dpi=90)


if __name__ == "__main__":
    main()
