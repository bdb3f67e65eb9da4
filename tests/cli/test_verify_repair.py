"""`worldmodel verify` and `worldmodel repair`: what they print, and with which exit code they end."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from worldmodel.cli.main import main
from worldmodel.datasets.manifest import Manifest


def code_of(arguments: list[str]) -> int:
    """Run a command; return the code it exits with."""
    with pytest.raises(SystemExit) as exit_:
        main(arguments)
    assert isinstance(exit_.value.code, int)
    return exit_.value.code


def test_a_whole_recording_exits_with_0(reacher: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert code_of(["verify", str(reacher), "--deep"]) == 0
    assert "6 episodes with 60 frames in 1 shards" in " ".join(capsys.readouterr().out.split())
    assert code_of(["repair", str(reacher), "--out", str(tmp_path / "new")]) == 0
    assert "Kept 6 episodes with 60 frames" in " ".join(capsys.readouterr().out.split())
    assert Manifest.read(tmp_path / "new").shards == Manifest.read(reacher).shards


def test_a_damaged_one_exits_with_1_and_says_where(
    reacher: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "damaged"
    shutil.copytree(reacher, folder)
    path = folder / Manifest.read(folder).shards[0].file
    damaged = bytearray(path.read_bytes())
    for at in range(len(damaged) // 3, len(damaged) * 2 // 3):
        damaged[at] ^= 255
    path.write_bytes(damaged)
    assert code_of(["verify", str(folder), "--deep"]) == 1
    out = capsys.readouterr().out
    assert "error" in out
    assert path.name in out
    assert code_of(["repair", str(folder), "--out", str(tmp_path / "new")]) in (1, 2)


def test_what_is_no_recording_exits_with_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert code_of(["verify", str(tmp_path / "nothing")]) == 2
    assert code_of(["repair", str(tmp_path / "nothing"), "--out", str(tmp_path / "new")]) == 2
    assert "does not exist" in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "new").exists()
