"""One live session, shared by all viewers: simulator and dream side by side, on the same actions."""

from __future__ import annotations

import queue
import threading
import time
from dataclasses import asdict
from functools import singledispatchmethod

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from worldmodel.datasets.policies import make_policy
from worldmodel.datasets.states import state_at
from worldmodel.envs.task import Task
from worldmodel.envs.world import State
from worldmodel.errors import WorldModelError
from worldmodel.viewing.data import evenly
from worldmodel.viewing.find import Trained
from worldmodel.viewing.latents import chart, encode_episodes, picture_latents
from worldmodel.viewing.live import commands
from worldmodel.viewing.live.describe import describe_world
from worldmodel.viewing.live.duet import Duet
from worldmodel.viewing.live.messages import Publish, message, png, pngs, rounded
from worldmodel.viewing.live.pursuit import Goal, Pursuit, planning_config
from worldmodel.viewing.live.stage import Stage

SURVEYED = 24  # episodes that the map of latents is drawn from
SHOWN_FRAMES = 60  # of a recorded episode
ROUND_SECONDS, SHOW_SECONDS = 0.3, 1.5  # for which a round of the search, and the chosen plan, are shown
WAITING = 256  # commands that may wait; more are dropped
OBEY_SECONDS = 0.02  # longest time spent on commands between two frames


