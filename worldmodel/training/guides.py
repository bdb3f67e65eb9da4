"""Train what guides a planner, on the latents of a trained world model, and keep it with the run.

<run>/guides/guides.safetensors   weights
             guides.json          configuration, and the checkpoint on whose latents they stand
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file
from torch import Tensor
from torch.nn import functional as F

from worldmodel.config import from_json, to_json
from worldmodel.datasets.reader import Recording, split_episodes
from worldmodel.errors import CheckpointError, WorldModelError
from worldmodel.models.guides import Guides, GuidesConfig
from worldmodel.models.world_model import WorldModel
from worldmodel.training.checkpoint import load_tensors, newest
from worldmodel.training.config import read_train_config
from worldmodel.training.device import Compute
from worldmodel.training.forecast import EncodedFrames, encode_episodes

FOLDER, WEIGHTS, CARD = "guides", "guides.safetensors", "guides.json"
VALIDATION = 4096  # pairs that the errors are measured on


@dataclass(frozen=True)
class GuideConfig:
    """What to train, and for how long.

    Attributes:
        steps: number of steps of Adam.
        batch: pairs of frames in a step.
        learning_rate: at the start; it falls to zero along a cosine.
        farthest: frames between the two of a pair, at most.
        seed: decides first weights and batches.
    """

    guides: GuidesConfig = field(default_factory=GuidesConfig)
    steps: int = 2000
    batch: int = 512
    learning_rate: float = 1e-3
    farthest: int = 25
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("steps", "batch", "farthest"):
            if getattr(self, name) < 1:
                raise WorldModelError(f"{name} is {getattr(self, name)}; expected at least 1.")
        if not self.learning_rate > 0:
            raise WorldModelError(f"learning_rate is {self.learning_rate}; expected more than 0.")


@dataclass(frozen=True)
class GuideReport:
    """Errors on episodes that were held out.

    Attributes:
        proposal: mean squared error of the proposed actions, as shares of half the actuators' ranges; `proposal_mean`
            that of the mean action.
        distance: mean absolute error of the distance, frames; `distance_mean` that of the median distance.
    """

    proposal: float
    proposal_mean: float
    distance: float
    distance_mean: float


@dataclass(frozen=True)
class GuidesCard:
    """The contents of `guides.json`."""

    config: GuidesConfig
    checkpoint: str
    report: GuideReport


@dataclass(frozen=True)
class _Pairs:
    """Frames and goals of the same episodes: latents `[B, D]`, blocks from now on `[B, H, U]`, frames ahead `[B]`."""

    before: Tensor
    now: Tensor
    goal: Tensor
    blocks: Tensor
    ahead: Tensor


def train_guides(
    config: GuideConfig,
    *,
    model: WorldModel,
    recording: Recording,
    run: Path,
    compute: Compute,
    progress: Callable[[int, int], None] | None = None,
) -> GuideReport:
    """Train the guides of a run on the episodes that its model was trained on, and save them in the run.

    Args:
        progress: is told how many of all steps are done.

    Raises:
        WorldModelError: the episodes are too short.
    """
    training = read_train_config(run)
    known, held_out = split_episodes(recording.episodes, training.held_out, training.seed)
    sampler, validation = (_Sampler(config, model, recording, part, compute) for part in (known, held_out))
    torch.manual_seed(config.seed)
    guides = Guides(config.guides, model=model).to(compute.device)
    optimiser = torch.optim.Adam(guides.parameters(), config.learning_rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, config.steps)
    generator = torch.Generator(compute.device).manual_seed(config.seed)
    for step in range(config.steps):
        near = sampler.draw(config.batch, config.guides.proposer.horizon, generator)
        far = sampler.draw(config.batch, config.farthest, generator)
        loss = _proposal_error(guides, near) + _distance_loss(guides, far)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        schedule.step()
        if progress:
            progress(step + 1, config.steps)
    report = _measure(guides, validation, config, torch.Generator(compute.device).manual_seed(config.seed))
    _save(run, guides, report)
    return report


def load_guides(run: Path, model: WorldModel) -> Guides | None:
    """Load the guides of a run, ready to use; None if it has none.

    Raises:
        CheckpointError: they are damaged, or stand on the latents of an earlier checkpoint.
    """
    folder = run / FOLDER
    if not (folder / CARD).is_file():
        return None
    try:
        card = from_json(GuidesCard, (folder / CARD).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CheckpointError(f"'{folder / CARD}' is damaged ({error}). Make it again: worldmodel guide") from error
    if card.checkpoint != newest(run).name:
        raise CheckpointError(
            f"The guides in '{folder}' stand on checkpoint {card.checkpoint}, the run's newest is {newest(run).name}. "
            "Train them again with: worldmodel guide RUN RECORDING"
        )
    guides = Guides(card.config, model=model)
    held, expected = load_tensors(folder / WEIGHTS), guides.state_dict()
    if {name: x.shape for name, x in held.items()} != {name: x.shape for name, x in expected.items()}:
        raise CheckpointError(
            f"'{folder / WEIGHTS}' has another shape than its configuration. Make it again: worldmodel guide"
        )
    guides.load_state_dict(held)
    return guides.to(model.low.device).eval()


def _save(run: Path, guides: Guides, report: GuideReport) -> None:
    folder = run / FOLDER
    folder.mkdir(exist_ok=True)
    (folder / CARD).unlink(missing_ok=True)  # the card comes last: with it, the weights are whole
    save_file({name: value.contiguous() for name, value in guides.state_dict().items()}, folder / WEIGHTS)
    (folder / CARD).write_text(to_json(GuidesCard(guides.config, newest(run).name, report)), encoding="utf-8")


class _Sampler:
    """Draws pairs of frames out of encoded episodes."""

    def __init__(
        self,
        config: GuideConfig,
        model: WorldModel,
        recording: Recording,
        episodes: NDArray[np.int64],
        compute: Compute,
    ) -> None:
        self._horizon = config.guides.proposer.horizon
        encoded = [e for e in encode_episodes(model, recording, episodes, compute) if len(e.latents) > 1]
        if not encoded:
            raise WorldModelError(
                "No episode has two frames that are a whole action block apart. Record longer episodes."
            )
        self._latents, self._blocks, self._start, self._left = _rows(encoded, self._horizon, model)

    def draw(self, count: int, farthest: int, generator: torch.Generator) -> _Pairs:
        """Draw pairs of 1 to `farthest` frames apart."""
        device = self._latents.device
        row = self._start[torch.randint(len(self._start), (count,), generator=generator, device=device)]
        share = torch.rand(count, generator=generator, device=device)
        ahead = 1 + (share * self._left[row].clamp(max=farthest)).long()
        first = (torch.rand(count, generator=generator, device=device) < 0.1) | ~self._has_before(row)
        before = torch.where(first, row, row - 1)
        blocks = self._blocks[row[:, None] + torch.arange(self._horizon, device=device)]
        return _Pairs(self._latents[before], self._latents[row], self._latents[row + ahead], blocks, ahead)

    def _has_before(self, row: Tensor) -> Tensor:
        """Whether the row before is of the same episode: its frames left are one more."""
        return (row > 0) & (self._left[(row - 1).clamp_min(0)] == self._left[row] + 1)


def _rows(encoded: list[EncodedFrames], horizon: int, model: WorldModel) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return latents `[R, D]`, flat blocks `[R + horizon, U]`, rows with a frame after them, and frames left `[R]`."""
    latents = torch.cat([e.latents for e in encoded])
    blocks = model.flatten_actions(torch.cat([e.blocks for e in encoded]))
    left = torch.cat([torch.arange(len(e.latents) - 1, -1, -1, device=latents.device) for e in encoded])
    return latents, F.pad(blocks, (0, 0, 0, horizon)), left.nonzero()[:, 0], left


