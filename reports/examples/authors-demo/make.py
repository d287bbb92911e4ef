"""Make this folder again: `python reports/examples/authors-demo/make.py DATA`.

DATA is a folder with the audio of the authors' demo page and a manifest.csv with the columns language, utterance,
speaker, system, kbps, frames_per_second and file, where the system "reference" is the original. Neither is part of this
project. What is written beside this file are numbers and plots, no audio.
"""

import argparse
import csv
import tempfile
from collections.abc import Sequence
from contextlib import redirect_stdout
from pathlib import Path

from evalkit.cli import main as evalkit
from evalkit.results.run import read_run

HERE = Path(__file__).resolve().parent
FORMATS = {"md": "markdown", "tex": "latex", "csv": "csv"}
SUITES = ("paper-high", "paper-mid", "paper-low", "paper-ultralow", "paper-ablation")


def main() -> None:
    """Score the pairs, then write every table, claim and plot."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument(
        "--offline", action="store_true", help="also score every metric in the set `offline` (95 CPU minutes)"
    )
    args = parser.parse_args()
    data = args.data.resolve()
    with tempfile.TemporaryDirectory() as folder:
        manifest, run = Path(folder) / "authors-demo.csv", str(Path(folder) / "run")
        write_manifest(data, manifest)
        metrics = "pesq-wb,mel-2048-80-ln1p"
        check(evalkit(["score", "--manifest", str(manifest), "--metrics", metrics, "--output", run]))
        rows = read_run(Path(run)).rows
        rows[["codec", "utterance", "language", "metric", "value"]].to_csv(HERE / "rows.csv", index=False)
        for suffix, form in FORMATS.items():
            show(f"table.{suffix}", ["table", run, "--format", form])
            show(f"against-paper.{suffix}", ["table", run, "--against", "paper", "--format", form])
            show(f"claims.{suffix}", ["claims", run, "--format", form])
            for suite in SUITES:
                show(f"{suite}.{suffix}", ["table", run, "--suite", suite, "--format", form])
        show("comparisons.csv", ["compare", run, "--format", "csv"])
        check(evalkit(["plot", run, "--output", str(HERE / "plots")]))
        if args.offline:
            check(
                evalkit(
                    [
                        "score",
                        "--manifest",
                        str(manifest),
                        "--metrics",
                        "offline,bitrate",
                        "--output",
                        run,
                        "--overwrite",
                    ]
                )
            )
            for suffix, form in FORMATS.items():
                show(f"offline.{suffix}", ["table", run, "--format", form])


def write_manifest(data: Path, target: Path) -> None:
    """Pairs for `evalkit score`, with each system named as in reports/published/names.yaml."""
    with (data / "manifest.csv").open(newline="", encoding="utf-8") as file:
        files = list(csv.DictReader(file))
    originals = {line["utterance"]: data / line["file"] for line in files if line["system"] == "reference"}
    with target.open("w", newline="", encoding="utf-8") as file:
        out = csv.writer(file)
        out.writerow(["utterance", "reference", "decoded", "system", "language", "speaker", "bitrate_kbps"])
        for line in files:
            if line["system"] != "reference":
                rate = line["frames_per_second"]
                variant = f"-{rate}fps" if line["system"] == "nanocodec" and rate != "12.5" else ""
                name = f"{line['system']}@{line['kbps']}k{variant}"
                paths = [originals[line["utterance"]], data / line["file"]]
                out.writerow([line["utterance"], *paths, name, line["language"], line["speaker"], line["kbps"]])


def show(file: str, command: Sequence[str]) -> None:
    """What an evalkit command prints, as a file."""
    with (HERE / file).open("w", encoding="utf-8") as out, redirect_stdout(out):
        check(evalkit(command))


def check(code: int) -> None:
    if code:
        raise SystemExit(code)


if __name__ == "__main__":
    main()
