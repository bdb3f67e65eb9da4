"""Clips to learn from in a moment: a square that wanders over a coloured ground."""

from __future__ import annotations

import pytest
import torch

from worldmodel.objectives.objective import ClipTensors

CLIPS, FRAMES, SIZE = 6, 4, 32


@pytest.fixture
def clips() -> ClipTensors:
    """Six clips of four frames, for `tiny_model`."""
    generator = torch.Generator().manual_seed(0)
    ramp = torch.linspace(20, 120, SIZE)
    ground = torch.stack([ramp[:, None].expand(SIZE, SIZE), ramp.expand(SIZE, SIZE), torch.full((SIZE, SIZE), 60.0)], 2)
    frames = ground.to(torch.uint8).repeat(CLIPS, FRAMES, 1, 1, 1)
    colours = torch.randint(150, 256, (CLIPS, 3), dtype=torch.uint8, generator=generator)
    starts = torch.randint(0, 12, (CLIPS, 2), generator=generator)
    steps = torch.randint(1, 5, (CLIPS, 2), generator=generator)
    for clip in range(CLIPS):
        for frame in range(FRAMES):
            y, x = (starts[clip] + frame * steps[clip]).tolist()
            frames[clip, frame, y : y + 8, x : x + 8] = colours[clip]
    low, high = torch.tensor([-1.0, 0.0]), torch.tensor([1.0, 4.0])
    actions = low + (high - low) * torch.rand(CLIPS, FRAMES - 1, 2, 2, generator=generator)
    return ClipTensors(frames, actions)
