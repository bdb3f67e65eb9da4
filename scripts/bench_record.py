#!/usr/bin/env python
"""How fast recording is: against each environment's own `render()` loop, and against a loop that keeps nothing.

    scripts/bench_record.py [--frames N] [--env NAME ...]

Everything runs in turn on the same machine, at 64 x 64 pixels, with a frame after every control step and uniform
actions. The limit is our own bare loop on all cores: step, draw, read the pixels, keep nothing. The last line is
one JSON object with the worst figure over the environments.
"""

from __future__ import annotations

import importlib
import json
import math
import multiprocessing
import os
import shutil
import tempfile
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tyro
from bench_machine import machine
from rich.console import Console
from rich.table import Table

from worldmodel.datasets.episodes import Film, FilmConfig
from worldmodel.datasets.policies import make_policy
from worldmodel.datasets.production import Finished, cores
from worldmodel.datasets.reader import Recording
from worldmodel.datasets.recorder import RecordConfig, record
from worldmodel.datasets.store import RecordingStore
from worldmodel.envs.registry import make_world

SIZE = 64
EPISODE_FRAMES = 101


@dataclass(frozen=True)
class Bench:
    """What to measure.

    Attributes:
        env: environments.
        rounds: how often each is measured; the best counts.
        seconds: how long each loop runs, s.
        frames: how many frames to record of an environment, at most; slow ones record for as long as the loops run.
    """

    env: tuple[str, ...] = (
        "dm_control/reacher-easy",
        "dm_control/cheetah-run",
        "Pusher-v5",
        "visual-cube-single-v0",
    )
    rounds: int = 3
    seconds: float = 5.0
    frames: int = 30_000


@dataclass(frozen=True)
class Rates:
    """Frames per second of one environment, and microseconds of one core that writing a frame takes."""

    own_render: float
    bare: float
    recorded: float
    write: float

    @property
    def times_env_render(self) -> float:
        return self.recorded / self.own_render

    @property
    def share_of_bare_loop(self) -> float:
        return self.recorded / self.bare

    @property
    def write_share(self) -> float:
        return self.write * 1e-6 * self.recorded / cores()


def own_render_loop(env: str, seconds: float) -> float:
    """Return frames per second of the loop that its users write: one action, one step, one `render()`."""
    os.environ["MUJOCO_GL"] = "egl"  # of the new process alone
    try:
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            return pool.apply(_own_render_loop, (env, seconds))
    finally:
        del os.environ["MUJOCO_GL"]


def _own_render_loop(env: str, seconds: float) -> float:
    step_and_render = own_loop(env)
    step_and_render()
    return per_second(step_and_render, seconds)


def own_loop(env: str) -> Callable[[], Any]:
    warnings.simplefilter("ignore")
    if env.startswith("dm_control/"):
        suite = importlib.import_module("dm_control.suite")
        dm = suite.load(*env.removeprefix("dm_control/").rsplit("-", 1))
        dm.reset()
        spec, rng = dm.action_spec(), np.random.default_rng(0)

        def dm_step() -> None:
            if dm.step(rng.uniform(spec.minimum, spec.maximum)).last():
                dm.reset()
            dm.physics.render(SIZE, SIZE, camera_id=0)

        return dm_step
    import gymnasium

    if env not in gymnasium.registry:
        importlib.import_module("ogbench")
    draws_in_step = env.startswith("visual-")  # as its observation
    gym = (
        gymnasium.make(env) if draws_in_step else gymnasium.make(env, render_mode="rgb_array", width=SIZE, height=SIZE)
    )
    gym.reset(seed=0)

    def gym_step() -> None:
        _, _, terminated, truncated, _ = gym.step(gym.action_space.sample())
        if not draws_in_step:
            gym.render()
        if terminated or truncated:
            gym.reset()

    return gym_step


def per_second(call: Callable[[], Any], seconds: float) -> float:
    count, started = 0, time.perf_counter()
    while (spent := time.perf_counter() - started) < seconds:
        call()
        count += 1
    return count / spent


def bare_loop(env: str, seconds: float) -> float:
    """Return frames per second of all cores that step, draw and read, and keep nothing."""
    context = multiprocessing.get_context("spawn")
    ready = context.Barrier(cores())
    with context.Pool(cores(), _adopt, (ready,)) as pool:
        return sum(pool.starmap(_bare, [(env, seconds)] * cores(), chunksize=1))


