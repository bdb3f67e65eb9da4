"""`worldmodel import` and `worldmodel export`."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from worldmodel.cli.main import run
from worldmodel.datasets.reader import Recording


def test_export_and_import(capsys: pytest.CaptureFixture[str], by_hand: Path, tmp_path: Path) -> None:
    there, back = tmp_path / "there.h5", tmp_path / "back"
    assert run(["export", str(by_hand), "--out", str(there), "--format", "stable-worldmodel"]) == 0
    assert str(there) in capsys.readouterr().out
    assert run(["import", str(there), "--out", str(back)]) == 0
    assert "by-hand" in capsys.readouterr().out
    assert Recording.open(back).provenance == Recording.open(by_hand).provenance
    assert run(["import", str(there), "--out", str(back), "--resume"]) == 0


def test_what_was_assumed_is_said(capsys: pytest.CaptureFixture[str], by_hand: Path, tmp_path: Path) -> None:
    import h5py

    there = tmp_path / "there.h5"
    assert run(["export", str(by_hand), "--out", str(there), "--format", "stable-worldmodel"]) == 0
    with h5py.File(there, "a") as file:
        del file.attrs["worldmodel"]
    assert run(["import", str(there), "--out", str(tmp_path / "back")]) == 0
    assert "20 frames per second assumed" in " ".join(capsys.readouterr().err.split())
    more = ["--height", "16", "--width", "24", "--fps", "4", "--format", "stable-worldmodel"]
    assert run(["import", str(there), "--out", str(tmp_path / "more"), *more]) == 0
    told = Recording.open(tmp_path / "more").provenance
    assert (told.height, told.width, told.control_seconds) == (16, 24, 0.25)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["export", "{recording}", "--out", "{recording}", "--format", "lerobot"], "exists already"),
        (["export", "{recording}", "--out", "{new}", "--format", "robomimic", "--lossy"], "--lossy is about videos"),
        (["export", "{recording}", "--out", "{new}", "--format", "video", "--camera", "nose"], "Unknown camera 'nose'"),
        (["export", "{new}", "--out", "{new}", "--format", "video"], "No recording at"),
        (["import", "{new}", "--out", "{new}"], "does not exist"),
        (["import", "{new}.mp4", "--out", "{new}", "--height", "64"], "expected both or neither"),
    ],
)
def test_mistakes_are_one_paragraph(
    capsys: pytest.CaptureFixture[str], by_hand: Path, tmp_path: Path, arguments: list[str], told: str
) -> None:
    places = {"recording": str(by_hand), "new": str(tmp_path / "new")}
    assert run([argument.format(**places) for argument in arguments]) == 2
    error = capsys.readouterr().err
    assert told in " ".join(error.split())
    assert "Traceback" not in error
    assert not (tmp_path / "new").exists()


def test_other_commands_do_not_load_the_formats() -> None:
    code = (
        "import sys, worldmodel, worldmodel.cli.main, worldmodel.datasets.recorder\n"
        "assert not {'av', 'minari', 'pyarrow', 'worldmodel.datasets.formats.registry'} & sys.modules.keys()\n"
        "import worldmodel.cli.import_, worldmodel.cli.export\n"
        "assert not {'av', 'minari', 'pyarrow', 'torch'} & sys.modules.keys()\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
