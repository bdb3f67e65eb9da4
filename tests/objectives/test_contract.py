"""What every objective keeps to."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from worldmodel.errors import WorldModelError
from worldmodel.models.world_model import WorldModel
from worldmodel.objectives.draws import Draws
from worldmodel.objectives.moco import MoCoConfig
from worldmodel.objectives.objective import ClipTensors, Objective, logged
from worldmodel.objectives.registry import OBJECTIVES, make_objective, objective_config, objective_name
from worldmodel.objectives.simclr import SimCLRConfig
from worldmodel.objectives.views import ViewsConfig

every_objective = pytest.mark.parametrize("name", OBJECTIVES)


def make(name: str, model: WorldModel, seed: int = 0) -> Objective:
    torch.manual_seed(seed)
    config = objective_config(name)
    return make_objective(replace(config, queue=64) if isinstance(config, MoCoConfig) else config, model=model)


def draws(seed: int = 0) -> Draws:
    return Draws(torch.Generator().manual_seed(seed))


@every_objective
def test_gradients_reach_what_is_trained_and_nothing_else(
    name: str, tiny_model: WorldModel, clips: ClipTensors
) -> None:
    objective = make(name, tiny_model)
    loss, logs = objective(tiny_model, clips, draws())
    loss.backward()
    assert loss.ndim == 0
    assert torch.isfinite(loss)
    for key, value in logged(logs).items():
        assert value.ndim == 0, key
        assert not value.requires_grad, key
        assert torch.isfinite(value), key
    assert logged(logs)["latent_std"] > 0
    for key, parameter in tiny_model.named_parameters():
        if key.split(".")[0] not in objective.trains:
            assert parameter.grad is None, key
        elif key.startswith("encoder"):
            assert parameter.grad is not None, key
            assert torch.isfinite(parameter.grad).all(), key
            assert parameter.grad.abs().max() > 0, key
    for key, parameter in objective.named_parameters():
        if not parameter.requires_grad:
            assert parameter.grad is None, key
            continue
        assert parameter.grad is not None, key
        assert torch.isfinite(parameter.grad).all(), key
        if parameter.ndim >= 2:  # a loss may not care for a constant
            assert parameter.grad.abs().max() > 0, key


@every_objective
def test_the_draws_decide(name: str, tiny_model: WorldModel, clips: ClipTensors) -> None:
    objective = make(name, tiny_model)
    one, same, other = (objective(tiny_model, clips, draws(seed))[0].item() for seed in (1, 1, 2))
    assert one == same
    assert one != other


@every_objective
def test_the_loss_falls(name: str, tiny_model: WorldModel, clips: ClipTensors) -> None:
    objective = make(name, tiny_model)
    trained = [p for p in (*tiny_model.parameters(), *objective.parameters()) if p.requires_grad]
    adam = torch.optim.Adam(trained, lr=3e-3)
    losses = []
    for seed in range(3):  # fills a queue, if there is one
        objective(tiny_model, clips, draws(seed))
        objective.after_step(tiny_model, 0.0)
    for _ in range(30):  # of the same batch and draws; what follows the model stays where it is
        loss, _ = objective(tiny_model, clips, draws())
        adam.zero_grad()
        loss.backward()
        adam.step()
        losses.append(loss.item())
    assert losses[-1] < 0.95 * losses[0]


@every_objective
def test_it_goes_on_from_its_state(name: str, tiny_model: WorldModel, clips: ClipTensors) -> None:
    objective = make(name, tiny_model)
    first, _ = objective(tiny_model, clips, draws(0))
    first.backward()
    with torch.no_grad():
        for parameter in (*tiny_model.parameters(), *objective.parameters()):
            if parameter.grad is not None:
                parameter -= 0.01 * parameter.grad
    objective.after_step(tiny_model, 0.5)
    resumed = make(name, tiny_model, seed=1)
    resumed.load_state_dict(objective.state_dict())
    expected, got = (o(tiny_model, clips, draws(1))[0].item() for o in (objective, resumed))
    assert got == expected


@every_objective
def test_clips_that_are_too_short_are_refused(name: str, tiny_model: WorldModel, clips: ClipTensors) -> None:
    objective = make(name, tiny_model)
    least = objective.least_frames
    enough = ClipTensors(clips.frames[:, :least], clips.actions[:, : least - 1])
    if name != "masked-future":  # by default it shows up to 3
        assert torch.isfinite(objective(tiny_model, enough, draws())[0])
    short = ClipTensors(clips.frames[:, : least - 1], clips.actions[:, : max(0, least - 2)])
    with pytest.raises(WorldModelError, match=f"at least {least} frames; these have {least - 1}"):
        objective(tiny_model, short, draws())


def test_near_frames_need_clips_that_hold_them(tiny_model: WorldModel, clips: ClipTensors) -> None:
    config = SimCLRConfig(views=ViewsConfig(positives="time", near=4))
    with pytest.raises(WorldModelError, match="SimCLR needs clips of at least 5 frames; these have 4"):
        make_objective(config, model=tiny_model)(tiny_model, clips, draws())


@every_objective
def test_names_and_configurations_belong_together(name: str) -> None:
    assert objective_name(objective_config(name)) == name


def test_an_unknown_name() -> None:
    with pytest.raises(
        WorldModelError, match=r"Unknown objective 'simclear'. Did you mean 'simclr'\? Valid: byol, mae"
    ):
        objective_config("simclear")


def test_two_processes_find_what_one_finds(tmp_path: Path, clips: ClipTensors, tiny_model: WorldModel) -> None:
    """The gradients, averaged over two processes with half the batch each, are those of one with the whole."""
    frames = clips.frames.clone()
    frames[0, 1:3] = frames[0, :1]  # one process sees a rest, which has no direction, the other none
    torch.save((tiny_model.config, tiny_model.interface, frames, clips.actions), tmp_path / "given.pt")
    script = Path(__file__).with_name("two_processes.py")
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    processes = [
        subprocess.Popen(
            [sys.executable, str(script), str(rank), str(tmp_path)],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for rank in range(2)
    ]
    try:
        outputs = [process.communicate(timeout=300)[0] for process in processes]
    finally:
        for process in processes:
            process.kill()
    assert [process.returncode for process in processes] == [0, 0], "\n".join(outputs)[-3000:]
    found = torch.load(tmp_path / "found.pt")
    assert {name.split(":")[0] for name in found} == set(OBJECTIVES)
    for name, (alone, together) in found.items():
        assert alone.keys() == together.keys()
        largest = max(gradient.abs().max() for gradient in alone.values())  # some are zero, but for rounding
        for key, gradient in alone.items():
            error = (together[key] - gradient).abs().max()
            assert error < 5e-3 * gradient.abs().max() + 5e-5 * largest, f"{name}, {key}: {error} in {gradient}"
