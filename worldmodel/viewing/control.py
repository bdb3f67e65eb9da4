"""Videos of controlled episodes: what the robot saw, what it had expected, where it was to go."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from worldmodel.evaluation.evaluate import Evaluation
from worldmodel.viewing.video import panels, write_video


def write_control_videos(
    evaluation: Evaluation, folder: Path, *, seconds_per_frame: float, scale: int = 4
) -> list[Path]:
    """Write one video for each trial, successes and failures alike; return their paths.

    Args:
        seconds_per_frame: simulated time between two frames, s; videos play at half speed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("trial-*.mp4"):
        old.unlink()
    trace, report = evaluation.trace, evaluation.report
    paths = []
    for index, trial in enumerate(evaluation.trials):
        solved = trace.distance[index, -1] <= report.tolerance
        goal = np.broadcast_to(trial.goal_image, trace.frames[index].shape)
        columns = (("robot", trace.frames[index]), ("imagined", trace.imagined[index]), ("goal", goal))
        path = folder / f"trial-{index:03d}-{'solved' if solved else 'missed'}.mp4"
        write_video(path, panels(columns, scale=scale), fps=0.5 / seconds_per_frame)
        paths.append(path)
    return paths


def missed_videos(folder: Path) -> list[Path]:
    """Return the videos of failures among those that `write_control_videos` wrote into `folder`."""
    return sorted(folder.glob("trial-*-missed.mp4"))
