"""The command line: what it answers, and with which exit code."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from worldmodel.cli.main import COMMANDS, guarded, main, run
from worldmodel.envs.reacher import Reacher
from worldmodel.models.world_model import WorldModel
from worldmodel.training.checkpoint import load_model, newest, read_card

TINY = [
    "--model.latent",
    "8",
    "--model.encoder.widths",
    "8",
    "16",
    "--model.predictor.width",
    "16",
    "--model.predictor.hidden",
    "16",
    "--model.predictor.positions",
    "5",
    "--model.inverse.width",
    "16",
    "--model.decoder.width",
    "16",
    "--model.predictor.visible",
    "2",
    "--see.steps",
    "3",
    "--see.batch",
    "4",
    "--see.length",
    "4",
    "--forecast.steps",
    "2",
    "--forecast.batch",
    "4",
    "--forecast.length",
    "5",
    "--guide.steps",
    "2",
    "--guide.batch",
    "8",
    "--draw.steps",
    "2",
    "--draw.batch",
    "2",
    "--draw.length",
    "3",
]
VIEWS = ("data", "rollout", "latent", "plan", "report", "live")
PLAN = [
    "--episodes",
    "2",
    "--ahead",
    "12",
    "--budget",
    "4",
    "--history",
    "2",
    "--hold",
    "2",
    "--horizon",
    "2",
    "--proposal.cem.candidates",
    "8",
    "--proposal.cem.rounds",
    "2",
    "--proposal.cem.elites",
    "2",
]


def error_of(capsys: pytest.CaptureFixture[str], arguments: list[str]) -> str:
    """Run what must fail by the user's mistake; return its one paragraph, on one line."""
    assert run(arguments) == 2
    text = capsys.readouterr().err
    assert "Error:" in text
    assert "Traceback" not in text
    paragraph = text[text.index("Error:") :].strip()
    assert "\n\n" not in paragraph
    return " ".join(paragraph.split())


def test_without_a_command_it_lists_them(capsys: pytest.CaptureFixture[str]) -> None:
    assert run([]) == 2
    assert run(["--help"]) == 0
    text = capsys.readouterr().out
    assert all(name in text for name in COMMANDS)


@pytest.mark.parametrize("command", [*([name] for name in COMMANDS), *(["view", what] for what in VIEWS)])
def test_help(capsys: pytest.CaptureFixture[str], command: list[str]) -> None:
    with pytest.raises(SystemExit) as exit_:
        run([*command, "--help"])
    assert exit_.value.code == 0
    assert f"worldmodel {' '.join(command)}" in capsys.readouterr().out


def test_an_unknown_command_is_named_with_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    error = error_of(capsys, ["trian"])
    assert "Unknown command 'trian'. Did you mean 'train'?" in error
    assert all(name in error for name in COMMANDS)


@pytest.mark.parametrize("command", [["info"], ["train"], ["view", "data"]])
@pytest.mark.parametrize("fault", ["missing", "foreign"])
def test_what_is_no_recording_is_refused(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, command: list[str], fault: str
) -> None:
    folder = tmp_path / "it"
    if fault == "foreign":
        folder.mkdir()
        (folder / "letter.txt").write_text("Dear all,")
    more = ["--out", str(tmp_path / "run")] if command == ["train"] else []
    error = error_of(capsys, [*command, str(folder), *more])
    assert "it" in error
    assert "ecord" in error
    assert not (tmp_path / "run").exists()


def test_a_run_that_is_not_there_is_refused(capsys: pytest.CaptureFixture[str], reacher: Path, tmp_path: Path) -> None:
    for command in (["plan"], *(["view", what] for what in ("rollout", "latent", "report", "live"))):
        error_of(capsys, [*command, str(tmp_path / "nothing"), str(reacher)])
    assert not (tmp_path / "nothing").exists()


