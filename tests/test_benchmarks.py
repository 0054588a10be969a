"""The benchmarks that cannot be run here in full, on what is small."""

import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


@pytest.mark.slow
def test_the_script_for_a_gpu_runs_on_a_cpu():
    small = "--device cpu --steps 1 --batch 2 --blocks 1 --width 4 --crop 32 --slices 1"
    done = subprocess.run(
        [sys.executable, BENCHMARKS / "gpu.py", *small.split()], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("crops/s") == 5
    assert "not possible" not in done.stdout
    assert done.stdout.count("cut after 1 of 2 steps and resumed bit for bit") == 2
    assert "degradation and methods alone" in done.stdout
