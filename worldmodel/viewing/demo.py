"""The summary of a demo: one picture for people in a hurry."""

from __future__ import annotations

from pathlib import Path

from worldmodel.datasets.clips import Clips
from worldmodel.datasets.reader import Recording, split_episodes
from worldmodel.evaluation.evaluate import Evaluation, as_seen_by
from worldmodel.evenly import evenly
from worldmodel.models.world_model import WorldModel
from worldmodel.training.config import read_train_config
from worldmodel.training.device import Compute
from worldmodel.training.log import read_scalars
from worldmodel.viewing.rollout import imagine_clips
from worldmodel.viewing.summary import EpisodePicture, SummaryData, write_summary

FLOOR_NAMES = {"uniform": "random", "zero": "zero", "smooth-noise": "smooth noise", "explore": "explore"}


def write_demo_summary(
    evaluation: Evaluation, model: WorldModel, recording: Recording, run: Path, compute: Compute, out: Path
) -> Path:
    """Write the summary into `out`; return its path."""
    config = read_train_config(run)
    visible, horizon = model.most_visible, model.longest_forecast
    _, held_out = split_episodes(recording.episodes, config.held_out, config.seed)
    clips = Clips(as_seen_by(model, recording), held_out, length=visible + horizon)
    batch = clips.take(evenly(len(clips), 1))
    summary = SummaryData(
        rollout_real=batch.frames[0],
        rollout_imagined=imagine_clips(model, batch, compute, visible=visible)[0],
        visible=visible,
        episodes=_episodes(evaluation),
        tolerance=evaluation.report.tolerance,
        unit=evaluation.report.unit,
        success=evaluation.report.success,
        floors={FLOOR_NAMES[name]: rate.value for name, rate in evaluation.report.floors.items()},
        training=read_scalars(run),
    )
    path = out / "summary.png"
    write_summary(path, summary)
    return path


def _episodes(evaluation: Evaluation) -> tuple[EpisodePicture, ...]:
    trace, tolerance = evaluation.trace, evaluation.report.tolerance
    return tuple(
        EpisodePicture(
            real=trace.frames[index],
            imagined=trace.imagined[index],
            goal=trial.goal_image,
            success=bool(trace.distance[index, -1] <= tolerance),
            distances=trace.distance[index],
        )
        for index, trial in enumerate(evaluation.trials)
    )
