"""`worldmodel envs`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import tyro
from rich.columns import Columns
from rich.console import Console

from worldmodel.envs.registry import missing_packages, world_names
from worldmodel.errors import WorldModelError


@dataclass(frozen=True)
class Command:
    """List the environments that can be recorded, by the package that brings them.

    Any MJCF file can be recorded too, by its path, and of a gymnasium environment older versions by their ids.

    Attributes:
        word: only those with this in their name, in capitals or not.
    """

    word: Annotated[str, tyro.conf.Positional] = ""

    def run(self) -> None:
        console = Console(highlight=False)
        families = {
            family: sorted(name for name in names if self.word.lower() in name.lower())
            for family, names in world_names().items()
        }
        for family, names in families.items():
            if names:
                console.print(f"[bold]{family}[/]: {len(names)}")
                console.print(Columns(names, padding=(0, 2)) if console.is_terminal else "\n".join(names))
        missing = {package.module: package.extra for package in missing_packages()}
        if not any(families.values()):
            raise WorldModelError(
                f"No environment here has '{self.word}' in its name; `worldmodel envs` lists all of them."
                + (f" Not installed: {', '.join(missing)}." if missing else "")
            )
        console.print("[bold]a model of your own[/]: the path of its MJCF file, such as my_robot.xml")
        for module, extra in missing.items():
            console.print(f"[bold]{module}[/] is not installed: pip install 'worldmodel\\[{extra}]'")
