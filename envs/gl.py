"""OpenGL contexts without a display.

MuJoCo is imported nowhere before this module: see `import_mujoco`.
"""

from __future__ import annotations

import importlib
import os
import sys
from typing import Protocol

from worldmodel.errors import RendererError

PACKAGES = {"egl": "libegl1 libgl1-mesa-dri", "osmesa": "libosmesa6"}
REMEDY = f"On Debian or Ubuntu, run as root: apt-get install -y {PACKAGES['egl']} {PACKAGES['osmesa']}"


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
        asked = os.environ.get("MUJOCO_GL")
        os.environ["MUJOCO_GL"] = "disable"
        try:
            importlib.import_module("mujoco")
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
