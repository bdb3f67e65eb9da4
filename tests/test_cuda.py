"""What a GPU does, wherever there is one: the same as the processor, and the same again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from worldmodel.datasets.clips import Clips
from worldmodel.datasets.reader import Recording
from worldmodel.models.world_model import WorldModel
from worldmodel.objectives.masked_future import MaskedFutureConfig
from worldmodel.objectives.registry import OBJECTIVES, objective_config
from worldmodel.planning.cem import CEMConfig
from worldmodel.planning.policy import PlanningConfig, PlanningPolicy
from worldmodel.planning.registry import PLANNERS, PlannerName
from worldmodel.training import feed as feed_module
from worldmodel.training import gradients as gradients_module
from worldmodel.training.checkpoint import load_model, newest, read_card
from worldmodel.training.config import TrainConfig
from worldmodel.training.device import Compute
from worldmodel.training.feed import feed
from worldmodel.training.processes import Processes
from worldmodel.training.replay import Replay, Told
from worldmodel.training.trainer import Trainer

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")
every_objective = pytest.mark.parametrize("name", sorted(OBJECTIVES))


@pytest.fixture(scope="session")
def cuda() -> Compute:
    """The GPU, in full precision."""
    return Compute(torch.device("cuda"), bf16=False, flops=1.0)


def learning_by(name: str, config: TrainConfig) -> TrainConfig:
    """A training by this objective, with steps enough to be replayed in every stage.

    A floor of 1: whitening what a few steps have made of the latents makes rounding errors large.
    """
    objective = objective_config(name)
    dynamics = None if isinstance(objective, MaskedFutureConfig) else MaskedFutureConfig()
    stages = {stage: replace(getattr(config, stage), steps=8) for stage in ("see", "forecast", "guide", "draw")}
    model = replace(config.model, predictor=replace(config.model.predictor, dropout=0.1))
    return replace(
        config, model=model, objective=objective, dynamics=dynamics, save_every=1000, whiten_floor=1.0, **stages
    )


def trained_by(config: TrainConfig, reacher: Path, run: Path, compute: Compute) -> dict[str, torch.Tensor]:
    with Recording.open(reacher) as recording:
        Trainer(config, recording=recording, run=run, compute=compute).train()
    return dict(load_model(run).state_dict())


class Checked(Replay):
    """Does what is replayed once more, as it is, and compares."""

    checked = 0

    def __call__(self, work: Callable[[], Told]) -> Told:
        generators = [self._generator, torch.cuda.default_generators[0]]
        before = [generator.get_state() for generator in generators]
        told = super().__call__(work)
        if self._graph is None:
            return told
        logs, losses = {name: value.clone() for name, value in told[0].items()}, [loss.clone() for loss in told[1]]
        gradients = [p.grad.clone() for p in self._parameters if p.grad is not None]
        for generator, state in zip(generators, before, strict=True):
            generator.set_state(state)
        for parameter in self._parameters:
            parameter.grad = None
        logs_as_is, losses_as_is = work()
        torch.testing.assert_close(logs, logs_as_is, rtol=1e-3, atol=1e-5)
        torch.testing.assert_close(losses, losses_as_is, rtol=1e-3, atol=1e-5)
        as_is = [p.grad for p in self._parameters if p.grad is not None]
        for gradient, expected in zip(gradients, as_is, strict=True):
            assert (gradient - expected).norm() <= 1e-3 * expected.norm() + 1e-6
        for parameter, static in zip(self._parameters, self._gradients, strict=True):
            parameter.grad = static  # which the optimiser takes, and clips in place
        Checked.checked += 1
        return logs, losses


@every_objective
@pytest.mark.parametrize("accumulate", [1, 2])
def test_a_replayed_step_gives_what_it_gives_as_it_is(
    name: str,
    accumulate: int,
    tiny_train_config: TrainConfig,
    reacher: Path,
    cuda: Compute,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Logs, losses and gradients, in every stage: each step with a batch and draws of its own."""
    monkeypatch.setattr(gradients_module, "Replay", Checked)
    monkeypatch.setattr(Checked, "checked", 0)
    config = learning_by(name, tiny_train_config)
    config = replace(
        config,
        see=replace(config.see, accumulate=accumulate),
        forecast=replace(config.forecast, accumulate=accumulate),
    )
    trained_by(config, reacher, tmp_path, cuda)
    stages = 4 if name != "moco" else 3  # whose keys each step hands over
    assert Checked.checked == stages * (8 - Replay.AS_IT_IS)


def test_replaying_can_be_left(
    tiny_train_config: TrainConfig, reacher: Path, cuda: Compute, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gradients_module, "Replay", Checked)
    monkeypatch.setattr(Checked, "checked", 0)
    config = learning_by("masked-future", tiny_train_config)
    trained_by(config, reacher, tmp_path, replace(cuda, replays=False))
    assert Checked.checked == 0


