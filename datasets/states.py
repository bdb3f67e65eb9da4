"""Physics states out of a recording."""

from __future__ import annotations

from worldmodel.datasets.schema import Segment
from worldmodel.envs.world import State


def state_at(segment: Segment, row: int) -> State:
    """Return the whole state that frame `row` of the segment shows."""
    columns = (segment.qpos[row], segment.qvel[row], segment.act[row])
    return State(*columns, time=float(segment.time[row]), extra=segment.extra[row])
