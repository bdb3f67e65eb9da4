"""Learn to read the state with the encoder itself: fine-tuned from what it knows, or from scratch."""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from worldmodel.errors import WorldModelError
from worldmodel.evaluation.probes.probe import Rows, Scale
from worldmodel.evaluation.probes.ridge import fit_ridge
from worldmodel.models.world_model import WorldModel
from worldmodel.training.device import Compute

VALIDATION = 256  # rows, at most, that tell which state is kept
CHECKS = 4
AT_ONCE = 256


@dataclass(frozen=True)
class TuneConfig:
    """How the encoder learns from labels.

    Attributes:
        seeds: how many times, each with other labelled episodes; 0 leaves fine-tuning and training from scratch out.
        steps: of training; the state with the lowest error on the validation rows is kept.
        batch: pairs of frames in a step.
        learning_rate: of AdamW at its highest; it falls to zero along a cosine.
        weight_decay: of AdamW.
        width: of the head's hidden layer.
    """

    seeds: int = 2
    steps: int = 200
    batch: int = 32
    learning_rate: float = 1e-3
    weight_decay: float = 1e-3
    width: int = 128

    def __post_init__(self) -> None:
        for name, least in (("seeds", 0), ("steps", 1), ("batch", 1), ("width", 1)):
            if getattr(self, name) < least:
                raise WorldModelError(f"tune.{name} is {getattr(self, name)}; expected at least {least}.")


class TunedReader(nn.Module):
    """Reads the state from a frame and the one before: an encoder, then a linear map and a perceptron, added.

    Args:
        model: whose encoder is used, and changed by training.
        width: of the perceptron's hidden layer.
        features, targets: scales of `[z_{t-1}, z_t]` and of the states.
        linear: `[2 D, S]`, where the linear map starts, on standardised columns; the perceptron starts at zero.
    """

    def __init__(
        self, model: WorldModel, *, width: int, features: Scale, targets: Scale, linear: Tensor, compute: Compute
    ) -> None:
        super().__init__()
        self.model, self.features, self.targets, self._compute = model, features, targets, compute
        self.linear = nn.Parameter(linear.clone())
        last = nn.Linear(width, linear.shape[1])
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)
        self.perceptron = nn.Sequential(nn.Linear(len(linear), width), nn.GELU("tanh"), last).to(linear.device)

    def forward(self, pairs: Tensor) -> Tensor:
        """Read `pairs [N, 2, H, W, 3]`, uint8, as standardised states `[N, S]`."""
        with self._compute.autocast():
            latents = self.model.encode(pairs)
        features = self.features.to(latents.float().flatten(1))
        read: Tensor = features @ self.linear + self.perceptron(features)
        return read


def tune(
    config: TuneConfig,
    *,
    model: WorldModel,
    frames: NDArray[np.uint8],
    latents: Tensor,
    states: Tensor,
    rows: Rows,
    compute: Compute,
    seed: int,
    pretrained: bool,
) -> TunedReader:
    """Train a copy of a model's encoder, with a head, to read states from labelled frames.

    Shapes: N frames, one episode after another; D latent, S dimensions of the state.

    Args:
        frames: `[N, H, W, 3]` uint8.
        latents: `[N, D]`, the frames as `model` encodes them.
        states: `[N, S]`.
        rows: none is the first of its episode.
        seed: decides batches and the head's first weights.
        pretrained: start from the best linear probe, and never end worse on the validation rows; else from a linear
            map of zeros.

    Source: Kumar et al., Fine-tuning can distort pretrained features, 2022: first the linear probe, then all together.
    """
    pairs = torch.cat([latents.roll(1, 0), latents], dim=1)
    features, targets = Scale.of(pairs[rows.training]), Scale.of(states[rows.training])
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        reader = TunedReader(
            copy.deepcopy(model),
            width=config.width,
            features=features,
            targets=targets,
            linear=torch.zeros(pairs.shape[1], states.shape[1], device=states.device),
            compute=compute,
        )
    if pretrained:
        _start_from_ridge(reader, pairs, states, rows)
    return _train(config, reader, frames, states, rows, compute, torch.Generator().manual_seed(seed), pretrained)


@torch.no_grad()
def read_tuned(reader: TunedReader, frames: NDArray[np.uint8], rows: Tensor, compute: Compute) -> Tensor:
    """Read the states of `rows` of `frames`, `[len(rows), S]` in their own units."""
    parts = []
    for start in range(0, len(rows), AT_ONCE):
        parts.append(reader(_pairs(frames, rows[start : start + AT_ONCE], compute)))
    return reader.targets.back(torch.cat(parts))


def _start_from_ridge(reader: TunedReader, pairs: Tensor, states: Tensor, rows: Rows) -> None:
    """Put the best linear probe into the linear map: read it off where features are the unit vectors."""
    probe = fit_ridge(pairs, states, rows)
    scale = reader.features
    units = torch.diag(scale.std)
    at_mean = probe(scale.mean[None])
    weight = (probe(scale.mean + units) - at_mean) / reader.targets.std
    with torch.no_grad():
        reader.linear.copy_(weight)
        last = reader.perceptron[-1]
        assert isinstance(last, nn.Linear)
        last.bias.copy_((at_mean[0] - reader.targets.mean) / reader.targets.std)


def _train(
    config: TuneConfig,
    reader: TunedReader,
    frames: NDArray[np.uint8],
    states: Tensor,
    rows: Rows,
    compute: Compute,
    generator: torch.Generator,
    pretrained: bool,
) -> TunedReader:
    held = rows.validation
    held = held[torch.linspace(0, len(held) - 1, min(VALIDATION, len(held))).round().long()]
    known = states[held.to(states.device)]

    def error() -> float:
        return float(((read_tuned(reader, frames, held, compute) - known) / reader.targets.std).square().mean())

    best, kept = (error() if pretrained else math.inf), copy.deepcopy(reader.state_dict())
    reader.requires_grad_(True)
    adam = torch.optim.AdamW(reader.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay)
    checks = {round(config.steps * (i + 1) / CHECKS) for i in range(CHECKS)}
    for step in range(config.steps):
        for group in adam.param_groups:
            group["lr"] = config.learning_rate * 0.5 * (1 + math.cos(math.pi * step / config.steps))
        chosen = rows.training[torch.randint(len(rows.training), (config.batch,), generator=generator)]
        read = reader(_pairs(frames, chosen, compute))
        loss = (read - reader.targets.to(states[chosen.to(states.device)])).square().mean()
        adam.zero_grad()
        loss.backward()
        adam.step()
        if step + 1 in checks and (now := error()) < best:
            best, kept = now, copy.deepcopy(reader.state_dict())
    reader.load_state_dict(kept)
    return reader


def _pairs(frames: NDArray[np.uint8], rows: Tensor, compute: Compute) -> Tensor:
    """Return frames before and at `rows`, `[N, 2, H, W, 3]`."""
    index = rows.cpu().numpy()
    return torch.from_numpy(np.stack([frames[index - 1], frames[index]], axis=1)).to(compute.device)
