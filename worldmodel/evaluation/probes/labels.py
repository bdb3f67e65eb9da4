"""Which episodes are labelled: nested shares, so that more labels are always the fewer ones and others."""

from __future__ import annotations

import re

import numpy as np
import torch
from numpy.typing import NDArray

from worldmodel.errors import RecordingError, WorldModelError
from worldmodel.evaluation.probes.probe import Rows

FEWEST = 2  # labelled episodes: one to fit to, one to choose by
EVERY = 5  # of the labelled episodes, one in so many is for validation


def share_of(text: str) -> float:
    """Return the share in (0, 1] that `text` tells, such as "10%".

    Raises:
        WorldModelError: it is no percentage above 0 and up to 100.
    """
    told = re.fullmatch(r"(\d+\.?\d*|\.\d+)\s*%", text.strip())
    if not told or not 0 < float(told[1]) <= 100:
        raise WorldModelError(f"labels is '{text}'; expected percentages above 0 and up to 100, such as 1% 10% 100%.")
    return float(told[1]) / 100


def labelled_episodes(episodes: int, share: float) -> int:
    """Return how many of `episodes` a share labels, rounded.

    Raises:
        RecordingError: fewer than two.
    """
    if episodes < FEWEST:
        raise RecordingError(
            f"There is {episodes} training episode to label; expected at least {FEWEST}, one to fit to and one to "
            "choose by. Record more episodes, or raise --frames where it leaves others out."
        )
    count = round(episodes * share)
    if count < FEWEST:
        least = next(percent for percent in range(1, 101) if round(episodes * percent / 100) >= FEWEST)
        raise RecordingError(
            f"{share:.3g} of {episodes} training episodes are {count} labelled ones; expected at least {FEWEST}, "
            f"one to fit to and one to choose by. Use larger shares, such as --labels {least}% 100% (in compare: "
            "--probe.labels), or record more episodes."
        )
    return count


def label_rows(first: NDArray[np.int64], share: float, seed: int) -> Rows:
    """Return the rows of the episodes that are labelled, without the first frame of each, which has no frame before.

    Of two shares with the same seed, the smaller one's training and validation rows are among the larger one's.

    Args:
        first: `[E + 1]`, the first row of each episode, and the end of the last.
        share: of the episodes, in (0, 1].
        seed: decides in which order episodes are labelled.
    """
    order = np.random.default_rng([seed, len(first) - 1]).permutation(len(first) - 1)
    labelled = order[: labelled_episodes(len(first) - 1, share)]
    validation = np.arange(len(labelled)) % EVERY == 1
    return Rows(_rows(first, labelled[~validation]), _rows(first, labelled[validation]))


def rows_with_past(first: NDArray[np.int64]) -> torch.Tensor:
    """Return all rows that have a frame before them in their episode."""
    return _rows(first, np.arange(len(first) - 1))


def _rows(first: NDArray[np.int64], episodes: NDArray[np.int64]) -> torch.Tensor:
    return torch.from_numpy(np.concatenate([np.arange(first[e] + 1, first[e + 1]) for e in np.sort(episodes)]))
