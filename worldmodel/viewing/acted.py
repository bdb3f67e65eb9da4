"""Trials of a report with what was tried in them, imagined again."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from worldmodel.errors import WorldModelError
from worldmodel.models.imagination import Imagination
from worldmodel.training.encode import encode_frames
from worldmodel.viewing.find import Trained
from worldmodel.viewing.latents import picture_latents
from worldmodel.viewing.trials import Trials, read_report

SAME = 0.02  # mean squared difference of latents, as a share of their mean square, that rounding explains


@dataclass(frozen=True)
class Tried:
    """One round of a search.

    Attributes:
        actions: `[N, H, K', A]` float32, the plans tried, in the actuators' units.
        latents: `[N, H, D]` float32, where each was expected to lead.
        cost: `[N]` float32.
        elites: how many of the cheapest the planner went on from; 0 where it keeps none apart.
    """

    actions: NDArray[np.float32]
    latents: NDArray[np.float32]
    cost: NDArray[np.float32]
    elites: int


@dataclass(frozen=True)
class Acted:
    """One trial of T blocks of K control steps, planned with horizon H, as it went.

    Attributes:
        number: of the trial in the report.
        goal_image: `[H, W, 3]` uint8; `goal` its latent `[D]`, `start` that of the start.
        frames: `[T + 1, H, W, 3]` uint8, what the robot saw.
        planned: `[H, H, W, 3]` uint8, the chosen future of the first plan.
        rounds: of the first search.
        best_by_round: `[T, R]`, the lowest cost found up to each round of each search; NaN where time was up.
        distance: `[T K + 1]`, to the goal, in `unit`.
        tolerance: the largest that counts.
    """

    number: int
    goal_image: NDArray[np.uint8]
    goal: NDArray[np.float32]
    start: NDArray[np.float32]
    frames: NDArray[np.uint8]
    planned: NDArray[np.uint8]
    rounds: list[Tried]
    best_by_round: NDArray[np.float64]
    distance: NDArray[np.float64]
    tolerance: float
    unit: str

    @property
    def solved(self) -> bool:
        """Whether the goal is held in the end."""
        return bool(self.distance[-1] <= self.tolerance)


def read_acted(trained: Trained, report: Path) -> list[Acted]:
    """Read what happened in some trials of a report, and imagine again what was tried there.

    What was tried, chosen and done is what the report holds. Where it was expected to lead is imagined again with
    the model, and held to what the planner had imagined.

    Raises:
        WorldModelError: see `view_plan`.
    """
    folder, _, control = read_report(report)
    trials, model, compute = Trials.read(folder), trained.model, trained.compute
    steps = model.interface.steps_per_frame
    foreign = WorldModelError(
        f"The report in '{folder}' is of another model than '{trained.folder}' holds now: it expects something else of "
        "the same plan. Plan again with: worldmodel plan RUN RECORDING"
    )
    *_, held, actuators = trials.actions.shape
    found = control.env, actuators, steps % held, trials.course.shape[-1], trials.felt.shape[-1]
    interface = model.interface
    if found != (interface.env, len(model.low), 0, model.config.latent, interface.proprioception):
        raise foreign
    imagination = Imagination(model, hold=steps // held, dtype=compute.dtype)
    acted = []
    for place, number in enumerate(trials.number.tolist()):
        start, goal = encode_frames(model, np.stack([trials.frames[place, 0], trials.goal[place]]), compute)
        actions = torch.from_numpy(trials.actions[place]).to(compute.device)
        with torch.no_grad():
            felt = torch.from_numpy(trials.felt[place, :1]).to(compute.device)
            state = imagination.remember(start[None, None], actions.new_zeros(1, 0, *actions.shape[2:]), felt[None])
            imagined = imagination.imagine(state, actions[None])[0].float().cpu().numpy()
        course = trials.course[place]
        away = np.square(imagined - course).mean((1, 2)) / np.square(course).mean()
        if away.min() > SAME:  # none of what was tried is the chosen plan
            raise foreign
        tried = [
            Tried(trials.actions[place, of], imagined[of], trials.cost[place, of], int(elites))
            for of, elites in ((trials.round == r, elites) for r, elites in enumerate(trials.elites))
        ]
        acted.append(
            Acted(
                number=number,
                goal_image=trials.goal[place],
                goal=goal.cpu().numpy(),
                start=start.cpu().numpy(),
                frames=trials.frames[place],
                planned=picture_latents(model, torch.from_numpy(course).to(compute.device), compute),
                rounds=tried,
                best_by_round=trials.best_by_round[place],
                distance=trials.distance[place],
                tolerance=control.tolerance,
                unit=control.unit,
            )
        )
    return acted
