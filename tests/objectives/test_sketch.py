"""Sketches: what their error says."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from worldmodel.errors import WorldModelError
from worldmodel.objectives.sketch import Sketch, SketchConfig, shrink


def frames(count: int = 12, height: int = 32, width: int = 32) -> torch.Tensor:
    return torch.randint(
        0, 256, (count, height, width, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(1)
    )


def still(sketch: Sketch) -> Sketch:
    """Make it draw the mean of the batch, whatever the latent."""
    last = sketch.layers[-1]
    assert isinstance(last, torch.nn.Linear)
    torch.nn.init.zeros_(last.weight)
    torch.nn.init.zeros_(last.bias)
    return sketch


def test_drawing_the_mean_of_the_batch_has_error_one_whatever_the_scene() -> None:
    sketch = still(Sketch(SketchConfig(width=8, pixels=16), height=32, width=32, latent=4))
    seen = frames()
    torch.testing.assert_close(sketch(torch.randn(12, 4), seen), torch.tensor(1.0))
    dark = (seen // 8).to(torch.uint8)
    torch.testing.assert_close(sketch(torch.randn(12, 4), dark), torch.tensor(1.0))


def test_frames_that_are_all_alike_have_a_finite_error_and_gradient() -> None:
    sketch = Sketch(SketchConfig(width=8, pixels=16), height=32, width=32, latent=4)
    latents = torch.randn(12, 4, requires_grad=True)
    error = sketch(latents, frames(1).expand(12, -1, -1, -1))
    error.backward()
    assert torch.isfinite(error)
    assert latents.grad is not None
    assert torch.isfinite(latents.grad).all()


def test_latents_that_tell_frames_apart_are_drawn_in_the_end() -> None:
    torch.manual_seed(0)
    sketch = Sketch(SketchConfig(width=64, pixels=8), height=32, width=64, latent=12)
    optimiser = torch.optim.Adam(sketch.parameters(), 1e-2)
    seen, latents = frames(width=64), torch.eye(12)
    first = sketch(latents, seen).item()
    for _ in range(100):
        error = sketch(latents, seen)
        optimiser.zero_grad()
        error.backward()
        optimiser.step()
    assert error < 0.05 < 0.5 < first
    assert sketch(latents.flip(0), seen) > 0.5  # another frame's picture


def test_sizes_that_cannot_be_are_refused_by_name() -> None:
    with pytest.raises(WorldModelError, match="pixels of a sketch is 0"):
        SketchConfig(pixels=0)


@pytest.mark.parametrize(
    ("height", "width", "size"),
    [
        (64, 64, (32, 32)),
        (64, 128, (16, 32)),
        (48, 96, (16, 32)),
        (96, 96, (12, 12)),
        (24, 40, (32, 53)),
        (8, 8, (8, 8)),
    ],
)
def test_shrinking_takes_the_mean_of_the_pixels(height: int, width: int, size: tuple[int, int]) -> None:
    taken = frames(3, height, width)
    pooled = F.adaptive_avg_pool2d(taken.permute(0, 3, 1, 2).double() / 127.5 - 1, size).permute(0, 2, 3, 1)
    torch.testing.assert_close(shrink(taken, size), pooled.float())
