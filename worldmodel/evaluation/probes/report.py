"""What probes found, as it is written and read back."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from worldmodel.config import to_json
from worldmodel.evaluation.physical import Dimension
from worldmodel.evaluation.probes.readings import Readings
from worldmodel.evaluation.reports import read_report

Source = Literal["world model", "random encoder", "PCA of pixels"]
Method = Literal["ridge", "MLP", "fine-tuned", "from scratch"]
Features = Literal["z_t", "z_t-1, z_t"]


@dataclass(frozen=True)
class ProbeResult:
    """One way of reading, at one share of labels.

    Attributes:
        source: what gives the features, or what the encoder starts from.
        method: what reads them.
        features: of a frame alone, or of it and the one before.
        labels: share of the training episodes that is labelled.
        episodes: how many episodes that is.
        readings: how well, on held-out episodes.
    """

    source: Source
    method: Method
    features: Features
    labels: float
    episodes: int
    readings: Readings


@dataclass(frozen=True)
class RolloutResult:
    """What the probes with the most labels read from forecasts, and from the same frames encoded.

    Attributes:
        ahead: frames from the last visible one.
        forecast, encoded: readings of forecast latents, and of the latents of the frames that came.
    """

    method: Method
    features: Features
    ahead: int
    forecast: Readings
    encoded: Readings


@dataclass(frozen=True)
class ProbeReport:
    """What was read.

    Attributes:
        env: where the recording comes from.
        dimensions: of the physical state; readings follow their order.
        angles: names, in the order of `angle_rmse`.
        still: what never moves in the recording, or rests in the held-out episodes, and is not read.
        training_episodes, held_out_episodes, held_out_frames: how much there was to learn from, and to test on.
        visible: frames that a forecast saw.
        results, rollouts: one for each way of reading.
        seconds: wall-clock time, s.
    """

    env: str
    dimensions: tuple[Dimension, ...]
    angles: tuple[str, ...]
    still: tuple[str, ...]
    training_episodes: int
    held_out_episodes: int
    held_out_frames: int
    visible: int
    results: tuple[ProbeResult, ...]
    rollouts: tuple[RolloutResult, ...]
    seconds: float

    def scalars(self) -> dict[str, float]:
        """Return the mean R² that the run's encoder reaches with two frames, by tag.

        A tag tells kind, method and share of labels, such as "probe/positions/MLP/10_percent".
        """
        return {
            f"probe/{kind}/{result.method}/{100 * result.labels:.3g}_percent": spread.mean
            for result in self.results
            if result.source == "world model" and result.features == "z_t-1, z_t"
            for kind, spread in (("positions", result.readings.positions), ("velocities", result.readings.velocities))
            if spread
        }

    def write(self, path: Path) -> None:
        """Write the report as JSON."""
        path.write_text(to_json(self), encoding="utf-8")

    @classmethod
    def read(cls, path: Path) -> ProbeReport:
        """Read what `write` wrote.

        Raises:
            WorldModelError: there is no such file, or it is no report.
        """
        return read_report(cls, path, of="probes", made_by="worldmodel probe")
