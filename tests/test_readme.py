"""What the README tells to type is understood, and what it tells to import is there."""

from __future__ import annotations

import ast
import importlib
import re
import shlex
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import tyro

from worldmodel.cli import main
from worldmodel.cli.main import COMMANDS

README = Path(__file__).parents[1] / "README.md"
WAYS = (["worldmodel"], [".venv/bin/worldmodel"], ["torchrun", "--nproc-per-node", "2", "-m", "worldmodel.cli"])


def blocks(language: str) -> dict[int, str]:
    """Return the README's fenced blocks of a language, each by the number of its first line."""
    text = README.read_text(encoding="utf-8")
    found = re.finditer(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    return {text.count("\n", 0, match.start(1)) + 1: match[1] for match in found}


def commands() -> list[str]:
    """Return the command lines of the README that call `worldmodel`, each on one line."""
    lines = [line for block in blocks("bash").values() for line in block.replace("\\\n", " ").splitlines()]
    return [line for line in lines if arguments_of(line)]


def arguments_of(line: str) -> list[str]:
    """Return what `worldmodel` is given in a command line; nothing where it is another program's."""
    words = shlex.split(line, comments=True)
    return next((words[len(way) :] for way in WAYS if words[: len(way)] == way), [])


def test_every_command_of_ours_is_found() -> None:
    text = "".join(blocks("bash").values())
    assert len(commands()) == len(re.findall(r"^(?:\S*/)?worldmodel |^torchrun ", text, re.MULTILINE)) > 20
    assert {arguments_of(line)[0] for line in commands()} <= set(COMMANDS)


@pytest.mark.parametrize("line", commands())
def test_a_command_line_is_understood(
    line: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    genuine: Callable[..., Any] = tyro.cli
    understood = []

    def parse(command: Any, **options: Any) -> SimpleNamespace:
        """Parse as the command line does, and run nothing."""
        understood.append(genuine(command, **options))
        return SimpleNamespace(run=lambda: None)

    monkeypatch.setattr(tyro, "cli", parse)
    arguments = [word for word in arguments_of(line) if word != "--help"]  # which ends before the rest is looked at
    try:
        code: object = main.run(arguments)
    except SystemExit as exit_:
        code = exit_.code
    said = " ".join(capsys.readouterr().err.split())
    assert (code, len(understood)) == (0, 1), f"{README.name}: `{' '.join(line.split())}` is not understood: {said}"


def test_python_can_be_compiled_and_its_imports_are_there() -> None:
    assert blocks("python")
    for first, source in blocks("python").items():
        try:
            tree = ast.parse(source)
        except SyntaxError as error:
            pytest.fail(f"{README.name}, line {first - 1 + (error.lineno or 1)}: {error}")
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "worldmodel":
                module = importlib.import_module(node.module or "")
                for name in node.names:
                    where = f"{README.name}, line {first - 1 + node.lineno}"
                    assert hasattr(module, name.name), f"{where}: {node.module} has no {name.name}"
