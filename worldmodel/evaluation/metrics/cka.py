"""Linear CKA: whether two descriptions of the same frames have the same geometry."""

from __future__ import annotations

from torch import Tensor


def linear_cka(first: Tensor, second: Tensor) -> float:
    """Return the centred kernel alignment of `first [N, D]` and `second [N, S]`: 0 unrelated, 1 equal up to rotation,
    offset and one scale. Higher is better where `second` is what should be known.

    Source: Kornblith et al., Similarity of neural network representations revisited, 2019, section 3, linear kernel.
    """
    a, b = (x.double() - x.double().mean(0) for x in (first, second))
    shared = (a.T @ b).square().sum()
    return float(shared / ((a.T @ a).norm() * (b.T @ b).norm()).clamp(min=1e-30))
