"""Learn to read the state with the encoder itself: fine-tuned from what it knows, or from scratch."""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from worldmodel.errors import WorldModelError
from worldmodel.evaluation.probes.mlp import MLPProbe, perceptron
from worldmodel.evaluation.probes.probe import Rows
from worldmodel.evenly import evenly
from worldmodel.models.world_model import WorldModel
from worldmodel.training.device import Compute

VALIDATION = 256  # rows, at most, that tell which state is kept
CHECKS = 4
AT_ONCE = 256


@dataclass(frozen=True)
class TuneConfig:
    """How the encoder learns from labels.

    Attributes:
        seeds: how many times, each with other labelled episodes; as many as frozen latents are probed when left out,
            0 leaves fine-tuning and training from scratch out.
        steps: of training; the state with the lowest error on the validation rows is kept.
        batch: pairs of frames in a step.
        learning_rate: of AdamW at its highest; it falls to zero along a cosine.
        scratch_steps, scratch_rate: in the place of `steps` and `learning_rate` where an encoder begins with nothing:
            it has farther to go, and would be no control if it were stopped on the way.
        weight_decay: of AdamW.
    """

    seeds: int | None = None
    steps: int = 200
    batch: int = 32
    learning_rate: float = 3e-4
    scratch_steps: int = 1000
    scratch_rate: float = 1e-3
    weight_decay: float = 1e-3

    def __post_init__(self) -> None:
        if self.seeds is not None and self.seeds < 0:
            raise WorldModelError(f"tune.seeds is {self.seeds}; expected at least 0.")
        for name, least in (("steps", 1), ("batch", 1), ("scratch_steps", 1)):
            if getattr(self, name) < least:
                raise WorldModelError(f"tune.{name} is {getattr(self, name)}; expected at least {least}.")

    def from_scratch(self) -> TuneConfig:
        """Return how an encoder learns that begins with nothing."""
        return replace(self, steps=self.scratch_steps, learning_rate=self.scratch_rate)


class TunedReader(nn.Module):
    """Reads the state from a frame and the one before: an encoder, then a perceptron.

    Args:
        model: whose encoder is used, and changed by training.
        head: the perceptron to start from, which reads `[z_{t-1}, z_t]`.
    """

    def __init__(self, model: WorldModel, head: MLPProbe, *, compute: Compute) -> None:
        super().__init__()
        self.model, self.features, self.targets, self._compute = model, head.features, head.targets, compute
        self.weights = nn.ParameterList(weight.clone() for weight, _ in head.layers)
        self.biases = nn.ParameterList(bias.clone() for _, bias in head.layers)

    def forward(self, pairs: Tensor) -> Tensor:
        """Read `pairs [N, 2, H, W, 3]`, uint8, as standardised states `[N, S]`."""
        with self._compute.autocast():
            latents = self.model.encode(pairs)
        layers = list(zip(self.weights, self.biases, strict=True))
        return perceptron(layers, self.features.to(latents.float().flatten(1)))


def tune(
    config: TuneConfig,
    *,
    model: WorldModel,
    head: MLPProbe,
    frames: NDArray[np.uint8],
    states: Tensor,
    rows: Rows,
    compute: Compute,
    seed: int,
) -> TunedReader:
    """Train a copy of a model's encoder together with a head to read states from labelled frames.

    What is kept never reads the validation rows worse than the model and head that it starts from.

    Shapes: N frames, one episode after another; S dimensions of the state.

    Args:
        head: where to start: the best probe of the frozen latents, or one that has learned nothing.
        frames: `[N, H, W, 3]` uint8.
        states: `[N, S]`.
        rows: none is the first of its episode.
        seed: decides the batches.

    Source: Kumar et al., Fine-tuning can distort pretrained features, 2022: first the probe, then all together.
    Differs: the probe is a perceptron.
    """
    reader = TunedReader(copy.deepcopy(model), head, compute=compute).requires_grad_(True)
    held = rows.validation
    held = held[evenly(len(held), VALIDATION)]
    known = reader.targets.to(states[held.to(states.device)])

    def error() -> float:
        read = reader.targets.to(read_tuned(reader, frames, held, compute))
        return float((read - known).square().mean())

    best, kept = error(), copy.deepcopy(reader.state_dict())
    generator = torch.Generator().manual_seed(seed)
    adam = torch.optim.AdamW(reader.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay)
    checks = {round(config.steps * (i + 1) / CHECKS) for i in range(CHECKS)}
    for step in range(config.steps):
        for group in adam.param_groups:
            group["lr"] = config.learning_rate * 0.5 * (1 + math.cos(math.pi * step / config.steps))
        chosen = rows.training[torch.randint(len(rows.training), (config.batch,), generator=generator)]
        target = reader.targets.to(states[chosen.to(states.device)])
        loss = (reader(_pairs(frames, chosen, compute)) - target).square().mean()
        adam.zero_grad()
        loss.backward()
        adam.step()
        if step + 1 in checks and (now := error()) < best:
            best, kept = now, copy.deepcopy(reader.state_dict())
    reader.load_state_dict(kept)
    return reader


@torch.no_grad()
def read_tuned(reader: TunedReader, frames: NDArray[np.uint8], rows: Tensor, compute: Compute) -> Tensor:
    """Read the states of `rows` of `frames`, `[len(rows), S]` in their own units."""
    parts = [reader(_pairs(frames, rows[start : start + AT_ONCE], compute)) for start in range(0, len(rows), AT_ONCE)]
    return reader.targets.back(torch.cat(parts))


def _pairs(frames: NDArray[np.uint8], rows: Tensor, compute: Compute) -> Tensor:
    """Return frames before and at `rows`, `[N, 2, H, W, 3]`."""
    index = rows.cpu().numpy()
    return torch.from_numpy(np.stack([frames[index - 1], frames[index]], axis=1)).to(compute.device)
