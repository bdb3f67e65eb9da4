"""What a live session does: it carries out viewers' commands, steers, plans, and tells what is to be seen."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict
from functools import singledispatchmethod

import numpy as np
from numpy.typing import NDArray

from worldmodel.datasets.policies import make_policy
from worldmodel.datasets.states import state_at
from worldmodel.errors import WorldModelError
from worldmodel.evenly import evenly
from worldmodel.viewing.find import Trained
from worldmodel.viewing.live import commands
from worldmodel.viewing.live.messages import Publish, message, png, pngs
from worldmodel.viewing.live.pursuit import Pursuit, planning_config
from worldmodel.viewing.live.scene import Scene
from worldmodel.viewing.live.stage import Stage

SHOWN_FRAMES = 60  # of a recorded episode
ROUND_SECONDS, SHOW_SECONDS = 0.3, 1.5  # for which a round of the search, and the chosen plan, are shown


class Play:
    """Simulator and dream, and who or what drives them. It knows nothing of threads and connections.

    Args:
        trained: the run.
        stage: the simulator.
        publish: takes what viewers are told.
        rng: of new episodes and of wandering.
        called_off: tells whether a command waits that ends a pursuit, so that its search need not go on.

    Attributes:
        driver: the viewer who drives; None while nobody does, and then the actions are neutral.
        rate: frames per second, as they are reached; set from outside, and told to viewers, as is:
        watching: how many watch.
    """

    def __init__(
        self,
        trained: Trained,
        *,
        stage: Stage,
        publish: Publish,
        rng: np.random.Generator,
        called_off: Callable[[], bool],
    ) -> None:
        self._trained, self._publish, self._rng, self._called_off = trained, publish, rng, called_off
        self.driver: int | None = None
        self.rate, self.watching = 0.0, 0
        self._settings = commands.Settings(horizon=min(5, trained.model.longest_forecast))
        self._world = stage.world
        low, high = self._world.low, self._world.high
        self._low, self._half = low, (high - low) / 2
        self._neutral = (np.clip(np.zeros_like(low), low, high) - low) / self._half - 1
        self._action = self._neutral
        self._wanderer = make_policy("smooth-noise", self._world)
        self._wandering, self._paused = False, False
        self._ready = True  # waits for someone to act
        self._pursuit: Pursuit | None = None
        self._scene = Scene(trained, stage=stage, publish=publish, neutral=self._neutral)
        self._duet = self._scene.duet
        self._publish_settings()
        first = int(trained.held_out[0])
        # With as many frames in mind as the model has ever seen: one frame alone does not show velocity.
        self._begin_at(first, min(trained.model.most_visible, int(trained.recording.whole_frames[first])) - 1)

    @singledispatchmethod
    def carry_out(self, command: object, viewer: int) -> None:
        """Do what a viewer asks.

        Raises:
            WorldModelError: it cannot be done; nothing has changed.
        """
        raise NotImplementedError(type(command))

    @carry_out.register
    def _(self, command: commands.Drive, viewer: int) -> None:
        if len(command.action) != len(self._neutral):
            raise WorldModelError(f"{len(command.action)} actions were sent; expected {len(self._neutral)}.")
        self._action = np.clip(np.array(command.action), -1, 1)
        if self._pursuit is None and not np.allclose(self._action, self._neutral, atol=0.01):
            self._ready = False
        self.driver = viewer
        self._wandering = False

    @carry_out.register
    def _(self, command: commands.Left, viewer: int) -> None:
        if self.driver == viewer:
            self.driver = None

    @carry_out.register
    def _(self, command: commands.Pause, viewer: int) -> None:
        self._paused, self._ready = command.paused, False
        self.publish_frame()

    @carry_out.register
    def _(self, command: commands.Step, viewer: int) -> None:
        self._paused = True
        self.tick()

    @carry_out.register
    def _(self, command: commands.Look, viewer: int) -> None:
        self._duet.look()
        self.publish_frame()

    @carry_out.register
    def _(self, command: commands.Wander, viewer: int) -> None:
        self._wandering = command.on
        if command.on:
            self._paused, self._ready = False, False
        self.driver = None
        self._wanderer.reset(self._rng, 0)

    @carry_out.register
    def _(self, command: commands.Begin, viewer: int) -> None:
        self._end_pursuit()
        self._duet.begin(self._rng)
        self._ready = True
        self.publish_frame()

    @carry_out.register
    def _(self, command: commands.BeginAt, viewer: int) -> None:
        self._begin_at(command.episode, command.frame)

    @carry_out.register
    def _(self, command: commands.ShowEpisode, viewer: int) -> None:
        episode = self._trained.recording.episode(command.episode)
        shown = evenly(int(self._trained.recording.whole_frames[command.episode]), SHOWN_FRAMES)
        text = message("episode", index=command.episode, numbers=shown.tolist(), frames=pngs(episode.frames[shown]))
        self._publish("episode", text, viewer)

    @carry_out.register
    def _(self, command: commands.RecordedGoal, viewer: int) -> None:
        episode = self._duet.recorded(command.episode, command.frame)
        name = f"episode {command.episode}, frame {command.frame}"
        self._scene.set_goal(episode.frames[command.frame], name, state_at(episode, command.frame))
        self.publish_frame()

    @carry_out.register
    def _(self, command: commands.DrawnGoal, viewer: int) -> None:
        shape, data = self._trained.recording.frame_shape, command.image()
        expected = math.prod(shape)
        if len(data) != expected:
            raise WorldModelError(f"A drawn goal has {len(data)} bytes; expected {expected}.")
        self._scene.set_goal(np.frombuffer(data, np.uint8).reshape(shape).copy(), "drawn", None)
        self.publish_frame()

    @carry_out.register
    def _(self, command: commands.PlanAndAct, viewer: int) -> None:
        if self._scene.goal is None:
            raise WorldModelError("There is no goal yet: choose a recorded frame or draw one.")
        self._duet.look()
        self._wandering, self._paused, self._ready = False, False, False
        self._pursuit = Pursuit(
            self._settings,
            goal=self._scene.goal,
            trained=self._trained,
            chart=self._scene.chart,
            seen=self._duet.seen,
            blocks=self._duet.blocks,
            felt=self._duet.felt,
            called_off=self._called_off,
        )

    @carry_out.register
    def _(self, command: commands.Stop, viewer: int) -> None:
        self._end_pursuit()
        self._wandering = False
        self.publish_frame()

    @carry_out.register
    def _(self, command: commands.Settings, viewer: int) -> None:
        planning_config(self._trained, command)
        varied = command.factors != self._settings.factors
        self._settings = command
        self._publish_settings()
        if varied:
            self._duet.stage.vary(command.factors)
            self._duet.see_again()
            self.publish_frame()

    def _publish_settings(self) -> None:
        self._publish("settings", message("settings", **asdict(self._settings)))

    def _begin_at(self, episode: int, frame: int) -> None:
        self._duet.begin_at(episode, frame)
        self._end_pursuit()
        self._ready = True
        self.publish_frame()

    @property
    def resting(self) -> bool:
        """Whether nothing moves until someone asks for it."""
        return self._paused or (self._ready and self._pursuit is None)

    @property
    def dreamt(self) -> int:
        """How many frames have been dreamt."""
        return self._duet.dreamt

    def tick(self) -> float:
        """Do what comes next; return for how long it is to be seen, s."""
        pursuit = self._pursuit
        if pursuit is None:
            self._steer()
        elif pursuit.phase == "searching":
            self._publish("round", message("round", **pursuit.next_round()))
            self.publish_frame()
            return ROUND_SECONDS
        elif pursuit.phase == "showing":
            self._publish("plan", message("plan", **pursuit.plan()))
            self.publish_frame()
            return SHOW_SECONDS
        else:
            self._pursue(pursuit)
        return 1 / self._settings.frames_per_second

    def _steer(self) -> None:
        steps = self._trained.recording.provenance.steps_per_frame
        if self._wandering:
            block = np.stack([self._wanderer(self._world) for _ in range(steps)])
            self._action = (block.mean(0) - self._low) / self._half - 1
        else:
            if self.driver is None:
                self._action = self._neutral
            action = self._low + (self._action + 1) * self._half
            block = np.broadcast_to(action.astype(np.float32), (steps, len(action))).copy()
        self._advance(block)
        self.publish_frame()

    def _pursue(self, pursuit: Pursuit) -> None:
        block = pursuit.next_block(self._duet.seen, self._duet.blocks, self._duet.felt).cpu().numpy()
        self._action = (block.mean(0) - self._low) / self._half - 1
        self._advance(block)
        self._publish("did", message("did", number=pursuit.done, frame=png(self._duet.frame), **pursuit.course()))
        if self._pursuit is not None and pursuit.phase == "done":
            self._publish("outcome", message("outcome", frames=pursuit.done, **self._scene.standing()))
            self._end_pursuit()
            self._ready = True
        self.publish_frame()

    def _advance(self, block: NDArray[np.float32]) -> None:
        """Do `block [K, A]`, for real and in the dream."""
        try:
            ended = self._duet.advance(block, look_every=self._settings.look_every)
            why = "The world ended the episode; a new one has begun."
        except WorldModelError as error:  # some worlds diverge and say so
            ended, why = True, f"{error} A new episode has begun."
        if ended:
            self._end_pursuit()
            self._publish("note", message("note", text=why))
            self._duet.begin(self._rng)
            self._ready = not self._wandering

    def _end_pursuit(self) -> None:
        self._pursuit = None
        self._action, self.driver = self._neutral, None

    def _doing(self) -> str:
        if self._pursuit is not None:
            return self._pursuit.phase
        return "ready" if self._ready else "wandering" if self._wandering else "steering"

    def publish_frame(self) -> None:
        """Tell all viewers what is to be seen now."""
        self._scene.publish_frame(
            action=self._action, doing=self._doing(), paused=self._paused, rate=self.rate, watching=self.watching
        )
