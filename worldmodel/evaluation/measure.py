"""What a run has learned, told without a label: numbers about its latents and its forecasts.

One more compares the latents with physical states, where some were recorded.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from worldmodel.config import to_json
from worldmodel.datasets.reader import Recording
from worldmodel.errors import WorldModelError
from worldmodel.evaluation.latents import (
    EncodedClips,
    EncodedEpisode,
    check_alive,
    check_length,
    choose_episodes,
    cut_clips,
    encode_episodes,
    forecast,
    split_of,
)
from worldmodel.evaluation.metrics.action_probe import ActionTransfer, Transitions, action_transfer
from worldmodel.evaluation.metrics.cka import linear_cka
from worldmodel.evaluation.metrics.lidar import lidar
from worldmodel.evaluation.metrics.rankme import rankme
from worldmodel.evaluation.metrics.rollout import rollout_error
from worldmodel.evaluation.metrics.spearman import distance_correlation
from worldmodel.evaluation.metrics.spectrum import alpha_req
from worldmodel.evaluation.metrics.uniformity import alignment, uniformity
from worldmodel.evaluation.physical import has_states, physical_states
from worldmodel.evaluation.probes.mlp import MLPProbeConfig
from worldmodel.evaluation.reports import read_report
from worldmodel.models.world_model import WorldModel
from worldmodel.objectives.straightness import straightness
from worldmodel.training.device import Compute

GROUP = 4  # neighbouring frames that LiDAR takes for one thing


@dataclass(frozen=True)
class MeasureConfig:
    """What to measure on.

    Attributes:
        length: frames in a clip.
        visible: frames of it that a forecast may see.
        clips: how many clips, at most.
        frames: held-out frames, at most; of training episodes, from which the action probe learns, twice as many.
        probe: the inverse model of the action probe.
        seed: decides which actions are shuffled to which clips, and the probe's first weights.
    """

    length: int = 8
    visible: int = 3
    clips: int = 2000
    frames: int = 5000
    probe: MLPProbeConfig = field(default_factory=MLPProbeConfig)
    seed: int = 0

    def __post_init__(self) -> None:
        if self.seed < 0:
            raise WorldModelError(f"seed is {self.seed}; expected 0 or more.")
        if self.visible < 2 or self.length < max(GROUP, self.visible + 1):
            raise WorldModelError(
                f"length is {self.length} and visible {self.visible}; expected 2 or more visible (velocity takes two "
                f"frames), more frames than are visible, and at least {GROUP}."
            )
        for name in ("clips", "frames"):
            if getattr(self, name) < 2:
                raise WorldModelError(f"{name} is {getattr(self, name)}; expected at least 2.")


@dataclass(frozen=True)
class MeasureReport:
    """The numbers; `METRICS` in `evaluation/ranking.py` says which direction is good.

    Attributes:
        env: where the recording comes from.
        episodes, frames, clips: how much held-out material was used.
        latent: D, size of a latent.
        rankme, lidar, alpha_req, straightness, alignment, uniformity, distance_correlation: of encoded frames; each is
            told in its own file.
        visible: frames that a forecast saw.
        rollout_error: by horizon, 1 frame ahead first; shares of the latents' variance.
        copy_last: the same if the last visible latent is taken for the forecast.
        shuffled_actions: the same if the model is told the actions of another clip; None where nobody acts.
        actions: the action probe; None where nobody acts.
        state_cka: linear CKA of latents and standardised physical states; None where nobody recorded states.
        seconds: wall-clock time, s.
    """

    env: str
    episodes: int
    frames: int
    clips: int
    latent: int
    rankme: float
    lidar: float
    alpha_req: float
    straightness: float
    alignment: float
    uniformity: float
    distance_correlation: float
    visible: int
    rollout_error: tuple[float, ...]
    copy_last: tuple[float, ...]
    shuffled_actions: tuple[float, ...] | None
    actions: ActionTransfer | None
    state_cka: float | None
    seconds: float

    def write(self, path: Path) -> None:
        """Write the report as JSON."""
        path.write_text(to_json(self), encoding="utf-8")

    @classmethod
    def read(cls, path: Path) -> MeasureReport:
        """Read what `write` wrote.

        Raises:
            WorldModelError: there is no such file, or it is no report.
        """
        return read_report(cls, path, of="label-free metrics", made_by="worldmodel measure")


class Counter:
    """Adds up what was done, and tells how much of all that is."""

    def __init__(self, total: int, progress: Callable[[int, int], None] | None) -> None:
        self._done, self._total, self._progress = 0, total, progress

    def __call__(self, more: int) -> None:
        self._done += more
        if self._progress:
            self._progress(self._done, self._total)


def measure(
    config: MeasureConfig,
    *,
    model: WorldModel,
    recording: Recording,
    run: Path,
    compute: Compute,
    progress: Callable[[int, int], None] | None = None,
) -> MeasureReport:
    """Measure a run's model on episodes that it was not trained on.

    Args:
        recording: the one that the run was trained on.
        run: folder of the run, whose configuration says which episodes were held out.
        compute: device and precision; the model is moved there.
        progress: is told `(frames encoded, frames in all)`.

    Raises:
        WorldModelError: recording and run do not belong together, episodes are too short, or the latents collapsed.
    """
    started = time.perf_counter()
    split = split_of(run, model, recording)
    recording, model = split.recording, model.to(compute.device)
    check_length(model, config.length, config.visible)
    held_out = choose_episodes(recording, split.held_out, frames=config.frames)
    acted = bool(model.interface.low)
    training = choose_episodes(recording, split.training, frames=2 * config.frames) if acted else split.training[:0]
    total = int(recording.whole_frames[held_out].sum() + recording.whole_frames[training].sum())
    counts = Counter(total, progress)
    seen, learned = (encode_episodes(model, recording, chosen, compute, counts) for chosen in (held_out, training))
    latents = torch.cat([episode.latents for episode in seen])
    check_alive(latents)
    clips = cut_clips(seen, length=config.length, most=config.clips)
    generator = torch.Generator().manual_seed(config.seed)
    errors = _forecast_errors(config, model, clips, latents, compute, generator)
    center = latents.mean(0)
    return MeasureReport(
        env=model.interface.env,
        episodes=len(seen),
        frames=len(latents),
        clips=len(clips.latents),
        latent=latents.shape[1],
        rankme=rankme(latents),
        lidar=lidar(clips.latents[:, :GROUP]),
        alpha_req=alpha_req(latents),
        straightness=float(straightness(clips.latents)),
        alignment=alignment(*_neighbours(seen), center),
        uniformity=uniformity(latents, center),
        distance_correlation=distance_correlation(clips.latents),
        visible=config.visible,
        rollout_error=errors[0],
        copy_last=errors[1],
        shuffled_actions=errors[2],
        actions=_action_transfer(config, model, learned, clips, compute, generator) if acted else None,
        state_cka=_state_cka(recording, seen, latents),
        seconds=time.perf_counter() - started,
    )


def _neighbours(episodes: Sequence[EncodedEpisode]) -> tuple[Tensor, Tensor]:
    """Return the latents of frames that follow each other, `[N, D]` each."""
    return (
        torch.cat([episode.latents[:-1] for episode in episodes]),
        torch.cat([episode.latents[1:] for episode in episodes]),
    )


def _forecast_errors(
    config: MeasureConfig,
    model: WorldModel,
    clips: EncodedClips,
    latents: Tensor,
    compute: Compute,
    generator: torch.Generator,
) -> tuple[tuple[float, ...], tuple[float, ...], tuple[float, ...] | None]:
    """Return the errors by horizon of the forecast, of the last visible latent, and of a forecast for other actions.

    The last is None where nobody acts.
    """
    visible, variance = config.visible, latents.var(0).mean()
    target = clips.latents[:, visible:]

    def errors(guess: Tensor) -> tuple[float, ...]:
        return tuple(rollout_error(guess, target, variance).tolist())

    def after(blocks: Tensor) -> tuple[float, ...]:
        return errors(forecast(model, clips.latents, blocks, clips.felt, visible=visible, compute=compute))

    own, copied = after(clips.blocks), errors(clips.latents[:, visible - 1 : visible].expand_as(target))
    if not model.interface.low:
        return own, copied, None
    other = torch.randperm(len(clips.blocks), generator=generator).to(clips.blocks.device)
    return own, copied, after(torch.cat([clips.blocks[:, : visible - 1], clips.blocks[other, visible - 1 :]], dim=1))


def _action_transfer(
    config: MeasureConfig,
    model: WorldModel,
    training: Sequence[EncodedEpisode],
    held_out: EncodedClips,
    compute: Compute,
    generator: torch.Generator,
) -> ActionTransfer:
    """Let the action probe learn from `training`, and ask it about `held_out`."""
    known = cut_clips(training, length=config.visible + 1, most=2 * config.frames)
    learned, asked = (_transitions(config, model, clips, compute) for clips in (known, held_out))
    return action_transfer(config.probe, learned, asked, generator)


def _transitions(config: MeasureConfig, model: WorldModel, clips: EncodedClips, compute: Compute) -> Transitions:
    """Return the step from the last visible frame to the next, in each clip."""
    now, length = config.visible - 1, config.visible + 1
    latents, blocks = clips.latents[:, :length], clips.blocks[:, : length - 1]
    return Transitions(
        before=latents[:, now - 1 : now + 1].flatten(1),
        real=latents[:, now + 1],
        predicted=forecast(model, latents, blocks, clips.felt, visible=config.visible, compute=compute)[:, 0],
        actions=model.flatten_actions(blocks[:, now]).float(),
        episode=clips.episode,
    )


def _state_cka(recording: Recording, episodes: Sequence[EncodedEpisode], latents: Tensor) -> float | None:
    if not has_states(episodes):
        return None
    states = np.concatenate(physical_states(recording.provenance, episodes).values)
    values = torch.from_numpy((states - states.mean(0)) / states.std(0)).to(latents.device)
    return linear_cka(latents, values)
