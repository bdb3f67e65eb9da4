"""AdamW with warm-up and cosine decay, whose state travels as plain tensors."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from worldmodel.errors import CheckpointError, WorldModelError


@dataclass(frozen=True)
class OptimiserConfig:
    """AdamW.

    Attributes:
        learning_rate: at its highest, after the warm-up; it then falls to zero along a cosine.
        weight_decay: of matrices and filters; vectors (biases, norms, tokens) are left free.
        warmup: steps in which the learning rate rises.
        clip: largest norm of the gradient.
        beta1, beta2: memories of the mean and of the square.
    """

    learning_rate: float = 1e-3
    weight_decay: float = 1e-3
    warmup: int = 50
    clip: float = 1.0
    beta1: float = 0.9
    beta2: float = 0.95

    def __post_init__(self) -> None:
        for name in ("learning_rate", "clip"):
            if not 0 < getattr(self, name) < math.inf:
                raise WorldModelError(f"{name} is {getattr(self, name)}; expected more than 0.")
        for name in ("beta1", "beta2"):
            if not 0 <= getattr(self, name) < 1:
                raise WorldModelError(f"{name} is {getattr(self, name)}; expected 0 or a share below 1.")
        if self.warmup < 0 or not self.weight_decay >= 0:
            raise WorldModelError(
                f"warmup and weight_decay are {self.warmup} and {self.weight_decay}; expected 0 or more."
            )


class Optimiser:
    """Train some of a model's parameters.

    Args:
        parameters: with their names, by which their state is saved.

    Source: Loshchilov and Hutter, Decoupled weight decay regularization, 2019; SGDR, 2017.
    """

    def __init__(self, config: OptimiserConfig, parameters: Iterable[tuple[str, nn.Parameter]]) -> None:
        self.config = config
        self._named = dict(parameters)
        groups = [
            {"params": [p for p in self._named.values() if p.ndim >= 2], "weight_decay": config.weight_decay},
            {"params": [p for p in self._named.values() if p.ndim < 2], "weight_decay": 0.0},
        ]
        self._adam = torch.optim.AdamW(groups, lr=config.learning_rate, betas=(config.beta1, config.beta2), fused=True)

    def learning_rate(self, step: int, progress: float) -> float:
        """Return the learning rate of step `step`, counted from 0, when `progress` of the schedule, 0 to 1, is done."""
        rise = min(1.0, (step + 1) / max(1, self.config.warmup))
        return self.config.learning_rate * rise * 0.5 * (1 + math.cos(math.pi * progress))

    def step(self, step: int, progress: float) -> Tensor:
        """Follow the gradients that the parameters hold, and clear them; return their norm before clipping.

        Raises:
            WorldModelError: the gradient is not finite; the parameters are left as they were.
        """
        norm = nn.utils.clip_grad_norm_(self._named.values(), self.config.clip)
        if not torch.isfinite(norm):
            raise WorldModelError(
                f"Training diverged at step {step}: the gradient's norm is {norm.item():.4g}; expected a finite "
                "number. The last checkpoint is kept. Train with a smaller learning_rate."
            )
        for group in self._adam.param_groups:
            group["lr"] = self.learning_rate(step, progress)
        self._adam.step()
        self._adam.zero_grad()
        return norm

    def state(self) -> dict[str, Tensor]:
        """Return the state as tensors named `<parameter>/<quantity>`."""
        return {
            f"{name}/{quantity}": value
            for name, parameter in self._named.items()
            for quantity, value in self._adam.state[parameter].items()
        }

    def load(self, state: dict[str, Tensor]) -> None:
        """Put back what `state` returned.

        Raises:
            CheckpointError: a tensor is missing or of another shape.
        """
        for name, parameter in self._named.items():
            for quantity in ("step", "exp_avg", "exp_avg_sq"):
                value = state.get(f"{name}/{quantity}")
                shape = torch.Size([]) if quantity == "step" else parameter.shape
                if value is None or value.shape != shape:
                    raise CheckpointError(
                        f"The optimiser's state has no fitting '{name}/{quantity}'. Train again from the start."
                    )
                # The fused kernel goes through memory as it lies: moments must lie as the parameter does (channels
                # last), and files hold tensors row by row.
                held = value.to(parameter.device) if quantity == "step" else torch.empty_like(parameter).copy_(value)
                self._adam.state[parameter][quantity] = held
