"""A recording with all that a format must carry, and what asks the real packages what they read."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from worldmodel.datasets.manifest import Camera, Provenance
from worldmodel.datasets.reader import Recording
from worldmodel.datasets.schema import Ending, Episode
from worldmodel.datasets.store import RecordingStore

READERS = Path(__file__).resolve().parents[3] / ".venv/readers"
SIDE, STEPS_PER_FRAME, ACTUATORS = 16, 3, 2
STEPS = (12, 220, 4, 1)  # the second is longer than a piece; the last two end within a block

# Writes a recording and returns it: its control steps by episode, and what differs in its provenance.
Record = Callable[..., Recording]
Ask = Callable[[str, str, Path], dict[str, NDArray[np.generic]]]


def picture(angle: float) -> NDArray[np.uint8]:
    """Draw a disc on a smooth ground, as a simulator would."""
    y, x = np.mgrid[:SIDE, :SIDE]
    image = np.stack([40 + x, 60 + 2 * y, 90 + x + y], axis=-1).astype(np.uint8)
    centre = SIDE / 2 + SIDE / 4 * np.array([np.cos(angle), np.sin(angle)])
    image[(x - centre[0]) ** 2 + (y - centre[1]) ** 2 < 9] = (230, 60, 40)
    return image


def make_episode(index: int, steps: int, provenance: Provenance) -> Episode:
    rng = np.random.default_rng(index)
    frame_step = np.unique([*range(0, steps, provenance.steps_per_frame), steps])
    rows = len(frame_step)
    pictures: dict[str, NDArray[np.generic]] = {}
    for number, (name, shape) in enumerate(provenance.picture_shapes.items()):
        if name.startswith("frames/"):
            pictures[name] = np.stack([picture(0.1 * step + index + number) for step in frame_step])
        elif name.startswith("depth/"):
            pictures[name] = rng.uniform(0, 9, (rows, *shape)).astype(np.float32)
        else:
            pictures[name] = rng.integers(-1, 20, (rows, *shape), dtype=np.int32)
    return Episode(
        index=index,
        seed=provenance.seed,
        ending=Ending(index % 3),
        pictures=pictures,
        frame_step=frame_step,
        qpos=rng.normal(size=(rows, 2)),
        qvel=rng.normal(size=(rows, 1)),
        act=np.zeros((rows, 0)),
        extra=rng.normal(size=(rows, 3)),
        visual=rng.normal(size=(rows, 5)),
        time=frame_step * 0.02,
        actions=rng.uniform(-1, 1, (steps, len(provenance.low))).astype(np.float32),
        reward=rng.normal(size=steps),
    )


@pytest.fixture
def record(tmp_path: Path, provenance: Provenance) -> Record:
    """Write a recording of two cameras."""

    def write(steps: tuple[int, ...] = STEPS, *, folder: str = "recording", **differs: object) -> Recording:
        told = replace(
            provenance,
            **{
                "cameras": (Camera("top"), Camera("wrist/left", (1.0, 0.0, 2.0))),
                "height": SIDE,
                "width": SIDE,
                "steps_per_frame": STEPS_PER_FRAME,
                **differs,
            },
        )
        with RecordingStore(tmp_path / folder, told, resume=False) as store:
            for index, count in enumerate(steps):
                episode = make_episode(index, count, told)
                store.add(episode)
            store.finish(seconds=1.0)
        return Recording.open(tmp_path / folder)

    return write


@pytest.fixture(scope="session")
def assert_equal() -> Callable[[Recording, Recording], None]:
    """Expect the same provenance and the same episodes, to the bit."""
    return _assert_equal


def _assert_equal(held: Recording, expected: Recording) -> None:
    assert held.provenance == expected.provenance
    assert held.episodes == expected.episodes
    for index in range(expected.episodes):
        here, there = held.episode(index), expected.episode(index)
        assert (here.index, here.seed, here.ending) == (there.index, there.seed, there.ending)
        columns = dict(here.columns())
        assert columns.keys() == dict(there.columns()).keys()
        for name, rows in there.columns():
            assert columns[name].dtype == rows.dtype
            np.testing.assert_array_equal(columns[name], rows, err_msg=f"{name} of episode {index}")


@pytest.fixture(scope="session")
def ask() -> Ask:
    """Run a script of this folder, which reads or writes with a real package, in a process of its own.

    It is given `.venv/readers`, what it shall do, a path, and the name of a file for arrays, which are returned.
    """
    return _ask


def _ask(package: str, what: str, path: Path) -> dict[str, NDArray[np.generic]]:
    if not (READERS / package).is_dir():
        pytest.skip(f"{package} is not in .venv/readers; scripts/test installs it")
    answer = path.parent / f"{package}-{what}-answer.npz"
    environment = os.environ | {
        "HF_HUB_OFFLINE": "1",
        "HF_DATASETS_OFFLINE": "1",
        "HF_HOME": str(answer.parent / "hf"),
        "OMP_NUM_THREADS": "1",
    }
    script = Path(__file__).parent / f"with_{package}.py"
    command = [sys.executable, str(script), str(READERS), what, str(path), str(answer)]
    done = subprocess.run(command, cwd=answer.parent, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    if not answer.is_file():
        return {}
    with np.load(answer) as arrays:
        return dict(arrays)