_ready: Any = None  # a barrier can only be inherited


def _adopt(ready: Any) -> None:
    global _ready
    _ready = ready


def _bare(env: str, seconds: float) -> float:
    world = make_world(env)
    world.reset(np.random.default_rng(0))
    rng = np.random.default_rng(1)
    policy = make_policy("uniform", world)
    policy.reset(rng, 0)
    config = FilmConfig((world.camera,), ("rgb",), SIZE, SIZE, "fast")
    steps = 0
    with Film(config, world=world) as film:

        def step() -> None:
            nonlocal steps
            outcome = world.step(policy(world))
            steps += 1
            if steps % EPISODE_FRAMES == 0 or outcome.terminated or outcome.truncated:
                world.reset(rng)
            film.shoot(0)

        step()
        _ready.wait()
        return per_second(step, seconds)


def recording(env: str, frames: int, folder: Path) -> float:
    """Return frames per second from the first finished episode to the closed recording."""
    told: list[tuple[float, Finished]] = []
    config = RecordConfig(
        env=env,
        frames=frames,
        episode_frames=EPISODE_FRAMES,
        steps_per_frame=1,
        height=SIZE,
        width=SIZE,
        policy="uniform",
    )
    record(config, folder, progress=lambda finished: told.append((time.perf_counter(), finished)))
    (started, first), (_, last) = told[cores() - 1], told[-1]
    return (last.frames - first.frames) / (time.perf_counter() - started)


def writing(folder: Path) -> float:
    """Return microseconds of one core per frame, from segments in memory to a synced recording of all of them."""
    spent = 0.0
    with Recording.open(folder) as source:
        again = folder.with_name(f"{folder.name}-again")
        with RecordingStore(again, source.provenance, resume=False) as store:
            for index in range(source.episodes):
                episode = source.episode(index)
                started = time.perf_counter()
                store.add(episode)
                store.seal()
                spent += time.perf_counter() - started
            started = time.perf_counter()
            store.finish(0.0)
            spent += time.perf_counter() - started
        return spent / source.frames * 1e6


def measure(env: str, bench: Bench, folder: Path) -> Rates:
    own, bare, recorded, write = own_render_loop(env, bench.seconds), 0.0, 0.0, math.inf
    for number in range(bench.rounds):  # in turn, so that a busy moment of the machine hits both; the best counts
        bare = max(bare, bare_loop(env, bench.seconds))
        frames = int(min(bench.frames, max(bare * bench.seconds, 6 * cores() * EPISODE_FRAMES)))
        recorded = max(recorded, recording(env, frames, folder / f"recording-{number}"))
        write = min(write, writing(folder / f"recording-{number}"))
    return Rates(own, bare, recorded, write)


def main(bench: Bench) -> None:
    console = Console()
    table = Table(title=f"Frames per second, {SIZE} x {SIZE} pixels, {cores()} cores")
    for title in ("environment", "own render()", "bare loop", "recorded", "x own", "of bare", "writing, us", "of time"):
        table.add_column(title, justify="left" if title == "environment" else "right")
    results: dict[str, Rates] = {}
    for env in bench.env:
        folder = Path(tempfile.mkdtemp(prefix="bench-record-"))
        try:
            results[env] = rates = measure(env, bench, folder)
        finally:
            shutil.rmtree(folder)
        table.add_row(
            env,
            f"{rates.own_render:,.1f}",
            f"{rates.bare:,.0f}",
            f"{rates.recorded:,.0f}",
            f"{rates.times_env_render:,.0f}",
            f"{rates.share_of_bare_loop:.2f}",
            f"{rates.write:.0f}",
            f"{rates.write_share:.1%}",
        )
    console.print(table)
    console.print(machine(cores(), "mujoco", "gymnasium", "dm_control", "ogbench", "h5py", "lz4", "numpy"))
    print(
        json.dumps(
            {
                "times_env_render": round(min(rates.times_env_render for rates in results.values()), 1),
                "share_of_bare_loop": round(min(rates.share_of_bare_loop for rates in results.values()), 3),
                "write_share": round(max(rates.write_share for rates in results.values()), 4),
            }
        )
    )


if __name__ == "__main__":
    main(tyro.cli(Bench, description=__doc__))
