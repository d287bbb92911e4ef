"""The script behind the GitHub action, the GitLab snippet and the local command, run as each of them runs it."""

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml

from evalkit.audio import Audio
from evalkit.soundfiles import write

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "ci" / "measure-and-gate"
RATE = 16_000


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project: eight originals, what a good and a worse codec made of them, and a baseline of the good one."""
    folder = tmp_path_factory.mktemp("project")
    rng = np.random.default_rng(0)
    for i in range(8):
        wav = (0.3 * np.sin(2 * np.pi * (150 + 30 * i) * np.arange(RATE) / RATE)).astype(np.float32)
        noise = rng.standard_normal(RATE).astype(np.float32)
        for name, level in (("originals", 0.0), ("good", 0.01), ("worse", 0.1)):
            write(folder / name / f"u {i}.wav", Audio(wav + level * noise, RATE))
    write(folder / "with space" / "u 0.wav", Audio(wav, RATE))
    (folder / "gates.yaml").write_text("metrics: {si-sdr: {margin: 0.5}}\n")
    done = run(folder, "good", EVALKIT_BASELINE="")
    assert done.returncode == 0, done.stderr
    evalkit = [sys.executable, "-m", "evalkit", "gate", "results/run", "--update", "--baseline", "baseline.json"]
    subprocess.run(evalkit, cwd=folder, check=True)
    return folder


def run(folder: Path, decoded: str, **more: str) -> "subprocess.CompletedProcess[str]":
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GITHUB_")}
    environment |= {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "EVALKIT_SCORE": f"--reference originals --decoded 'codec={decoded}' --metrics si-sdr --jobs 1 --no-cache",
        "EVALKIT_BASELINE": "baseline.json",
        "EVALKIT_GATE": "--config gates.yaml",
        "EVALKIT_OUTPUT": "results",
    }  # fmt: skip
    return subprocess.run(["bash", SCRIPT], cwd=folder, env=environment | more, capture_output=True, text=True)


@pytest.mark.slow
def test_what_is_as_good_passes_and_leaves_what_people_read(place: Path) -> None:
    done = run(place, "good")
    assert done.returncode == 0, done.stderr
    results = place / "results"
    assert "Gate passed: 0 of 1 failed." in (results / "comment.md").read_text()
    assert (results / "comment.md").read_text().startswith("<!-- evalkit -->\n")
    assert "<testsuite" in (results / "gate.xml").read_text() and (results / "report.html").stat().st_size > 10_000


@pytest.mark.slow
def test_what_is_worse_fails_with_code_1_and_tells_github(place: Path, tmp_path: Path) -> None:
    said, summary = tmp_path / "output", tmp_path / "summary"
    about = {"GITHUB_ACTIONS": "true", "GITHUB_OUTPUT": str(said), "GITHUB_STEP_SUMMARY": str(summary)}
    done = run(place, "worse", **about)
    assert done.returncode == 1 and "::error" in done.stdout
    assert dict(line.split("=", 1) for line in said.read_text().splitlines()) == {
        "verdict": "failed", "comment": "results/comment.md", "report": "results/report.html",
    }  # fmt: skip
    assert "Gate failed: 1 of 1 failed." in summary.read_text()
    assert re.search(r"^- u \d: ", (place / "results" / "comment.md").read_text(), flags=re.M), "the worst utterances"


@pytest.mark.slow
def test_what_was_not_measured_is_no_pass(place: Path, tmp_path: Path) -> None:
    said = tmp_path / "output"
    done = run(place, "gone", GITHUB_OUTPUT=str(said))
    assert done.returncode == 2 and "verdict=undecided" in said.read_text()
    assert "could not measure" in (place / "results" / "comment.md").read_text()
    done = run(place, "with space")
    assert done.returncode == 4, "seven of eight utterances are missing: that decides nothing"


def test_wrong_use_is_told(tmp_path: Path) -> None:
    both = run(tmp_path, "good", EVALKIT_RUN="--codec pcm")
    neither = run(tmp_path, "good", EVALKIT_SCORE="")
    assert both.returncode == neither.returncode == 2 and "either EVALKIT_RUN or EVALKIT_SCORE" in both.stderr


def test_the_action_hands_every_input_to_the_script() -> None:
    action = yaml.safe_load((ROOT / "action.yml").read_text())
    step = next(step for step in action["runs"]["steps"] if "run" in step)
    used = set(re.findall(r"inputs\.(\w+)", " ".join(step["env"].values())))
    assert used == set(action["inputs"])
    script = SCRIPT.read_text()
    assert all(re.search(rf"\b{name}\b", script) for name in step["env"])
    outputs = {value["value"].split(".")[-1].removesuffix(" }}") for value in action["outputs"].values()}
    assert outputs == set(re.findall(r'tell "(\w+)=', script))


def test_documents_show_inputs_that_there_are() -> None:
    action = yaml.safe_load((ROOT / "action.yml").read_text())
    text = (ROOT / "docs" / "ci.md").read_text()
    for block in re.findall(r"```yaml\n(.*?)```", text, flags=re.S):
        content = yaml.safe_load(block)
        steps = content if isinstance(content, list) else content.get("jobs", {}).get("gate", {}).get("steps", [])
        for step in steps:
            if "REPOSITORY" in step.get("uses", ""):
                assert set(step["with"]) <= set(action["inputs"])
    assert {"EVALKIT_RUN", "EVALKIT_BASELINE", "EVALKIT_INSTALL"} <= set(re.findall(r"EVALKIT_[A-Z]+", text))
