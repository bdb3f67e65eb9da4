"""Physics states get names and units, and angles that do not jump."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from worldmodel.datasets.manifest import Provenance, Simulation
from worldmodel.datasets.reader import Recording
from worldmodel.datasets.schema import Episode
from worldmodel.errors import RecordingError
from worldmodel.evaluation.physical import PhysicalStates, physical_states

GEOM = '<geom size=".1"/>'


@dataclass(frozen=True)
class States:
    qpos: np.ndarray
    qvel: np.ndarray


@pytest.fixture
def of(provenance: Provenance) -> Callable[[str, list[States]], PhysicalStates]:
    """Read the states of episodes of a world."""

    def read(world: str, episodes: list[States]) -> PhysicalStates:
        simulation = Simulation(f"<mujoco><worldbody>{world}</worldbody></mujoco>", "0", 0.01, "fast", "nobody")
        return physical_states(replace(provenance, simulation=simulation), episodes)

    return read


Read = Callable[[str, list[States]], PhysicalStates]


def test_hinges_and_slides(of: Read) -> None:
    world = (
        f'<body><joint name="rail" type="slide"/>{GEOM}<body><joint name="elbow" type="hinge"/>{GEOM}'
        f'<body name="hand"><joint type="hinge"/>{GEOM}</body></body></body>'
    )
    rng = np.random.default_rng(0)
    episodes = [States(rng.normal(size=(n, 3)), rng.normal(size=(n, 3))) for n in (4, 7)]
    states = of(world, episodes)
    assert [str(dimension) for dimension in states.dimensions] == [
        "rail [m]",
        "elbow sin",
        "elbow cos",
        "hand sin",
        "hand cos",
        "rail velocity [m/s]",
        "elbow velocity [rad/s]",
        "hand velocity [rad/s]",
    ]
    assert [dimension.kind for dimension in states.dimensions] == ["position"] * 5 + ["velocity"] * 3
    assert [len(values) for values in states.values] == [4, 7]
    assert states.still == ()
    qpos, qvel = episodes[1].qpos, episodes[1].qvel
    angles = [f(qpos[:, joint]) for joint in (1, 2) for f in (np.sin, np.cos)]
    np.testing.assert_allclose(states.values[1], np.column_stack([qpos[:, 0], *angles, qvel]))


def quaternions(axis: tuple[float, float, float], angles: np.ndarray) -> np.ndarray:
    return np.column_stack([np.cos(angles / 2), np.sin(angles / 2)[:, None] * np.array(axis)])


def test_a_free_body_that_stays_in_the_plane_has_a_yaw(of: Read) -> None:
    angles = np.linspace(-3, 3, 9)
    qpos = np.column_stack([angles, angles**2, np.full(9, 0.5), quaternions((0, 0, 1), angles)])
    qvel = np.column_stack([angles, angles, np.zeros((9, 3)), angles])
    states = of(f'<body name="block"><freejoint/>{GEOM}</body>', [States(qpos, qvel)])
    assert [str(dimension) for dimension in states.dimensions] == [
        "block x [m]",
        "block y [m]",
        "block yaw sin",
        "block yaw cos",
        "block x velocity [m/s]",
        "block y velocity [m/s]",
        "block turning about its z [rad/s]",
    ]
    assert states.still == (
        "block z",
        "block z velocity",
        "block turning about its x",
        "block turning about its y",
    )
    np.testing.assert_allclose(states.values[0][:, 2], np.sin(angles), atol=1e-12)
    np.testing.assert_allclose(states.values[0][:, 3], np.cos(angles), atol=1e-12)


def test_a_body_that_tilts_has_its_rotation_in_6d(of: Read) -> None:
    angles = np.linspace(0, 1, 5)
    flipped = quaternions((1, 0, 0), angles) * np.array([1, -1, 1, -1, 1])[:, None]  # q and -q are one rotation
    states = of(f'<body><joint name="ball" type="ball"/>{GEOM}</body>', [States(flipped, np.zeros((5, 3)))])
    names = [dimension.name for dimension in states.dimensions]
    assert names == ["ball y axis y", "ball y axis z"]  # turning about x leaves the rest
    np.testing.assert_allclose(states.values[0], np.column_stack([np.cos(angles), np.sin(angles)]), atol=1e-12)


def test_states_whose_model_nobody_knows_have_numbers(provenance: Provenance) -> None:
    rng = np.random.default_rng(0)
    states = physical_states(
        replace(provenance, simulation=None), [States(rng.normal(size=(5, 2)), rng.normal(size=(5, 1)))]
    )
    assert [str(dimension) for dimension in states.dimensions] == ["qpos 0", "qpos 1", "qvel 0"]


def test_without_states_there_is_nothing_to_read(provenance: Provenance) -> None:
    none = States(np.zeros((5, 0)), np.zeros((5, 0)))
    with pytest.raises(RecordingError, match=r"'by-hand' holds no physics states.*worldmodel measure"):
        physical_states(provenance, [none])


def test_a_model_of_another_shape_is_refused(of: Read) -> None:
    with pytest.raises(RecordingError, match=r"here has 1 positions and 1 velocities; the recording holds 2 and 2"):
        of(f"<body><joint/>{GEOM}</body>", [States(np.zeros((5, 2)), np.zeros((5, 2)))])


def test_a_world_that_stands_still_is_refused(of: Read) -> None:
    with pytest.raises(RecordingError, match="Nothing moves"):
        of(f"<body><joint/>{GEOM}</body>", [States(np.ones((5, 1)), np.zeros((5, 1)))])


def test_a_recording_tells_its_own_model(reacher: Path) -> None:
    with Recording.open(reacher) as recording:
        episodes: list[Episode] = [recording.episode(0), recording.episode(1)]
        states = physical_states(recording.provenance, episodes)
    assert [dimension.name for dimension in states.dimensions][:4] == [
        "shoulder sin",
        "shoulder cos",
        "elbow sin",
        "elbow cos",
    ]


def test_a_model_whose_source_does_not_suffice_comes_from_its_environment(reacher: Path) -> None:
    with Recording.open(reacher) as recording:
        provenance = recording.provenance
        assert provenance.simulation is not None
        bare = replace(provenance, simulation=replace(provenance.simulation, mjcf=""))
        names = [d.name for d in physical_states(bare, [recording.episode(0)]).dimensions]
        assert names == [d.name for d in physical_states(provenance, [recording.episode(0)]).dimensions]
