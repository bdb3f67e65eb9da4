"""Record many episodes on all cores, and lose none that was finished."""

from __future__ import annotations

import hashlib
import multiprocessing
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from types import ModuleType
from typing import Any, Protocol

from worldmodel.datasets.episodes import play_episode
from worldmodel.datasets.policies import make_policy
from worldmodel.datasets.schema import Manifest, Provenance, versions
from worldmodel.datasets.store import RecordingStore, spool_episode
from worldmodel.envs.registry import make_world
from worldmodel.envs.renderer import Quality, Renderer, RendererConfig
from worldmodel.errors import RecordingError, WorldModelError


@dataclass(frozen=True)
class RecordConfig:
    """What to record.

    Attributes:
        env: one of our tasks ("worldmodel/Reacher-v0") or a gymnasium id ("HalfCheetah-v5").
        frames: how many frames in all; whole episodes, so it may end up a little more.
        episode_frames: frames in an episode that nothing ends early.
        steps_per_frame: control steps between two frames; the actions of all of them are kept.
        size: height and width of a frame, pixels.
        camera: name of a camera in the model; "" takes the environment's own.
        quality: "fast" (no shadows, reflections, multisampling) or "faithful" (as the model asks).
        policy: who acts: "smooth-noise", "uniform" or "zero".
        seed: makes the recording repeatable, whatever the number of workers.
        workers: processes; 0 takes one for each core.
    """

    env: str = "worldmodel/Reacher-v0"
    frames: int = 20_000
    episode_frames: int = 50
    steps_per_frame: int = 5
    size: int = 64
    camera: str = ""
    quality: Quality = "fast"
    policy: str = "smooth-noise"
    seed: int = 0
    workers: int = 0

    def __post_init__(self) -> None:
        for name, least in (("frames", 1), ("episode_frames", 2), ("steps_per_frame", 1), ("size", 8), ("workers", 0)):
            value = getattr(self, name)
            if value < least:
                raise WorldModelError(f"{name} is {value}; expected at least {least}.")
        if self.seed < 0:
            raise WorldModelError(f"seed is {self.seed}; expected 0 or more.")

    @property
    def episodes(self) -> int:
        """How many whole episodes give at least `frames` frames."""
        return -(-self.frames // self.episode_frames)


@dataclass(frozen=True)
class Finished:
    """A worker's word that an episode is safe on the disk."""

    episode: int
    frames: int
    bytes: int


class Progress(Protocol):
    """Is told how the recording goes."""

    def __call__(self, finished: Finished) -> None: ...


@dataclass(frozen=True)
class _Failure:
    """Why a worker stopped."""

    error: str
    expected: bool


def record(config: RecordConfig, out: Path, *, resume: bool = False, progress: Progress | None = None) -> Manifest:
    """Record into the folder `out`.

    Every finished episode is at once in a closed file; whatever stops the recording, an error,
    Ctrl-C, SIGTERM or the plug, `resume=True` goes on from there and ends with the same shards.

    Args:
        progress: called in this process after each finished episode.

    Returns:
        The manifest of the whole recording.

    Raises:
        WorldModelError: unknown environment, policy or camera; no OpenGL; `out` in use or of another recording;
            a full disk; a worker that died. What was finished is kept.
        KeyboardInterrupt: Ctrl-C or SIGTERM. What was finished is kept.
    """
    started = time.perf_counter()
    with _sigterm_as_interrupt(), closing(RecordingStore(out, _provenance(config), resume=resume)) as store:
        finished = store.finished()
        todo = [index for index in range(config.episodes) if index not in finished]
        if todo:
            store.reopen()
        try:
            _run_workers(config, out, todo, store, progress)
        except BaseException:
            with suppress(WorldModelError):  # if even that fails (a full disk), the spool keeps it for --resume
                store.finish(time.perf_counter() - started)
            raise
        return store.finish(time.perf_counter() - started)


@contextmanager
def _sigterm_as_interrupt() -> Iterator[None]:
    """Raise KeyboardInterrupt upon SIGTERM, unless the program has a way of its own to take it."""
    in_main_thread = threading.current_thread() is threading.main_thread()
    if not in_main_thread or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        yield
        return

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt("SIGTERM")

    signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _provenance(config: RecordConfig) -> Provenance:
    """Ask the world and the renderer, once, what a recording by `config` will come from."""
    world = make_world(config.env)
    try:
        make_policy(config.policy, world)
        camera = config.camera or world.camera
        with Renderer(_renderer_config(config, camera), model=world.model) as renderer:
            gl_renderer = renderer.gl_renderer
        return Provenance(
            env=config.env,
            camera=camera,
            height=config.size,
            width=config.size,
            quality=config.quality,
            gl_renderer=gl_renderer,
            steps_per_frame=config.steps_per_frame,
            control_seconds=world.control_seconds,
            episode_frames=config.episode_frames,
            low=tuple(map(float, world.low)),
            high=tuple(map(float, world.high)),
            policy=config.policy,
            seed=config.seed,
            mjcf=world.mjcf,
            mjcf_sha256=hashlib.sha256(world.mjcf.encode()).hexdigest(),
            **versions(),
        )
    finally:
        world.close()


def _renderer_config(config: RecordConfig, camera: str) -> RendererConfig:
    return RendererConfig(config.size, config.size, camera, config.quality)


def _run_workers(
    config: RecordConfig, out: Path, todo: list[int], store: RecordingStore, progress: Progress | None
) -> None:
    spawn = multiprocessing.get_context("spawn")  # an OpenGL context does not survive a fork
    count = min(config.workers or len(os.sched_getaffinity(0)), len(todo))
    next_task = spawn.Value("q", 0)
    with ExitStack() as stack:
        workers: dict[Connection, BaseProcess] = {}
        for _ in range(count):
            ours, theirs = spawn.Pipe(duplex=False)
            process = spawn.Process(target=_work, args=(config, out, todo, next_task, theirs), daemon=True)
            with _main_hidden():
                process.start()
            theirs.close()
            stack.callback(_stop, process)
            workers[ours] = process
        for finished in _listen(workers):
            if progress:
                progress(finished)
            store.seal()


@contextmanager
def _main_hidden() -> Iterator[None]:
    """Keep a new process from importing the program's main module.

    Workers need nothing of it, and a script that records at its top level would record again in each of them.
    """
    main = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main


def _listen(workers: dict[Connection, BaseProcess]) -> Iterable[Finished]:
    """Yield each finished episode until every worker has said that it is done."""
    while workers:
        ready = wait(list(workers))
        for connection in [connection for connection in workers if connection in ready]:
            try:
                message: Any = connection.recv()
            except (EOFError, OSError):  # OSError: it died in the middle of a message
                process = workers[connection]
                process.join()
                raise RecordingError(
                    f"A recording worker died (exit code {process.exitcode}). Finished episodes are kept: "
                    "continue with --resume, with fewer --workers if memory was short."
                ) from None
            if message is None:
                del workers[connection]
            elif isinstance(message, _Failure):
                raise (RecordingError if message.expected else RuntimeError)(message.error)
            else:
                yield message


def _stop(process: BaseProcess) -> None:
    """End a worker, at once and even if it hangs; what it has not finished is worth nothing."""
    process.kill()
    process.join()


def _work(config: RecordConfig, out: Path, todo: list[int], next_task: Any, connection: Any) -> None:
    """Record episodes until none is left; runs in a process of its own."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent decides
    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        _record_episodes(config, out, _take(todo, next_task), connection.send)
        connection.send(None)
    except BrokenPipeError:
        return  # the parent is gone
    except WorldModelError as error:
        connection.send(_Failure(str(error), True))
    except Exception as error:
        connection.send(_Failure(f"{error}\n{traceback.format_exc()}", False))


def _end_with_parent() -> None:
    """End this worker when its parent is gone, before another recorder writes the same episodes."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _take(todo: list[int], next_task: Any) -> Iterable[int]:
    """Yield the episodes that no other worker has taken."""
    while True:
        with next_task.get_lock():
            position = next_task.value
            next_task.value += 1
        if position >= len(todo):
            return
        yield todo[position]


def _record_episodes(
    config: RecordConfig, out: Path, episodes: Iterable[int], tell: Callable[[Finished], None]
) -> None:
    world = make_world(config.env)
    policy = make_policy(config.policy, world)
    camera = config.camera or world.camera
    with Renderer(_renderer_config(config, camera), model=world.model) as renderer:
        for index in episodes:
            episode = play_episode(
                world,
                renderer,
                policy,
                index=index,
                seed=config.seed,
                frames=config.episode_frames,
                steps_per_frame=config.steps_per_frame,
            )
            size = spool_episode(out, episode, camera or "free")
            tell(Finished(index, len(episode.frames), size))
    world.close()
