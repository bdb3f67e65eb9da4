#!/usr/bin/env python
"""How long a frame of each of our tasks takes one core, beside the reacher's in the same run.

    scripts/bench_tasks.py [--rounds N]

A frame is 5 control steps under the task's own exploration and a picture of 64 x 64 pixels. Times are of the processor,
not of the clock, so that other work on the machine disturbs them less; the tasks take turns. The last line is one JSON
object: each task's time as a multiple of the reacher's.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass

import numpy as np
import tyro
from bench_machine import machine
from rich.console import Console
from rich.table import Table

from worldmodel.datasets.production import cores
from worldmodel.envs.registry import TASKS, make_task
from worldmodel.envs.renderer import Renderer, RendererConfig

SIZE, FRAMES, STEPS_PER_FRAME = 64, 50, 5
REFERENCE = "worldmodel/Reacher-v0"


@dataclass(frozen=True)
class Bench:
    """What to measure.

    Attributes:
        rounds: episodes of each task; the median counts.
    """

    rounds: int = 12


class Player:
    """Plays a task and draws it."""

    def __init__(self, name: str) -> None:
        self._task = make_task(name)
        self._explorer = self._task.explorer()
        self._renderer = Renderer(RendererConfig(SIZE, SIZE, self._task.camera), model=self._task.model)

    def episode(self, seed: int) -> tuple[float, float]:
        """Return the time of a frame's steps, with the explorer's, and of its picture, microseconds."""
        self._task.reset(np.random.default_rng(seed))
        self._explorer.reset(np.random.default_rng(seed), seed)
        steps = picture = 0.0
        for _ in range(FRAMES):
            start = time.process_time()
            for _ in range(STEPS_PER_FRAME):
                self._task.step(self._explorer(self._task))
            drawn_from = time.process_time()
            self._renderer.draw(self._task.drawable())
            steps, picture = steps + drawn_from - start, picture + time.process_time() - drawn_from
        return 1e6 * steps / FRAMES, 1e6 * picture / FRAMES


def main(bench: Bench) -> None:
    players = {name: Player(name) for name in TASKS}
    times = {name: [player.episode(0)] for name, player in players.items()}  # the first warms up
    for seed in range(1, bench.rounds + 1):
        for name, player in players.items():
            times[name].append(player.episode(seed))
    medians = {name: np.median(np.array(each[1:]), axis=0) for name, each in times.items()}
    ratios = {name: float(median.sum() / medians[REFERENCE].sum()) for name, median in medians.items()}
    table = Table("task", f"{STEPS_PER_FRAME} steps, us", "picture, us", "times the reacher's")
    for name, (steps, picture) in medians.items():
        table.add_row(name, f"{steps:.0f}", f"{picture:.0f}", f"{ratios[name]:.2f}")
    console = Console()
    console.print(machine(cores(), "mujoco", "numpy"))
    console.print(table)
    print(json.dumps({"times_reacher": {name: round(ratio, 2) for name, ratio in ratios.items()}}))


if __name__ == "__main__":
    main(tyro.cli(Bench))
