"""Several training seeds as one figure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from worldmodel.config import to_json
from worldmodel.errors import WorldModelError
from worldmodel.evaluation.evaluate import ControlReport
from worldmodel.evaluation.interval import Rate, wilson

ALIKE = ("env", "env_arguments", "shifted", "planning", "ahead", "budget", "tolerance", "unit")


@dataclass(frozen=True)
class Pool:
    """Reports of control by several runs, together.

    The intervals take all trials as independent; those of one run share its luck in training, which `by_seed` shows.

    Attributes:
        env, env_arguments, shifted, planner, ahead, budget: as in each report.
        training_seeds: of the runs, in the order of the reports.
        success, success_ever: over all trials.
        floors: `success` of policies without a model, by name, over all trials; `floors_ever` likewise.
        by_seed: `success` of each run.
        oracle: `success` of `oracle_planner` on the real simulator, over all trials that it played there; None if it
            played none. `oracle_ever` likewise.
        imagined_cost, achieved_cost: mean distance to the goal's latent, as forecast a block ahead and as it came.
        milliseconds_for_one: to plan for one robot, mean over runs, ms.
    """

    env: str
    env_arguments: str
    shifted: bool
    planner: str
    ahead: int
    budget: int
    training_seeds: tuple[int, ...]
    success: Rate
    success_ever: Rate
    floors: dict[str, Rate]
    floors_ever: dict[str, Rate]
    by_seed: tuple[float, ...]
    oracle: Rate | None
    oracle_ever: Rate | None
    oracle_planner: str
    imagined_cost: float
    achieved_cost: float
    milliseconds_for_one: float

    def write(self, path: Path) -> None:
        """Write the pool as JSON."""
        path.write_text(to_json(self), encoding="utf-8")


def pool(reports: Sequence[ControlReport]) -> Pool:
    """Pool reports of the same task, protocol and planner.

    Raises:
        WorldModelError: there are none, they are not alike, or two are of the same run and trials.
    """
    if not reports:
        raise WorldModelError("There is no report to pool; expected at least one report.json of: worldmodel plan")
    check_alike(reports)
    if len({(report.training_seed, report.seed) for report in reports}) < len(reports):
        raise WorldModelError(
            "Two reports are of the same training seed and the same trials; expected different ones: pooling them "
            "would count trials twice."
        )
    first = reports[0]
    oracles = [report.oracle for report in reports if report.oracle]
    oracles_ever = [report.oracle_ever for report in reports if report.oracle_ever]
    floors = _shared_floors(reports)
    return Pool(
        env=first.env,
        env_arguments=first.env_arguments,
        shifted=first.shifted,
        planner=first.planning.planner,
        ahead=first.ahead,
        budget=first.budget,
        training_seeds=tuple(report.training_seed for report in reports),
        success=_together([report.success for report in reports]),
        success_ever=_together([report.success_ever for report in reports]),
        floors={name: _together([report.floors[name] for report in reports]) for name in floors},
        floors_ever={name: _together([report.floors_ever[name] for report in reports]) for name in floors},
        by_seed=tuple(report.success.value for report in reports),
        oracle=_together(oracles) if oracles else None,
        oracle_ever=_together(oracles_ever) if oracles_ever else None,
        oracle_planner=first.oracle_planner,
        imagined_cost=_mean([report.imagined_cost for report in reports]),
        achieved_cost=_mean([report.achieved_cost for report in reports]),
        milliseconds_for_one=_mean([report.milliseconds_for_one for report in reports]),
    )


def check_alike(reports: Sequence[ControlReport]) -> None:
    """Refuse reports whose success cannot be compared.

    Raises:
        WorldModelError: they are not all of one task, protocol and planner; names what differs.
    """
    for report in reports[1:]:
        for name in ALIKE:
            here, there = getattr(report, name), getattr(reports[0], name)
            if here != there:
                raise WorldModelError(
                    f"The reports do not belong together: {name} is {here!r} in one and {there!r} in another. Use "
                    "those of one task, protocol and planner."
                )


def _shared_floors(reports: Sequence[ControlReport]) -> list[str]:
    return [name for name in reports[0].floors if all(name in report.floors for report in reports)]


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def _together(rates: Sequence[Rate]) -> Rate:
    return wilson(sum(round(rate.value * rate.count) for rate in rates), sum(rate.count for rate in rates))