@pytest.mark.parametrize("name", ["masked-future", "moco"])
def test_a_run_goes_on_where_it_stopped(
    name: str, tiny_train_config: TrainConfig, reacher: Path, cuda: Compute, tmp_path: Path
) -> None:
    config = learning_by(name, tiny_train_config)
    whole = trained_by(config, reacher, tmp_path / "whole", cuda)

    def stop(stage: str, done: int, steps: int, values: dict[str, float]) -> None:
        if done == 6 and stage in ("see", "guide"):
            raise KeyboardInterrupt

    run = tmp_path / "stopped"
    stops = 0
    while not (run.exists() and read_card(newest(run)).position.finished):
        with Recording.open(reacher) as recording:
            try:
                Trainer(config, recording=recording, run=run, compute=cuda).train(stop)
            except KeyboardInterrupt:
                stops += 1
    assert stops == 2
    for tag, value in load_model(run).state_dict().items():
        gap = (value.float() - whole[tag].float()).abs().mean().item()
        assert gap < 1e-3, f"{tag} differs by {gap}"


def test_what_a_gpu_has_begun_in_half_precision_a_processor_ends(
    tiny_train_config: TrainConfig, reacher: Path, cuda: Compute, cpu: Compute, tmp_path: Path
) -> None:
    def stop(stage: str, done: int, steps: int, values: dict[str, float]) -> None:
        if stage == "forecast" and done == 6:
            raise KeyboardInterrupt

    config = learning_by("masked-future", tiny_train_config)
    with Recording.open(reacher) as recording:
        with pytest.raises(KeyboardInterrupt):
            Trainer(config, recording=recording, run=tmp_path, compute=replace(cuda, bf16=True)).train(stop)
        Trainer(config, recording=recording, run=tmp_path, compute=cpu).train()
    assert read_card(newest(tmp_path)).position.finished
    assert all(torch.isfinite(value).all() for value in load_model(tmp_path).state_dict().values())


@torch.no_grad()
def test_a_model_says_the_same(tiny_model: WorldModel, cuda: Compute) -> None:
    frames = torch.randint(0, 256, (2, 5, 32, 32, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    actions = tiny_model.low + (tiny_model.high - tiny_model.low) * torch.rand(2, 4, 2, 2)
    visible = torch.arange(5).expand(2, -1) < 2

    def said(device: torch.device) -> tuple[torch.Tensor, ...]:
        model = tiny_model.to(device)
        latents = model.encode(frames.to(device))
        blocks = model.flatten_actions(actions.to(device))
        forecast = model.predictor(latents, visible.to(device), blocks)
        distance = model.steps_between(latents[:, 0], latents[:, 1])
        plans = model.propose(latents[:, 0], latents[:, 1], latents[:, 4], horizon=3, hold=1)
        return tuple(x.cpu() for x in (latents, forecast, distance, plans, model.picture(latents).float() / 255))

    torch.testing.assert_close(said(cuda.device), said(torch.device("cpu")), rtol=1e-2, atol=1e-2)


@pytest.mark.parametrize("planner", sorted(PLANNERS))
@pytest.mark.parametrize("bf16", [False, True])
def test_every_planner_plans(planner: PlannerName, bf16: bool, tiny_model: WorldModel, cuda: Compute) -> None:
    """With the model on a GPU, frames from a camera on the processor; the same seed, the same plan."""
    config = PlanningConfig(planner=planner, horizon=3, cem=CEMConfig(candidates=20, rounds=2, elites=4))
    frames = torch.randint(0, 256, (2, 2, 32, 32, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))

    def blocks() -> torch.Tensor:
        policy = PlanningPolicy(config, model=tiny_model, compute=replace(cuda, bf16=bf16), seed=3)
        policy.reset(frames[0])
        return torch.stack([policy(seen).actions.cpu() for seen in frames])

    decided = blocks()
    low, high = tiny_model.low.cpu(), tiny_model.high.cpu()
    assert ((decided >= low) & (decided <= high)).all()
    torch.testing.assert_close(decided, blocks(), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("share", [0.25, 0.0])
def test_every_batch_comes_to_the_same_place(
    share: float, reacher: Path, cuda: Compute, cpu: Compute, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cut from what the GPU holds, or brought there where it has no room."""
    monkeypatch.setattr(feed_module, "GPU_SHARE", share)
    with Recording.open(reacher) as recording:
        clips = Clips(recording, np.arange(recording.episodes), length=4)
        there, here = (
            feed(clips, 8, seed=0, first=2, compute=compute, processes=Processes()) for compute in (cuda, cpu)
        )
        places = set()
        for _ in range(5):
            gpu, expected = next(there), next(here)
            assert torch.equal(gpu.frames.cpu(), expected.frames)
            assert torch.equal(gpu.actions.cpu(), expected.actions)
            places.add(gpu.frames.data_ptr())
    assert len(places) == 1
