"""How sure a success rate is."""

from __future__ import annotations

import math
from dataclasses import dataclass

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
