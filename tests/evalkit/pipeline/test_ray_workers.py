"""Real Ray clusters on this machine: seven nodes; two, one of which is killed in the middle; two with a GPU each, as
far as Ray knows."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from evalkit.cli import main
from evalkit.pipeline import ray_workers
from evalkit.pipeline.workers import CrashedJob, run_isolated
from evalkit.results.run import read_run

pytestmark = pytest.mark.slow
COMMAND = ["--codec", "opus@6k", "--codec", "pcm", "--no-cache", "--metrics"]
METRICS = "estoi,mel-2048-80-ln1p,bitrate"
KILLS = -9
PATIENCE = 1800.0
"""Seconds after which a command hangs: on a busy machine each process that Ray starts takes a minute."""
FILES = ("rows.parquet", "codes.parquet", "summary.csv")


@contextmanager
def nodes(count: int, **more: int) -> Iterator[Any]:
    """A cluster of `count` nodes of one CPU each; the last one is `cluster.last`. Its workers have the priority
    of other processes: with the low one that Ray gives them, they get nothing done on a busy machine."""
    pytest.importorskip("ray", reason="Ray is not installed (the extra `ray`)")
    from ray.cluster_utils import Cluster

    head = {"num_cpus": 1, "_system_config": {"worker_niceness": 0}} | more
    cluster = Cluster(initialize_head=True, head_node_args=head)
    try:
        for _ in range(count - 1):
            cluster.last = cluster.add_node(num_cpus=1, **more)
        yield cluster
    finally:
        cluster.shutdown()


@pytest.fixture
def cluster() -> Iterator[Any]:
    with nodes(2) as two:
        yield two


def start(cluster: Any, arguments: list[str], output: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "evalkit.cli", *arguments, "--executor", "ray", "--output", str(output)]
    environment = os.environ | {"RAY_ADDRESS": cluster.address}
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def here(command: list[str], output: Path) -> None:
    """The same without Ray, in a process that knows the metrics of conftest.py."""
    subprocess.run([sys.executable, "-m", "evalkit.cli", *command, "--output", str(output)], check=True)


@pytest.mark.parametrize(
    ("metrics", "gpus"),
    [(METRICS, 0), (f"{METRICS},ear", 0), (METRICS, 1), (f"{METRICS},ear", 1)],
    ids=["waveforms", "a model beside", "waveforms, codecs on GPUs", "a model beside, on GPUs"],
)
def test_a_node_that_dies_costs_nothing(metrics: str, gpus: int, ear_log: Path, tmp_path: Path) -> None:
    command = ["run", *COMMAND, metrics]
    here(command, tmp_path / "here")
    output = tmp_path / "ray"
    with nodes(2, num_gpus=gpus) as cluster:
        process = start(cluster, [*command, "--device", "cuda" if gpus else "cpu"], output)
        journal = output / "rows.jsonl"
        deadline = time.monotonic() + PATIENCE
        while not (journal.exists() and len(journal.read_text().splitlines()) > 8):
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < deadline
            time.sleep(0.1)
        cluster.remove_node(cluster.last, allow_graceful=False)
        _, error = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, error
    for name in FILES:
        assert (output / name).read_bytes() == (tmp_path / "here" / name).read_bytes(), name


def test_seven_nodes_give_the_same_bytes_and_open_a_model_once_each(
    ear_log: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = ["run", *COMMAND, f"{METRICS},ear"]
    here(command, tmp_path / "here")
    ear_log.unlink()
    monkeypatch.setenv("EAR_TOGETHER", "7")  # else those that come first do all
    with nodes(7) as seven:
        process = start(seven, command, tmp_path / "ray")
        _, error = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, error
    for name in FILES:
        assert (tmp_path / "ray" / name).read_bytes() == (tmp_path / "here" / name).read_bytes(), name
    opened = [line.split()[0] for line in ear_log.read_text().splitlines() if " opened " in line]
    assert len(opened) == len(set(opened)) == 7, "one actor a node, in each of which the model was opened once"


def devices(met: Path) -> tuple[int, list[str]]:
    """Process, and the GPUs that it was given; waits until there are two such processes."""
    import ray

    (met / str(os.getpid())).touch()
    while len(list(met.iterdir())) < 2:
        time.sleep(0.05)
    return os.getpid(), ray.get_runtime_context().get_accelerator_ids()["GPU"]


def test_models_run_in_actors_with_a_gpu_each_and_hung_ones_are_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with nodes(2, num_gpus=1) as cluster:
        import ray

        monkeypatch.setenv("RAY_ADDRESS", cluster.address)
        workers = ray_workers.RayWorkers("cuda")
        try:
            results = list(run_isolated(devices, lambda job: [job], ([tmp_path] * 6, workers.models("cuda"))))
            assert len({process for process, _ in results}) == 2 and all(gpus == ["0"] for _, gpus in results)
            (light,) = run_isolated(devices, lambda job: [job], ([tmp_path], workers))
            assert light[1] == [], "tasks take no GPU"
            impatient = ray_workers.RayWorkers("cuda", timeout=15.0)
            naps = [1, 600, 1, KILLS, 1]
            done = list(run_isolated(nap, lambda job: [job], (naps, impatient.models("cuda"))))
            assert sorted(one for one in done if not isinstance(one, CrashedJob)) == [1, 1, 1]
            assert {one.job: one.reason for one in done if isinstance(one, CrashedJob)} == {
                600: "took longer than 15 s",
                KILLS: "its process crashed",
            }
        finally:
            ray.shutdown()


def nap(seconds: int) -> int:
    if seconds == KILLS:
        os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(seconds)
    return seconds


def test_a_crash_costs_one_row(cluster: Any, speech: np.ndarray, bursts: np.ndarray, tmp_path: Path) -> None:
    import soundfile

    for folder in ("reference", "decoded"):
        (tmp_path / folder).mkdir()
        for name, wav in (("good", speech), ("bursts", bursts)):
            soundfile.write(tmp_path / folder / f"{name}.wav", wav, 16_000)
    arguments = ["score", "--reference", str(tmp_path / "reference"), "--decoded", str(tmp_path / "decoded")]
    process = start(cluster, [*arguments, "--metrics", "pesq-wb,si-sdr"], tmp_path / "run")
    _, error = process.communicate(timeout=PATIENCE)
    assert process.returncode == 4, error
    rows = read_run(tmp_path / "run").rows
    failed = rows[rows["value"].isna()]
    assert failed[["utterance", "metric"]].to_numpy().tolist() == [["bursts", "pesq-wb"]]
    assert failed["reason"].item().startswith("its process crashed")
    process = start(cluster, [*arguments, "--device", "cuda"], tmp_path / "none")
    assert "the Ray cluster has no GPU" in process.communicate(timeout=PATIENCE)[1] and process.returncode == 3


def test_no_cluster_is_said_clearly(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("ray", reason="Ray is not installed (the extra `ray`)")
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    assert main(["run", *COMMAND, METRICS, "--executor", "ray", "--output", str(tmp_path / "run")]) == 3
    assert "there is no Ray cluster" in capsys.readouterr().err
