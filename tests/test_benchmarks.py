"""The benchmarks run, and end with the one line that programs read."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).parents[1] / "scripts"


@pytest.mark.parametrize(
    ("script", "arguments", "told"),
    [
        (
            "bench_plan.py",
            "--candidates 4 --rounds 1 --horizon 2 --repeats 1 --no-widths",
            {"milliseconds_per_plan", "model_share"},
        ),
        (
            "bench_train.py",
            "--rounds 1 --steps 1 --frames 200 --device cpu",
            {"share_of_matmul", "frames_per_second", "data_wait_share"},
        ),
    ],
)
def test_its_last_line_is_its_figures(script: str, arguments: str, told: set[str]) -> None:
    command = [sys.executable, str(SCRIPTS / script), *arguments.split()]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert ended.returncode == 0, ended.stderr
    figures = json.loads(ended.stdout.splitlines()[-1])
    assert told <= figures.keys()
    assert all(value >= 0 for value in figures.values())