def test_an_unknown_environment_is_refused(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    error = error_of(capsys, ["record", "--env", "worldmodel/Recher-v0", "--out", str(tmp_path / "out")])
    assert "worldmodel/Recher-v0" in error
    assert "worldmodel/Reacher-v0" in error


def test_an_impossible_value_is_refused(capsys: pytest.CaptureFixture[str], reacher: Path, tmp_path: Path) -> None:
    out = ["--out", str(tmp_path / "run")]
    with pytest.raises(SystemExit) as exit_:
        run(["train", str(reacher), *out, "--see.steps", "many"])
    assert exit_.value.code == 2
    capsys.readouterr()
    assert "held_out is 2.0" in error_of(capsys, ["train", str(reacher), *out, *TINY, "--held-out", "2"])
    assert "Device 'toaster'" in error_of(capsys, ["train", str(reacher), *out, *TINY, "--device", "toaster"])


def test_a_file_in_the_way_is_named(capsys: pytest.CaptureFixture[str], reacher: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert "file" in error_of(capsys, ["train", str(reacher), "--out", str(tmp_path / "file"), *TINY])


def test_info_prints_the_numbers(capsys: pytest.CaptureFixture[str], reacher: Path) -> None:
    assert run(["info", str(reacher)]) == 0
    text = capsys.readouterr().out
    for part in ("worldmodel/Reacher-v0", "60 of 32 x 32", "108 of 2 actuators", "explore, 3"):
        assert part in text


def test_recordings_of_one_name_are_not_shown_in_one_folder(
    capsys: pytest.CaptureFixture[str], reacher: Path, tmp_path: Path
) -> None:
    twins = [tmp_path / name / "recording" for name in "ab"]
    for twin in twins:
        shutil.copytree(reacher, twin)
    out = tmp_path / "out"
    error = error_of(capsys, ["view", "data", *map(str, twins), "--out", str(out)])
    assert "both called 'recording'" in error
    assert "leave out --out" in error
    assert not out.exists()
    assert run(["view", "data", str(twins[0]), str(reacher), "--out", str(out)]) == 0
    assert sorted(path.name for path in out.iterdir()) == ["reacher", "recording"]


def test_train_resume_plan_and_view(
    capsys: pytest.CaptureFixture[str], reacher: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Reacher, "tolerance", 1e-3)
    folder = tmp_path / "run"
    train = ["train", str(reacher), "--out", str(folder), "--device", "cpu", *TINY]
    assert run(train) == 0
    assert "already holds a run" in error_of(capsys, [*train, "--no-resume"])
    assert run(train) == 0
    assert "Continuing the run" in capsys.readouterr().err
    assert "another configuration" in error_of(capsys, [*train, "--seed", "5"])
    assert run(["plan", str(folder), str(reacher), "--device", "cpu", *PLAN]) == 0
    text = capsys.readouterr().out
    assert "2 held-out goals" in text
    assert "Not played on the real simulator (worldmodel plan --oracle N)" in text
    report = json.loads((folder / "plan" / "report.json").read_text())
    assert (report["plans"], report["planning"]["planner"], report["oracle_planner"]) == (2, "proposal", "cem")
    assert run(["view", "rollout", str(folder), str(reacher), "--device", "cpu", "--horizon", "3"]) == 0
    assert run(["view", "latent", str(folder), str(reacher), "--device", "cpu"]) == 0
    assert run(["view", "plan", str(folder / "plan"), "--recording", str(reacher), "--device", "cpu"]) == 0
    lines = capsys.readouterr().out.split()
    assert len(lines) == 3 + 2 + 2
    assert all(Path(line).exists() for line in lines)


def test_torchrun_trains_in_two_processes(reacher: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    command = ["train", str(reacher), "--out", str(folder), "--device", "cpu", *TINY]
    done = subprocess.run(
        [
            *(sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"),
            *("-m", "worldmodel.cli", *command),
        ],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr
    assert "in 2 processes" in " ".join(done.stderr.split())
    assert done.stdout.count("Trained:") == 1
    position = read_card(newest(folder)).position
    assert (position.total, position.finished) == (3 + 2 + 2 + 2, True)
    model = load_model(folder)
    torch.manual_seed(0)
    begun = WorldModel(model.config, interface=model.interface).state_dict()
    learned = {name.split(".")[0] for name, value in model.state_dict().items() if not torch.equal(value, begun[name])}
    assert {"encoder", "predictor", "inverse", "proposer", "distance", "decoder"} <= learned


def test_ctrl_c_is_no_error(capsys: pytest.CaptureFixture[str]) -> None:
    def interrupted() -> None:
        raise KeyboardInterrupt

    assert guarded(interrupted) == 130
    assert "Stopped" in capsys.readouterr().err


def test_a_full_disk_is_told_and_a_bug_is_not_hidden(capsys: pytest.CaptureFixture[str]) -> None:
    def full() -> None:
        raise OSError(28, "No space left on device", "/somewhere/[x]")

    def bug() -> None:
        raise ZeroDivisionError

    assert guarded(full) == 2
    assert "'/somewhere/[x]' failed: No space left" in " ".join(capsys.readouterr().err.split())
    with pytest.raises(ZeroDivisionError):
        guarded(bug)


def test_main_exits_with_the_code(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_:
        main(["nonsense"])
    assert exit_.value.code == 2


WITHOUT_TORCH = """
import importlib, pkgutil, sys
import worldmodel, worldmodel.envs, worldmodel.datasets, worldmodel.cli.main
for package in (worldmodel.envs, worldmodel.datasets):
    names = [module.name for module in pkgutil.iter_modules(package.__path__)]
    assert names, package
    for name in names:
        importlib.import_module(f"{package.__name__}.{name}")
assert "torch" not in sys.modules
"""


def test_recording_never_loads_pytorch() -> None:
    subprocess.run([sys.executable, "-c", WITHOUT_TORCH], check=True, timeout=120)


def test_an_unfinished_run_is_not_planned_with(
    capsys: pytest.CaptureFixture[str], trained: Path, reacher: Path, tmp_path: Path
) -> None:
    run_folder = tmp_path / "run"
    shutil.copytree(trained, run_folder)
    card = sorted((run_folder / "checkpoints").iterdir())[-1] / "checkpoint.json"
    card.write_text(card.read_text().replace('"finished": true', '"finished": false'))
    assert run(["plan", str(run_folder), str(reacher)]) == 2
    assert "not finished" in " ".join(capsys.readouterr().err.split())


def test_a_recording_that_is_not_named_is_looked_for_unless_it_is_shifted(
    capsys: pytest.CaptureFixture[str], trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for command in ("measure", "probe", "plan"):
        assert "Give its folder after the run's" in error_of(capsys, [command, str(trained), "--device", "cpu"])
    error = error_of(capsys, ["plan", str(trained), "--shifted"])
    assert "No recording was named, and --shifted takes one of another world" in error


def test_a_demo_moves_no_folder_that_is_none(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    assert run(["demo", "--out", str(tmp_path)]) == 2
    assert "something else than a demo" in " ".join(capsys.readouterr().err.split())
    assert (tmp_path / "thesis.tex").read_text() == "years of work"


def test_no_opengl_is_told_with_what_to_install(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "worldmodel.cli", "record", "--out", str(tmp_path / "recording")],
        env=os.environ | {"MUJOCO_GL": "bogus"},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert "apt-get install" in " ".join(done.stderr.split())


def test_a_missing_library_of_the_live_page_is_named(
    capsys: pytest.CaptureFixture[str], trained: Path, reacher: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("worldmodel.viewing.live.serve.NEEDED", ("starlette", "no_such_package"))
    error = error_of(capsys, ["view", "live", str(trained), str(reacher)])
    assert "needs no_such_package" in error
    assert "pip install 'worldmodel[live]'" in error


def test_an_address_that_is_taken_is_told(capsys: pytest.CaptureFixture[str], trained: Path, reacher: Path) -> None:
    pytest.importorskip("starlette")
    pytest.importorskip("uvicorn")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        error = error_of(capsys, ["view", "live", str(trained), str(reacher), "--device", "cpu", "--port", port])
    assert f"port {port}" in error
    assert "--port" in error
