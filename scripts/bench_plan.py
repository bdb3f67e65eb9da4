#!/usr/bin/env python
"""How fast one robot replans, and how near that is to the machine's limit.

    scripts/bench_plan.py [--candidates 300 --rounds 10 --horizon 5 --device auto]

The model is of the default shape and untrained, which takes the same time; a replan encodes one frame, takes in the
history and searches with the cross-entropy method. The limit is its matrix multiplications alone, at the rate of a
large one measured in the same rounds. The fast copy of the predictor takes turns with the predictor itself, under
autocast. The last line is one JSON object.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
import tyro
from bench_machine import machine
from rich.console import Console
from rich.table import Table
from torch import Tensor

from worldmodel.datasets.production import cores
from worldmodel.models.imagination import Imagination
from worldmodel.models.interface import Interface
from worldmodel.models.predictor import PredictorConfig
from worldmodel.models.world_model import WorldModel, WorldModelConfig
from worldmodel.planning.cem import CEMConfig
from worldmodel.planning.policy import PlanningConfig, PlanningPolicy
from worldmodel.training.device import Compute, choose_compute, matmul_flops

INTERFACE = Interface("worldmodel/Reacher-v0", ("top",), 64, 64, "fast", 5, 0.02, (-1.0, -1.0), (1.0, 1.0))
WIDTHS = (128, 256, 384, 512)  # of the predictor; token and hidden in the proportions of the default


@dataclass(frozen=True)
class Bench:
    """What to measure.

    Attributes:
        candidates, rounds, horizon: of the search.
        repeats: how often each is timed; the median counts.
        widths: also time predictors of other widths.
        device: "auto", "cpu" or "cuda".
    """

    candidates: int = 300
    rounds: int = 10
    horizon: int = 5
    repeats: int = 15
    widths: bool = True
    device: str = "auto"


def untrained(width: int = PredictorConfig.width) -> WorldModel:
    torch.manual_seed(0)
    predictor = PredictorConfig(token=2 * width // 3, width=width, hidden=2 * width)
    return WorldModel(replace(WorldModelConfig(), predictor=predictor), interface=INTERFACE).eval()


class Replan:
    """One robot that has its history and replans again and again."""

    def __init__(self, bench: Bench, model: WorldModel, compute: Compute) -> None:
        elites = max(1, bench.candidates // 10)
        search = CEMConfig(bench.candidates, bench.rounds, elites)
        config = PlanningConfig(planner="cem", horizon=bench.horizon, cem=search)
        self._policy = PlanningPolicy(config, model=model, compute=compute, seed=0)
        self._frame = torch.zeros(1, INTERFACE.height, INTERFACE.width, 3, dtype=torch.uint8)
        self._policy.reset(self._frame + 9)
        for _ in range(model.most_visible):
            self()

    def __call__(self) -> tuple[float, float]:
        """Return the seconds that a replan took, and those of them in the model."""
        decision = self._policy(self._frame)
        return decision.seconds, decision.model_seconds


def plan_flops(bench: Bench, model: WorldModel) -> float:
    """Return the floating-point operations of a replan's matrix multiplications."""
    config, latent = model.config.predictor, model.config.latent
    enter = (len(INTERFACE.low) + config.token + 3 * config.width) * config.token
    read = 2 * config.width * config.hidden + config.width * latent
    forecast = enter + 3 * config.width**2 + read
    return 2.0 * forecast * bench.candidates * bench.rounds * bench.horizon


def matmul_rate(compute: Compute) -> float:
    """Return the rate of one large matrix multiplication in the precision that is used, FLOP/s."""
    if compute.device.type == "cuda":
        return matmul_flops(compute.device, compute.dtype)
    a = torch.ones(1024, 1024, dtype=compute.dtype)
    started = time.perf_counter()
    for _ in range(4):
        a @ a
    return 4 * 2 * 1024**3 / (time.perf_counter() - started)


