"""Random numbers for a batch that several processes share."""

from __future__ import annotations

import torch
from torch import Tensor


class Draws:
    """Draws for the joint batch, of which each process takes the rows of its own clips.

    All processes hold a generator of the same seed. What is drawn for a clip is then the same, whatever the
    number of processes that the batch is shared among (where a step is not worked off in parts).

    Args:
        generator: on the device on which numbers are wanted; in the same state in every process.
        rank, ranks: which of how many processes this is.
    """

    def __init__(self, generator: torch.Generator, *, rank: int = 0, ranks: int = 1) -> None:
        self.generator = generator
        self._rank, self._ranks = rank, ranks

    def uniform(self, rows: int, *shape: int) -> Tensor:
        """Return `[rows, *shape]` float32 in [0, 1), one row for each of this process's clips."""
        size = (rows * self._ranks, *shape)
        return self._own(torch.rand(size, generator=self.generator, device=self.generator.device), rows)

    def normal(self, rows: int, *shape: int) -> Tensor:
        """Return `[rows, *shape]` float32 from a standard normal."""
        size = (rows * self._ranks, *shape)
        return self._own(torch.randn(size, generator=self.generator, device=self.generator.device), rows)

    def integers(self, low: int, high: int, rows: int, *shape: int) -> Tensor:
        """Return `[rows, *shape]` int64 in [low, high)."""
        size = (rows * self._ranks, *shape)
        return self._own(torch.randint(low, high, size, generator=self.generator, device=self.generator.device), rows)

    def directions(self, size: int, count: int) -> Tensor:
        """Return `count` random unit vectors as columns, `[size, count]`: the same in every process."""
        vectors = torch.randn(size, count, generator=self.generator, device=self.generator.device)
        unit: Tensor = vectors / vectors.norm(dim=0)
        return unit

    def _own(self, drawn: Tensor, rows: int) -> Tensor:
        own: Tensor = drawn[self._rank * rows : (self._rank + 1) * rows]
        return own
