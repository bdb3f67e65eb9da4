"""Which label-free metric foretells how well a run plans: rank correlation over several runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch

from worldmodel.errors import WorldModelError
from worldmodel.evaluation.measure import MeasureReport
from worldmodel.evaluation.metrics.action_probe import ActionTransfer
from worldmodel.evaluation.metrics.spearman import spearman

FEWEST = 3  # runs; two are always in perfect order, or in the opposite one
ORDERS = 10_000  # random orders that tell what chance does

Better = Literal["higher", "lower", "near 1"]


@dataclass(frozen=True)
class Metric:
    """A number of a report, as people read it.

    Attributes:
        of: takes it from a report; None where the report lacks it.
        better: which direction is good.
        meaning: what it tells, in a few words.
        needs: what must have been recorded beside frames; a metric that needs states is not label-free.
    """

    of: Callable[[MeasureReport], float | None]
    better: Better
    meaning: str
    needs: Literal["", "actions", "states"] = ""


def _told_actions(of: Callable[[ActionTransfer], float], meaning: str) -> Metric:
    """Return the metric that is a number of the action probe."""
    return Metric(lambda r: of(r.actions) if r.actions else None, "higher", meaning, needs="actions")


METRICS: Mapping[str, Metric] = {
    "rankme": Metric(lambda r: r.rankme, "higher", "directions in which latents spread (white latents: all)"),
    "lidar": Metric(lambda r: r.lidar, "higher", "directions in which moments differ beyond their neighbours"),
    "alpha_req": Metric(lambda r: r.alpha_req, "near 1", "decay of the spectrum (white latents: 0)"),
    "straightness": Metric(lambda r: r.straightness, "higher", "cosine of one step and the next"),
    "alignment": Metric(lambda r: r.alignment, "lower", "squared distance of neighbours on the sphere"),
    "uniformity": Metric(lambda r: r.uniformity, "lower", "log of how near all others are on the sphere"),
    "distance_correlation": Metric(
        lambda r: r.distance_correlation, "higher", "rank correlation of distance and frames left"
    ),
    "rollout_error_first": Metric(lambda r: r.rollout_error[0], "lower", "error one frame ahead, share of variance"),
    "rollout_error_last": Metric(lambda r: r.rollout_error[-1], "lower", "the same at the farthest horizon"),
    "rollout_against_copy": Metric(
        lambda r: r.rollout_error[-1] / max(r.copy_last[-1], 1e-30), "lower", "the same, as a share of standing still"
    ),
    "rollout_against_shuffled": Metric(
        lambda r: r.rollout_error[-1] / max(r.shuffled_actions[-1], 1e-30) if r.shuffled_actions else None,
        "lower",
        "the same, as a share of the error under wrong actions",
        needs="actions",
    ),
    "action_real": _told_actions(lambda told: told.real_real, "R² of actions told from real transitions"),
    "action_transfer": _told_actions(
        lambda told: told.real_predicted, "R² of the same inverse model on predicted transitions"
    ),
    "action_imagined": _told_actions(
        lambda told: told.predicted_predicted, "R² learned and told from predicted transitions"
    ),
    "state_cka": Metric(
        lambda r: r.state_cka, "higher", "likeness of geometry with the physical state (uses states)", needs="states"
    ),
}


@dataclass(frozen=True)
class RankedMetric:
    """How a metric orders runs, against how well they plan.

    Attributes:
        name: key in `METRICS`.
        correlation: Spearman's, in [-1, 1], with the sign turned so that 1 means: the better the metric, by its good
            direction, the better the planning.
        chance: share of random orders of the runs with at least such a correlation, either way (two-sided p).
        runs: how many were ordered.
    """

    name: str
    correlation: float
    chance: float
    runs: int


def rank_metrics(
    reports: Sequence[MeasureReport], successes: Sequence[float], generator: torch.Generator
) -> tuple[RankedMetric, ...]:
    """Return how each label-free metric correlates with planning success over runs, the best first.

    Metrics that need physical states, or that some report lacks, are left out.

    Args:
        successes: share of goals reached by each run, in [0, 1], in the order of `reports`.
        generator: on the CPU; draws the random orders.

    Raises:
        WorldModelError: fewer than three runs, or not as many successes as reports.
    """
    if len(reports) != len(successes) or len(reports) < FEWEST:
        raise WorldModelError(
            f"{len(reports)} measure reports and {len(successes)} planning successes were given; expected as many of "
            f"each, at least {FEWEST}. Measure and plan with more runs."
        )
    success = torch.tensor(successes, dtype=torch.float64)
    orders = torch.rand(ORDERS, len(success), generator=generator).argsort(dim=1)
    ranked = []
    for name, metric in METRICS.items():
        values = [metric.of(report) for report in reports]
        if metric.needs == "states" or any(value is None for value in values):
            continue
        goodness = torch.tensor([_goodness(metric.better, value) for value in values if value is not None]).double()
        correlation = spearman(goodness, success)
        by_chance = spearman(goodness.expand(ORDERS, -1), success[orders])
        chance = float((by_chance.abs() >= correlation.abs() - 1e-9).double().mean())
        ranked.append(RankedMetric(name, float(correlation), chance, len(reports)))
    return tuple(sorted(ranked, key=lambda metric: -metric.correlation))


def _goodness(better: Better, value: float) -> float:
    return {"higher": value, "lower": -value, "near 1": -abs(value - 1)}[better]
