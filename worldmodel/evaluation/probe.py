"""What a run's latents hold of the physical state, read with few labels and with many, against controls."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from worldmodel.datasets.reader import Recording
from worldmodel.errors import WorldModelError
from worldmodel.evaluation.latents import (
    check_alive,
    choose_episodes,
    cut_clips,
    forecast,
    split_of,
    untrained,
)
from worldmodel.evaluation.probes.data import LabelledFrames, ProbeData, read_probe_data
from worldmodel.evaluation.probes.labels import label_rows, labelled_episodes, share_of
from worldmodel.evaluation.probes.mlp import MLPProbe, MLPProbeConfig, fit_mlps, new_mlp
from worldmodel.evaluation.probes.pixels import fit_pixel_pca
from worldmodel.evaluation.probes.probe import Probe
from worldmodel.evaluation.probes.readings import angles_of, score
from worldmodel.evaluation.probes.report import Features, Method, ProbeReport, ProbeResult, RolloutResult, Source
from worldmodel.evaluation.probes.ridge import fit_ridge
from worldmodel.evaluation.probes.tuning import TuneConfig, read_tuned, tune
from worldmodel.models.world_model import WorldModel
from worldmodel.training.device import Compute
from worldmodel.training.encode import encode_frames

SINGLE: Features = "z_t"
PAIR: Features = "z_t-1, z_t"
AHEAD = 5  # frames, at most, that are read from forecasts


@dataclass(frozen=True)
class ProbeConfig:
    """What to read, and from how many labels.

    Attributes:
        labels: shares of the training episodes whose states are told, such as 10%.
        seeds: how many times, each with other labelled episodes.
        frames: frames of training episodes, at most, of which labels are a share; held-out ones, half as many.
        visible: frames that a forecast sees, before what is read from it.
        controls: probe a random encoder and principal components of pixels, too.
        mlp: the perceptron that reads frozen latents.
        tune: the encoder that learns to read by itself, from what it knows and from scratch.
    """

    labels: tuple[str, ...] = ("1%", "10%", "100%")
    seeds: int = 5
    frames: int = 20_000
    visible: int = 3
    controls: bool = True
    mlp: MLPProbeConfig = field(default_factory=lambda: MLPProbeConfig(steps=500, batch=128, checks=10))
    tune: TuneConfig = field(default_factory=TuneConfig)

    def __post_init__(self) -> None:
        if not self.labels:
            raise WorldModelError("labels are empty; expected percentages such as 1% 10% 100%.")
        for name, least in (("seeds", 1), ("frames", 2), ("visible", 2)):
            if getattr(self, name) < least:
                raise WorldModelError(f"{name} is {getattr(self, name)}; expected at least {least}.")
        if self.tunings > self.seeds:
            raise WorldModelError(
                f"tune.seeds is {self.tunings} and seeds {self.seeds}; expected no more, since fine-tuning "
                "starts from the probes. Raise --seeds."
            )
        _ = self.shares  # names a share that is none

    @property
    def tunings(self) -> int:
        """How many times an encoder is trained for each share."""
        return self.seeds if self.tune.seeds is None else self.tune.seeds

    @property
    def shares(self) -> tuple[float, ...]:
        """The shares in (0, 1], rising, each once."""
        return tuple(sorted({share_of(text) for text in self.labels}))


# Is told `(parts done, parts in all, what comes next)`.
Progress = Callable[[int, int, str], None]


def probe(
    config: ProbeConfig,
    *,
    model: WorldModel,
    recording: Recording,
    run: Path,
    compute: Compute,
    progress: Progress | None = None,
) -> ProbeReport:
    """Read physical states from a run's latents: learn from its training episodes, test on its held-out ones.

    Args:
        recording: the one that the run was trained on.
        run: folder of the run, whose configuration says which episodes were held out.
        compute: device and precision; the model is moved there.

    Raises:
        RecordingError: no states were recorded, or fewer than two episodes would be labelled.
        WorldModelError: recording and run do not belong together, or the latents collapsed.
    """
    started = time.perf_counter()
    split = split_of(run, model, recording)
    recording, model = split.recording, model.to(compute.device)
    training = episodes_to_label(config, recording, split.training)
    held_out = choose_episodes(recording, split.held_out, frames=config.frames // 2)
    tell = _Steps(config, progress)
    tell("reading the recording")
    data = read_probe_data(recording, training, held_out, compute.device)
    prober = _Prober(config, model, data, compute, tell)
    results, rollouts = prober.frozen(), prober.rollouts()
    return ProbeReport(
        env=model.interface.env,
        dimensions=data.dimensions,
        angles=angles_of(data.dimensions),
        still=data.still,
        training_episodes=len(training),
        held_out_episodes=len(held_out),
        held_out_frames=len(data.held_out.frames),
        visible=config.visible,
        results=(*results, *prober.tuned("fine-tuned"), *prober.tuned("from scratch")),
        rollouts=tuple(rollouts),
        seconds=time.perf_counter() - started,
    )


def episodes_to_label(config: ProbeConfig, recording: Recording, training: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return those of the episodes `training` that are read, of which the labelled ones are shares.

    Raises:
        RecordingError: fewer than two episodes would be labelled.
    """
    chosen = choose_episodes(recording, training, frames=config.frames)
    for share in config.shares:
        labelled_episodes(len(chosen), share)
    return chosen


