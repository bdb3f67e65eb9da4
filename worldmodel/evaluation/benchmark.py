"""The table of results: a row for each task, over several training seeds, and where its failures can be seen."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from worldmodel.config import from_json, to_json
from worldmodel.datasets.disk import lock, write_whole
from worldmodel.errors import WorldModelError
from worldmodel.evaluation.interval import Rate
from worldmodel.evaluation.markdown import markdown_table
from worldmodel.evaluation.pool import Pool

JSON, MARKDOWN = "table.json", "table.md"
HEAD = (
    "task",
    "training, min",
    "planner",
    "at the goal in the end [95 %]",
    "by seed",
    "touched at any time",
    "uniform",
    "zero",
    "explore",
    "oracle",
    "ms per plan",
    "trials",
)


@dataclass(frozen=True)
class Failures:
    """Trials of one run that ended away from the goal.

    Attributes:
        folder: of their videos, relative to the table's.
        videos: names of the files in it.
    """

    seed: int
    folder: str
    videos: tuple[str, ...]


@dataclass(frozen=True)
class BenchmarkRow:
    """One task.

    Attributes:
        task: its name without "worldmodel/" and "-v0".
        minutes: wall-clock time of training, min, mean over training seeds.
        pool: all its trials together.
        failures: by training seed.
    """

    task: str
    minutes: float
    pool: Pool
    failures: tuple[Failures, ...]

    def cells(self) -> list[str]:
        """Return the row as text, in the order of `HEAD`."""
        pool, seeds = self.pool, len(self.pool.training_seeds)
        return [
            self.task,
            f"{self.minutes:.3g}",
            pool.planner,
            _told(pool.success),
            ", ".join(f"{100 * rate:.0f}" for rate in pool.by_seed) + " %",
            _told(pool.success_ever),
            *(_both(pool.floors.get(name), pool.floors_ever.get(name)) for name in ("uniform", "zero", "explore")),
            f"{_both(pool.oracle, pool.oracle_ever)} of {pool.oracle.count} ({pool.oracle_planner})"
            if pool.oracle
            else _told(None),
            f"{pool.milliseconds_for_one:,.0f}",
            f"{seeds} × {pool.success.count // seeds}",
        ]


@dataclass(frozen=True)
class BenchmarkTable:
    """The rows of all tasks that were run into one folder."""

    rows: tuple[BenchmarkRow, ...] = ()

    @classmethod
    def put(cls, row: BenchmarkRow, folder: Path) -> BenchmarkTable:
        """Put a row into the table in `folder`, into which others may put theirs at the same time; return the table."""
        alone = lock(folder, wait=True)
        assert alone is not None
        with alone:
            table = cls.read(folder).with_row(row)
            table.write(folder)
        return table

    def with_row(self, row: BenchmarkRow) -> BenchmarkTable:
        """Return the table with a row in the place of the one of the same task, or behind the others."""
        if all(held.task != row.task for held in self.rows):
            return BenchmarkTable((*self.rows, row))
        return BenchmarkTable(tuple(row if held.task == row.task else held for held in self.rows))

    def caption(self) -> str:
        """Return what the columns mean."""
        protocols = dict.fromkeys(
            f"{row.pool.ahead} control steps ahead with a budget of {row.pool.budget}" for row in self.rows
        )
        return (
            f"Held-out goals {' or '.join(protocols)}. Intervals are Wilson's, over the trials of all training seeds. "
            "uniform, zero and explore act without a model; the oracle is the planner in brackets on the "
            "real simulator, on some of the trials; of these, in the end / at any time. ms per plan is for one robot."
        )

    def failures(self) -> list[str]:
        """Return a line for each run that failed anywhere, naming the videos."""
        return [
            f"{row.task}, seed {failed.seed}, in {failed.folder}: {', '.join(failed.videos)}"
            for row in self.rows
            for failed in row.failures
            if failed.videos
        ]

    def write(self, folder: Path) -> None:
        """Write the table as `table.json`, and as `table.md` with its failures below."""
        write_whole(folder / JSON, to_json(self).encode())
        failures = "\n".join(f"- {line}" for line in self.failures()) or "None."
        text = f"{markdown_table([HEAD, *(row.cells() for row in self.rows)])}\n{self.caption()}\n\n"
        (folder / MARKDOWN).write_text(f"{text}Videos of the failures:\n\n{failures}\n", encoding="utf-8")

    @classmethod
    def read(cls, folder: Path) -> BenchmarkTable:
        """Read what `write` wrote; a folder without a table has an empty one.

        Raises:
            WorldModelError: the file is damaged, or of another version.
        """
        path = folder / JSON
        if not path.exists():
            return cls()
        try:
            return from_json(cls, path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise WorldModelError(
                f"'{path}' is no table of results ({error}). Remove it, and repeat the command for the tasks that it "
                "shall have: finished ones are only put into the table again."
            ) from error


def _told(rate: Rate | None) -> str:
    return f"{_percent(rate)} % [{100 * rate.low:.0f}, {100 * rate.high:.0f}]" if rate else _percent(None)


def _both(end: Rate | None, ever: Rate | None) -> str:
    """Tell two rates of the same trials."""
    return f"{_percent(end)} / {_percent(ever)} %" if end or ever else _percent(None)


def _percent(rate: Rate | None) -> str:
    return f"{100 * rate.value:.0f}" if rate else "–"
