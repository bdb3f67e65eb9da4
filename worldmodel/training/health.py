"""Notice latents that collapse while there is time."""

from __future__ import annotations

from worldmodel.errors import WorldModelError

LEAST_RANK = 1.1  # effective directions; a world of one joint already has two, its sine and cosine
LEAST_SPREAD = 1e-4  # standard deviation over frames, as a share of the latents' root mean square
PATIENCE = 3  # entries of the log in a row: latents may pass through a narrow place
GROWN_UP = 200  # steps, before which latents are what chance made them
UNFOLDED = 0.5  # share of a stage after which latents that still lie on a line are not going to leave it


class CollapseWatch:
    """Ends training when all frames come to look alike to the encoder, for then no planner can use it.

    Args:
        stage: name of the stage that trains it.
        remedy: what to do about it, beside what helps everywhere; None where there is nothing else.
    """

    def __init__(self, stage: str, remedy: str | None) -> None:
        self._stage, self._remedy = stage, remedy
        self._bad = 0

    def look(self, rank: float, spread: float, *, step: int, progress: float) -> None:
        """Take in the latents' effective rank and their spread over frames.

        Args:
            step: steps of the stage that are done; in the first ones everything is in order.
            progress: share of the stage that is done; in its first half every rank is in order.

        Raises:
            WorldModelError: they have collapsed, and have been for some time.
        """
        bad = spread < LEAST_SPREAD or (rank < LEAST_RANK and progress > UNFOLDED)
        self._bad = self._bad + 1 if bad and step >= GROWN_UP else 0
        if self._bad >= PATIENCE:
            raise self._collapse(rank, spread)

    def conclude(self, rank: float, spread: float) -> None:
        """Take in the same when the last step is taken, however few there were: nothing changes any more.

        Raises:
            WorldModelError: they have collapsed.
        """
        if spread < LEAST_SPREAD or rank < LEAST_RANK:
            raise self._collapse(rank, spread)

    def _collapse(self, rank: float, spread: float) -> WorldModelError:
        remedy = f"{self._remedy}, lower" if self._remedy else "lower"
        return WorldModelError(
            f"The latents have collapsed: effective rank {rank:.2f} (expected at least {LEAST_RANK}), spread over "
            f"frames {spread:.2g} of their size (expected at least {LEAST_SPREAD}). The last checkpoint is kept. "
            f"{remedy[0].upper()}{remedy[1:]} --{self._stage}.optimiser.learning-rate, take larger batches "
            f"(--{self._stage}.batch), or look at the recording: does anything move in it?"
        )
