"""`worldmodel pool`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from worldmodel.evaluation.evaluate import ControlReport
from worldmodel.evaluation.pool import Pool, pool


@dataclass(frozen=True)
class Command:
    """Pool the reports of several training seeds into one row.

    Attributes:
        reports: files report.json that `worldmodel plan` wrote, or the folders that they are in.
        out: file for the row as JSON; not written when left out.
    """

    reports: Annotated[tuple[Path, ...], tyro.conf.Positional]
    out: Path | None = None

    def run(self) -> None:
        files = [path / "report.json" if path.is_dir() else path for path in self.reports]
        row = pool([ControlReport.read(path) for path in files])
        if self.out:
            self.out.parent.mkdir(parents=True, exist_ok=True)
            row.write(self.out)
        print_pool(row)


def print_pool(row: Pool) -> None:
    """Print the pool as a table."""
    shift = f", shifted by {escape(row.env_arguments)}" if row.shifted else ""
    table = Table(
        title=f"{row.env}{shift}, {row.planner}: goals {row.ahead} control steps ahead, budget {row.budget}",
        title_justify="left",
        show_header=False,
    )
    table.add_row("at the goal in the end [95 %]", f"{row.success} of {row.success.count} trials", style="bold")
    table.add_row("touched it at any time [95 %]", str(row.success_ever))
    seeds = ", ".join(f"{rate:.0%} (seed {seed})" for seed, rate in zip(row.training_seeds, row.by_seed, strict=True))
    table.add_row("each training seed", seeds)
    for name, rate in row.floors.items():
        table.add_row(f"{name} actions", f"{rate}, touched {row.floors_ever[name]}")
    if row.oracle:
        table.add_row(
            f"{row.oracle_planner}, real simulator", f"{row.oracle}, touched {row.oracle_ever}, of {row.oracle.count}"
        )
    table.add_row(
        "distance to the goal's latent", f"{row.imagined_cost:.3f} as imagined, {row.achieved_cost:.3f} as it came"
    )
    table.add_row("to plan for one robot", f"{row.milliseconds_for_one:,.0f} ms")
    Console().print(table)
