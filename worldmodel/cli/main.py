"""`worldmodel COMMAND …`: choose the command, run it, and turn mistakes into one clear paragraph."""

from __future__ import annotations

import importlib
import keyword
import os
import sys
from collections.abc import Callable, Sequence
from typing import Any

import tyro
from rich.console import Console
from rich.markup import escape

from worldmodel.errors import WorldModelError, unknown_name

# Each command is a module with a frozen dataclass `Command` that has a method `run()`. They are imported when
# they are asked for: PyTorch alone takes two seconds.
COMMANDS = {
    "demo": "Record, train, control and report, once through, on the reacher.",
    "envs": "List the environments that can be recorded.",
    "record": "Record video of a MuJoCo world.",
    "rerender": "Film a recording again, at another size or from other cameras.",
    "info": "Say what is in a recording.",
    "verify": "Tell whether a recording is whole.",
    "repair": "Make a new recording of every whole episode of a damaged or interrupted one.",
    "import": "Make a recording of videos, or of a dataset of Minari, LeRobot, robomimic or stable-worldmodel.",
    "export": "Write a recording in one of those formats.",
    "train": "Train a world model on a recording.",
    "measure": "Tell, without labels, what a model has learned.",
    "probe": "Read the physical state from latents, with few labels and many.",
    "rank": "Tell how well each label-free metric orders runs by how well they plan.",
    "compare": "Train every objective on one recording, and put what each has learned into one table.",
    "benchmark": "Record, train and evaluate tasks with several training seeds, one row of results each.",
    "plan": "Control towards goal images with a trained model, and measure how well.",
    "earn": "Plan for the reward of an environment, without a goal, and measure what is earned.",
    "pool": "Pool the reports of several training seeds into one row.",
    "view": "Make videos and pictures of a recording or of what a model imagines.",
}

USAGE, INTERRUPTED = 2, 130


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line; exits with 0, 2 for a mistake that the user can mend, or 130 after Ctrl-C."""
    sys.exit(run(list(sys.argv[1:] if arguments is None else arguments)))


def run(arguments: list[str]) -> int:
    """Run the command line and return its exit code."""
    if not arguments or arguments[0] in ("-h", "--help"):
        _print_help()
        return 0 if arguments else USAGE
    return guarded(lambda: _dispatch(arguments[0], arguments[1:]))


def guarded(action: Callable[[], None]) -> int:
    """Call `action`; print what a user can mend as one paragraph on standard error, and return the exit code."""
    console = Console(stderr=True, highlight=False)
    try:
        action()
    except WorldModelError as error:
        console.print(f"[bold red]Error:[/] {escape(str(error))}")
        return USAGE
    except KeyboardInterrupt:
        console.print(
            "[yellow]Stopped.[/] Recordings and imports keep what was finished and go on with --resume; trainings, "
            "comparisons, benchmarks and the demo when run again; an export leaves nothing."
        )
        return INTERRUPTED
    except OSError as error:
        if error.errno is None:
            raise
        where = f" of '{error.filename}'" if error.filename else ""
        console.print(
            f"[bold red]Error:[/] Reading or writing{escape(where)} failed: {os.strerror(error.errno)}. Expected files "
            "that can be read, and a folder with space that can be written (--out)."
        )
        return USAGE
    return 0


def _dispatch(name: str, arguments: list[str]) -> None:
    if name not in COMMANDS:
        raise unknown_name("command", name, COMMANDS)
    try:
        module: Any = importlib.import_module(f"worldmodel.cli.{name}{'_' * keyword.iskeyword(name)}")
    except ImportError as error:
        raise WorldModelError(
            f"A library cannot be loaded: {error}. On Debian or Ubuntu, run as root: apt-get install -y libgl1 "
            "libglib2.0-0; or install the package again, with all that it depends on."
        ) from error
    # what some options are, others decide
    default = module.defaults(arguments) if hasattr(module, "defaults") else None
    tyro.cli(module.Command, args=arguments, default=default, prog=f"worldmodel {name}").run()


def _print_help() -> None:
    console = Console(highlight=False)
    console.print("[bold]worldmodel[/]: a robot learns physics by watching.\n\nusage: worldmodel COMMAND [OPTIONS]\n")
    for name, what in COMMANDS.items():
        console.print(f"  [bold]{name:9}[/] {what}")
    console.print("\nworldmodel COMMAND --help tells the options of a command.")
