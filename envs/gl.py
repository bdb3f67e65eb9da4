"""OpenGL contexts without a display.

MuJoCo is imported nowhere before this module: see `import_mujoco`.
"""

from __future__ import annotations

import importlib
import multiprocessing
import os
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from worldmodel.errors import RendererError

PACKAGES = {"egl": "libegl1 libgl1-mesa-dri", "osmesa": "libosmesa6"}
REMEDY = f"On Debian or Ubuntu, run as root: apt-get install -y {PACKAGES['egl']} {PACKAGES['osmesa']}"

RASTERISERS = (
    "llvmpipe",
    "softpipe",
    "swrast",
    "software rasterizer",
    "swr",
)  # in the names that Mesa's software gives
VENDORS = {"0x10de": "NVIDIA", "0x1002": "AMD", "0x8086": "Intel"}  # PCI numbers


class RendererWarning(UserWarning):
    """A picture will be drawn, but far slower than this machine could."""


class GLContext(Protocol):
    """What MuJoCo's three kinds of context have in common."""

    def make_current(self) -> None: ...

    def free(self) -> None: ...


def import_mujoco() -> None:
    """Import MuJoCo, even where `MUJOCO_GL` asks for an OpenGL that is not there.

    MuJoCo loads that library when it is imported, and a missing one ends the import with a puzzling
    error. Physics, reading and training need no OpenGL; `make_context` says what is missing when it is needed.
    """
    try:
        importlib.import_module("mujoco")
    except Exception:  # whatever its OpenGL binding raises; a missing MuJoCo raises again below
        with opengl_hidden():
            importlib.import_module("mujoco")


@contextmanager
def opengl_hidden() -> Iterator[None]:
    """Keep MuJoCo and dm_control, if they are imported meanwhile, from binding this process to an OpenGL."""
    asked = os.environ.get("MUJOCO_GL")
    os.environ["MUJOCO_GL"] = "disable"
    try:
        yield
    finally:
        if asked is None:
            del os.environ["MUJOCO_GL"]
        else:
            os.environ["MUJOCO_GL"] = asked


def backends() -> tuple[str, ...]:
    """Return the kinds of context to try, best first. `MUJOCO_GL` narrows them to one."""
    asked = os.environ.get("MUJOCO_GL", "").strip().lower()
    if asked:
        return (asked,)
    return ("egl", "osmesa") if sys.platform == "linux" else ("native",)


def make_context(width: int, height: int) -> tuple[GLContext, str]:
    """Make an offscreen context for the calling thread.

    Mesa's software rasteriser is told to draw in the calling thread (`LP_NUM_THREADS=0`): at the small
    sizes that models learn from, handing tiles to other threads costs more than drawing them, and
    workers already use every core. A value that the user has set is left alone.

    Returns:
        The context and the name of its kind: `egl`, `osmesa` or `native`.

    Raises:
        RendererError: no kind works; says what each one answered and what to install.
    """
    os.environ.setdefault("LP_NUM_THREADS", "0")
    answers = []
    for backend in backends():
        try:
            return _make(backend, width, height), backend
        except Exception as error:  # each binding fails in its own way: import, attribute, GL and run-time errors
            answers.append(f"{backend}: {type(error).__name__}: {error}")
            _forget_platform()
    asked = os.environ.get("MUJOCO_GL")
    narrowed = f" MUJOCO_GL is '{asked}': unset it to try every kind, or set it to egl or osmesa." if asked else ""
    raise RendererError(
        f"MuJoCo cannot draw: no OpenGL context without a display ({'; '.join(answers)}). {REMEDY}.{narrowed}"
    )


def is_software(gl_renderer: str) -> bool:
    """Return whether OpenGL's name of who draws is that of a software rasteriser."""
    return any(name in gl_renderer.lower() for name in RASTERISERS)


def graphics_cards(root: Path = Path("/")) -> list[str]:
    """Return the graphics cards that this process could see: their vendors and device files."""
    cards = [f"NVIDIA ({path})" for path in sorted(root.glob("dev/nvidia[0-9]*"))]
    for node in sorted(root.glob("dev/dri/renderD*")):
        vendor = root / "sys/class/drm" / node.name / "device/vendor"
        name = VENDORS.get(vendor.read_text().strip()) if vendor.exists() else None
        if name and not (name == "NVIDIA" and cards):
            cards.append(f"{name} ({node})")
    return cards


def warn_of_software(gl_renderer: str, cards: Sequence[str] | None = None) -> None:
    """Warn where software draws although there is a graphics card.

    Says nothing where software was asked for (`MUJOCO_GL=osmesa`, `LIBGL_ALWAYS_SOFTWARE=1`), nor in a worker
    process, whose parent has said it.

    Args:
        gl_renderer: who draws, as OpenGL names it.
        cards: the graphics cards; looked for when left out.
    """
    asked = os.environ.get("MUJOCO_GL") == "osmesa" or os.environ.get("LIBGL_ALWAYS_SOFTWARE", "0") not in ("", "0")
    if asked or not is_software(gl_renderer) or multiprocessing.parent_process() is not None:
        return
    cards = graphics_cards() if cards is None else cards
    if cards:
        warnings.warn(
            f"Drawing in software ({gl_renderer}), although there is a graphics card: {', '.join(cards)}. "
            "Install its driver's EGL library (NVIDIA: libnvidia-gl, and in a container "
            "NVIDIA_DRIVER_CAPABILITIES=all), and let this user read and write its device files. "
            "To keep software and hear no more of it, set LIBGL_ALWAYS_SOFTWARE=1.",
            RendererWarning,
            stacklevel=3,
        )


def _make(backend: str, width: int, height: int) -> GLContext:
    if backend in ("egl", "osmesa"):
        _select_platform(backend)
        module = importlib.import_module(f"mujoco.{backend}")
    else:
        module = importlib.import_module("mujoco.gl_context")
    context: GLContext = module.GLContext(width, height)
    return context


def _select_platform(backend: str) -> None:
    """Point PyOpenGL at `backend`, unless it is already loaded: it binds one platform for a process."""
    if "OpenGL.platform" not in sys.modules:
        os.environ["PYOPENGL_PLATFORM"] = backend


def _forget_platform() -> None:
    """Unload PyOpenGL, bound to a platform that does not work, so that another one can be tried."""
    for name in list(sys.modules):
        if name.split(".")[0] == "OpenGL" or name.startswith(("mujoco.egl", "mujoco.osmesa")):
            del sys.modules[name]
