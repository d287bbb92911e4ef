"""Are the codes and scores of a run on a GPU those of the same run on the CPU?

    evalkit run --codec nanocodec@1.1k --metrics estoi,pesq-wb --output runs/cpu
    evalkit run --codec nanocodec@1.1k --metrics estoi,pesq-wb --output runs/gpu --device cuda --batch 8
    python benchmarks/devices.py runs/cpu runs/gpu

Ends with 1 where more than one code in 1,000 differs, where a mean differs by more than `CLOSE` allows, or where a
value is missing in one run alone.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np

import evalkit
from evalkit.results.run import Run

CODES = 1e-3
CLOSE = {"pesq-wb": 0.01, "estoi": 0.002, "stoi": 0.002, "mel-2048-80-ln1p": 0.001, "si-sdr": 0.1}
"""How far means may lie apart: a code on the other side of a threshold changes 80 ms of audio."""
OTHER = 0.01
"""The same for other metrics."""
KEY = ["codec", "condition", "utterance"]


def other_codes(one: Run, two: Run) -> tuple[int, int]:
    """Codes that differ, and all of them; raises ValueError where the runs do not hold the same utterances."""
    tables = [run.codes.set_index([name for name in KEY if name in run.codes.columns])["indices"] for run in (one, two)]
    first, second = ({key: np.stack(list(value)) for key, value in table.items()} for table in tables)
    if first.keys() != second.keys() or any(first[key].shape != second[key].shape for key in first):
        raise ValueError("the runs do not hold codes of the same codecs, utterances and lengths")
    return sum(int((first[key] != second[key]).sum()) for key in first), sum(codes.size for codes in first.values())


def differences(one: Run, two: Run) -> dict[tuple[str, str], tuple[float, float]]:
    """Mean difference, and largest, by codec and metric; raises ValueError where a value is missing in one alone."""
    keys = [name for name in [*KEY, "metric"] if name in one.rows.columns]
    pairs = one.rows.merge(two.rows, on=keys, how="outer", suffixes=("", "_two"))
    if (alone := pairs[pairs["value"].isna() != pairs["value_two"].isna()]).size:
        raise ValueError(f"{len(alone)} values are missing in one run alone, such as {alone.iloc[0][keys].to_dict()}")
    pairs["difference"] = pairs["value_two"] - pairs["value"]
    return {
        (str(codec), str(metric)): (float(group["difference"].mean()), float(group["difference"].abs().max()))
        for (codec, metric), group in pairs.dropna(subset="difference").groupby(["codec", "metric"])
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs=2, type=Path, help="run directories")
    one, two = (evalkit.load_run(path) for path in parser.parse_args().runs)
    try:
        other, all_codes = other_codes(one, two)
        found = differences(one, two)
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(f"{other} of {all_codes} codes differ ({one.provenance.device}, {two.provenance.device})")
    good = other <= CODES * all_codes
    for (codec, metric), (mean, largest) in found.items():
        close = abs(mean) <= CLOSE.get(metric, OTHER)
        good &= close
        print(f"{codec:<36}{metric:<20}mean {mean:+.5f}  largest {largest:.5f}{'' if close else '  TOO FAR'}")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
