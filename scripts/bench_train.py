#!/usr/bin/env python
"""How fast training is: frames per second, against the machine's rate of matrix multiplication, and where time goes.

    scripts/bench_train.py [--rounds N] [--preset NAME] [--compile] [--no-replay]

Training steps as `worldmodel train` takes them (batches, objective, gradient, optimiser), on a small recording made
for it. Rounds time one large multiplication and then steps. The fastest multiplication counts, and the round whose
median step is the fastest: other work on the machine spoils rounds, and no lucky step counts. Operations are counted
in the forward and backward passes of matrix multiplications and convolutions. The last line is one JSON object of the
stage `see`: operations as a share of that rate, frames per second, and the share of that round's time in which its
steps wait for their clips (a GPU that holds the frames cuts the clips in the step itself).
"""

from __future__ import annotations

import json
import tempfile
import time
import warnings
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
import tyro
from bench_machine import machine
from rich.console import Console
from rich.table import Table
from torch import nn
from torch.profiler import ProfilerActivity, profile

from worldmodel.datasets.clips import Clips
from worldmodel.datasets.production import cores
from worldmodel.datasets.reader import Recording
from worldmodel.datasets.recorder import RecordConfig, record
from worldmodel.models.world_model import WorldModel
from worldmodel.objectives.registry import make_objective
from worldmodel.training.config import TrainConfig, interface_of
from worldmodel.training.device import Compute, choose_compute, matmul_flops
from worldmodel.training.forecast import ForecastStage
from worldmodel.training.gradients import Gradients
from worldmodel.training.learner import Learner
from worldmodel.training.presets import train_config
from worldmodel.training.processes import Processes
from worldmodel.training.see import SeeStage
from worldmodel.training.speed import counting_flops
from worldmodel.training.stage import Stage


@dataclass(frozen=True)
class Bench:
    """What to measure.

    Attributes:
        preset: size of the model.
        rounds: how often each stage is measured.
        steps: training steps in a round.
        frames: of the recording that is made.
        device: "auto", "cpu" or "cuda".
        compile: let PyTorch compile the networks first.
        replay: ask a GPU for all the work of a step at once.
    """

    preset: str = "tiny"
    rounds: int = 5
    steps: int = 10
    frames: int = 4_000
    device: str = "auto"
    compile: bool = False
    replay: bool = True


@dataclass
class Rates:
    """The best of one stage's rounds: its median step, s, the share of waiting in all its steps; the best FLOP/s."""

    flops: float
    frames: int
    step: float = float("inf")
    wait_share: float = 0.0
    matmul: float = 0.0

    @property
    def share(self) -> float:
        return self.flops / self.step / self.matmul


class Training:
    """One stage, ready to take steps."""

    def __init__(self, stage: Stage, model: WorldModel, compute: Compute) -> None:
        self.stage, self.compute = stage, compute
        self._learner = Learner(stage, model)
        self._losses = stage.losses(model, 0)
        self._gradients = Gradients(stage, model, compute=compute, processes=Processes())
        self._step = 0
        model.train()

    def step(self) -> float:
        """Take a step; return how long it waited for its clips, s."""
        started = time.perf_counter()
        parts = next(self._losses)
        waited = time.perf_counter() - started
        self._gradients.add_up(parts, self._step)
        self._step += 1
        self._learner.optimiser.clip()
        self._learner.step(0, 0.0)
        return waited

    def measure(self, rates: Rates, steps: int) -> None:
        rates.matmul = max(rates.matmul, matmul_flops(self.compute.device, self.compute.dtype))
        times, waits = [], []
        for _ in range(steps):
            started = time.perf_counter()
            waits.append(self.step())
            self._wait_for_device()
            times.append(time.perf_counter() - started)
        if median(times) < rates.step:
            rates.step = median(times)
            rates.wait_share = sum(waits) / sum(times)

    def _wait_for_device(self) -> None:
        if self.compute.device.type == "cuda":
            torch.cuda.synchronize(self.compute.device)


def count_flops(training: Training) -> float:
    with counting_flops() as counter:
        training.step()
    return float(counter.get_total_flops())


def module_times(model: nn.Module, training: Training, steps: int = 3) -> dict[str, tuple[float, float]]:
    """Return milliseconds of a step, forward and backward, that each layer takes, of the main thread's own time.

    Layers are those of the model and, named "own", of the networks that only the stage needs.
    Backward begins with the gradient of the layer's output; it ends with that of its input or, if later, of its
    parameters.
    """
    times: dict[str, list[float]] = defaultdict(lambda: [0.0, 0.0])
    handles: list[Any] = []

    def clock(name: str, layer: nn.Module) -> None:
        since = [0.0, 0.0]

        def start(way: int) -> Callable[..., None]:
            def hook(*_: Any) -> None:
                since[way] = time.thread_time()

            return hook

        def stop(way: int) -> Callable[..., None]:
            def hook(*_: Any) -> None:
                now = time.thread_time()
                times[name][way] += (now - since[way]) * 1e3 / steps
                since[way] = now

            return hook

        handles.append(layer.register_forward_pre_hook(start(0)))
        handles.append(layer.register_forward_hook(stop(0)))
        handles.append(layer.register_full_backward_pre_hook(start(1)))
        handles.append(layer.register_full_backward_hook(stop(1)))
        for parameter in layer.parameters(recurse=False):
            if parameter.requires_grad:
                handles.append(parameter.register_post_accumulate_grad_hook(stop(1)))

    own = training.stage.own
    for name, layer in (*model.named_modules(), *(own.named_modules(prefix="own") if own is not None else ())):
        if name and not list(layer.children()):
            clock(name, layer)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Full backward hook is firing")  # frames have no gradient
        for _ in range(steps):
            training.step()
    for handle in handles:
        handle.remove()
    return {name: (forward, backward) for name, (forward, backward) in times.items()}