class Session:
    """Runs in a thread of its own, and rests while nobody watches.

    Args:
        trained: the run.
        publish: takes what viewers are told; called in the session's thread.
        seed: of new episodes and of wandering.

    Attributes:
        frames: dreamt since the start.
        failure: what ended the session, if it was an error.
    """

    def __init__(self, trained: Trained, *, publish: Publish, seed: int = 0) -> None:
        self._trained, self._publish = trained, publish
        self._rng = np.random.default_rng(seed)
        self._waiting: queue.Queue[tuple[int, commands.Command | None]] = queue.Queue(WAITING)
        self._watching = self._told = 0
        self._driver: int | None = None
        self._stop = threading.Event()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="live session", daemon=True)
        self.frames = 0
        self.failure: BaseException | None = None

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """End the session and free the simulator."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()

    @property
    def running(self) -> bool:
        return self._thread.is_alive()

    def wait(self) -> None:
        """Wait for the session to end."""
        self._over.wait()

    def submit(self, viewer: int, command: commands.Command) -> bool:
        """Hand over a command; return False when too many wait, and it is dropped."""
        try:
            self._waiting.put_nowait((viewer, command))
        except queue.Full:
            return False
        return True

    def watch(self, viewers: int) -> None:
        """Tell how many watch."""
        self._watching = viewers

    def left(self, viewer: int) -> None:
        """Tell that a viewer has gone: if it was driving, the controls go back to neutral."""
        if self._driver == viewer:
            self._driver = None

    def _run(self) -> None:
        try:
            stage = Stage(self._trained.recording.provenance)
            try:
                self._open(stage)
                self._live()
            finally:
                stage.close()
        except BaseException as error:
            self.failure = error
        finally:
            self._over.set()

    def _open(self, stage: Stage) -> None:
        trained = self._trained
        self._settings = commands.Settings(horizon=min(5, trained.model.longest_clip - trained.visible))
        surveyed = trained.held_out[evenly(len(trained.held_out), SURVEYED)]
        encoded = encode_episodes(trained.model, trained.recording, surveyed, trained.compute)
        self._chart = chart(encoded)
        self._duet = Duet(trained, stage=stage, survey=self._chart)
        self._world = stage.world
        cloud = self._chart.project(np.concatenate([episode.latents for episode in encoded]))
        low, high = self._world.low, self._world.high
        self._low, self._half = low, (high - low) / 2
        self._neutral = (np.clip(np.zeros_like(low), low, high) - low) / self._half - 1
        self._action = self._neutral
        self._wanderer = make_policy("smooth-noise", self._world)
        self._wandering, self._paused = False, False
        self._ready = True  # waits for someone to act
        self._goal: Goal | None = None
        self._pursuit: Pursuit | None = None
        self._rate = 0.0
        self._publish(
            "world", describe_world(trained, stage.world, survey=self._chart, cloud=cloud, neutral=self._neutral)
        )
        self._publish_settings()
        self._begin_at(int(trained.held_out[0]), 0)

    def _live(self) -> None:
        due = time.perf_counter()
        while not self._stop.is_set():
            self._obey(due)
            if self._watching != self._told:
                self._told = self._watching
                self._publish_frame()
            now = time.perf_counter()
            if self._watching == 0 or ((self._paused or self._ready) and self._pursuit is None):
                self._rate = 0.0
                due = now + 0.05  # nothing moves; look for commands again then
            elif now >= due:
                pause = self._tick()
                self._rate += 0.1 * (1 / max(time.perf_counter() - now, pause) - self._rate)
                due = max(due + pause, time.perf_counter() - pause)

    def _obey(self, until: float) -> None:
        """Carry out commands until the next frame is due, but not for so long that it waits."""
        begun = time.perf_counter()
        while not self._stop.is_set():
            patience = min(max(until - time.perf_counter(), 0.0), 0.1)
            if time.perf_counter() - begun > OBEY_SECONDS and patience == 0:
                return
            try:
                viewer, command = self._waiting.get(timeout=patience) if patience else self._waiting.get_nowait()
            except queue.Empty:
                return
            try:
                self._carry_out(command, viewer)
            except WorldModelError as error:
                self._publish("note", message("note", text=str(error)), viewer)

    @singledispatchmethod
    def _carry_out(self, command: object, viewer: int) -> None:
        raise NotImplementedError(type(command))

    @_carry_out.register
    def _(self, command: commands.Drive, viewer: int) -> None:
        if len(command.action) != len(self._neutral):
            raise WorldModelError(f"{len(command.action)} actions were sent; expected {len(self._neutral)}.")
        self._action = np.clip(np.array(command.action), -1, 1)
        if self._pursuit is None and not np.allclose(self._action, self._neutral, atol=0.01):
            self._ready = False
        self._driver = viewer
        self._wandering = False

    @_carry_out.register
    def _(self, command: commands.Pause, viewer: int) -> None:
        self._paused, self._ready = command.paused, False
        self._publish_frame()

    @_carry_out.register
    def _(self, command: commands.Step, viewer: int) -> None:
        self._paused = True
        if self._pursuit is None:
            self._steer()

    @_carry_out.register
    def _(self, command: commands.Look, viewer: int) -> None:
        self._duet.look()
        self._publish_frame()

    @_carry_out.register
    def _(self, command: commands.Wander, viewer: int) -> None:
        self._wandering = command.on
        if command.on:
            self._paused, self._ready = False, False
        self._driver = None
        self._wanderer.reset(self._rng, 0)

    @_carry_out.register
    def _(self, command: commands.Begin, viewer: int) -> None:
        self._end_pursuit()
        self._duet.begin(self._rng)
        self._ready = True
        self._publish_frame()

    @_carry_out.register
    def _(self, command: commands.BeginAt, viewer: int) -> None:
        self._begin_at(command.episode, command.frame)

    @_carry_out.register
    def _(self, command: commands.ShowEpisode, viewer: int) -> None:
        episode = self._trained.recording.episode(command.episode)
        shown = evenly(int(self._trained.recording.whole_frames[command.episode]), SHOWN_FRAMES)
        text = message("episode", index=command.episode, numbers=shown.tolist(), frames=pngs(episode.frames[shown]))
        self._publish("episode", text, viewer)

    @_carry_out.register
    def _(self, command: commands.RecordedGoal, viewer: int) -> None:
        episode = self._duet.recorded(command.episode, command.frame)
        name = f"episode {command.episode}, frame {command.frame}"
        self._set_goal(episode.frames[command.frame], name, state_at(episode, command.frame))

    @_carry_out.register
    def _(self, command: commands.DrawnGoal, viewer: int) -> None:
        p, data = self._trained.recording.provenance, command.image()
        expected = p.height * p.width * 3
        if len(data) != expected:
            raise WorldModelError(f"A drawn goal has {len(data)} bytes; expected {expected}.")
        self._set_goal(np.frombuffer(data, np.uint8).reshape(p.height, p.width, 3).copy(), "drawn", None)

    @_carry_out.register
    def _(self, command: commands.PlanAndAct, viewer: int) -> None:
        if self._goal is None:
            raise WorldModelError("There is no goal yet: choose a recorded frame or draw one.")
        self._duet.look()
        self._wandering, self._paused, self._ready = False, False, False
        self._pursuit = Pursuit(
            self._settings,
            goal=self._goal,
            trained=self._trained,
            chart=self._chart,
            seen=self._duet.seen,
            blocks=self._duet.blocks,
        )

    @_carry_out.register
    def _(self, command: commands.Stop, viewer: int) -> None:
        self._end_pursuit()
        self._wandering = False
        self._publish_frame()

    @_carry_out.register
    def _(self, command: commands.Settings, viewer: int) -> None:
        planning_config(self._trained, command)
        if command.factors != self._settings.factors:
            self._duet.stage.vary(command.factors)
        self._settings = command
        self._publish_settings()

    def _publish_settings(self) -> None:
        self._publish("settings", message("settings", **asdict(self._settings)))

    def _begin_at(self, episode: int, frame: int) -> None:
        self._duet.begin_at(episode, frame)
        self._end_pursuit()
        self._ready = True
        self._publish_frame()

    def _tick(self) -> float:
        """Do what comes next; return for how long it is to be seen, s."""
        pursuit = self._pursuit
        if pursuit is None:
            self._steer()
        elif pursuit.phase == "searching":
            self._publish("round", message("round", **pursuit.next_round()))
            self._publish_frame()
            return ROUND_SECONDS
        elif pursuit.phase == "showing":
            self._publish("plan", message("plan", **pursuit.plan()))
            self._publish_frame()
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
            if self._driver is None:
                self._action = self._neutral
            action = self._low + (self._action + 1) * self._half
            block = np.broadcast_to(action.astype(np.float32), (steps, len(action))).copy()
        self._advance(block)
        self._publish_frame()

    def _pursue(self, pursuit: Pursuit) -> None:
        block = pursuit.next_block(self._duet.seen, self._duet.blocks).cpu().numpy()
        self._action = (block.mean(0) - self._low) / self._half - 1
        self._advance(block)
        self._publish("did", message("did", number=pursuit.done, frame=png(self._duet.frame), **pursuit.course()))
        if self._pursuit is not None and pursuit.phase == "done":
            self._publish("outcome", message("outcome", frames=pursuit.done, **self._standing()))
            self._end_pursuit()
            self._ready = True
        self._publish_frame()

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
        self.frames = self._duet.dreamt

    def _end_pursuit(self) -> None:
        self._pursuit = None
        self._action, self._driver = self._neutral, None

    def _set_goal(self, image: NDArray[np.uint8], name: str, state: State | None) -> None:
        self._goal = Goal(image, self._duet.encode(image), state, name)
        seen = picture_latents(self._trained.model, self._goal.latent, self._trained.compute)
        at = self._flat(self._goal.latent)
        self._publish("goal", message("goal", name=name, image=png(image), seen=png(seen), at=at))
        self._publish_frame()

    def _flat(self, latent: Tensor) -> list[float]:
        flat: list[float] = rounded(self._chart.project(latent.float().cpu().numpy()), 3)
        return flat

    def _standing(self) -> dict[str, float | bool | None]:
        """Return how far the goal is, physically where that is known."""
        if self._goal is None:
            return {"to_goal": None, "distance": None, "at_goal": None}
        distance = None if self._goal.state is None else self._duet.stage.distance(self._goal.state)
        world = self._world
        at_goal = None if distance is None or not isinstance(world, Task) else distance <= world.tolerance
        return {"to_goal": round(self._duet.apart(self._goal.latent), 4), "distance": distance, "at_goal": at_goal}

    def _doing(self) -> str:
        if self._pursuit is not None:
            return self._pursuit.phase
        return "ready" if self._ready else "wandering" if self._wandering else "steering"

    def _publish_frame(self) -> None:
        duet = self._duet
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
                action=rounded(self._action, 3),
                doing=self._doing(),
                paused=self._paused,
                rate=round(self._rate, 1),
                watching=self._told,
                **self._standing(),
            ),
        )
