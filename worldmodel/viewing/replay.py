"""Act out a report's trials again and watch the planner. What viewing knows of evaluation's inside is in this file."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from worldmodel.config import from_json
from worldmodel.envs.registry import make_task
from worldmodel.envs.task import Task
from worldmodel.envs.views import ViewsRenderer
from worldmodel.errors import WorldModelError
from worldmodel.evaluation.control import Progress, feel, film
from worldmodel.evaluation.evaluate import EvaluationConfig
from worldmodel.evaluation.goals import Trial, draw_trials
from worldmodel.evaluation.latents import encode_frames
from worldmodel.training.checkpoint import has_checkpoint
from worldmodel.training.guides import load_guides
from worldmodel.viewing.find import Trained
from worldmodel.viewing.latents import picture_latents
from worldmodel.viewing.search import Round, Search

REPORT, CONFIG = "report.json", "config.json"
EACH = 2  # trials that succeeded, and that failed, which are acted out again


@dataclass(frozen=True)
class Replay:
    """One trial of T blocks of K control steps, planned with horizon H.

    Attributes:
        number: of the trial in the report.
        goal_image: `[H, W, 3]` uint8; `goal` its latent `[D]`, `start` that of the start.
        frames: `[T + 1, H, W, 3]` uint8, what the robot saw.
        planned: `[H, H, W, 3]` uint8, the chosen future of the first plan.
        course: `[H, D]`, the same as latents.
        rounds: of the first search.
        best_by_round: `[T, rounds]`, the lowest cost found up to each round of each search.
        distance: `[T K + 1]`, to the goal, in `unit`.
        tolerance: the largest that counts.
    """

    number: int
    goal_image: NDArray[np.uint8]
    goal: NDArray[np.float32]
    start: NDArray[np.float32]
    frames: NDArray[np.uint8]
    planned: NDArray[np.uint8]
    course: NDArray[np.float32]
    rounds: list[Round]
    best_by_round: NDArray[np.float64]
    distance: NDArray[np.float64]
    tolerance: float
    unit: str

    @property
    def solved(self) -> bool:
        """Whether the goal is held in the end."""
        return bool(self.distance[-1] <= self.tolerance)


def read_report(report: Path) -> tuple[Path, EvaluationConfig]:
    """Return the folder of a report, given as the folder or its `report.json`, and how it was made.

    Raises:
        WorldModelError: there is none.
    """
    folder = report.parent if report.name == REPORT else report
    if not (folder / REPORT).is_file():
        raise WorldModelError(
            f"There is no report in '{folder}': expected {REPORT}. Make one with: worldmodel plan RUN RECORDING"
        )
    try:
        return folder, from_json(EvaluationConfig, (folder / CONFIG).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise WorldModelError(
            f"'{folder / CONFIG}' is missing or damaged ({error}). Plan again with: worldmodel plan RUN RECORDING"
        ) from error


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


def choose_trials(report: Path, config: EvaluationConfig) -> list[int]:
    """Return numbers of some trials that succeeded and some that failed, as the videos beside the report tell.

    Where there are none, the first trials.
    """
    numbers: list[int] = []
    for outcome in ("solved", "missed"):
        found = sorted((report / "videos").glob(f"trial-*-{outcome}.mp4"))[:EACH]
        numbers += [int(path.name.split("-")[1]) for path in found]
    return sorted(number for number in numbers if number < config.episodes) or list(
        range(min(2 * EACH, config.episodes))
    )


def act_again(
    trained: Trained, config: EvaluationConfig, numbers: list[int], progress: Progress | None = None
) -> list[Replay]:
    """Act out some trials of an evaluation, one by one.

    The starts and goals are the report's; the planner's random draws are not, since there it plans for all robots
    at once. So a trial may end otherwise than it did.

    Args:
        numbers: of the trials.
        progress: is told after each how many are done.
    """
    interface = trained.model.interface
    task = make_task(interface.env, interface.env_arguments)
    ahead = config.frames(interface.steps_per_frame).ahead
    drawn = draw_trials(trained.recording, trained.held_out, task, count=config.episodes, ahead=ahead, seed=config.seed)
    replays = []
    with film(interface, task) as renderer:
        for number in numbers:
            replays.append(_act(trained, config, task, renderer, number, drawn[number]))
            if progress:
                progress(len(replays), len(numbers))
    return replays


def _act(
    trained: Trained, config: EvaluationConfig, task: Task, renderer: ViewsRenderer, number: int, trial: Trial
) -> Replay:
    model, compute = trained.model, trained.compute
    goal = encode_frames(model, trial.goal_image[None], compute)[0]
    search = Search(
        replace(config.planning, history=min(config.planning.history, trained.visible)),
        model=model,
        compute=compute,
        goal=goal,
        seed=config.seed + number,
        guides=load_guides(trained.folder, model),
    )
    task.set_state(trial.start)
    distances, frames = [task.distance(task.state(), trial.goal)], [renderer.draw(task.data)]
    start = encode_frames(model, frames[0][None], compute)[0]
    seen = deque([start], maxlen=config.planning.history)
    felt = deque([feel(model.interface, [task])[0]], maxlen=config.planning.history)
    steps, size = model.interface.steps_per_frame, len(model.interface.low)
    done: list[torch.Tensor] = []
    rounds: list[Round] = []
    best, first = [], None
    for _ in range(config.frames(steps).budget):
        tried: list[Round] = []
        count = len(seen) - 1
        past = torch.stack(done[-count:]) if count else torch.zeros(0, steps, size, device=compute.device)
        known = torch.stack(list(felt)).to(compute.device)
        found = search(torch.stack(list(seen)), past, tried.append, felt=known)
        best.append(np.minimum.accumulate([float(found.cost.min()) for found in tried]))
        if first is None:
            first, rounds = found, tried
        for action in found.blocks[0].cpu().numpy():
            task.step(action)
            distances.append(task.distance(task.state(), trial.goal))
        frames.append(renderer.draw(task.data))
        done.append(found.blocks[0])
        seen.append(encode_frames(model, frames[-1][None], compute)[0])
        felt.append(feel(model.interface, [task])[0])
    assert first is not None  # a budget is at least one block
    return Replay(
        number=number,
        goal_image=trial.goal_image,
        goal=goal.cpu().numpy(),
        start=start.cpu().numpy(),
        frames=np.stack(frames),
        planned=picture_latents(model, first.latents, compute),
        course=first.latents.float().cpu().numpy(),
        rounds=rounds,
        best_by_round=np.stack(best),
        distance=np.array(distances),
        tolerance=task.tolerance,
        unit=task.unit,
    )
