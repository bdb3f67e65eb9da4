"""Principal components of pixels."""

from __future__ import annotations

import numpy as np
import torch

from worldmodel.evaluation.probes.pixels import fit_pixel_pca


def test_components_hold_what_varies() -> None:
    rng = np.random.default_rng(0)
    amounts = rng.uniform(-1, 1, size=(300, 2)) * np.array([60, 20])
    patterns = rng.choice([-1.0, 1.0], size=(2, 8, 8, 3))
    frames = (128 + np.einsum("nk,khwc->nhwc", amounts, patterns)).round().astype(np.uint8)
    pca = fit_pixel_pca(frames[:200], 2, torch.device("cpu"))
    assert torch.allclose(pca.axes.T @ pca.axes, torch.eye(2), atol=1e-4)
    found = pca(frames[200:])
    design = torch.cat([found, torch.ones(100, 1)], dim=1).double()
    amount = torch.from_numpy(amounts[200:])
    fit = torch.linalg.lstsq(design, amount).solution
    assert (design @ fit - amount).abs().max() < 1  # of 255: rounding


def test_large_frames_are_brought_down() -> None:
    frames = np.random.default_rng(0).integers(0, 256, (5, 96, 128, 3), dtype=np.uint8)
    assert len(fit_pixel_pca(frames, 3, torch.device("cpu")).mean) == 48 * 64 * 3
