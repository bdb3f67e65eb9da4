"""The contract of every planner, on problems whose answers are known."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from worldmodel.errors import WorldModelError
from worldmodel.planning.cem import CEMConfig
from worldmodel.planning.gradient import CEMGradientConfig, GradientConfig
from worldmodel.planning.icem import ICEMConfig, _coloured
from worldmodel.planning.mppi import MPPIConfig
from worldmodel.planning.planner import Deadline, Plan, Planner, PlanSpace, Problem
from worldmodel.planning.proposal import ProposalConfig
from worldmodel.planning.random_shooting import RandomShootingConfig
from worldmodel.planning.registry import PLANNERS, PlannerConfigs, make_planner

LOW, HIGH, STEPS, HORIZON = torch.tensor([-1.0, 0.0]), torch.tensor([1.0, 5.0]), 2, 3
SPACE = PlanSpace(LOW, HIGH, HORIZON, STEPS)
CEM = CEMConfig(rounds=25, elites=20, least_spread=0.002)
CONFIGS = PlannerConfigs(  # as long as it takes to be exact
    cem=CEM,
    icem=ICEMConfig(candidates=200, rounds=25, shrink=1.0, least_spread=0.002),
    mppi=MPPIConfig(rounds=15),
    gradient=GradientConfig(rounds=60),
    cem_gradient=CEMGradientConfig(cem=CEMConfig(rounds=10, elites=20)),
    proposal=ProposalConfig(search=True, rest=0.0, cem=CEM),
)
SEARCHERS = sorted(set(PLANNERS) - {"random"})  # random shooting finds no optimum in 12 dimensions
every_planner = pytest.mark.parametrize("name", sorted(PLANNERS))

Cost = Callable[[Tensor, Tensor], Tensor]


def as_latents(actions: Tensor) -> Tensor:
    return actions.flatten(3)


def quadratic(targets: Tensor) -> Cost:
    """The mean squared distance of every action to the start's target `[B, A]`, as shares of the range."""

    def cost(latents: Tensor, actions: Tensor) -> Tensor:
        return ((actions - targets[:, None, None, None]) / (HIGH - LOW)).square().mean((-1, -2, -3))

    return cost


def problem(cost: Cost, starts: int = 1) -> Problem:
    return Problem(as_latents, cost, starts, SPACE.middle(starts)[:, None])


def search(
    name: str, given: Problem, *, seed: int = 0, warm: Tensor | None = None, deadline: Deadline | None = None
) -> Plan:
    generator = torch.Generator().manual_seed(seed)
    return planner(name).plan(given, generator=generator, warm=warm, deadline=deadline)


def planner(name: str) -> Planner:
    return make_planner(name, CONFIGS, SPACE)


TARGETS = torch.tensor([[0.4, 3.5], [-0.8, 1.0]])


@every_planner
def test_it_improves_on_its_beginning_and_says_what_its_plan_costs(name: str) -> None:
    cost = quadratic(TARGETS)
    plan = search(name, problem(cost, 2))
    assert plan.actions.shape == (2, HORIZON, STEPS, 2)
    beginning = cost(torch.empty(0), SPACE.middle(2)[:, None])[:, 0]
    assert (plan.cost < 0.7 * beginning).all()
    torch.testing.assert_close(plan.cost, cost(torch.empty(0), plan.actions[:, None])[:, 0])
    assert (plan.best_by_round.diff(dim=0) <= 0).all()
    assert torch.equal(plan.best_by_round[-1], plan.cost)


@pytest.mark.parametrize("name", SEARCHERS)
def test_it_finds_the_minimum_of_a_quadratic(name: str) -> None:
    plan = search(name, problem(quadratic(TARGETS), 2))
    assert ((plan.actions - TARGETS[:, None, None]).abs() / (HIGH - LOW)).mean() < 0.06


@every_planner
@pytest.mark.parametrize("target", [torch.tensor([[3.0, 9.0]]), torch.tensor([[-3.0, -9.0]])])
def test_no_candidate_leaves_the_bounds(name: str, target: Tensor) -> None:
    seen = []

    def rollout(actions: Tensor) -> Tensor:
        seen.append(actions.detach().flatten(0, 1))
        return as_latents(actions)

    given = Problem(rollout, quadratic(target), 1, 10 * SPACE.middle(1)[:, None])
    plan = search(name, given, warm=torch.full((1, HORIZON, STEPS, 2), 100.0))
    for actions in (*seen, plan.actions):
        assert (actions >= LOW).all()
        assert (actions <= HIGH).all()
    if name in set(SEARCHERS) - {"mppi"}:  # which ends at an average of what was clipped
        bound = HIGH if target[0, 0] > 0 else LOW
        assert ((plan.actions - bound).abs() / (HIGH - LOW)).mean() < 0.1


@every_planner
def test_the_generator_decides(name: str) -> None:
    def rugged(latents: Tensor, actions: Tensor) -> Tensor:
        return torch.sin(40 * latents).sum((-1, -2))

    one, same, other = (search(name, problem(rugged), seed=seed) for seed in (1, 1, 2))
    assert torch.equal(one.actions, same.actions)
    assert not torch.equal(one.actions, other.actions)


