"""t-SNE: a plane on which neighbours stay neighbours."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from worldmodel.errors import WorldModelError

PERPLEXITY = 30.0
ROUNDS, EARLY = 500, 120  # steps, and those in which attraction is exaggerated
EXAGGERATION = 12.0


def embed(points: NDArray[np.float32], *, perplexity: float = PERPLEXITY, rounds: int = ROUNDS) -> NDArray[np.float32]:
    """Place `points [N, D]` on a plane, `[N, 2]`; begins from their principal directions, so it repeats.

    Time and memory grow with N²: a thousand points take seconds.

    Args:
        perplexity: about how many neighbours each point has; lowered where there are few points.

    Raises:
        WorldModelError: fewer than four points.

    Source: van der Maaten and Hinton, Visualizing data using t-SNE, 2008; the start from PCA is Kobak and Berens', The
    art of using t-SNE for single-cell transcriptomics, 2019.
    """
    if len(points) < 4:
        raise WorldModelError(f"{len(points)} points are too few for t-SNE; expected at least 4.")
    x = points.astype(np.float64)
    centred = x - x.mean(0)
    directions, singular, _ = np.linalg.svd(centred, full_matrices=False)
    start = directions[:, :2] * singular[:2]
    if start.shape[1] < 2:
        start = np.pad(start, ((0, 0), (0, 2 - start.shape[1])))
    y = start / max(start[:, 0].std(), 1e-12) * 1e-4
    affinity = _affinities(x, min(perplexity, (len(x) - 1) / 3))
    step, gains, rate = np.zeros_like(y), np.ones_like(y), max(len(x) / EXAGGERATION / 4, 50.0)
    for number in range(rounds):
        early = number < EARLY
        nearness = 1 / (1 + squared_distances(y))
        np.fill_diagonal(nearness, 0)
        pull = ((EXAGGERATION if early else 1.0) * affinity - nearness / nearness.sum()) * nearness
        gradient = 4 * (pull.sum(1)[:, None] * y - pull @ y)
        gains = np.maximum(np.where(gradient * step < 0, gains + 0.2, gains * 0.8), 0.01)
        step = (0.5 if early else 0.8) * step - rate * gains * gradient
        y = y + step
        y -= y.mean(0)
    placed: NDArray[np.float32] = y.astype(np.float32)
    return placed


def squared_distances(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return those between all rows of `[N, D]`, `[N, N]`."""
    squares = (x**2).sum(1)
    distances: NDArray[np.float64] = np.maximum(squares[:, None] + squares - 2 * x @ x.T, 0)
    return distances


def _affinities(x: NDArray[np.float64], perplexity: float) -> NDArray[np.float64]:
    """Return how much each pair belongs together, `[N, N]`, symmetric and 1 in all."""
    distances = squared_distances(x)
    np.fill_diagonal(distances, np.inf)
    low, high = np.zeros(len(x)), np.full(len(x), np.inf)
    precision = 1 / np.maximum(np.median(np.where(np.isfinite(distances), distances, 0), axis=1), 1e-12)
    nearest = distances.min(1, keepdims=True)
    for _ in range(50):
        weights = np.exp(-(distances - nearest) * precision[:, None])
        share = weights / weights.sum(1, keepdims=True)
        entropy = -(share * np.log(np.maximum(share, 1e-300))).sum(1)
        too_wide = entropy > np.log(perplexity)
        low, high = np.where(too_wide, precision, low), np.where(too_wide, high, precision)
        precision = np.where(np.isfinite(high), (low + high) / 2, 2 * precision)
    both: NDArray[np.float64] = np.maximum((share + share.T) / (2 * len(x)), 1e-12)
    return both
