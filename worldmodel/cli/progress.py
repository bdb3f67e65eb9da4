"""Progress bars on long work."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn


@dataclass
class Bar:
    """One bar: how much is done, and a short text beside it."""

    progress: Progress
    task: TaskID

    def update(self, done: int, total: int, text: str = "") -> None:
        """Show that `done` of `total` is done."""
        self.progress.update(self.task, completed=done, total=total, text=text)


@contextmanager
def bar(title: str, total: int | None = None) -> Iterator[Bar]:
    """Show a bar on standard error while the block runs; `total` may be told later, by `update`."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[text]}"),
    )
    with Progress(*columns, console=Console(stderr=True)) as progress:
        yield Bar(progress, progress.add_task(title, total=total, text=""))
