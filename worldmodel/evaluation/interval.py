"""How sure a success rate is, and a mean."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

Z95 = 1.959963984540054  # two-sided 95 % of a standard normal


@dataclass(frozen=True)
class Rate:
    """A share of successes with its 95 % interval.

    Attributes:
        value, low, high: in [0, 1].
        count: how many trials.
    """

    value: float
    low: float
    high: float
    count: int

    def __str__(self) -> str:
        return f"{self.value:.0%} [{self.low:.0%}, {self.high:.0%}]"


def wilson(successes: int, count: int) -> Rate:
    """Return the Wilson score interval of `successes` out of `count` trials.

    Source: Wilson, Probable inference, the law of succession, and statistical inference, 1927.
    """
    if count < 1 or not 0 <= successes <= count:
        raise ValueError(f"{successes} successes of {count} trials; expected 0 <= successes <= count, count >= 1")
    share = successes / count
    spread = Z95**2 / count
    middle = (share + spread / 2) / (1 + spread)
    half = Z95 / (1 + spread) * math.sqrt(share * (1 - share) / count + spread / (4 * count))
    return Rate(share, max(0.0, middle - half), min(1.0, middle + half), count)


@dataclass(frozen=True)
class Mean:
    """A mean with its 95 % interval.

    Attributes:
        value, low, high: in the unit of what was averaged.
        count: of how many values.
    """

    value: float
    low: float
    high: float
    count: int

    def __str__(self) -> str:
        return f"{self.value:.4g} [{self.low:.4g}, {self.high:.4g}]"


def student(values: Sequence[float]) -> Mean:
    """Return Student's interval of the mean of independent values, two or more.

    Source: Student, The probable error of a mean, 1908.
    """
    if len(values) < 2:
        raise ValueError(f"{len(values)} values; expected at least 2")
    mean = float(np.mean(values))
    half = t95(len(values) - 1) * float(np.std(values, ddof=1)) / math.sqrt(len(values))
    return Mean(mean, mean - half, mean + half, len(values))


def t95(freedom: int) -> float:
    """Return the two-sided 95 % point of Student's t, to six digits.

    With t = sqrt(freedom) tan(angle), the density is proportional to cos(angle) ** (freedom - 1).
    """
    angles = np.linspace(0, math.pi / 2, 1_000_001)
    heights = np.cos(angles) ** (freedom - 1)
    areas = np.concatenate([[0.0], np.cumsum((heights[1:] + heights[:-1]) / 2)])
    return math.sqrt(freedom) * math.tan(np.interp(0.95, areas / areas[-1], angles))
