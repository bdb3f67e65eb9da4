"""One of two processes that share a batch: `two_processes.py RANK FOLDER`.

The folder gives model and clips (given.pt) and takes, from the first process, the gradients that it found alone with
the whole batch and together with the other (found.pt), for every objective.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor, distributed

from worldmodel.models.interface import Interface
from worldmodel.models.world_model import WorldModel, WorldModelConfig
from worldmodel.objectives.byol import BYOLConfig
from worldmodel.objectives.draws import Draws
from worldmodel.objectives.masked_future import MaskedFutureConfig
from worldmodel.objectives.moco import MoCoConfig
from worldmodel.objectives.objective import ClipTensors
from worldmodel.objectives.registry import OBJECTIVES, ObjectiveConfig, make_objective, objective_config
from worldmodel.objectives.simclr import SimCLRConfig
from worldmodel.objectives.views import ViewsConfig

RANKS = 2
STEPS = 2  # the second sees what the first did to teachers and queues
RATE = 1e-6  # of learning: small, since rounding that tips a ReLU over would grow with the way that is gone


def configurations() -> dict[str, ObjectiveConfig]:
    """Return every objective as it comes, and some as they can be."""
    time = ViewsConfig(positives="time")
    return {name: objective_config(name) for name in OBJECTIVES} | {
        "masked-future:variance": MaskedFutureConfig(anti_collapse="variance"),
        "masked-future:teacher": MaskedFutureConfig(anti_collapse="teacher"),
        "masked-future:straight": MaskedFutureConfig(straight_weight=1.0),
        "simclr:time": SimCLRConfig(views=time),
        "moco:small": MoCoConfig(queue=16, views=replace(time, positives="both")),
        "byol:time": BYOLConfig(views=time),
    }


def gradients(
    config: ObjectiveConfig,
    model_config: WorldModelConfig,
    interface: Interface,
    clips: ClipTensors,
    rank: int,
    ranks: int,
) -> dict[str, Tensor]:
    """Take some steps and return the gradients of the last, averaged over processes, and the loss."""
    torch.manual_seed(0)
    model = WorldModel(model_config, interface=interface)
    objective = make_objective(config, model=model)
    named = {f"model.{name}": p for name, p in model.named_parameters()}
    named |= {f"objective.{name}": p for name, p in objective.named_parameters()}
    generator = torch.Generator().manual_seed(0)
    found: dict[str, Tensor] = {}
    for step in range(STEPS):
        loss, _ = objective(model, clips, Draws(generator, rank=rank, ranks=ranks))
        for parameter in named.values():
            parameter.grad = None
        loss.backward()
        found = {name: p.grad.clone() for name, p in named.items() if p.grad is not None} | {"loss": loss.detach()}
        if ranks > 1:
            for value in found.values():
                distributed.all_reduce(value)
                value /= ranks
        with torch.no_grad():
            for name, parameter in named.items():
                if name in found:
                    parameter -= RATE * found[name]
        objective.after_step(model, (step + 1) / (STEPS + 1))
    return found


def main(rank: int, folder: Path) -> None:
    torch.set_num_threads(1)
    model_config, interface, frames, actions = torch.load(folder / "given.pt", weights_only=False)
    given = (model_config, interface)
    alone = {}
    if rank == 0:
        whole = ClipTensors(frames, actions)
        alone = {name: gradients(c, *given, whole, 0, 1) for name, c in configurations().items()}
    distributed.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=RANKS)
    own = ClipTensors(frames.chunk(RANKS)[rank], actions.chunk(RANKS)[rank])
    together = {name: gradients(c, *given, own, rank, RANKS) for name, c in configurations().items()}
    if rank == 0:
        torch.save({name: (alone[name], together[name]) for name in alone}, folder / "found.pt")
    distributed.destroy_process_group()


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]))
