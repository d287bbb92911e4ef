"""A few tries of `make fuzz`, with fixed seeds, in every run of the tests."""

import subprocess
import sys
from pathlib import Path


def test_a_few_tries_find_no_fault() -> None:
    command = [sys.executable, "-m", "tests.fuzz", "--quick", "--tries", "12", "--seed", "1", "--jobs", "1"]
    done = subprocess.run(command, cwd=Path(__file__).parents[2], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0 and "0 faults in 12 tries" in done.stdout, done.stdout + done.stderr
