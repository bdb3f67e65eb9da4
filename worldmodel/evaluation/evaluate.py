"""The evaluation of a trained run: success, floors, and how long it took."""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path

from worldmodel.datasets.reader import Recording, split_episodes
from worldmodel.envs.registry import make_task
from worldmodel.errors import CheckpointError, WorldModelError
from worldmodel.evaluation.control import FLOORS, ControlTrace, Progress, control, floor
from worldmodel.evaluation.goals import Trial, draw_trials
from worldmodel.evaluation.interval import Rate
from worldmodel.models.world_model import WorldModel
from worldmodel.planning.policy import PlanningConfig, PlanningPolicy
from worldmodel.training.checkpoint import newest, read_card
from worldmodel.training.config import interface_of, read_train_config
from worldmodel.training.device import Compute


@dataclass(frozen=True)
class EvaluationConfig:
    """How to evaluate control.

    Attributes:
        episodes: trials, each with a start and a goal from a held-out episode.
        ahead: frames from start to goal in the recording.
        budget: frames within which to get there.
        seed: decides the trials and the planner's draws.
    """

    planning: PlanningConfig = field(default_factory=PlanningConfig)
    episodes: int = 50
    ahead: int = 5
    budget: int = 10
    seed: int = 0

    def __post_init__(self) -> None:
        if self.seed < 0:
            raise WorldModelError(f"seed is {self.seed}; expected 0 or more.")
        for name in ("episodes", "ahead", "budget"):
            if getattr(self, name) < 1:
                raise WorldModelError(f"{name} is {getattr(self, name)}; expected at least 1.")


@dataclass(frozen=True)
class ControlReport:
    """How control went.

    Attributes:
        success: share of trials in which the goal is held when the budget ends.
        success_ever: share in which it is touched at any time.
        floors: `success` of policies without a model, by name; `floors_ever` likewise.
        tolerance, unit: what counts as success.
        milliseconds_per_plan: mean for all trials together, ms; `plans` of them at once.
        imagined_cost, achieved_cost: mean distance to the goal's latent, as forecast a block ahead and as it came.
        seconds: wall-clock time of the evaluation, s.
    """

    success: Rate
    success_ever: Rate
    floors: dict[str, Rate]
    floors_ever: dict[str, Rate]
    tolerance: float
    unit: str
    milliseconds_per_plan: float
    plans: int
    imagined_cost: float
    achieved_cost: float
    seconds: float

    def write(self, path: Path) -> None:
        """Write the report as JSON."""
        path.write_text(json.dumps(asdict(self), indent=1) + "\n", encoding="utf-8")


@dataclass(frozen=True)
class Evaluation:
    """A report with the trials and traces behind it."""

    report: ControlReport
    trials: list[Trial]
    trace: ControlTrace


def evaluate(
    config: EvaluationConfig,
    *,
    model: WorldModel,
    recording: Recording,
    run: Path,
    compute: Compute,
    progress: Progress | None = None,
) -> Evaluation:
    """Evaluate a run's model on goals from episodes that it was not trained on.

    Args:
        recording: the one that the run was trained on; its held-out episodes give the goals.
        run: folder of the run, whose configuration says which episodes were held out.

    Raises:
        WorldModelError: recording and model do not belong together, or the environment is not one of our tasks.
    """
    started = time.perf_counter()
    check_fits(model, recording)
    training = read_train_config(run)
    check_finished(run)
    _, held_out = split_episodes(recording.episodes, training.held_out, training.seed)
    task = make_task(model.interface.env)
    trials = draw_trials(recording, held_out, task, count=config.episodes, ahead=config.ahead, seed=config.seed)
    policy = PlanningPolicy(config.planning, model=model, compute=compute, seed=config.seed)
    trace = control(policy, model, trials, blocks=config.budget, progress=progress)
    steps = config.budget * model.interface.steps_per_frame
    floors = {name: floor(name, model.interface.env, trials, steps=steps, seed=config.seed) for name in FLOORS}
    report = ControlReport(
        success=trace.success(task.tolerance),
        success_ever=trace.success_ever(task.tolerance),
        floors={name: trace_.success(task.tolerance) for name, trace_ in floors.items()},
        floors_ever={name: trace_.success_ever(task.tolerance) for name, trace_ in floors.items()},
        tolerance=task.tolerance,
        unit=task.unit,
        milliseconds_per_plan=1000 * float(trace.seconds_per_plan.mean()),
        plans=len(trials),
        imagined_cost=float(trace.imagined_cost.mean()),
        achieved_cost=float(trace.achieved_cost.mean()),
        seconds=time.perf_counter() - started,
    )
    return Evaluation(report, trials, trace)


def check_finished(run: Path) -> None:
    """Refuse a run that stopped on the way: its latents may not be whitened, its decoder not trained."""
    position = read_card(newest(run)).position
    if not position.finished:
        raise CheckpointError(
            f"The run '{run}' is not finished: it stopped in stage '{position.stage}' at step {position.step}. "
            "Finish it with the command that began it: worldmodel train RECORDING --out RUN"
        )


def check_fits(model: WorldModel, recording: Recording) -> None:
    """Refuse a recording that is not the one that `model` was trained on: held-out episodes would not be."""
    held, given = asdict(model.interface), asdict(interface_of(recording))
    for name in held:
        if held[name] != given[name]:
            raise WorldModelError(
                f"The recording '{recording.folder}' does not fit the model: its {name} is {given[name]!r}, the model "
                f"was trained on {held[name]!r}. Use the recording that the model was trained on."
            )
