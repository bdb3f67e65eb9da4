"""Draw a MuJoCo scene into an array, straight from its model and data."""

from __future__ import annotations

import atexit
import weakref
from dataclasses import dataclass
from types import TracebackType
from typing import Literal, get_args

import mujoco
import numpy as np
from numpy.typing import NDArray

from worldmodel.envs.gl import GLContext, make_context
from worldmodel.errors import RendererError, unknown_name

Frame = NDArray[np.uint8]
Quality = Literal["fast", "faithful"]

# What `fast` leaves out. Together these take a software rasteriser from about 50 to about 2,000 frames/s at 64 x 64.
COSTLY = (mujoco.mjtRndFlag.mjRND_SHADOW, mujoco.mjtRndFlag.mjRND_REFLECTION)


@dataclass(frozen=True)
class RendererConfig:
    """How to draw.

    Attributes:
        height, width: size of a frame in pixels.
        camera: the name of a camera in the model, or "" for MuJoCo's free camera.
        quality: "fast" draws without shadows, reflections and multisampling, and its pixels repeat exactly
            from one context to another; "faithful" draws as the model asks.
    """

    height: int = 64
    width: int = 64
    camera: str = ""
    quality: Quality = "fast"

    def __post_init__(self) -> None:
        if self.height < 1 or self.width < 1:
            raise RendererError(f"A frame of {self.height} x {self.width} pixels cannot be drawn; expected 1 or more.")
        if self.quality not in get_args(Quality):
            raise unknown_name("quality", self.quality, get_args(Quality))


class Renderer:
    """An offscreen renderer of one model.

    It belongs to the thread that made it. Close it, or use it as a context manager.

    Args:
        model: the model to draw; it is left as it was.

    Raises:
        RendererError: no OpenGL context, or no camera of that name.
    """

    def __init__(self, config: RendererConfig, *, model: mujoco.MjModel) -> None:
        self.config = config
        self._model = model
        self._camera = _camera(model, config.camera)
        self._gl, self.backend = make_context(config.width, config.height)
        self._gl.make_current()
        self._context = _draw_context(model, config)
        mujoco.mjr_setBuffer(mujoco.mjtFramebuffer.mjFB_OFFSCREEN, self._context)
        self._scene = mujoco.MjvScene(model, maxgeom=max(1000, 2 * model.ngeom))
        if config.quality == "fast":
            for flag in COSTLY:
                self._scene.flags[flag] = 0
        self._option = mujoco.MjvOption()
        self._viewport = mujoco.MjrRect(0, 0, config.width, config.height)
        self._upside_down = np.empty((config.height, config.width, 3), np.uint8)
        self.gl_renderer = _gl_renderer_name()
        self._free = weakref.finalize(self, _free, self._gl, self._context)
        atexit.register(self._free)  # must run before EGL ends itself, which it does at exit too

    def draw(self, data: mujoco.MjData, out: Frame | None = None) -> Frame:
        """Draw the state in `data`, which must be current (`mj_forward`).

        Shapes: H, W from the configuration.

        Args:
            data: the state to draw.
            out: `[H, W, 3]` uint8 to draw into; a new array when left out.

        Returns:
            `[H, W, 3]` uint8, RGB, the first row at the top.
        """
        if not self._free.alive:
            raise RendererError("This renderer is closed; make a new one.")
        self._gl.make_current()
        mujoco.mjv_updateScene(
            self._model,
            data,
            self._option,
            None,
            self._camera,
            mujoco.mjtCatBit.mjCAT_ALL.value,
            self._scene,
        )
        mujoco.mjr_render(self._viewport, self._scene, self._context)
        mujoco.mjr_readPixels(self._upside_down, None, self._viewport, self._context)
        frame = np.empty_like(self._upside_down) if out is None else out
        frame[...] = self._upside_down[::-1]
        return frame

    def close(self) -> None:
        """Free the OpenGL context; closing twice does nothing."""
        self._free()
        atexit.unregister(self._free)

    def __enter__(self) -> Renderer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _free(gl: GLContext, context: mujoco.MjrContext) -> None:
    gl.make_current()
    context.free()
    gl.free()


def _camera(model: mujoco.MjModel, name: str) -> mujoco.MjvCamera:
    camera = mujoco.MjvCamera()
    if not name:
        mujoco.mjv_defaultFreeCamera(model, camera)
        return camera
    names = [model.camera(index).name for index in range(model.ncam)]
    if name not in names:
        has = ", ".join(f"'{n}'" for n in names) or "none"
        raise RendererError(f"Unknown camera '{name}'. This model's cameras: {has}. Leave it empty for a free camera.")
    camera.type = mujoco.mjtCamera.mjCAMERA_FIXED
    camera.fixedcamid = names.index(name)
    return camera


def _draw_context(model: mujoco.MjModel, config: RendererConfig) -> mujoco.MjrContext:
    """Upload the model's meshes and textures; its own quality settings are changed only for that moment."""
    visual = model.vis
    kept = visual.global_.offwidth, visual.global_.offheight, visual.quality.offsamples, visual.quality.shadowsize
    visual.global_.offwidth, visual.global_.offheight = config.width, config.height
    if config.quality == "fast":
        visual.quality.offsamples = 0
        visual.quality.shadowsize = 0
    try:
        return mujoco.MjrContext(model, mujoco.mjtFontScale.mjFONTSCALE_100.value)
    finally:
        visual.global_.offwidth, visual.global_.offheight = kept[:2]
        visual.quality.offsamples, visual.quality.shadowsize = kept[2:]


def _gl_renderer_name() -> str:
    """Return who draws, as OpenGL says it: a graphics card, or software such as llvmpipe."""
    from OpenGL import GL

    name = GL.glGetString(GL.GL_RENDERER)
    return name.decode() if isinstance(name, bytes) else str(name)
