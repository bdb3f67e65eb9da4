"""What learns in a stage, with its optimiser and its moving average, as one state that can be saved."""

from __future__ import annotations

from torch import Tensor

from worldmodel.errors import CheckpointError
from worldmodel.models.world_model import WorldModel
from worldmodel.training.average import WeightAverage
from worldmodel.training.optimiser import Optimiser
from worldmodel.training.stage import Stage


class Learner:
    """Takes a stage's steps.

    Only the parts of the model that the stage trains ask for gradients; the others stay as they are.
    """

    def __init__(self, stage: Stage, model: WorldModel) -> None:
        for name, parameter in model.named_parameters():
            parameter.requires_grad_(name.split(".")[0] in stage.trains)
        self._own = stage.own
        named = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
        own = stage.own.named_parameters(prefix="own") if stage.own is not None else ()
        heads = [(name, p) for name, p in own if p.requires_grad]
        self.optimiser = Optimiser(stage.config.optimiser, named, heads)
        self._average = WeightAverage(named + heads, stage.config.average) if stage.config.average else None

    def step(self, step: int, progress: float) -> None:
        """Follow the gradients."""
        self.optimiser.step(step, progress)
        if self._average:
            self._average.follow(step)

    def finish(self) -> None:
        """Leave the average of the weights behind, where there is one."""
        if self._average:
            self._average.install()

    def state(self) -> dict[str, Tensor]:
        """Return all that training needs to go on, beside the model, as tensors by name."""
        state = {f"optimiser/{name}": value for name, value in self.optimiser.state().items()}
        if self._average:
            state |= {f"average/{name}": value for name, value in self._average.state().items()}
        if self._own is not None:
            state |= {f"own/{name}": value for name, value in self._own.state_dict().items()}
        return state

    def load(self, state: dict[str, Tensor]) -> None:
        """Put back what `state` returned.

        Raises:
            CheckpointError: a tensor is missing or of another shape.
        """

        def part(kind: str) -> dict[str, Tensor]:
            return {name[len(kind) + 1 :]: value for name, value in state.items() if name.startswith(f"{kind}/")}

        self.optimiser.load(part("optimiser"))
        try:
            if self._average:
                self._average.load(part("average"))
            if self._own is not None:
                self._own.load_state_dict(part("own"))
        except (KeyError, RuntimeError) as error:
            raise CheckpointError(
                f"The checkpoint's training state does not fit ({error}). Train again from the start."
            ) from error