def operation_times(training: Training, steps: int = 3) -> list[tuple[str, float]]:
    """Return milliseconds of a step by operation, the longest first: of the GPU's time where there is one."""
    on_gpu = training.compute.device.type == "cuda"
    with profile(activities=[ProfilerActivity.CUDA if on_gpu else ProfilerActivity.CPU]) as profiled:
        for _ in range(steps):
            training.step()
    rows = [
        (entry.key, (entry.self_device_time_total if on_gpu else entry.self_cpu_time_total) / 1e3 / steps)
        for entry in profiled.key_averages()
    ]
    return sorted(rows, key=lambda row: -row[1])


def show_where_time_goes(console: Console, model: WorldModel, training: Training) -> None:
    if training.compute.device.type == "cpu" and not training.compute.compiled:  # layers run here, and one by one
        table = Table(title=f"Stage {training.stage.name}: milliseconds of a step, by layer")
        for column in ("layer", "forward", "backward"):
            table.add_column(column, justify="left" if column == "layer" else "right")
        for name, (forward, backward) in module_times(model, training).items():
            table.add_row(name, f"{forward:.2f}", f"{backward:.2f}" if backward else "")
        console.print(table)
    table = Table(title=f"Stage {training.stage.name}: milliseconds of a step, by operation")
    table.add_column("operation")
    table.add_column("time", justify="right")
    for name, spent in operation_times(training)[:12]:
        table.add_row(name, f"{spent:.2f}")
    console.print(table)


def main(bench: Bench) -> None:
    console = Console()
    compute = replace(choose_compute(bench.device), compiled=bench.compile, replays=bench.replay)
    config = train_config(bench.preset)
    with tempfile.TemporaryDirectory(prefix="bench-train-") as scratch:
        folder = Path(scratch) / "recording"
        record(RecordConfig(frames=bench.frames), folder)
        with Recording.open(folder) as recording:
            results = measure(bench, config, recording, compute, console)
    compiled = ", compiled" if bench.compile else ""
    table = Table(title=f"Training at {bench.preset}, 64 x 64 pixels: {compute}{compiled}")
    for column in ("stage", "frames/s", "GFLOP in a step", "GFLOP/s", "matmul GFLOP/s", "share", "data wait"):
        table.add_column(column, justify="left" if column == "stage" else "right")
    for name, rates in results.items():
        table.add_row(
            name,
            f"{rates.frames / rates.step:,.0f}",
            f"{rates.flops / 1e9:,.2f}",
            f"{rates.flops / rates.step / 1e9:,.0f}",
            f"{rates.matmul / 1e9:,.0f}",
            f"{rates.share:.3f}",
            f"{rates.wait_share:.1%}",
        )
    console.print(table)
    console.print(machine(cores(), "torch", "numpy"))
    see = results["see"]
    print(
        json.dumps(
            {
                "share_of_matmul": round(see.share, 3),
                "frames_per_second": round(see.frames / see.step),
                "data_wait_share": round(see.wait_share, 4),
            }
        )
    )


def measure(
    bench: Bench, config: TrainConfig, recording: Recording, compute: Compute, console: Console
) -> dict[str, Rates]:
    torch.manual_seed(0)
    model = WorldModel(config.model, interface=interface_of(recording)).to(compute.device)
    compute.prepare(model)
    objective = make_objective(config.objective, model=model).to(compute.device)
    episodes = np.arange(recording.episodes)
    clips = Clips(recording, episodes, length=config.see.length)
    results = {}
    for stage in (
        SeeStage(
            config.see,
            name="see",
            objective=objective,
            clips=clips,
            compute=compute,
            processes=Processes(),
            seed=0,
            whiten_floor=config.whiten_floor,
        ),
        ForecastStage(
            config.forecast,
            masking=config.masking,
            recording=recording,
            episodes=episodes,
            compute=compute,
            processes=Processes(),
            reach_weight=config.reach_weight,
            certainty_floor=config.certainty_floor,
        ),
    ):
        training = Training(stage, model, compute)
        training.step()  # reads, or encodes, what is learned from; what is replayed later can be counted no more
        rates = Rates(count_flops(training), stage.config.batch * stage.config.length)
        for _ in range(4):  # allocate, choose kernels, compile, record
            training.step()
        for _ in range(bench.rounds):
            training.measure(rates, bench.steps)
        results[stage.name] = rates
        show_where_time_goes(console, model, training)
    return results


if __name__ == "__main__":
    main(tyro.cli(Bench, description=__doc__))
