"""`worldmodel repair`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from worldmodel.cli.progress import bar
from worldmodel.datasets.repair import Repaired, repair
from worldmodel.datasets.verify import PATIENCE


@dataclass(frozen=True)
class Command:
    """Make a new recording of every whole episode of a damaged or interrupted one, which is only read.

    The exit code is 0, or 1 when episodes were lost.

    Attributes:
        recording: folder of the recording to repair.
        out: folder of the new recording.
        patience: longest time without progress before a file counts as hanging its reader, s.
    """

    recording: Annotated[Path, tyro.conf.Positional]
    out: Path
    patience: float = PATIENCE

    def run(self) -> None:
        with bar("Repairing") as shown:
            repaired = repair(self.recording, self.out, patience=self.patience, progress=shown.update)
        print_repaired(self.out, repaired)
        if repaired.lost:
            raise SystemExit(1)


def print_repaired(out: Path, repaired: Repaired) -> None:
    """Print what was lost, as a table, and what was kept."""
    console = Console(highlight=False)
    if repaired.lost:
        table = Table("episodes", "file", "why they were lost", title="Lost", title_justify="left")
        for lost in repaired.lost:
            episodes = str(lost.first) if lost.first == lost.last else f"{lost.first}-{lost.last}"
            table.add_row(episodes, escape(lost.file), escape(lost.why))
        console.print(table)
    count = sum(lost.last - lost.first + 1 for lost in repaired.lost)
    console.print(
        f"Kept {len(repaired.kept):,} episodes with {repaired.frames:,} frames in '{escape(str(out))}', lost {count:,}."
    )
    if repaired.renumbered:
        console.print(
            "Episodes behind lost ones have lower numbers now: this recording cannot be continued with --resume."
        )
