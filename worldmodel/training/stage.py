"""What a stage of training is: which networks learn, from what, and for how long."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from torch import Tensor, nn

from worldmodel.errors import WorldModelError
from worldmodel.models.world_model import WorldModel
from worldmodel.objectives.draws import Draws
from worldmodel.training.optimiser import OptimiserConfig


@dataclass(frozen=True)
class StageConfig:
    """How long a stage is, and how it learns.

    Attributes:
        steps: number of steps, where no time is set.
        batch: clips in a step, over all processes.
        length: L, frames in a clip, or in the window that a pair of frames is taken from.
        accumulate: parts that a step's batch is worked off in, one after another, to save memory. A loss that compares
            the clips of a batch compares those of a part.
        average: memory of the moving average of the weights that the stage leaves behind, such as 0.999; 0 leaves
            the last weights.
        share: of the run's time that the stage gets, where a time is set, in proportion to the other stages'.
    """

    steps: int
    batch: int
    length: int
    accumulate: int = 1
    average: float = 0.0
    share: float = 1.0
    optimiser: OptimiserConfig = field(default_factory=OptimiserConfig)

    def __post_init__(self) -> None:
        for name, least in (("steps", 1), ("batch", 1), ("length", 2), ("accumulate", 1)):
            if getattr(self, name) < least:
                raise WorldModelError(f"{name} of a stage is {getattr(self, name)}; expected at least {least}.")
        if self.batch % self.accumulate:
            raise WorldModelError(f"accumulate is {self.accumulate}; expected a divisor of the batch ({self.batch}).")
        if not 0 < self.share < math.inf:
            raise WorldModelError(f"share of a stage is {self.share}; expected more than 0.")
        if not 0 <= self.average < 1:
            raise WorldModelError(f"average is {self.average}; expected 0 or a share below 1, such as 0.999.")


@dataclass(frozen=True)
class Step:
    """What one step, or a part of it, gives: the loss to follow, and scalars to log."""

    loss: Tensor
    logs: dict[str, Tensor]


ComputeLoss = Callable[[Draws], Step]


class Stage(ABC):
    """One way of learning from a recording.

    What step n sees depends on the seed and n alone, so a resumed run goes on as if nothing had happened.

    Attributes:
        name: as it appears in checkpoints.
        config: how long it is, and how it learns.
        own: networks that only this stage needs, trained with the model.
        replays: whether steps differ in their batches and random draws alone, and not in what the processor decides or
            remembers: a GPU can then do what one of them asked for again (see `Replay`).
    """

    name: str
    own: nn.Module | None = None
    replays: bool = True

    def __init__(self, config: StageConfig) -> None:
        self.config = config

    @property
    @abstractmethod
    def trains(self) -> frozenset[str]:
        """The parts of the model that learn."""

    @property
    def frames(self) -> int:
        """Frames that a step looks at, over all processes."""
        return self.config.batch * self.config.length

    @abstractmethod
    def losses(self, model: WorldModel, first: int) -> Iterator[Sequence[ComputeLoss]]:
        """Yield, for steps `first`, `first + 1`, …, what computes each part of the step."""

    def begin(self, model: WorldModel) -> None:  # noqa: B027
        """Do what comes before the first step."""

    def after_step(self, model: WorldModel, progress: float) -> None:  # noqa: B027  most stages have nothing to do
        """Follow a step of the optimiser; `progress` is the share of the stage that is done."""

    def check(self, model: WorldModel, step: int, progress: float) -> None:  # noqa: B027
        """Raise a WorldModelError if what the stage trains has gone wrong; asked at each entry in the log."""

    def finish(self, model: WorldModel) -> None:  # noqa: B027  most stages end with their last step
        """Do what remains when the last step is taken, before the checkpoint."""
