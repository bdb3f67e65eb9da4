"""How far a stage is: by its steps, or by the clock."""

from __future__ import annotations

import time
from dataclasses import dataclass


@dataclass(frozen=True)
class Limit:
    """Where a stage ends.

    Attributes:
        steps: number of steps, where `seconds` is None.
        seconds: wall-clock time, s.
    """

    steps: int
    seconds: float | None = None

    def progress(self, step: int, seconds: float) -> float:
        """Return the share that is done, 0 to 1, after `step` steps in `seconds`."""
        if self.seconds is None:
            return min(1.0, step / self.steps)
        return min(1.0, seconds / max(self.seconds, 1e-9))

    def expected_steps(self, step: int, progress: float) -> int:
        """Return how many steps it will have been, as far as can be told."""
        if self.seconds is None:
            return self.steps
        return max(step, round(step / progress)) if progress > 0 else max(1, step)


class Clock:
    """Seconds since the beginning, those of earlier parts of a run included."""

    def __init__(self, before: float) -> None:
        self._start = time.perf_counter() - before

    @property
    def seconds(self) -> float:
        return time.perf_counter() - self._start
