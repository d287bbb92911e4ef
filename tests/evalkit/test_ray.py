"""A real Ray cluster of two nodes on this machine, one of which is killed in the middle."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from evalkit.cli import main
from evalkit.store import read_run

pytestmark = pytest.mark.slow
COMMAND = ["--codec", "opus@6k", "--codec", "pcm", "--metrics", "estoi,mel-2048-80-ln1p,bitrate", "--no-cache"]


@pytest.fixture
def cluster() -> Iterator[Any]:
    """Two nodes of one CPU each; the second is `cluster.second`."""
    pytest.importorskip("ray", reason="Ray is not installed (the extra `ray`)")
    from ray.cluster_utils import Cluster

    nodes = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    nodes.second = nodes.add_node(num_cpus=1)
    yield nodes
    nodes.shutdown()


def start(cluster: Any, arguments: list[str], output: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "evalkit.cli", *arguments, "--executor", "ray", "--output", str(output)]
    environment = os.environ | {"RAY_ADDRESS": cluster.address}
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_a_node_that_dies_costs_nothing(cluster: Any, tmp_path: Path) -> None:
    assert main(["run", *COMMAND, "--output", str(tmp_path / "here")]) == 0
    output = tmp_path / "ray"
    process = start(cluster, ["run", *COMMAND], output)
    journal = output / "rows.jsonl"
    deadline = time.monotonic() + 240
    while not (journal.exists() and len(journal.read_text().splitlines()) > 8) and time.monotonic() < deadline:
        assert process.poll() is None, process.communicate()
        time.sleep(0.1)
    cluster.remove_node(cluster.second, allow_graceful=False)
    _, error = process.communicate(timeout=300)
    assert process.returncode == 0, error
    for name in ("rows.parquet", "codes.parquet", "summary.csv"):
        assert (output / name).read_bytes() == (tmp_path / "here" / name).read_bytes(), name


def test_a_crash_costs_one_row(cluster: Any, speech: np.ndarray, bursts: np.ndarray, tmp_path: Path) -> None:
    import soundfile

    for folder in ("reference", "decoded"):
        (tmp_path / folder).mkdir()
        for name, wav in (("good", speech), ("bursts", bursts)):
            soundfile.write(tmp_path / folder / f"{name}.wav", wav, 16_000)
    arguments = ["score", "--reference", str(tmp_path / "reference"), "--decoded", str(tmp_path / "decoded")]
    process = start(cluster, [*arguments, "--metrics", "pesq-wb,si-sdr"], tmp_path / "run")
    _, error = process.communicate(timeout=300)
    assert process.returncode == 4, error
    rows = read_run(tmp_path / "run").rows
    failed = rows[rows["value"].isna()]
    assert failed[["utterance", "metric"]].to_numpy().tolist() == [["bursts", "pesq-wb"]]
    assert failed["reason"].item().startswith("its process died")


def test_no_cluster_is_said_clearly(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("ray", reason="Ray is not installed (the extra `ray`)")
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    assert main(["run", *COMMAND, "--executor", "ray", "--output", str(tmp_path / "run")]) == 3
    assert "there is no Ray cluster" in capsys.readouterr().err
