"""Play one episode in a world and film it."""

from __future__ import annotations

import numpy as np

from worldmodel.datasets.policies import Policy
from worldmodel.datasets.schema import Ending, Episode
from worldmodel.envs.renderer import Renderer
from worldmodel.envs.world import DIVERGED, Outcome, State, World
from worldmodel.errors import RecordingError


def play_episode(
    world: World,
    renderer: Renderer,
    policy: Policy,
    *,
    index: int,
    seed: int,
    frames: int,
    steps_per_frame: int,
) -> Episode:
    """Record one episode: the start, then a frame every `steps_per_frame` control steps.

    All randomness comes from `(seed, index)`, so an episode does not depend on those before it. A world
    that ends the episode early gets a last frame of its final state.

    Shapes: at most `frames` frames and `(frames - 1) * steps_per_frame` actions.

    Raises:
        RecordingError: the simulation diverged.
    """
    world_rng, policy_rng = (np.random.default_rng(child) for child in np.random.SeedSequence([seed, index]).spawn(2))
    world.reset(world_rng)
    policy.reset(policy_rng)
    images = np.empty((frames, renderer.config.height, renderer.config.width, 3), np.uint8)
    states: list[State] = [world.state()]
    steps = [0]
    renderer.draw(world.drawable(), images[0])
    actions, rewards = [], []
    ending = Ending.LIMIT
    while len(states) < frames and ending is Ending.LIMIT:
        action = policy(world)
        outcome = world.step(action)
        actions.append(action)
        rewards.append(outcome.reward)
        _refuse_divergence(world, index, len(actions))
        ending = _ending(outcome)
        if len(actions) % steps_per_frame == 0 or ending is not Ending.LIMIT:
            renderer.draw(world.drawable(), images[len(states)])
            states.append(world.state())
            steps.append(len(actions))
    return Episode(
        index=index,
        seed=seed,
        ending=ending,
        frames=images[: len(states)],
        frame_step=np.array(steps, np.int64),
        qpos=np.stack([state.qpos for state in states]),
        qvel=np.stack([state.qvel for state in states]),
        act=np.stack([state.act for state in states]),
        time=np.array([state.time for state in states]),
        actions=np.array(actions, np.float32).reshape(len(actions), len(world.low)),
        reward=np.array(rewards, np.float64),
    )


def _refuse_divergence(world: World, episode: int, step: int) -> None:
    """MuJoCo puts a simulation that diverges back to its start, without a word but for these counters."""
    for warning in DIVERGED:
        if world.data.warning[warning].number:
            raise RecordingError(
                f"Episode {episode}: the simulation diverged at control step {step} ({warning.name}). "
                "Use a smaller time step in the model, or gentler actions."
            )


def _ending(outcome: Outcome) -> Ending:
    if outcome.terminated:
        return Ending.TERMINATED
    return Ending.TRUNCATED if outcome.truncated else Ending.LIMIT
