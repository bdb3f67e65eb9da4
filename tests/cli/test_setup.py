"""`scripts/setup.sh`: two at once take turns, and who sources it to begin with stays where the user is."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"

pytestmark = pytest.mark.skipif(shutil.which("flock") is None, reason="there is no flock command")


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A repository of its scripts alone, whose setup makes .venv anew and takes its time."""
    repository = tmp_path / "repository"
    shutil.copytree(SCRIPTS, repository / "scripts")
    with (repository / "scripts/setup.sh").open("a") as file:
        file.write(
            """
install_packages() {
    rm -rf .venv; mkdir -p .venv/bin
    echo begin >>log; sleep 1; echo end >>log
    printf '%s\\n' '#!/bin/sh' 'pwd' 'echo "$@"' >.venv/bin/worldmodel; chmod +x .venv/bin/worldmodel
}
install_libraries() { if [ -e fail ]; then fail "It failed"; fi; }
"""
        )
    return repository


def test_two_at_once_take_turns(repository: Path) -> None:
    command = ["bash", "-c", "set -euo pipefail; source scripts/setup.sh; setup"]
    first = subprocess.Popen(command, cwd=repository)
    while not (repository / "log").exists():
        assert first.poll() is None
        time.sleep(0.01)
    second = subprocess.run(command, cwd=repository, capture_output=True, text=True, check=True)
    assert "Waiting for another setup" in second.stderr
    assert first.wait() == 0
    assert (repository / "log").read_text().split() == ["begin", "end", "begin", "end"]
    assert (repository / "scripts/setup.sh").read_text().startswith((SCRIPTS / "setup.sh").read_text())


def test_paths_given_to_the_demo_are_from_where_the_user_is(repository: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    command = [os.path.relpath(repository / "scripts/demo", tmp_path / "elsewhere"), "--out", "here"]
    done = subprocess.run(command, cwd=tmp_path / "elsewhere", capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == [str(tmp_path / "elsewhere"), "demo --out here"]
    (repository / "fail").touch()
    failed = subprocess.run(command, cwd=tmp_path / "elsewhere", capture_output=True, text=True, check=False)
    assert (failed.returncode, failed.stdout) == (2, "")
    assert "It failed" in failed.stderr
