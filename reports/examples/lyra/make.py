"""Make this folder again: `python reports/examples/lyra/make.py DATA LIBRITTS`.

DATA is the folder of ../authors-demo (see its make.py), LIBRITTS one with the originals of 20 LibriTTS utterances in
`GT/` and WavTokenizer's output beside it. Lyra's weights are found where `evalkit fetch lyra` puts them. What is
written beside this file are numbers, no audio.
"""

import argparse
import csv
import io
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import redirect_stdout
from pathlib import Path

import pandas as pd

from evalkit.cli import main as evalkit
from evalkit.results.run import read_run

HERE = Path(__file__).resolve().parent
METRICS = ["pesq-wb", "estoi", "mel-2048-80-ln1p"]
CODECS = ["--codec", "lyra@3.2k", "--codec", "lyra@6k", "--codec", "lyra@9.2k"]
WAVTOKENIZER = {"wavtokenizer-0.5kbps": "wavtokenizer@0.48k", "wavtokenizer-0.9kbps": "wavtokenizer@0.9k"}


def main() -> None:
    """Run Lyra and score what others made of the same utterances; write the means and every utterance's values."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("libritts", type=Path)
    args = parser.parse_args()
    sets = {"authors-demo": demo(args.data.resolve()), "libritts": libritts(args.libritts.resolve())}
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for name, lines in sets.items():
            rows.append(measure(name, list(lines), Path(folder)).assign(dataset=name))
    found = pd.concat(rows)
    ours = found[found["codec"].str.startswith("lyra")]
    ours[["dataset", "codec", "utterance", "metric", "value"]].to_csv(HERE / "rows.csv", index=False)
    with (HERE / "table.md").open("w", encoding="utf-8") as file:
        for name in sets:
            file.write(f"**{name}**\n\n{means(found[found['dataset'] == name])}\n\n")


def measure(name: str, lines: Sequence[dict[str, object]], folder: Path) -> pd.DataFrame:
    """Rows of Lyra on the originals among `lines`, and of what other systems made of them."""
    originals, manifest = folder / name, folder / f"{name}.csv"
    originals.mkdir()
    for line in lines:
        link = originals / f"{line['utterance']}{Path(str(line['reference'])).suffix}"
        if not link.exists():
            link.symlink_to(str(line["reference"]))
    write(manifest, [line for line in lines if line["decoded"]])
    run, score = str(folder / f"{name}-run"), str(folder / f"{name}-score")
    metrics = ",".join(METRICS)
    with redirect_stdout(io.StringIO()):
        check(evalkit(["run", *CODECS, "--dataset", f"folder:{originals}", "--metrics", metrics, "--output", run]))
        check(evalkit(["score", "--manifest", str(manifest), "--metrics", metrics, "--output", score]))
    return pd.concat([read_run(Path(run)).rows, read_run(Path(score)).rows])


def demo(data: Path) -> Iterator[dict[str, object]]:
    """The authors' demo page: the originals and what eleven settings made of them."""
    with (data / "manifest.csv").open(newline="", encoding="utf-8") as file:
        files = list(csv.DictReader(file))
    originals = {line["utterance"]: data / line["file"] for line in files if line["system"] == "reference"}
    for line in files:
        if line["system"] != "reference":
            rate = line["frames_per_second"]
            variant = f"-{rate}fps" if line["system"] == "nanocodec" and rate != "12.5" else ""
            system, decoded = f"{line['system']}@{line['kbps']}k{variant}", data / line["file"]
            yield pair(line["utterance"], originals[line["utterance"]], decoded, system, line["kbps"])


def libritts(data: Path) -> Iterator[dict[str, object]]:
    """20 utterances of LibriTTS, and what WavTokenizer made of them for its demo page."""
    for original in sorted((data / "GT").iterdir()):
        for folder, system in WAVTOKENIZER.items():
            decoded = next((data / folder).glob(f"{original.stem}.*"))
            yield pair(original.stem, original, decoded, system, system.partition("@")[2][:-1])


def pair(utterance: str, reference: Path, decoded: Path, system: str, kbps: str) -> dict[str, object]:
    return {
        "utterance": utterance, "reference": reference, "decoded": decoded, "system": system, "bitrate_kbps": kbps
    }  # fmt: skip


def write(path: Path, lines: Sequence[dict[str, object]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        out = csv.DictWriter(file, list(lines[0]))
        out.writeheader()
        out.writerows(lines)


def means(rows: pd.DataFrame) -> str:
    """A table in Markdown, the highest bitrate last."""
    per_utterance = rows[rows["utterance"] != "*"]
    table = per_utterance.pivot_table(index="codec", columns="metric", values="value")[METRICS]
    table.insert(0, "kbit/s", per_utterance.groupby("codec")["bitrate_kbps"].mean())
    table["n"] = per_utterance[per_utterance["metric"] == METRICS[0]].groupby("codec")["value"].count()
    lines = [f"| Codec | {' | '.join(map(str, table.columns))} |", f"| --- |{' ---: |' * len(table.columns)}"]
    for codec, values in table.sort_values("kbit/s").iterrows():
        lines.append(f"| {codec} | {' | '.join(f'{v:.3f}' for v in values[:-1])} | {values['n']:.0f} |")
    return "\n".join(lines)


def check(code: int) -> None:
    if code:
        raise SystemExit(code)


if __name__ == "__main__":
    main()