@every_planner
def test_starts_together_are_planned_as_one_by_one(name: str) -> None:
    together = search(name, problem(quadratic(TARGETS), 2))
    for start in range(2):
        alone = search(name, problem(quadratic(TARGETS[start : start + 1])))
        torch.testing.assert_close(alone.actions[0], together.actions[start])


@every_planner
def test_a_good_beginning_is_never_made_worse(name: str) -> None:
    warm = TARGETS[:1, None, None].expand(1, HORIZON, STEPS, 2)
    plan = search(name, problem(quadratic(TARGETS[:1])), warm=warm)
    assert torch.equal(plan.actions, warm)
    assert plan.cost.item() == 0


def glide(actions: Tensor) -> Tensor:
    """A mass at rest at 0, pushed for a second at a time: place and velocity after each block, `[B, N, H, 2]`."""
    force = actions.mean(3)[..., 0]
    velocity = force.cumsum(2)
    place = (velocity - force / 2).cumsum(2)
    return torch.stack([place, velocity], -1)


@pytest.mark.parametrize("name", SEARCHERS)
def test_a_double_integrator_is_brought_to_rest_at_its_goal(name: str) -> None:
    """From rest at 0 to rest at 1 m in 3 s, with little force: a least-squares problem."""
    space = PlanSpace(torch.tensor([-1.0]), torch.tensor([1.0]), 3, 1)

    def cost(latents: Tensor, actions: Tensor) -> Tensor:
        end = latents[:, :, -1] - torch.tensor([1.0, 0.0])
        return 4 * end.square().sum(-1) + actions.square().sum((-1, -2, -3))

    given = Problem(glide, cost, 1, space.middle(1)[:, None])
    plan = make_planner(name, CONFIGS, space).plan(given, generator=torch.Generator().manual_seed(0))
    system = torch.cat([2 * torch.tensor([[2.5, 1.5, 0.5], [1.0, 1.0, 1.0]]), torch.eye(3)])
    optimum = torch.linalg.lstsq(system, torch.tensor([[2.0, 0, 0, 0, 0]]).T).solution
    lowest = cost(glide(optimum.view(1, 1, 3, 1, 1)), optimum.view(1, 1, 3, 1, 1))
    assert (plan.actions.flatten() - optimum.flatten()).abs().max() < 0.12
    assert plan.cost.item() < 1.1 * lowest.item()


