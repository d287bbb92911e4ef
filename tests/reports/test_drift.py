"""Two variants of a metric on the same audio."""

from pathlib import Path

import numpy as np
import pytest

from evalkit.cli import main
from evalkit.errors import UsageError
from evalkit.reports.drift import build_drift
from evalkit.results.rows import Row
from evalkit.results.run import read_run
from evalkit.results.run_directory import RunWriter

ABOUT = {"label": "M", "direction": "down", "unit": "%", "version": "1", "decimals": 2}


@pytest.fixture
def run(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    about = {"metrics": {"m": ABOUT, "m:dtype=bfloat16": ABOUT}, "resampler": "r", "dataset": {"name": "set"}}
    with RunWriter(tmp_path / "run", ["a", "b"], about) as writer:
        for codec, level in (("a", 5.0), ("b", 3.0)):
            for i in range(20):
                value = level + rng.random()
                writer.add([Row(codec, "set", str(i), "m", value)])
                if i == 19:
                    writer.add([Row(codec, "set", str(i), "m:dtype=bfloat16", None, "broke")])
                else:
                    writer.add([Row(codec, "set", str(i), "m:dtype=bfloat16", value + 0.5 * (i % 2))])
    return tmp_path / "run"


def test_the_difference_is_over_utterances_that_have_both(run: Path) -> None:
    (table,) = build_drift([read_run(run)], "m", "m:dtype=bfloat16")
    for line in table.rows:
        _, first, second, difference, largest, share, n = line
        assert difference.value == pytest.approx(0.5 * 9 / 19) == pytest.approx(second.value - first.value)
        assert largest.value == pytest.approx(0.5) and share.value == pytest.approx(100 * 9 / 19) and n.value == 19
        assert difference.bounds is not None and difference.value in difference.bounds
    assert table.notes == ("Order of the codecs by m and by m:dtype=bfloat16: the same.",)


def test_the_command_and_its_mistakes(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["drift", str(run), "m", "m:dtype=bfloat16", "--format", "markdown"]) == 0
    assert "+0.24" in capsys.readouterr().out
    with pytest.raises(UsageError, match="no run has 'x'"):
        build_drift([read_run(run)], "m", "x")
