"""The batch that several processes share, seen as one."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, distributed


def ranks() -> int:
    """Return how many processes share the batch."""
    return distributed.get_world_size() if distributed.is_available() and distributed.is_initialized() else 1


def rank() -> int:
    """Return which of them this is, counted from 0."""
    return distributed.get_rank() if ranks() > 1 else 0


def joint(rows: Tensor, dim: int = 0) -> Tensor:
    """Return the rows of all processes along `dim`, in order of their ranks; without others, `rows` itself.

    Gradients flow back to the process that a row came from, summed over those that used it. Where gradients
    of parameters are then averaged over processes, as DistributedDataParallel does, a loss that every process
    computes on all rows, or on its own share of them, has the gradient that one process would have found.
    """
    if ranks() == 1:
        return rows
    gathered: Tensor = _Gather.apply(rows.movedim(dim, 0).contiguous())  # type: ignore[no-untyped-call]
    return gathered.movedim(0, dim)


def joint_mean(value: Tensor) -> Tensor:
    """Return the mean of a number over all processes, without gradient: what a sum over the whole batch is divided by.

    Where gradients are then averaged over processes, a process's own sum by it has the gradient of the joint mean.
    """
    if ranks() == 1:
        return value
    summed = value.detach().float().clone()
    distributed.all_reduce(summed)
    return summed / ranks()


class _Gather(torch.autograd.Function):
    """Concatenate along the first dimension; backward, sum what all processes found and return our part."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor) -> Tensor:
        parts = [torch.empty_like(rows) for _ in range(ranks())]
        distributed.all_gather(parts, rows)
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        gradient = gradient.clone(memory_format=torch.contiguous_format)
        distributed.all_reduce(gradient)
        return gradient.chunk(ranks())[distributed.get_rank()]
