"""How fast a stage trains, and what share of the machine it uses."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch.utils.flop_counter import FlopCounterMode

from worldmodel.training.device import Compute


@contextmanager
def counting_flops() -> Iterator[FlopCounterMode]:
    """Count operations, of networks as they are: what the compiler first meets in here, it would never compile."""
    with torch.compiler.set_stance("force_eager"), FlopCounterMode(display=False) as counter:
        yield counter


class SpeedMeter:
    """Counts frames, waiting and floating-point operations between two entries of the log.

    Args:
        frames: that all processes together see in a step.
        compute: whose rate of matrix multiplication is the limit.
        unlike: steps in the beginning that take longer than those that follow, and are left out of the time; operations
            are counted in the first.
    """

    def __init__(self, frames: int, compute: Compute, unlike: int) -> None:
        self._frames, self._compute, self._unlike = frames, compute, unlike
        self._flops: int | None = None
        self.restart()

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Count the block as waiting for data."""
        started = time.perf_counter()
        yield
        self._waited += time.perf_counter() - started

    @contextmanager
    def step(self) -> Iterator[None]:
        """Count the block as a step."""
        if self._flops is None:
            with counting_flops() as counter:
                yield
            self._flops = counter.get_total_flops()
        else:
            yield
        if self._unlike:
            self._unlike -= 1
            self.restart()
        else:
            self._steps += 1

    def values(self) -> dict[str, float]:
        """Return scalars by tag since the last call; empty where no step was timed.

        `speed/share_of_matmul`: floating-point operations of matrix multiplications and convolutions, forward and
        backward, a second, as a share of the machine's measured rate in one matrix multiplication.
        `speed/matmul_flops`: that rate, FLOP/s, in the precision of training.
        `speed/bf16`: 1 where that is bfloat16, else 0.
        `speed/data_wait`: share of the time that the step waits for clips.
        """
        elapsed, steps, waited = time.perf_counter() - self._started, self._steps, self._waited
        self.restart()
        if not steps:
            return {}
        return {
            "speed/frames_per_second": self._frames * steps / elapsed,
            "speed/share_of_matmul": (self._flops or 0) * steps / elapsed / self._compute.flops,
            "speed/matmul_flops": self._compute.flops,
            "speed/bf16": float(self._compute.bf16),
            "speed/data_wait": waited / elapsed,
        }

    def restart(self) -> None:
        """Leave out what was since the last values: it was no training."""
        self._started, self._steps, self._waited = time.perf_counter(), 0, 0.0
