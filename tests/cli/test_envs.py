"""`worldmodel envs`."""

from __future__ import annotations

import pytest

from worldmodel.cli.main import run
from worldmodel.envs import registry
from worldmodel.envs.registry import make_world, world_names


def test_every_environment_is_listed_by_its_package(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["envs"]) == 0
    lines = capsys.readouterr().out.splitlines()
    for family, names in world_names().items():
        assert f"{family}: {len(names)}" in lines
        assert set(names) <= set(lines)
    assert any("my_robot.xml" in line for line in lines)


def test_a_word_finds_environments(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["envs", "halfCHEETAH"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "gymnasium: 1"
    make_world(lines[1]).close()
    assert "HalfCheetah" in lines[1]
    assert run(["envs", "no such thing"]) == 2
    assert "'no such thing'" in capsys.readouterr().err


def test_packages_that_are_missing_are_named(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registry, "_installed", lambda package: False)
    assert run(["envs"]) == 0
    told = capsys.readouterr().out
    assert set(world_names()["worldmodel"]) <= set(told.splitlines())
    for extra in ("dm-control", "ogbench", "robotics"):
        assert f"pip install 'worldmodel[{extra}]'" in told


def test_help_points_to_the_list(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        run(["record", "--help"])
    assert "worldmodel envs" in " ".join(capsys.readouterr().out.split())
