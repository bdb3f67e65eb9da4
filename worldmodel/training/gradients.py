"""The gradients of a step: its parts one after another, over one process or several."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from functools import partial
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from worldmodel.errors import WorldModelError
from worldmodel.models.world_model import WorldModel
from worldmodel.objectives.draws import Draws
from worldmodel.training.device import Compute
from worldmodel.training.processes import Processes
from worldmodel.training.replay import Replay
from worldmodel.training.stage import ComputeLoss, Stage, Step


class Gradients:
    """Computes the gradients of a stage's steps.

    On a GPU that trains alone, steps that can be are replayed (see `Replay`).

    Args:
        stage: whose networks and parts of the model ask for gradients, and no others.

    Attributes:
        unlike: steps in the beginning that take longer than those that follow.
    """

    def __init__(self, stage: Stage, model: WorldModel, *, compute: Compute, processes: Processes) -> None:
        module = _StepModule(model, stage.own)
        shared = processes.count > 1
        self._module = DistributedDataParallel(module, broadcast_buffers=False) if shared else module
        self._stage, self._compute, self._rank = stage.name, compute, processes.rank
        self._generator = torch.Generator(compute.device)
        self._draws = Draws(self._generator, rank=processes.rank, ranks=processes.count)
        replays = compute.device.type == "cuda" and compute.replays and stage.replays and not shared
        learn = [p for p in module.parameters() if p.requires_grad]
        self._replay = Replay(learn, self._generator) if replays else None
        self.unlike = Replay.AS_IT_IS + 1 if replays else 2  # operations are counted in the first, then it is compiled

    def add_up(self, parts: Sequence[ComputeLoss], seed: int) -> tuple[dict[str, Tensor], list[Tensor]]:
        """Add up the gradients of a step's parts; the random draws depend on `seed` alone.

        Return the step's logs, and the loss of each part, which hold until the next step.

        Raises:
            WorldModelError: a GPU has no room for the step.
        """
        torch.manual_seed(seed + self._rank)  # dropout draws from PyTorch's own generator
        self._generator.manual_seed(seed)
        work = partial(self._backward, parts)
        try:
            return self._replay(work) if self._replay else work()
        except torch.OutOfMemoryError as error:
            raise WorldModelError(
                f"The GPU has no room for a step of '{self._stage}': {str(error).splitlines()[0]} The last checkpoint "
                "is kept. Go on with `worldmodel train` and --no-replay, which takes less room; or begin anew with a "
                f"smaller --{self._stage}.batch, or with --{self._stage}.accumulate, which works it off in parts."
            ) from error

    def let_go(self) -> None:
        """Give back the memory that steps took, after the last of them."""
        self._replay = None

    def _backward(self, parts: Sequence[ComputeLoss]) -> tuple[dict[str, Tensor], list[Tensor]]:
        logs: dict[str, Tensor] = {}
        losses = []
        for number, part in enumerate(parts):
            later = number + 1 < len(parts)
            module = self._module
            with module.no_sync() if later and isinstance(module, DistributedDataParallel) else nullcontext():
                with self._compute.autocast():
                    step = cast(Step, self._module(part, self._draws))
                (step.loss / len(parts)).backward()  # type: ignore[no-untyped-call]
            losses.append(step.loss.detach())
            logs = {name: logs.get(name, 0) + value / len(parts) for name, value in step.logs.items()}
        return logs, losses


class _StepModule(nn.Module):
    """All that learns in a stage, and a forward pass that computes a loss: what DistributedDataParallel wants."""

    def __init__(self, model: WorldModel, own: nn.Module | None) -> None:
        super().__init__()
        self.model, self.own = model, own

    def forward(self, compute_loss: Callable[[Draws], Step], draws: Draws) -> Step:
        return compute_loss(draws)
