"""ci/set-up, with a program in place of pip."""

import subprocess
from pathlib import Path

SCRIPT = Path(__file__).parents[2] / "ci" / "set-up"


def set_up(venv: Path, pip: str) -> subprocess.CompletedProcess[str]:
    python = venv / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text(f"#!/bin/sh\n{pip}\n")
    python.chmod(0o755)
    return subprocess.run([SCRIPT, venv, "Installing it", "it"], capture_output=True, text=True, check=False)


def test_it_names_no_megabytes_before_there_are_some(tmp_path: Path) -> None:
    pip = f"sleep 0.5; head -c 3145728 /dev/zero > {tmp_path / 'venv' / 'package'}"
    done = set_up(tmp_path / "venv", pip)
    first, last = done.stdout.splitlines()
    assert first == "Installing it: resolving and downloading packages, 0 s"
    assert last.startswith("Installing it: 3 MB installed, done in ") and done.returncode == 0


def test_a_failure_points_to_what_pip_said(tmp_path: Path) -> None:
    done = set_up(tmp_path / "venv", "echo no such package >&2; exit 1")
    assert done.returncode == 1
    assert done.stderr == "no such package\nInstalling it failed: see pip's message above\n"