class _Steps:
    """Tells before each part of the work how far it has come."""

    def __init__(self, config: ProbeConfig, progress: Progress | None) -> None:
        sources = 3 if config.controls else 1
        self._total = 1 + (sources + 2 * config.tunings) * len(config.shares)
        self._begun, self._progress = 0, progress

    def __call__(self, what: str) -> None:
        if self._progress:
            self._progress(self._begun, self._total, what)
        self._begun += 1


@dataclass(frozen=True)
class _Latents:
    """Latents of all frames, `[N, D]`, by which features are made."""

    training: Tensor
    held_out: Tensor


@dataclass(frozen=True)
class _Readers:
    """Probes of frozen latents by the features that they read, one for each seed."""

    ridge: dict[Features, Sequence[Probe]]
    mlp: dict[Features, Sequence[MLPProbe]]

    def each(self) -> Iterator[tuple[Method, Features, Sequence[Probe]]]:
        for kind in (SINGLE, PAIR):
            yield "ridge", kind, self.ridge[kind]
            yield "MLP", kind, self.mlp[kind]


class _Prober:
    """Does one kind of reading after another on the same data."""

    def __init__(
        self, config: ProbeConfig, model: WorldModel, data: ProbeData, compute: Compute, tell: Callable[[str], None]
    ) -> None:
        self._config, self._model, self._data, self._compute, self._tell = config, model, data, compute, tell
        self._fresh = untrained(model, seed=0)
        self._latents = self._encode(model)
        check_alive(self._latents.training)
        self._readers: dict[float, _Readers] = {}

    def frozen(self) -> list[ProbeResult]:
        """Read frozen features: the run's latents, and, as controls, a random encoder's and PCA's."""
        sources: dict[Source, Callable[[], _Latents]] = {"world model": lambda: self._latents}
        if self._config.controls:
            sources |= {"random encoder": lambda: self._encode(self._fresh), "PCA of pixels": self._components}
        results: list[ProbeResult] = []
        for source, make in sources.items():
            latents = make()
            for share in self._config.shares:
                self._tell(f"{source}, {share:.3g} labelled")
                readers = self._fit(latents, share)
                if source == "world model":
                    self._readers[share] = readers
                for method, features, probes in readers.each():
                    read = [one(self._held(latents, features)) for one in probes]
                    results.append(self._result(source, method, features, share, read))
        return results

    def rollouts(self) -> Iterator[RolloutResult]:
        """Read forecasts of held-out clips, with the probes that `frozen` has fitted."""
        held, visible = self._data.held_out, self._config.visible
        length = min(visible + AHEAD, self._model.longest_clip, int((held.first[1:] - held.first[:-1]).max()))
        if length <= visible:
            return
        clips = cut_clips(held.encoded(self._latents.held_out), length=length, most=len(held.frames))
        guessed = forecast(self._model, clips.latents, clips.blocks, clips.felt, visible=visible, compute=self._compute)
        imagined = torch.cat([clips.latents[:, :visible], guessed], dim=1)
        rows = torch.from_numpy(held.first[clips.episode] + clips.start)
        for now in range(visible, length):
            target = held.states[rows + now]
            for method, features, probes in self._readers[self._config.shares[-1]].each():
                read = [
                    score(
                        [one(_features(x[:, now - 1], x[:, now], features)) for one in probes],
                        target,
                        self._data.dimensions,
                        held.states[held.rows],
                    )
                    for x in (imagined, clips.latents)
                ]
                yield RolloutResult(method, features, now - visible + 1, *read)

    def tuned(self, method: Literal["fine-tuned", "from scratch"]) -> Iterator[ProbeResult]:
        """Let the encoder itself learn to read: the run's own, or one that has learned nothing."""
        config, data, held = self._config, self._data.training, self._data.held_out
        pretrained = method == "fine-tuned"
        model = self._model if pretrained else self._fresh
        latents = self._encode(model).training if not pretrained and config.tunings else self._latents.training
        pairs = _features(latents.roll(1, 0), latents, PAIR)
        for share in config.shares if config.tunings else ():
            read = []
            for seed in range(config.tunings):
                self._tell(f"{method}, {share:.3g} labelled, seed {seed}")
                rows, drawn = label_rows(data.first, share, seed), torch.Generator().manual_seed(seed)
                if pretrained:
                    head = self._readers[share].mlp[PAIR][seed]
                else:
                    head = new_mlp(config.mlp.width, pairs, data.states, rows, drawn)
                reader = tune(
                    config.tune if pretrained else config.tune.from_scratch(),
                    model=model,
                    head=head,
                    frames=data.frames,
                    states=data.states,
                    rows=rows,
                    compute=self._compute,
                    seed=seed,
                )
                read.append(read_tuned(reader, held.frames, held.rows, self._compute))
            yield self._result("world model" if pretrained else "random encoder", method, PAIR, share, read)

    def _encode(self, model: WorldModel) -> _Latents:
        sides = (self._data.training, self._data.held_out)
        return _Latents(*(encode_frames(model, side.frames, self._compute) for side in sides))

    def _components(self) -> _Latents:
        count = self._latents.training.shape[1]
        pca = fit_pixel_pca(self._data.training.frames, count, self._compute.device)
        return _Latents(pca(self._data.training.frames), pca(self._data.held_out.frames))

    def _fit(self, latents: _Latents, share: float) -> _Readers:
        """Fit both probes to both kinds of features, for every seed."""
        config, data = self._config, self._data.training
        rows = [label_rows(data.first, share, seed) for seed in range(config.seeds)]
        readers = _Readers({}, {})
        for kind in (SINGLE, PAIR):
            features = _features(latents.training.roll(1, 0), latents.training, kind)
            generator = torch.Generator().manual_seed(0)
            readers.ridge[kind] = [fit_ridge(features, data.states, one) for one in rows]
            readers.mlp[kind] = fit_mlps(config.mlp, features, data.states, rows, generator)
        return readers

    def _held(self, latents: _Latents, kind: Features) -> Tensor:
        """Return the features of the held-out rows."""
        rows = self._data.held_out.rows
        return _features(latents.held_out[rows - 1], latents.held_out[rows], kind)

    def _result(
        self, source: Source, method: Method, features: Features, share: float, read: Sequence[Tensor]
    ) -> ProbeResult:
        held: LabelledFrames = self._data.held_out
        episodes = labelled_episodes(len(self._data.training.first) - 1, share)
        readings = score(read, held.states[held.rows], self._data.dimensions)
        return ProbeResult(source, method, features, share, episodes, readings)


def _features(before: Tensor, now: Tensor, kind: Features) -> Tensor:
    """Return `now [N, D]` alone, or `[N, 2 D]` with the latents of the frames before."""
    return now if kind == SINGLE else torch.cat([before, now], dim=1)
