#!/usr/bin/env python
"""Draw every task, plain and varied, into one picture.

    scripts/draw_tasks.py [--out docs/tasks.png] [--size 128] [--seed 4]

The first row shows each task after two seconds of its own exploration, the second row the same state with all factors
of variation on.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tyro

from worldmodel.envs.registry import TASKS, make_task
from worldmodel.envs.renderer import Frame, Renderer, RendererConfig
from worldmodel.envs.variation import Variation
from worldmodel.viewing.pictures import GAP, LABEL_HEIGHT, contact_sheet, label, paper, write_png

ARGUMENTS = {"worldmodel/Cube-v0": '{"cubes": 3}'}
SECONDS = 2.0  # of exploration
VARIED = Variation(colour=0.4, camera=1, light=0.5, size=1, friction=1, mass=1, seed=2)


@dataclass(frozen=True)
class Drawing:
    """What to draw.

    Attributes:
        out: the picture.
        size: height and width of a frame, pixels.
        seed: of starts and exploration.
    """

    out: Path = Path("docs/tasks.png")
    size: int = 128
    seed: int = 4


def frames(name: str, drawing: Drawing) -> tuple[Frame, Frame]:
    """Return the task, plain and varied, in the same state."""
    task = make_task(name, ARGUMENTS.get(name, "{}"))
    explorer = task.explorer()
    task.reset(np.random.default_rng(drawing.seed))
    explorer.reset(np.random.default_rng(drawing.seed), 0)
    while task.data.time < SECONDS:
        task.step(explorer(task))
    with Renderer(RendererConfig(drawing.size, drawing.size, task.camera), model=task.model) as renderer:
        plain = renderer.draw(task.data)
        task.vary(VARIED)
        return plain, renderer.draw(task.data)


def draw(drawing: Drawing) -> None:
    """Draw all tasks into one picture."""
    plain, varied = zip(*(frames(name, drawing) for name in TASKS), strict=True)
    sheet = contact_sheet(np.stack([*plain, *varied]), columns=len(TASKS))
    captions = paper(LABEL_HEIGHT, sheet.shape[1])
    for index, name in enumerate(TASKS):
        left = index * (drawing.size + GAP)
        text = name.removeprefix("worldmodel/").removesuffix("-v0")
        captions[:, left : left + drawing.size] = label(text, LABEL_HEIGHT, drawing.size)
    write_png(drawing.out, np.concatenate([captions, sheet]))


if __name__ == "__main__":
    draw(tyro.cli(Drawing))
