"""How much to record, and how many episodes that takes."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from worldmodel.datasets.shard_writer import ShardSize
from worldmodel.errors import WorldModelError


@dataclass(frozen=True)
class Amount:
    """How much to record, in whole episodes.

    Attributes:
        unit: what is counted.
        count: how many of them at least.
        most: how many an episode has at most.
    """

    unit: Literal["frames", "episodes", "actions"]
    count: int
    most: int

    @classmethod
    def of(
        cls,
        *,
        frames: int | None,
        episodes: int | None,
        hours: float | None,
        control_seconds: float,
        episode_frames: int,
        steps_per_frame: int,
    ) -> Amount:
        """Return the amount that exactly one of `frames`, `episodes` and `hours` (of robot time) tells.

        Raises:
            WorldModelError: none or several are given, or one that is not above zero.
        """
        given = [value for value in (frames, episodes, hours) if value is not None]
        if len(given) != 1 or not 0 < given[0] < math.inf:
            raise WorldModelError(
                f"frames is {frames}, episodes is {episodes}, hours is {hours}; expected one of them, above zero."
            )
        if frames:
            return cls("frames", frames, episode_frames)
        if episodes:
            return cls("episodes", episodes, 1)
        return cls("actions", math.ceil((hours or 0) * 3600 / control_seconds), (episode_frames - 1) * steps_per_frame)

    def of_size(self, size: ShardSize) -> int:
        """Return how many units something of that size has."""
        return {"frames": size.frames, "episodes": size.episodes, "actions": size.actions}[self.unit]


class Quota:
    """Tells how many episodes must be played: the fewest first ones that make the amount.

    It counts an episode that is not finished as a full one, so it never asks for one too many; when the
    world ends episodes early, it asks for more.

    Args:
        sealed: what is already in shards.
        waiting: the finished episodes behind those.

    Attributes:
        episodes: how many of the first episodes make the amount.
        missing: how many of those are not finished yet.
    """

    def __init__(self, amount: Amount, *, sealed: ShardSize, waiting: Mapping[int, ShardSize]) -> None:
        self._amount = amount
        self._waiting = {index: amount.of_size(size) for index, size in waiting.items()}
        self._sum = amount.of_size(sealed)
        self.episodes, self.missing = sealed.episodes, 0
        self._extend()

    def finished(self, index: int, size: ShardSize) -> None:
        """Take notice of a finished episode."""
        self.missing -= 1
        self._sum -= self._amount.most - self._amount.of_size(size)
        self._extend()

    def _extend(self) -> None:
        while self._sum < self._amount.count:
            self._sum += self._waiting.get(self.episodes, self._amount.most)
            self.missing += self.episodes not in self._waiting
            self.episodes += 1
