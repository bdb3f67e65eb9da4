"""Some trials of a report as they went. What viewing knows of evaluation's inside is in this file."""

from __future__ import annotations

import zipfile
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from worldmodel.config import from_json
from worldmodel.errors import WorldModelError
from worldmodel.evaluation.evaluate import ControlReport, Evaluation, EvaluationConfig
from worldmodel.training.checkpoint import has_checkpoint

REPORT, CONFIG, TRIALS = "report.json", "config.json", "trials.npz"
EACH = 2  # trials that succeeded, and that failed, which are kept


@dataclass(frozen=True)
class Trials:
    """N trials of T blocks of K control steps, planned with horizon H; M plans in R rounds in the first search.

    Attributes:
        number: `[N]` int64, of the trial in the report.
        goal: `[N, H, W, 3]` uint8.
        frames: `[N, T + 1, H, W, 3]` uint8, what the robot saw.
        felt: `[N, T + 1, P]` float32, what it felt of its joints; P is 0 without proprioception.
        distance: `[N, T K + 1]`, to the goal, in the task's unit.
        actions: `[N, M, H, K', A]` float32, what the first search tried; K' numbers are held over a block.
        cost: `[N, M]` float32, of them.
        round: `[M]` int64, in which they were tried.
        elites: `[R]` int64, how many of the cheapest the planner went on from; 0 where it keeps none apart.
        course: `[N, H, D]` float32, the latents that the first plan was expected to lead to.
        best_by_round: `[N, T, R]`, the lowest cost found up to each round of each search; NaN where time was up.
    """

    number: NDArray[np.int64]
    goal: NDArray[np.uint8]
    frames: NDArray[np.uint8]
    felt: NDArray[np.float32]
    distance: NDArray[np.float64]
    actions: NDArray[np.float32]
    cost: NDArray[np.float32]
    round: NDArray[np.int64]
    elites: NDArray[np.int64]
    course: NDArray[np.float32]
    best_by_round: NDArray[np.float64]

    @classmethod
    def of(cls, evaluation: Evaluation) -> Trials:
        """Take the first trials that succeeded, and the first that failed."""
        trace = evaluation.trace
        solved = trace.distance[:, -1] <= evaluation.report.tolerance
        chosen = np.sort(np.concatenate([np.flatnonzero(solved)[:EACH], np.flatnonzero(~solved)[:EACH]]))
        return cls(
            number=chosen,
            goal=np.stack([evaluation.trials[index].goal_image for index in chosen]),
            frames=trace.frames[chosen],
            felt=trace.felt[chosen],
            distance=trace.distance[chosen],
            actions=trace.search.actions[chosen],
            cost=trace.search.cost[chosen],
            round=trace.search.round,
            elites=trace.search.elites,
            course=trace.search.course[chosen],
            best_by_round=trace.best_by_round[chosen],
        )

    def write(self, folder: Path) -> None:
        """Write `trials.npz` into the folder of a report."""
        with (folder / TRIALS).open("wb") as file:
            np.savez_compressed(file, **{field.name: getattr(self, field.name) for field in fields(self)})

    @classmethod
    def read(cls, folder: Path) -> Trials:
        """Read what `write` wrote.

        Raises:
            WorldModelError: it is missing or damaged.
        """
        try:
            with np.load(folder / TRIALS, allow_pickle=False) as held:
                return cls(**{field.name: held[field.name] for field in fields(cls)})
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
            raise WorldModelError(
                f"'{folder / TRIALS}' is missing or damaged ({error}). Plan again with: worldmodel plan RUN RECORDING"
            ) from error


def read_report(report: Path) -> tuple[Path, EvaluationConfig, ControlReport]:
    """Return the folder of a report, given as the folder or its `report.json`, how it was made, and what it says.

    Raises:
        WorldModelError: there is none.
    """
    folder = report.parent if report.name == REPORT else report
    if not (folder / REPORT).is_file():
        raise WorldModelError(
            f"There is no report in '{folder}': expected {REPORT}. Make one with: worldmodel plan RUN RECORDING"
        )
    try:
        config = from_json(EvaluationConfig, (folder / CONFIG).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise WorldModelError(
            f"'{folder / CONFIG}' is missing or damaged ({error}). Plan again with: worldmodel plan RUN RECORDING"
        ) from error
    return folder, config, ControlReport.read(folder / REPORT)


def find_run(report: Path) -> Path:
    """Return the run that a report's folder belongs to: the folder around it, or the one run beside it.

    Raises:
        WorldModelError: none is there, or several are.
    """
    around = report.resolve().parent
    if has_checkpoint(around):
        return around
    beside = [folder for folder in sorted(around.iterdir()) if folder.is_dir() and has_checkpoint(folder)]
    if len(beside) != 1:
        raise WorldModelError(
            f"{len(beside)} runs are beside '{report}'; expected one. Give its folder with --run-folder."
        )
    return beside[0]
