"""`worldmodel verify`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from worldmodel.cli.progress import bar
from worldmodel.datasets.verify import PATIENCE, Report, verify

SHOWN = 100  # findings; a recording may have one for each of its episodes


@dataclass(frozen=True)
class Command:
    """Tell whether a recording is whole; the exit code is 0, or 1 when errors are found.

    Attributes:
        recording: folder of the recording.
        deep: check hashes, decode every value and look at every picture, too.
        patience: longest time without progress before a file counts as hanging its reader, s.
    """

    recording: Annotated[Path, tyro.conf.Positional]
    deep: bool = False
    patience: float = PATIENCE

    def run(self) -> None:
        with bar("Verifying") as shown:
            report = verify(self.recording, deep=self.deep, patience=self.patience, progress=shown.update)
        print_report(self.recording, report)
        if report.errors:
            raise SystemExit(1)


def print_report(folder: Path, report: Report) -> None:
    """Print what was found, as a table, and a last line with the sum."""
    console = Console()
    if report.findings:
        table = Table("", "file", "episode", "what", title=escape(str(folder)), title_justify="left")
        for finding in sorted(report.findings, key=lambda finding: finding.severity)[:SHOWN]:
            colour = "red" if finding.severity == "error" else "yellow"
            episode = "" if finding.episode is None else str(finding.episode)
            table.add_row(f"[{colour}]{finding.severity}[/]", escape(finding.file), episode, escape(finding.text))
        console.print(table)
        if len(report.findings) > SHOWN:
            console.print(f"… and {len(report.findings) - SHOWN:,} more.")
    errors = len(report.errors)
    console.print(
        f"{report.episodes:,} episodes with {report.frames:,} frames in {report.shards} shards checked in "
        f"{report.seconds:.1f} s: {errors} errors, {len(report.findings) - errors} warnings.",
        highlight=False,
    )
