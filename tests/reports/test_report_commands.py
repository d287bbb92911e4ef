"""The commands that read runs, as a person meets them."""

from pathlib import Path

import numpy as np
import pytest

from evalkit.cli import main
from evalkit.results.rows import Row
from evalkit.results.run_directory import RunWriter

METRICS = {
    "pesq-wb": {"label": "PESQ-WB", "direction": "up", "version": "1", "decimals": 3},
    "mel-2048-80-ln1p": {"label": "Mel", "direction": "down", "version": "1", "decimals": 3},
}


def write_run(path: Path, means: dict[str, tuple[float, float]], dataset: str = "authors-demo", n: int = 30) -> Path:
    """A run with PESQ and Mel around `means` for each codec."""
    rng = np.random.default_rng(0)
    level = rng.standard_normal(n)
    with RunWriter(path, list(means), {"metrics": METRICS, "dataset": {"name": dataset}}) as writer:
        for codec, (pesq, mel) in means.items():
            noise = rng.standard_normal(n)
            for i in range(n):
                about = {"speaker": f"s{i % 10}", "language": "en" if i % 2 else "de", "bitrate_kbps": 1.1}
                rows = {"pesq-wb": pesq + 0.3 * level[i] + 0.05 * noise[i], "mel-2048-80-ln1p": mel + 0.01 * noise[i]}
                writer.add(Row(codec, dataset, f"u{i:02}", m, float(v), **about) for m, v in rows.items())  # type: ignore[arg-type]
    return path


@pytest.fixture
def run(tmp_path: Path) -> str:
    return str(write_run(tmp_path / "run", {"nanocodec@1.1k": (2.4, 0.18), "mimi@1.1k": (2.1, 0.24)}))


def test_tables_take_the_statistics_asked_for(run: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["table", run, "--format", "markdown"]) == 0
    assert "95% t interval, corrected for skewness." in capsys.readouterr().out
    assert main(["table", run, "--ci", "t", "--cluster", "speaker", "--correction", "bh"]) == 0
    assert "95% t interval, corrected for skewness, clustered by speaker." in " ".join(capsys.readouterr().out.split())
    assert main(["table", run, "--ci", "none", "--codecs", "mimi@1.1k"]) == 0
    printed = capsys.readouterr().out
    assert "interval" not in printed and "nanocodec" not in printed
    assert main(["table", run, "--cluster", "town"]) == 2
    assert "the column 'town' is empty" in capsys.readouterr().err


def test_compare(run: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compare", run, "--format", "markdown"]) == 0
    printed = capsys.readouterr().out
    assert "| nanocodec@1.1k | mimi@1.1k | PESQ-WB | +0.3" in printed and "| nanocodec@1.1k |\n" in printed