def a_round(bench: Bench, model: WorldModel, compute: Compute) -> tuple[Callable[[], Tensor], Callable[[], Tensor]]:
    """Return one round's forecasts, by the fast copy and by the predictor under autocast."""
    hold = INTERFACE.steps_per_frame
    imagination = Imagination(model, hold=hold, dtype=compute.dtype)
    seen = model.most_visible
    latents = torch.randn(1, seen, model.config.latent, device=compute.device)
    past = torch.zeros(1, seen - 1, 1, 2, device=compute.device)
    plans = torch.rand(1, bench.candidates, bench.horizon, 1, 2, device=compute.device)
    with torch.no_grad(), compute.autocast():
        slow_state = model.remember(latents, past.repeat_interleave(hold, 2))
    with torch.no_grad():
        state = imagination.remember(latents, past)

    def slow() -> Tensor:
        with torch.no_grad(), compute.autocast():
            return model.imagine(slow_state, plans.repeat_interleave(hold, 3))

    def fast() -> Tensor:
        with torch.no_grad():
            return imagination.imagine(state, plans)

    return fast, slow


def seconds(action: Callable[[], object], compute: Compute) -> float:
    started = time.perf_counter()
    action()
    compute.wait()
    return time.perf_counter() - started


def main(bench: Bench) -> None:
    compute, console = choose_compute(bench.device), Console(highlight=False)
    model = untrained().to(compute.device)
    replan, (fast, slow) = Replan(bench, model, compute), a_round(bench, model, compute)
    took, rates, quick, plain = [], [], [], []
    for _ in range(bench.repeats):
        took.append(replan())
        rates.append(matmul_rate(compute))
        quick.append(seconds(fast, compute))
        plain.append(seconds(slow, compute))
    whole, in_model = np.median(took, axis=0) * 1000
    limit = 1000 * plan_flops(bench, model) / float(np.median(rates))
    least = 1000 * min(total for total, _ in took)
    least_limit = 1000 * plan_flops(bench, model) / max(rates)
    what = f"{bench.candidates} candidates x {bench.rounds} rounds x {bench.horizon} blocks"
    table = Table(title=f"A replan for one robot, {what}", title_justify="left")
    for column in ("", "median, ms", "best, ms"):
        table.add_column(column, justify="right" if column else "left")
    table.add_row("whole", f"{whole:.1f}", f"{least:.1f}")
    table.add_row("in the model", f"{in_model:.1f}", f"{1000 * min(share for _, share in took):.1f}")
    table.add_row("its multiplications alone", f"{limit:.1f}", f"{least_limit:.1f}")
    table.add_row("one round, fast copy", f"{1000 * np.median(quick):.1f}", f"{1000 * min(quick):.1f}")
    table.add_row("one round, predictor itself", f"{1000 * np.median(plain):.1f}", f"{1000 * min(plain):.1f}")
    console.print(table)
    if bench.widths:
        others = Table(title="Other predictors", title_justify="left")
        for column in ("width", "a replan, median, ms", "best, ms"):
            others.add_column(column, justify="right")
        for width in WIDTHS:
            other = Replan(bench, untrained(width), compute)
            times = [1000 * other()[0] for _ in range(max(3, bench.repeats // 3))]
            others.add_row(str(width), f"{np.median(times):.1f}", f"{min(times):.1f}")
        console.print(others)
    rate = f"{np.median(rates) / 1e9:,.0f} GFLOP/s in {'bf16' if compute.bf16 else 'fp32'}"
    console.print(f"{compute.device}: {machine(cores(), 'torch')}, {torch.get_num_threads()} threads, {rate}")
    print(
        json.dumps(
            {
                "milliseconds_per_plan": round(float(whole), 1),
                "model_share": round(float(in_model / whole), 3),
                "milliseconds_best": round(least, 1),
                "share_of_matmul_limit": round(float(limit / whole), 3),
                "times_predictor": round(float(np.median(plain) / np.median(quick)), 2),
            }
        )
    )


if __name__ == "__main__":
    main(tyro.cli(Bench, description=__doc__))
