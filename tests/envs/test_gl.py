"""Without OpenGL, the error says what to install; with one kind missing, the next is tried."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

DRAW = """
import worldmodel.envs.renderer as r
import mujoco
try:
    print("drawn by", r.Renderer(r.RendererConfig(8, 8), model=mujoco.MjModel.from_xml_string("<mujoco/>")).backend)
except r.RendererError as error:
    print("refused:", error)
"""


def draw(**environment: str) -> str:
    """Draw in a process of its own; return what it says."""
    kept = {name: value for name, value in os.environ.items() if name not in ("MUJOCO_GL", "PYOPENGL_PLATFORM")}
    done = subprocess.run(
        [sys.executable, "-c", DRAW], env=kept | environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def no_libraries(tmp_path: Path) -> str:
    """A folder that hides the system's OpenGL behind files that are none."""
    for name in ("libEGL.so", "libEGL.so.1", "libOSMesa.so", "libOSMesa.so.8", "libGL.so", "libGL.so.1"):
        (tmp_path / name).write_text("not a library")
    return str(tmp_path)


def test_without_any_library_the_error_names_what_to_install(no_libraries: str) -> None:
    said = draw(LD_LIBRARY_PATH=no_libraries)
    assert said.startswith("refused:")
    assert "apt-get install -y libegl1 libgl1-mesa-dri libosmesa6" in said
    assert "egl: " in said
    assert "osmesa: " in said
    assert "MUJOCO_GL" not in said


def test_a_kind_that_is_asked_for_and_missing_is_named(no_libraries: str) -> None:
    said = draw(LD_LIBRARY_PATH=no_libraries, MUJOCO_GL="osmesa")
    assert said.startswith("refused:")
    assert "libosmesa6" in said
    assert "MUJOCO_GL is 'osmesa'" in said
    assert "egl: " not in said


def test_a_kind_that_does_not_exist_is_refused() -> None:
    said = draw(MUJOCO_GL="bogus")
    assert said.startswith("refused:")
    assert "MUJOCO_GL is 'bogus'" in said


def test_the_kind_that_is_asked_for_is_taken() -> None:
    assert draw(MUJOCO_GL="egl") in ("drawn by egl\n",)
