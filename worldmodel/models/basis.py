"""Change the basis of the latents, so that distances in them say what a planner asks."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from worldmodel.models.world_model import WorldModel


@torch.no_grad()
def whiten(model: WorldModel, latents: Tensor, floor: float) -> None:
    """Change the basis of the latents so that their covariance is about the identity.

    A planner measures distance in latents. What anti-collapse leaves uneven is paid for there: on the
    reacher after some minutes of training, turning the shoulder moved the latent 30 to 100 times as far as turning the
    elbow by the same angle, and the arm stopped with its elbow anywhere. A linear map puts that right.
    It is folded into the layers that write and read latents, so encoder and predictor stay one linear
    layer at their ends and the model forecasts what it did before, in the new basis. The cells of a grid latent
    are written by one layer, so they share one map, found from all of them together.

    Shapes: N frames, D latent.

    Args:
        latents: `[N, D]`, as `model` encodes frames it was trained on.
        floor: variances below this share of the largest are raised towards it, so that noise stays small.

    Source: ZCA whitening; Bell and Sejnowski, The independent components of natural scenes, 1997. Differs: the floor.
    """
    latents = _cells(model, latents)
    variance, axes = torch.linalg.eigh(torch.cov(latents.T).reshape(latents.shape[1], -1))
    _change(model, axes, (variance + floor * variance.max()).rsqrt(), latents.mean(0))


@torch.no_grad()
def weigh_by_certainty(model: WorldModel, latents: Tensor, errors: Tensor, floor: float) -> None:
    """Change the basis of the latents so that forecasts are about equally wrong in every direction.

    Whitened latents give as much weight to what nobody can foresee as to what is certain. In the new basis the squared
    distance of a forecast to a goal is, up to constants, the negative logarithm of the goal's likelihood, if
    errors are normally distributed: plans are judged by what the model knows. Latents keep their mean square.
    On PushT this took the share of goals that are touched from 43 to 65 %.

    Shapes: N frames, M forecasts, D latent.

    Args:
        latents: `[N, D]`, as `model` encodes frames it was trained on.
        errors: `[M, D]`, what the frames that came were away from their forecasts.
        floor: variances of errors below this share of the largest are raised towards it.

    Source: Mahalanobis, On the generalised distance in statistics, 1936.
    """
    latents, errors = _cells(model, latents), _cells(model, errors)
    variance, axes = torch.linalg.eigh(errors.T @ errors / len(errors))
    scale = (variance + floor * variance.max()).rsqrt()
    mean = latents.mean(0)
    size = (((latents - mean) @ axes) * scale).square().mean().sqrt()
    _change(model, axes, scale * (latents - mean).square().mean().sqrt() / size, mean)


def _cells(model: WorldModel, latents: Tensor) -> Tensor:
    """Return the cells of all frames, `[N * cells, D / cells]`, float64."""
    cells = model.encoder.cells
    return latents.double().reshape(len(latents) * cells, -1)


def _change(model: WorldModel, axes: Tensor, scale: Tensor, mean: Tensor) -> None:
    """Stretch the latents about `mean` along `axes` (columns) by `scale`, in every layer that writes or reads them."""
    cells = model.encoder.cells
    into, back = (axes * scale) @ axes.T, (axes / scale) @ axes.T
    _write(model.encoder.project, into, mean)
    _write(model.predictor.forecast, _each(into, cells), mean.repeat(cells))
    _read(model.predictor.embed_latent, _each(back, cells), mean.repeat(cells))
    first, direct = model.inverse.layers[0], model.inverse.direct
    assert isinstance(first, nn.Linear)
    one, moves = mean.repeat(cells), mean.new_zeros(2 * cells * len(mean))  # differences have no mean
    _read(first, _each(back, 3 * cells), torch.cat([moves, one]))
    _read(direct, _each(back, 2 * cells), moves)
    model.reach.copy_(model.reach.double() @ _each(back, cells))


def _each(matrix: Tensor, count: int) -> Tensor:
    """Return the matrix that maps each of `count` parts of a vector by `matrix`."""
    identity = torch.eye(count, dtype=matrix.dtype, device=matrix.device)
    return torch.kron(identity, matrix)


def _write(layer: nn.Linear, into: Tensor, mean: Tensor) -> None:
    """Make a layer that wrote z write (z - mean) into."""
    layer.weight.copy_(into @ layer.weight.double())
    layer.bias.copy_(into @ (layer.bias.double() - mean))


def _read(layer: nn.Linear, back: Tensor, mean: Tensor) -> None:
    """Make a layer that read z read z' = (z - mean) into, where z = z' back + mean."""
    weight = layer.weight.double()
    layer.bias.copy_(layer.bias.double() + weight @ mean)
    layer.weight.copy_(weight @ back)
