"""α-ReQ: how fast the variances of the latents fall from the largest to the smallest."""

from __future__ import annotations

import torch
from torch import Tensor

NOISE = 1e-9  # variances below this share of the largest are rounding


def alpha_req(latents: Tensor) -> float:
    """Return α of the power law λ_i ~ i^-α that the covariance of latents `[N, D]` comes closest to.

    Near 1 is best where latents are not whitened (there: as smooth as can be without losing detail); white latents
    have 0, collapsing ones a large α.

    Source: Agrawal et al., α-ReQ, 2022: least squares of log λ_i on log i. Differs: all variances above
    rounding are used, since D is small here; the paper leaves out the ends of spectra of hundreds.
    """
    variance = torch.linalg.eigvalsh(torch.cov(latents.double().T).reshape(latents.shape[1], -1)).flip(0)
    variance = variance[variance > NOISE * variance[0]]
    if len(variance) < 2:
        return float("inf")
    rank = torch.arange(1, len(variance) + 1, dtype=torch.float64, device=variance.device).log()
    rank = rank - rank.mean()
    return -float((rank * variance.log()).sum() / rank.square().sum())
