"""Muon for matrices, AdamW for the rest, with warm-up and cosine decay; their state travels as plain tensors."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from worldmodel.errors import CheckpointError, WorldModelError


@dataclass(frozen=True)
class OptimiserConfig:
    """Muon and AdamW.

    Attributes:
        learning_rate: of AdamW, at its highest, after the warm-up; it then falls to zero along a cosine.
        muon: the same of Muon, for the model's matrices: where all of a step goes, in as many directions as there are,
            and not in the few of the largest gradients. 0 leaves them to AdamW.
        weight_decay: of matrices and filters; vectors (biases, norms, tokens) are left free.
        warmup: steps in which the learning rate rises, at the latest until a tenth of the schedule is done.
        clip: largest norm of the gradient.
        beta1, beta2: memories of the mean and of the square.
    """

    learning_rate: float = 1e-3
    muon: float = 0.0
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
        for name in ("muon", "warmup", "weight_decay"):
            if not 0 <= getattr(self, name) < math.inf:
                raise WorldModelError(f"{name} is {getattr(self, name)}; expected 0 or more.")

    @property
    def gentler(self) -> str:
        """What to train with when this diverges."""
        return "a smaller learning_rate and muon" if self.muon else "a smaller learning_rate"


class Optimiser:
    """Train some of a model's parameters.

    Args:
        parameters: with their names, by which their state is saved.
        heads: the same, of what is thrown away after training; AdamW alone trains them, as is usual for output layers,
            which are too wide for Muon besides: a sketch's takes it longer than all the rest of a step.

    Source: Jordan et al., Muon: an optimizer for hidden layers in neural networks, 2024, its steps as large as AdamW's
    (Liu et al., Muon is scalable for LLM training, 2025); Loshchilov and Hutter, Decoupled weight decay
    regularization, 2019; SGDR, 2017.
    """

    LATEST = 0.1  # of the schedule: the warm-up is over, even where the whole is shorter than it
    ADAM, MUON = ("step", "exp_avg", "exp_avg_sq"), ("momentum_buffer",)  # what each remembers of a parameter

    def __init__(
        self,
        config: OptimiserConfig,
        parameters: Iterable[tuple[str, nn.Parameter]],
        heads: Iterable[tuple[str, nn.Parameter]] = (),
    ) -> None:
        self.config = config
        model = dict(parameters)
        matrices = {name: p for name, p in model.items() if config.muon and p.ndim == 2}
        rest = {name: p for name, p in (model | dict(heads)).items() if name not in matrices}
        groups = [
            {"params": [p for p in rest.values() if p.ndim >= 2], "weight_decay": config.weight_decay},
            {"params": [p for p in rest.values() if p.ndim < 2], "weight_decay": 0.0},
        ]
        adam = torch.optim.AdamW(groups, lr=config.learning_rate, betas=(config.beta1, config.beta2), fused=True)
        self._parts = [_Part(adam, rest, self.ADAM, config.learning_rate)]
        if matrices:
            muon = torch.optim.Muon(
                matrices.values(),
                lr=config.muon,
                weight_decay=config.weight_decay,
                adjust_lr_fn="match_rms_adamw",
            )
            self._parts.append(_Part(muon, matrices, self.MUON, config.muon))

    def learning_rate(self, step: int, progress: float) -> float:
        """Return AdamW's learning rate at step `step`, from 0, when `progress` of the schedule, 0 to 1, is done."""
        return self.config.learning_rate * self._share(step, progress)

    def clip(self) -> Tensor:
        """Clip the gradients that the parameters hold; return their norm before that."""
        return nn.utils.clip_grad_norm_([p for part in self._parts for p in part.named.values()], self.config.clip)

    def step(self, step: int, progress: float) -> None:
        """Follow the gradients that the parameters hold, and clear them."""
        for part in self._parts:
            part.step(self._share(step, progress))

    def state(self) -> dict[str, Tensor]:
        """Return the state as tensors named `<parameter>/<quantity>`."""
        return {name: value for part in self._parts for name, value in part.state().items()}

    def load(self, state: dict[str, Tensor]) -> None:
        """Put back what `state` returned.

        Raises:
            CheckpointError: a tensor is missing or of another shape.
        """
        for part in self._parts:
            part.load(state)

    def _share(self, step: int, progress: float) -> float:
        """Return the learning rate as a share of the highest."""
        risen = max((step + 1) / max(1, self.config.warmup), progress / self.LATEST)
        return min(1.0, risen) * 0.5 * (1 + math.cos(math.pi * progress))


@dataclass(frozen=True)
class _Part:
    """One optimiser with its parameters by name, what it remembers of each, and its highest learning rate."""

    optimiser: torch.optim.Optimizer
    named: dict[str, nn.Parameter]
    quantities: tuple[str, ...]
    rate: float

    def step(self, share: float) -> None:
        for group in self.optimiser.param_groups:
            group["lr"] = self.rate * share
        self.optimiser.step()
        self.optimiser.zero_grad()

    def state(self) -> dict[str, Tensor]:
        return {
            f"{name}/{quantity}": value
            for name, parameter in self.named.items()
            for quantity, value in self.optimiser.state[parameter].items()
        }

    def load(self, state: dict[str, Tensor]) -> None:
        for name, parameter in self.named.items():
            for quantity in self.quantities:
                value = state.get(f"{name}/{quantity}")
                shape = torch.Size([]) if quantity == "step" else parameter.shape
                if value is None or value.shape != shape:
                    raise CheckpointError(
                        f"The optimiser's state has no fitting '{name}/{quantity}'. Train again from the start."
                    )
                # The fused kernel goes through memory as it lies: moments must lie as the parameter does (channels
                # last), and files hold tensors row by row.
                held = value.to(parameter.device) if quantity == "step" else torch.empty_like(parameter).copy_(value)
                self.optimiser.state[parameter][quantity] = held
