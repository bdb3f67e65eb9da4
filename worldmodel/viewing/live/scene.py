"""What is to be seen of a live session: simulator, dream and goal, and where they are on the map of latents."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from worldmodel.envs.task import Task
from worldmodel.envs.world import State
from worldmodel.evenly import evenly
from worldmodel.viewing.find import Trained
from worldmodel.viewing.latents import chart, encode_episodes, picture_latents
from worldmodel.viewing.live.describe import describe_world
from worldmodel.viewing.live.duet import Duet
from worldmodel.viewing.live.messages import Publish, message, png, rounded
from worldmodel.viewing.live.pursuit import Goal
from worldmodel.viewing.live.stage import Stage

SURVEYED = 24  # episodes that the map of latents is drawn from


class Scene:
    """Simulator, dream and goal, as viewers are told of them.

    Args:
        trained: the run.
        stage: the simulator.
        publish: takes what viewers are told.
        neutral: the actions when nobody drives, `[A]`, in [-1, 1].

    Attributes:
        duet: simulator and dream.
        chart: the map.
        goal: where to go, once someone has chosen it.
    """

    def __init__(self, trained: Trained, *, stage: Stage, publish: Publish, neutral: NDArray[np.float64]) -> None:
        self._trained, self._publish = trained, publish
        surveyed = trained.held_out[evenly(len(trained.held_out), SURVEYED)]
        encoded = encode_episodes(trained.model, trained.recording, surveyed, trained.compute)
        self.chart = chart(encoded)
        self.duet = Duet(trained, stage=stage, survey=self.chart)
        self.goal: Goal | None = None
        cloud = self.chart.project(np.concatenate([episode.latents for episode in encoded]))
        publish("world", describe_world(trained, stage.world, survey=self.chart, cloud=cloud, neutral=neutral))

    def set_goal(self, image: NDArray[np.uint8], name: str, state: State | None) -> None:
        """Take a picture for the goal, and tell viewers how the model sees it.

        Args:
            image: `[H, W, 3]` uint8.
            name: for people.
            state: physics, where the goal was recorded.
        """
        self.goal = Goal(image, self.duet.encode(image), state, name)
        seen = picture_latents(self._trained.model, self.goal.latent, self._trained.compute)
        at = self._flat(self.goal.latent)
        self._publish("goal", message("goal", name=name, image=png(image), seen=png(seen), at=at))

    def standing(self) -> dict[str, float | bool | None]:
        """Return how far the goal is, physically where that is known."""
        if self.goal is None:
            return {"to_goal": None, "distance": None, "at_goal": None}
        stage = self.duet.stage
        distance = None if self.goal.state is None else stage.distance(self.goal.state)
        at_goal = None if distance is None or not isinstance(stage.world, Task) else distance <= stage.world.tolerance
        return {"to_goal": round(self.duet.apart(self.goal.latent), 4), "distance": distance, "at_goal": at_goal}

    def publish_frame(
        self, *, action: NDArray[np.float64], doing: str, paused: bool, rate: float, watching: int
    ) -> None:
        """Tell all viewers what is to be seen now.

        Args:
            action: that is being done, `[A]`, in [-1, 1].
            doing: what is going on.
            rate: frames per second, as they are reached.
            watching: how many watch.
        """
        duet = self.duet
        dreamt = picture_latents(self._trained.model, duet.dream.latent, self._trained.compute)
        self._publish(
            "frame",
            message(
                "frame",
                since=duet.since,
                real=png(duet.frame),
                dream=png(dreamt),
                apart=round(duet.apart(duet.dream.latent), 4),
                parted=duet.parted,
                at=self._flat(duet.seen[-1]),
                dreamt=self._flat(duet.dream.latent),
                action=rounded(action, 3),
                doing=doing,
                paused=paused,
                rate=round(rate, 1),
                watching=watching,
                **self.standing(),
            ),
        )

    def _flat(self, latent: Tensor) -> list[float]:
        flat: list[float] = rounded(self.chart.project(latent.float().cpu().numpy()), 3)
        return flat
