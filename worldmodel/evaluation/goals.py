"""Starts and goals from episodes that the model has never seen."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from worldmodel.datasets.reader import Recording
from worldmodel.datasets.states import state_at
from worldmodel.envs.task import Task
from worldmodel.envs.world import State
from worldmodel.errors import WorldModelError

TRIES = 100  # draws for each trial before the starts that are left are gone through


@dataclass(frozen=True)
class Trial:
    """One start, one goal.

    Attributes:
        episode, frame: where the start was recorded.
        start, goal: physics states, with all that MuJoCo keeps.
        goal_image: `[H, W, 3]` uint8, the recorded frame of the goal.
    """

    episode: int
    frame: int
    start: State
    goal: State
    goal_image: NDArray[np.uint8]


def draw_trials(
    recording: Recording, episodes: NDArray[np.int64], task: Task, *, count: int, ahead: int, seed: int
) -> list[Trial]:
    """Draw trials from held-out episodes: a recorded state, and the one `ahead` frames later.

    Starts that are already within the task's tolerance of their goal are left out: they would count as
    success whatever the policy does. No start is taken twice: intervals count trials as independent.

    Args:
        episodes: numbers of the held-out episodes.
        count: how many trials.
        ahead: frames between start and goal.
        seed: makes the choice repeatable.

    Raises:
        WorldModelError: the episodes are too short, too few starts are not solved, or the task's looks or physics
            differ from episode to episode.
    """
    if task.varies_every_episode:
        raise WorldModelError(
            f"The recording '{recording.folder}' varies every episode, so a goal's picture shows another world than "
            "the robot would act in. Plan in a recording that was made without variation, or with one that is the same "
            "in every episode."
        )
    rng = np.random.default_rng([seed, count, ahead])
    long_enough = episodes[recording.whole_frames[episodes] > ahead]
    if not len(long_enough):
        raise WorldModelError(
            f"No held-out episode has more than {ahead} frames. Record longer episodes or plan for goals nearer by."
        )
    starts = recording.whole_frames[long_enough] - ahead
    trials: list[Trial] = []
    for index, frame in _distinct_starts(long_enough, starts, rng, draws=count * TRIES):
        episode = recording.episode(index)
        start, goal = state_at(episode, frame), state_at(episode, frame + ahead)
        if task.distance(start, goal) > task.tolerance:
            trials.append(Trial(index, frame, start, goal, episode.frames[frame + ahead].copy()))
        if len(trials) == count:
            return trials
    raise WorldModelError(
        f"Only {len(trials)} of {count} trials were found that are not solved at the start, among the {starts.sum()} "
        f"starts that the held-out episodes have with a goal {ahead} frames ahead. Record more episodes, ask for fewer "
        "trials with --episodes (in compare: --plan.episodes), or choose goals further ahead with --ahead."
    )


def _distinct_starts(
    episodes: NDArray[np.int64], starts: NDArray[np.int64], rng: np.random.Generator, *, draws: int
) -> Iterator[tuple[int, int]]:
    """Yield every start, an episode and a frame of it, once: as they are drawn, and in the end those never drawn.

    Args:
        starts: `[E]`, how many frames of each of the `episodes` may be drawn, from its first one on.
    """
    counts = dict(zip(episodes.tolist(), starts.tolist(), strict=True))
    drawn: set[tuple[int, int]] = set()
    for _ in range(draws):
        index = int(rng.choice(episodes))
        start = index, int(rng.integers(counts[index]))
        if start not in drawn:
            drawn.add(start)
            yield start
    left = [(index, frame) for index, count in counts.items() for frame in range(count) if (index, frame) not in drawn]
    yield from (left[place] for place in rng.permutation(len(left)))
