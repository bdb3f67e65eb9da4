"""Without OpenGL, the error says what to install; with one kind missing, the next is tried."""

from __future__ import annotations

import os
import subprocess
import sys
import warnings
from pathlib import Path

import pytest

from worldmodel.envs.gl import RendererWarning, graphics_cards, is_software, warn_of_software

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


@pytest.mark.parametrize(
    ("name", "software"),
    [
        ("llvmpipe (LLVM 15.0.6, 256 bits)", True),
        ("softpipe", True),
        ("Software Rasterizer", True),
        ("NVIDIA H100 80GB HBM3/PCIe/SSE2", False),
        ("Mesa Intel(R) UHD Graphics 620 (KBL GT2)", False),
        ("AMD Radeon RX 6800 (radeonsi, navi21, LLVM 15.0.6)", False),
    ],
)
def test_software_is_told_from_a_graphics_card(name: str, software: bool) -> None:
    assert is_software(name) is software


def test_graphics_cards_are_found_by_their_device_files(tmp_path: Path) -> None:
    assert graphics_cards(tmp_path) == []
    nodes = {"renderD128": "0x10de", "renderD129": "0x1002", "renderD130": "0x1af4"}  # the last is a virtual machine's
    (tmp_path / "dev/dri").mkdir(parents=True)
    for node, vendor in nodes.items():
        (tmp_path / "dev/dri" / node).touch()
        folder = tmp_path / "sys/class/drm" / node / "device"
        folder.mkdir(parents=True)
        (folder / "vendor").write_text(vendor + "\n")
    assert [card.split()[0] for card in graphics_cards(tmp_path)] == ["NVIDIA", "AMD"]
    for file in ("nvidia0", "nvidiactl", "nvidia-uvm"):
        (tmp_path / "dev" / file).touch()
    assert [card.split()[0] for card in graphics_cards(tmp_path)] == ["NVIDIA", "AMD"]


@pytest.fixture
def nothing_asked(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name in ("MUJOCO_GL", "LIBGL_ALWAYS_SOFTWARE"):
        monkeypatch.delenv(name, raising=False)
    return monkeypatch


def test_a_fall_back_to_software_is_said_aloud(nothing_asked: pytest.MonkeyPatch) -> None:
    with pytest.warns(RendererWarning, match=r"llvmpipe.*NVIDIA \(/dev/nvidia0\).*LIBGL_ALWAYS_SOFTWARE=1"):
        warn_of_software("llvmpipe", ["NVIDIA (/dev/nvidia0)"])


def test_nothing_is_said_where_nothing_fell_back(nothing_asked: pytest.MonkeyPatch) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warn_of_software("llvmpipe", [])
        warn_of_software("NVIDIA H100", ["NVIDIA (/dev/nvidia0)"])
        nothing_asked.setenv("LIBGL_ALWAYS_SOFTWARE", "1")
        warn_of_software("llvmpipe", ["NVIDIA (/dev/nvidia0)"])
        nothing_asked.delenv("LIBGL_ALWAYS_SOFTWARE")
        nothing_asked.setenv("MUJOCO_GL", "osmesa")
        warn_of_software("llvmpipe", ["NVIDIA (/dev/nvidia0)"])
