"""The evaluation of a trained run: success, floors, and how long it took."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import tyro

from worldmodel.config import to_json
from worldmodel.datasets.reader import Recording, split_episodes
from worldmodel.envs.registry import make_task
from worldmodel.errors import WorldModelError
from worldmodel.evaluation.control import FLOORS, ControlTrace, Progress, control, floor, seconds_for_one
from worldmodel.evaluation.goals import Trial, draw_trials
from worldmodel.evaluation.interval import Rate
from worldmodel.evaluation.oracle import oracle, oracle_planner
from worldmodel.evaluation.reports import read_report
from worldmodel.models.world_model import WorldModel
from worldmodel.planning.policy import PlanningConfig, PlanningPolicy
from worldmodel.tasks import TASKS
from worldmodel.training.config import TrainConfig, interface_of, read_train_config
from worldmodel.training.device import Compute


@dataclass(frozen=True)
class Protocol:
    """How hard the trials are.

    Attributes:
        ahead: control steps from start to goal in the recording.
        budget: control steps within which to get there.
    """

    ahead: int
    budget: int


SHIFTED = ("recording", "env_arguments")  # in what a shifted recording's interface differs from the model's

ProtocolName = Literal["near", "far"]
PROTOCOLS: Mapping[ProtocolName, Protocol] = {
    "near": Protocol(ahead=25, budget=50),  # as most published figures have it
    "far": Protocol(ahead=75, budget=150),
}


@dataclass(frozen=True)
class EvaluationConfig:
    """How to evaluate control.

    Attributes:
        protocol: "near", with goals 25 control steps ahead and a budget of 50, as most published figures have it; or
            "far", with 75 and 150.
        ahead: control steps from start to goal in the recording; 0 takes the protocol's.
        budget: control steps within which to get there; 0 takes the protocol's.
        episodes: trials, each with a start and a goal from a held-out episode.
        oracle: how many of the trials the planner also plays on the real simulator with the true distance, which
            says what it could do with a perfect model; `cem` in its place where it needs proposals or gradients.
        shifted: the recording is another one, of the same task with other arguments, such as a variation of its looks
            and physics: a test out of distribution. No episode of it was trained on, so all give goals.
        seed: decides the trials and the planner's draws.
    """

    planning: Annotated[PlanningConfig, tyro.conf.arg(name="")] = field(default_factory=PlanningConfig)
    protocol: ProtocolName = "near"
    ahead: int = 0
    budget: int = 0
    episodes: int = 50
    oracle: int = 0
    shifted: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        for name, least in (("seed", 0), ("ahead", 0), ("budget", 0), ("episodes", 1), ("oracle", 0)):
            if getattr(self, name) < least:
                raise WorldModelError(f"{name} is {getattr(self, name)}; expected at least {least}.")
        if self.oracle > self.episodes:
            raise WorldModelError(
                f"oracle is {self.oracle}; expected at most the number of trials, episodes ({self.episodes})."
            )

    def frames(self, steps_per_frame: int) -> Protocol:
        """Return the protocol in whole frames, at least one each."""
        chosen = PROTOCOLS[self.protocol]
        return Protocol(
            *(
                max(1, round(steps / steps_per_frame))
                for steps in (self.ahead or chosen.ahead, self.budget or chosen.budget)
            )
        )


@dataclass(frozen=True)
class ControlReport:
    """How control went.

    Attributes:
        env: name of the environment; `env_arguments` what it was made with, a JSON object.
        shifted: whether these are not what the model was trained with.
        planning: who planned, and how.
        ahead, budget: control steps from start to goal in the recording, and to get there.
        training_seed, seed: of the run, and of the trials and draws.
        success: share of trials in which the goal is held when the budget ends.
        success_ever: share in which it is touched at any time.
        floors: `success` of policies without a model, by name; `floors_ever` likewise.
        oracle: `success` of a planner on the real simulator, of the first trials; None if it was not asked for.
            `oracle_ever` likewise.
        oracle_planner: who searches there: the planner, or "cem" where that needs proposals or gradients.
        tolerance, unit: what counts as success.
        milliseconds_per_plan: mean for all trials together, ms; `plans` of them at once.
        milliseconds_for_one: median for one robot alone, ms.
        model_share: share of the planning time spent in encoding and imagining.
        imagined_cost, achieved_cost: mean distance to the goal's latent, as forecast a block ahead and as it came.
        seconds: wall-clock time of the evaluation, s.
    """

    env: str
    env_arguments: str
    shifted: bool
    planning: PlanningConfig
    ahead: int
    budget: int
    training_seed: int
    seed: int
    success: Rate
    success_ever: Rate
    floors: dict[str, Rate]
    floors_ever: dict[str, Rate]
    oracle: Rate | None
    oracle_ever: Rate | None
    oracle_planner: str
    tolerance: float
    unit: str
    milliseconds_per_plan: float
    milliseconds_for_one: float
    model_share: float
    plans: int
    imagined_cost: float
    achieved_cost: float
    seconds: float

    def write(self, path: Path) -> None:
        """Write the report as JSON."""
        path.write_text(to_json(self), encoding="utf-8")

    @classmethod
    def read(cls, path: Path) -> ControlReport:
        """Read what `write` wrote.

        Raises:
            WorldModelError: there is no such file, or it is no report.
        """
        return read_report(cls, path, of="control", made_by="worldmodel plan")


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
        recording: the one that the run was trained on, whose held-out episodes give the goals; or, where the
            evaluation is `shifted`, another.
        run: folder of the run, whose configuration says which episodes were held out.
        compute: device and precision; the model is moved there.
        progress: is told of every block, and then of every trial of the oracle.

    Raises:
        WorldModelError: recording and model do not belong together, or the environment is not one of our tasks.
    """
    started = time.perf_counter()
    recording = as_seen_by(model, recording, shifted=config.shifted)
    training = read_train_config(run)
    interface = interface_of(recording)
    if interface.env not in TASKS:
        raise WorldModelError(
            f"'{interface.env}' is none of our tasks, which alone tell when a goal is reached. Expected a model of one "
            f"of {', '.join(TASKS)}. Plan for the world's reward with: worldmodel earn {run}; or go to goals that you "
            f"choose with: worldmodel view live {run}"
        )
    protocol, task = config.frames(interface.steps_per_frame), make_task(interface.env, interface.env_arguments)
    trials = choose_trials(config, recording, training)
    total = protocol.budget + config.oracle

    def tell(before: int) -> Progress | None:
        return (lambda done, _: progress(before + done, total)) if progress else None

    policy = PlanningPolicy(config.planning, model=model, compute=compute, seed=config.seed)
    trace = control(policy, model, interface, trials, blocks=protocol.budget, progress=tell(0))
    steps = protocol.budget * interface.steps_per_frame
    floors = {name: floor(name, interface, trials, steps=steps, seed=config.seed) for name in FLOORS}
    perfect = (
        oracle(
            config.planning,
            interface,
            trials[: config.oracle],
            blocks=protocol.budget,
            seed=config.seed,
            progress=tell(protocol.budget),
        )
        if config.oracle
        else None
    )
    report = ControlReport(
        env=interface.env,
        env_arguments=interface.env_arguments,
        shifted=config.shifted,
        planning=config.planning,
        ahead=protocol.ahead * interface.steps_per_frame,
        budget=steps,
        training_seed=training.seed,
        seed=config.seed,
        success=trace.success(task.tolerance),
        success_ever=trace.success_ever(task.tolerance),
        floors={name: trace_.success(task.tolerance) for name, trace_ in floors.items()},
        floors_ever={name: trace_.success_ever(task.tolerance) for name, trace_ in floors.items()},
        oracle=perfect.success(task.tolerance) if perfect else None,
        oracle_ever=perfect.success_ever(task.tolerance) if perfect else None,
        oracle_planner=oracle_planner(config.planning.planner),
        tolerance=task.tolerance,
        unit=task.unit,
        milliseconds_per_plan=1000 * float(trace.seconds_per_plan.mean()),
        milliseconds_for_one=1000 * seconds_for_one(policy, trials, trace),
        model_share=trace.model_share,
        plans=len(trials),
        imagined_cost=float(trace.imagined_cost.mean()),
        achieved_cost=float(trace.achieved_cost.mean()),
        seconds=time.perf_counter() - started,
    )
    return Evaluation(report, trials, trace)


