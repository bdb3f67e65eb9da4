"""Playing one episode: T + 1 frames, frame t shows state t, and a diverging simulation is not kept."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import mujoco
import numpy as np
import pytest

from worldmodel.datasets.episodes import Film, FilmConfig, play_episode
from worldmodel.datasets.policies import make_policy
from worldmodel.datasets.schema import SEGMENT_FRAMES, Ending, Episode, Segment, whole_episode
from worldmodel.envs.registry import make_world
from worldmodel.envs.renderer import Renderer, RendererConfig
from worldmodel.envs.world import Action, Outcome, State, World
from worldmodel.errors import RecordingError, RendererError

COLUMNS = ("frames", "qpos", "qvel", "act", "extra", "visual", "time", "actions", "reward")


def film_of(world: World, **other: Any) -> Film:
    config = FilmConfig(cameras=(world.camera,), channels=("rgb",), height=24, width=32, quality="fast")
    return Film(replace(config, **other), world=world)


def pieces_of(world: World, film: Film, index: int = 0, **how: Any) -> tuple[list[Segment], Ending]:
    """Play an episode; return its segments, copied, for what is written is overwritten."""
    how = {"policy": "uniform", "frames": 8, "steps_per_frame": 3, **how}
    policy = make_policy(how.pop("policy"), world)
    pieces: list[Segment] = []

    def keep(segment: Segment) -> None:
        pictures = {name: rows.copy() for name, rows in segment.pictures.items()}
        pieces.append(replace(segment, pictures=pictures))

    return pieces, play_episode(world, film, policy, keep, index=index, seed=5, **how)


def play(world: World, index: int = 0, **how: Any) -> Episode:
    with film_of(world) as film:
        pieces, ending = pieces_of(world, film, index, **how)
    return whole_episode(index, 5, ending, iter(pieces))


def test_an_episode_that_nothing_ends_has_one_frame_more_than_blocks() -> None:
    world = make_world("worldmodel/Reacher-v0")
    episode = play(world)
    assert episode.frames.shape == (8, 24, 32, 3)
    assert episode.actions.shape == (21, 2)
    assert episode.reward.shape == (21,)
    assert episode.frame_step.tolist() == [0, 3, 6, 9, 12, 15, 18, 21]
    assert episode.ending is Ending.LIMIT
    assert episode.visual.shape == (8, len(world.visual()))
    np.testing.assert_allclose(episode.time, episode.frame_step * world.control_seconds)


def test_a_world_that_ends_the_episode_gets_a_last_frame_of_its_end() -> None:
    world = make_world("InvertedPendulum-v5")
    episodes = [play(world, index, frames=40) for index in range(12)]
    partial = 0
    for episode in episodes:
        steps = len(episode.actions)
        assert episode.ending is Ending.TERMINATED
        assert len(episode.frames) == -(-steps // 3) + 1
        assert episode.frame_step[-1] == steps
        assert episode.frame_step[:-1].tolist() == list(range(0, steps, 3))
        partial += steps % 3 != 0
    assert partial > 0
    world.close()


@pytest.mark.parametrize("env", ["worldmodel/Reacher-v0", "InvertedPendulum-v5", "HalfCheetah-v5"])
def test_frame_t_shows_state_t(env: str) -> None:
    world = make_world(env)
    episode = play(world)
    with Renderer(RendererConfig(24, 32), model=world.model) as renderer:
        for row, frame in enumerate(episode.frames):
            held = (getattr(episode, name)[row] for name in ("qpos", "qvel", "act"))
            world.set_visual(episode.visual[row])
            world.set_state(State(*held, float(episode.time[row]), episode.extra[row]))
            assert np.array_equal(renderer.draw(world.drawable(), camera=world.viewpoint(world.camera)), frame)
    assert not np.array_equal(episode.frames[0], episode.frames[-1])
    world.close()


def test_the_actions_lead_from_state_to_state() -> None:
    world = make_world("worldmodel/Reacher-v0")
    episode = play(world, policy="smooth-noise")
    again = make_world("worldmodel/Reacher-v0")
    again.reset(np.random.default_rng(np.random.SeedSequence([5, 0]).spawn(2)[0]))
    for block in range(7):
        assert np.array_equal(again.data.qpos, episode.qpos[block])
        for action in episode.actions[3 * block : 3 * block + 3]:
            again.step(action)


@pytest.mark.parametrize("env", ["worldmodel/Reacher-v0", "InvertedPendulum-v5"])
def test_an_episode_does_not_depend_on_those_before_it(env: str) -> None:
    world, fresh = make_world(env), make_world(env)
    for index in range(3):
        last = play(world, index)
    alone = play(fresh, 2)
    other = play(fresh, 1)
    for name in COLUMNS:
        assert np.array_equal(getattr(last, name), getattr(alone, name)), name
    assert not np.array_equal(other.actions, alone.actions)
    world.close()
    fresh.close()


@pytest.mark.parametrize("frames", [SEGMENT_FRAMES, SEGMENT_FRAMES + 1, 2 * SEGMENT_FRAMES + 5])
def test_a_long_episode_is_written_in_pieces(frames: int) -> None:
    world, beats = make_world("worldmodel/Reacher-v0"), []
    with film_of(world, height=8, width=8) as film:
        pieces, _ = pieces_of(world, film, frames=frames, steps_per_frame=2, beat=lambda: beats.append(1))
    assert len(pieces) == -(-frames // SEGMENT_FRAMES)
    assert all(len(piece) <= SEGMENT_FRAMES for piece in pieces)
    assert np.concatenate([piece.frame_step for piece in pieces]).tolist() == list(range(0, 2 * frames, 2))
    assert sum(len(piece.actions) for piece in pieces) == 2 * (frames - 1)
    assert len(beats) == frames - 1
    assert all(piece.pictures["frames/" + world.camera].any() for piece in pieces)


def test_a_piece_has_the_actions_that_led_into_its_frames() -> None:
    world = make_world("worldmodel/Reacher-v0")
    with film_of(world, height=8, width=8) as film:
        pieces, _ = pieces_of(world, film, frames=2 * SEGMENT_FRAMES + 5)
    last = [0, *(int(piece.frame_step[-1]) for piece in pieces)]
    assert [len(piece.actions) for piece in pieces] == np.diff(last).tolist()


def test_all_channels_of_all_cameras_are_filmed() -> None:
    world = make_world("HalfCheetah-v5")
    channels = ("rgb", "depth", "segmentation")
    with film_of(world, cameras=("track", ""), channels=channels) as film:
        pieces, _ = pieces_of(world, film)
    pictures = pieces[0].pictures
    shapes = {name: (rows.dtype.name, rows.shape[1:]) for name, rows in pictures.items()}
    assert shapes == {
        "frames/track": ("uint8", (24, 32, 3)),
        "frames/free": ("uint8", (24, 32, 3)),
        "depth/track": ("float32", (24, 32)),
        "depth/free": ("float32", (24, 32)),
        "segmentation/track": ("int32", (24, 32, 2)),
        "segmentation/free": ("int32", (24, 32, 2)),
    }
    for group in ("frames", "depth", "segmentation"):
        assert not np.array_equal(pictures[f"{group}/track"], pictures[f"{group}/free"])
    world.close()


def test_an_unknown_camera_is_refused() -> None:
    world = make_world("HalfCheetah-v5")
    with pytest.raises(RendererError, match=r"'side'.*track"):
        film_of(world, cameras=("track", "side"))
    world.close()


class ByHand(World):
    """A ball that slides, seen by one camera from above; its colour is drawn when the model is compiled."""

    camera = "above"
    control_seconds = 0.01  # type: ignore[assignment]
    gear = 1.0

    def __init__(self) -> None:
        self.low, self.high = np.zeros(1, np.float32), np.ones(1, np.float32)
        self.reset(np.random.default_rng(0))

    def reset(self, rng: np.random.Generator) -> None:
        model = mujoco.MjModel.from_xml_string(
            "<mujoco><worldbody><camera name='above' pos='0 1 3' fovy='50'/><light pos='0 0 3'/>"
            "<body><joint name='x' type='slide'/>"
            f"<geom size='.5' rgba='{rng.random()} {rng.random()} {rng.random()} 1'/></body></worldbody>"
            f"<actuator><motor joint='x' gear='{self.gear}' ctrlrange='0 1'/></actuator></mujoco>"
        )
        self.hold(model, mujoco.MjData(model))
        mujoco.mj_forward(self.model, self.data)

    def step(self, action: Action) -> Outcome:
        self.data.ctrl[:] = self.data.time > 0.004
        mujoco.mj_step(self.model, self.data)
        return Outcome()


def test_a_model_that_is_compiled_anew_is_filmed_as_it_is_now() -> None:
    world, frames = ByHand(), []
    with film_of(world) as film:
        for index in (1, 2):
            (piece,), _ = pieces_of(world, film, index)
            frames.append(next(iter(piece.pictures.values())))
    assert not np.array_equal(frames[0], frames[1])
    for index in (1, 2):
        assert np.array_equal(frames[index - 1], play(ByHand(), index).frames)


def test_the_pose_of_a_camera_is_told() -> None:
    world = ByHand()
    with film_of(world) as film:
        above, free = film.pose("above"), film.pose("")
    assert (above.name, above.fovy) == ("above", 50.0)
    np.testing.assert_allclose(above.position, (0, 1, 3), atol=1e-6)
    np.testing.assert_allclose(above.forward, (0, 0, -1), atol=1e-6)  # MuJoCo's cameras look down their -z
    np.testing.assert_allclose(above.up, (0, 1, 0), atol=1e-6)
    assert (free.name, free.fovy) == ("", 45.0)
    np.testing.assert_allclose(np.linalg.norm(free.forward), 1, atol=1e-6)


class Exploding(ByHand):
    """It is pushed harder than MuJoCo can follow, from the third step on."""

    gear = 1e15


def test_a_simulation_that_diverges_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # MuJoCo leaves a log where it runs
    with pytest.raises(RecordingError, match=r"Episode 4, by control step 6: The simulation diverged .*time step"):
        play(Exploding(), 4)
