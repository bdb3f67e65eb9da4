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
    """A repository of its scripts alone, whose setup makes .venv anew, and takes as long as there is a file `hold`."""
    repository = tmp_path / "repository"
    shutil.copytree(SCRIPTS, repository / "scripts")
    with (repository / "scripts/setup.sh").open("a") as file:
        file.write(
            """
install_packages() {
    rm -rf .venv; mkdir -p .venv/bin
    echo begin >>log
    while [ -e hold ]; do sleep 0.01; done
    echo end >>log
    printf '%s\\n' '#!/bin/sh' 'pwd' 'echo "$@"' >.venv/bin/worldmodel; chmod +x .venv/bin/worldmodel
}
install_libraries() { if [ -e fail ]; then fail "It failed"; fi; }
"""
        )
    return repository


def test_two_at_once_take_turns(repository: Path, tmp_path: Path) -> None:
    command = ["bash", "-c", "set -euo pipefail; source scripts/setup.sh; setup"]
    log, said, hold = repository / "log", tmp_path / "said", repository / "hold"
    hold.touch()
    setups = []
    try:
        setups.append(subprocess.Popen(command, cwd=repository))
        wait_for("begin", log)
        with said.open("w") as file:
            setups.append(subprocess.Popen(command, cwd=repository, stderr=file))
        wait_for("Waiting for another setup", said)
    finally:
        hold.unlink()
        codes = [setup.wait(timeout=60) for setup in setups]
    assert codes == [0, 0]
    assert (repository / "log").read_text().split() == ["begin", "end", "begin", "end"]
    assert (repository / "scripts/setup.sh").read_text().startswith((SCRIPTS / "setup.sh").read_text())


def wait_for(text: str, path: Path) -> None:
    """Wait until a file holds a text."""
    deadline = time.monotonic() + 60
    while not path.exists() or text not in path.read_text():
        assert time.monotonic() < deadline, f"nobody wrote '{text}'"
        time.sleep(0.01)


def test_paths_given_to_the_demo_are_from_where_the_user_is(repository: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    command = [os.path.relpath(repository / "scripts/demo", tmp_path / "elsewhere"), "--out", "here"]
    done = subprocess.run(command, cwd=tmp_path / "elsewhere", capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == [str(tmp_path / "elsewhere"), "demo --out here"]
    (repository / "fail").touch()
    failed = subprocess.run(command, cwd=tmp_path / "elsewhere", capture_output=True, text=True, check=False)
    assert (failed.returncode, failed.stdout) == (2, "")
    assert "It failed" in failed.stderr