def choose_trials(config: EvaluationConfig, recording: Recording, training: TrainConfig) -> list[Trial]:
    """Return the trials that a run which was trained with `training` is evaluated by: before it has begun, too.

    Args:
        recording: of one of our tasks, as the run sees it.

    Raises:
        WorldModelError: it has too few goals for them.
    """
    provenance, unseen = recording.provenance, np.arange(recording.episodes)
    if not config.shifted:
        _, unseen = split_episodes(recording.episodes, training.held_out, training.seed)
    task = make_task(provenance.env, provenance.env_arguments)
    ahead = config.frames(provenance.steps_per_frame).ahead
    return draw_trials(recording, unseen, task, count=config.episodes, ahead=ahead, seed=config.seed)


def as_seen_by(model: WorldModel, recording: Recording, *, shifted: bool = False) -> Recording:
    """Return a recording as `model` sees it: by its cameras, and with what the robot felt if it asks for that.

    Args:
        shifted: it is to be another one, of the same task with other arguments.

    Raises:
        WorldModelError: it is not the one that the model was trained on: held-out episodes would not be. Or, where
            it is to be a shifted one, it is of another task, or of the very world of training.
    """
    recording = recording.seen_by(model.interface.cameras)
    if model.config.proprioception:
        recording = recording.with_proprioception()
    held, given = asdict(model.interface), asdict(interface_of(recording))
    if shifted and json.loads(held["env_arguments"]) == json.loads(given["env_arguments"]):
        raise WorldModelError(
            f"The recording '{recording.folder}' is not shifted: env_arguments are "
            f"{given['env_arguments']!r}, as where the model was trained. Record with others, such as --env-arguments "
            '\'{"variation": {"light": 1}}\', or leave out --shifted and use the recording of the training.'
        )
    differs = [name for name in held if held[name] != given[name] and not (shifted and name in SHIFTED)]
    if differs:
        could_be = held["env"] in TASKS and "env_arguments" in differs and set(differs) <= set(SHIFTED)
        name = "env_arguments" if could_be else differs[0]
        remedy = ", or plan with --shifted, for a world that differs from it." if could_be else "."
        raise WorldModelError(
            f"The recording '{recording.folder}' does not fit the model: its {name} is {given[name]!r}, the model "
            f"was trained on {held[name]!r}. Use the recording that the model was trained on{remedy}"
        )
    return recording