class Clock:
    """Runs only when told to."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@every_planner
def test_a_time_budget_ends_the_search_with_the_best_plan_so_far(name: str) -> None:
    clock, finished = Clock(), []
    cost = quadratic(TARGETS[:1])

    def slow(latents: Tensor, actions: Tensor) -> Tensor:
        clock.now += 1.0
        finished.append(clock.now)
        return cost(latents, actions)

    search(name, problem(slow), deadline=Deadline(1.5, clock))
    assert finished == [1.0]
    clock.now = 0.0
    finished.clear()
    plan = search(name, problem(slow), deadline=Deadline(3.5, clock))
    assert finished == [1.0, 2.0, 3.0]
    assert torch.isfinite(plan.cost).all()
    torch.testing.assert_close(plan.cost, cost(torch.empty(0), plan.actions[:, None])[:, 0])
    late = search(name, problem(cost), deadline=Deadline(0.0, clock))
    assert torch.isfinite(late.cost).all()  # there is always a plan


@every_planner
@pytest.mark.parametrize("poison", [float("nan"), float("inf"), -float("inf")])
def test_a_cost_that_is_not_finite_is_an_error_that_says_where(name: str, poison: float) -> None:
    rounds = []
    cost = quadratic(TARGETS)

    def poisoned(latents: Tensor, actions: Tensor) -> Tensor:
        rounds.append(1)
        costs = cost(latents, actions)
        if len(rounds) == 3:
            costs = costs + torch.zeros_like(costs).index_put((torch.tensor(1), torch.tensor(3)), torch.tensor(poison))
        return costs

    with pytest.raises(WorldModelError, match=r"Round 2, start 1: candidate 3 has cost"):
        search(name, problem(poisoned, 2))


def test_a_gradient_that_is_not_finite_is_an_error() -> None:
    def cost(latents: Tensor, actions: Tensor) -> Tensor:
        return (latents - latents.detach()).abs().sqrt().sum((-1, -2))  # zero, with an infinite slope

    with pytest.raises(WorldModelError, match=r"Round 0, start 0: the gradient of candidate 0 is not finite"):
        search("gradient", problem(cost))


def test_where_the_last_step_of_a_gradient_leads_is_judged() -> None:
    config = GradientConfig(candidates=1, rounds=1)
    plan = make_planner("gradient", PlannerConfigs(gradient=config), SPACE).plan(
        problem(quadratic(TARGETS[:1])), generator=torch.Generator().manual_seed(0)
    )
    assert len(plan.best_by_round) == 2
    assert plan.best_by_round[1] < plan.best_by_round[0]


def test_proposals_are_needed_and_used() -> None:
    def rugged(latents: Tensor, actions: Tensor) -> Tensor:
        return torch.where((actions - LOW).abs().amax((-1, -2, -3)) < 0.01, 0.0, 1.0)

    with pytest.raises(WorldModelError, match="no proposals"):
        search("proposal", Problem(as_latents, rugged, 1))
    right = LOW.expand(1, 1, HORIZON, STEPS, 2)
    wrong = HIGH.expand(1, 1, HORIZON, STEPS, 2)
    plan = search("proposal", Problem(as_latents, rugged, 1, torch.cat([wrong, right], 1)))
    assert plan.cost.item() == 0


@pytest.mark.parametrize(("gain", "acts"), [(0.05, False), (0.15, True)])
@pytest.mark.parametrize("searches", [False, True])
def test_what_gains_little_by_its_plan_stays_where_it_is(gain: float, acts: bool, searches: bool) -> None:
    middle = SPACE.middle(1)[:, None]

    def cost(latents: Tensor, actions: Tensor) -> Tensor:
        return 1.0 - gain * ((actions - middle).abs().amax((-1, -2, -3)) > 1e-6)

    config = replace(CONFIGS, proposal=replace(CONFIGS.proposal, search=searches, rest=0.1))
    proposals = HIGH.expand(1, 2, HORIZON, STEPS, 2)
    plan = make_planner("proposal", config, SPACE).plan(
        Problem(as_latents, cost, 1, proposals), generator=torch.Generator().manual_seed(0)
    )
    assert torch.equal(plan.actions, middle[:, 0]) is not acts
    assert plan.cost.item() == pytest.approx(1.0 - gain * acts)
    assert plan.best_by_round.min().item() == pytest.approx(1.0 - gain)  # what was found is told


def test_an_unknown_planner_is_refused_by_name() -> None:
    with pytest.raises(WorldModelError, match=r"Unknown planner 'cemm'. Did you mean 'cem'"):
        make_planner("cemm", CONFIGS, SPACE)


@pytest.mark.parametrize("colour", [0.0, 1.0, 2.0])
def test_coloured_noise_has_variance_one_and_a_memory(colour: float) -> None:
    matrix = _coloured(10, colour)
    covariance = matrix @ matrix.T
    torch.testing.assert_close(covariance.diagonal(), torch.ones(10))
    neighbours = covariance.diagonal(1).mean()
    assert abs(neighbours) < 1e-5 if colour == 0 else neighbours > 0.3


@pytest.mark.parametrize(
    ("config", "values"),
    [
        (CEMConfig, {"elites": 0}),
        (CEMConfig, {"elites": 301}),
        (CEMConfig, {"rounds": 0}),
        (ICEMConfig, {"elites": 301}),
        (ICEMConfig, {"shrink": 0.5}),
        (ICEMConfig, {"kept": 1.0}),
        (MPPIConfig, {"temperature": 0.0}),
        (MPPIConfig, {"rounds": 0}),
        (RandomShootingConfig, {"candidates": 0}),
        (GradientConfig, {"step": 0.0}),
        *(
            (config, {name: value})
            for config, names in {
                CEMConfig: ("spread", "least_spread"),
                ICEMConfig: ("spread", "least_spread", "colour", "shrink", "kept", "momentum"),
                MPPIConfig: ("spread", "temperature", "decay"),
                GradientConfig: ("spread", "step"),
                ProposalConfig: ("margin", "rest"),
            }.items()
            for name in names
            for value in (-1.0, float("nan"), float("inf"))
        ),
    ],
)
def test_impossible_searches_are_refused(config: Callable[..., object], values: dict[str, float]) -> None:
    with pytest.raises(WorldModelError, match=next(iter(values))):
        config(**values)


@pytest.mark.parametrize(("horizon", "steps", "named"), [(0, 1, "horizon"), (1, 0, "steps")])
def test_an_empty_space_is_refused(horizon: int, steps: int, named: str) -> None:
    with pytest.raises(WorldModelError, match=named):
        PlanSpace(LOW, HIGH, horizon, steps)


def test_what_was_found_later_is_taken_where_it_is_better_by_the_margin() -> None:
    def plan(costs: list[float], value: float) -> Plan:
        cost = torch.tensor(costs)
        return Plan(torch.full((len(costs), HORIZON, STEPS, 2), value), cost, cost[None])

    found, later = plan([1.0, 1.0, -1.0, -1.0], 0.0), plan([0.85, 0.75, -1.15, -1.25], 1.0)
    chosen = found.then(later, margin=0.2)
    assert chosen.actions[:, 0, 0, 0].tolist() == [0.0, 1.0, 0.0, 1.0]
    assert chosen.cost.tolist() == [1.0, 0.75, -1.0, -1.25]
    assert torch.equal(found.then(later).actions, later.actions)
    with pytest.raises(WorldModelError, match=r"proposal\.rest is -0\.1"):
        ProposalConfig(rest=-0.1)
    with pytest.raises(WorldModelError, match=r"proposal\.margin is -0\.1"):
        ProposalConfig(margin=-0.1)
