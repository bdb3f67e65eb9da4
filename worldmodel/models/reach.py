"""How much action lies between two latents."""

from __future__ import annotations

import torch
from torch import Tensor

RIDGE = 1e-6  # share of the steps' mean square that is added to every direction's


@torch.no_grad()
def fit_reach(steps: Tensor, actions: Tensor) -> Tensor:
    """Fit the linear map that tells actions from the steps of the latent that they made.

    What a robot moves itself is a few of a latent's numbers: on PushT, the pusher six centimetres from its place was a
    tenth of the distance of the block three from its own, for which dozens of numbers speak. In actions, it is much.

    Shapes: N steps, D latent, A actuators.

    Args:
        steps: `[N, D]`, from each latent to the next.
        actions: `[N, A]`, what was done meanwhile, mean over the block.

    Returns:
        `[A, D]`. The row of an actuator is scaled by the share of its variance that the map explains: torques,
        which change velocities that no single frame shows, count little.
    """
    steps, actions = steps.double(), actions.double()
    if not actions.shape[1]:
        return torch.zeros(0, steps.shape[1], device=steps.device)
    steps, centred = steps - steps.mean(0), actions - actions.mean(0)
    gram = steps.T @ steps
    ridge = RIDGE * gram.diagonal().mean().clamp_min(torch.finfo(gram.dtype).tiny)
    weights = torch.linalg.solve(gram + ridge * torch.eye(len(gram), dtype=gram.dtype, device=gram.device), steps.T)
    weights = (weights @ centred).T
    left, whole = (centred - steps @ weights.T).square().sum(0), centred.square().sum(0)
    explained = torch.where(whole > 0, 1 - left / whole.clamp_min(torch.finfo(whole.dtype).tiny), 0).clamp_min(0)
    reach: Tensor = (explained[:, None] * weights).float()
    return reach