def _proposal_error(guides: Guides, pairs: _Pairs) -> Tensor:
    """Return the mean squared error of the blocks that lead to the goal."""
    proposed = guides.proposer(pairs.before, pairs.now, pairs.goal, pairs.ahead)
    led = torch.arange(proposed.shape[1], device=proposed.device) < pairs.ahead[:, None]
    error: Tensor = (proposed - pairs.blocks).square()[led].mean()
    return error


def _distance_loss(guides: Guides, pairs: _Pairs) -> Tensor:
    """Return the error of the logarithm of the distance, of each pair and of each frame to itself."""
    told = torch.stack([guides.distance(pairs.now, pairs.goal), guides.distance(pairs.now, pairs.now)])
    right = torch.stack([pairs.ahead, torch.zeros_like(pairs.ahead)]).to(told.dtype)
    return F.smooth_l1_loss(told.log1p(), right.log1p())


@torch.no_grad()
def _measure(guides: Guides, sampler: _Sampler, config: GuideConfig, generator: torch.Generator) -> GuideReport:
    near = sampler.draw(VALIDATION, config.guides.proposer.horizon, generator)
    far = sampler.draw(VALIDATION, config.farthest, generator)
    led = torch.arange(near.blocks.shape[1], device=near.ahead.device) < near.ahead[:, None]
    actions, frames = near.blocks[led], far.ahead.float()
    return GuideReport(
        proposal=_proposal_error(guides, near).item(),
        proposal_mean=(actions - actions.mean(0)).square().mean().item(),
        distance=(guides.distance(far.now, far.goal) - frames).abs().mean().item(),
        distance_mean=(frames - frames.median()).abs().mean().item(),
    )
