"""Draw a MuJoCo scene into an array, straight from its model and data."""

from __future__ import annotations

import atexit
import weakref
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Literal, get_args

import mujoco
import numpy as np
from numpy.typing import NDArray

from worldmodel.envs.channels import CHANNELS, Channel
from worldmodel.envs.detail import slices_and_stacks, with_simple_meshes
from worldmodel.envs.framebuffer import depth_metres, object_ids
from worldmodel.envs.gl import GLContext, is_software, make_context, warn_of_software
from worldmodel.errors import RendererError, unknown_name

Frame = NDArray[np.uint8]
Quality = Literal["fast", "faithful"]

# What `fast` leaves out, beside detail. It takes a software rasteriser from about 50 to some 5,000 frames/s at 64 x 64.
COSTLY = (mujoco.mjtRndFlag.mjRND_SHADOW, mujoco.mjtRndFlag.mjRND_REFLECTION)


@dataclass(frozen=True)
class RendererConfig:
    """How to draw.

    Attributes:
        height, width: size of a frame in pixels.
        camera: the name of a camera in the model, or "" for MuJoCo's free camera.
        quality: "fast" draws without shadows, reflections and multisampling, and with as much detail as a
            frame of that size can show (see `detail`); its pixels repeat exactly from one context to another.
            "faithful" draws as the model asks.
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

    Attributes:
        backend: the kind of context: `egl`, `osmesa` or `native`.
        gl_renderer: who draws, as OpenGL names it.

    Raises:
        RendererError: no OpenGL context, no camera of that name, or a frame too large for this OpenGL.
    """

    def __init__(self, config: RendererConfig, *, model: mujoco.MjModel) -> None:
        self.config = config
        self._model = model
        self._camera = find_camera(model, config.camera)
        self._gl, self.backend = make_context(config.width, config.height)
        try:
            self._gl.make_current()
            self.gl_renderer = _gl_renderer_name()
            self._context = _draw_context(model, config)
        except BaseException:
            self._gl.free()
            raise
        self._free = weakref.finalize(self, _free, self._gl, self._context)
        atexit.register(self._free)  # must run before EGL ends itself, which it does at exit too
        mujoco.mjr_setBuffer(mujoco.mjtFramebuffer.mjFB_OFFSCREEN, self._context)
        self._context.readDepthMap = mujoco.mjtDepthMap.mjDEPTH_ZEROFAR  # keeps the precision of what is far
        self._scene = self._make_scene(1000 + 2 * (model.ngeom + model.nsite + model.nwrap))
        self._option = mujoco.MjvOption()
        self._viewport = mujoco.MjrRect(0, 0, config.width, config.height)
        # Read into these; OpenGL's first row is at the bottom.
        self._colour = np.empty((config.height, config.width, 3), np.uint8)
        self._depth = np.empty((config.height, config.width), np.float32)
        warn_of_software(self.gl_renderer)

    @property
    def software(self) -> bool:
        """Whether the processor draws, not a graphics card."""
        return is_software(self.gl_renderer)

    def draw(
        self,
        data: mujoco.MjData,
        out: NDArray[Any] | None = None,
        *,
        camera: mujoco.MjvCamera | None = None,
        channel: Channel = "rgb",
    ) -> NDArray[Any]:
        """Draw the state in `data`, which must be current (`mj_forward`).

        Shapes: H, W from the configuration. The first row is at the top.

        Args:
            data: the state to draw.
            out: an array to draw into, of the shape and dtype below; a new one when left out.
            camera: from where; the configured camera when left out.
            channel: what to draw:
                "rgb": `[H, W, 3]` uint8.
                "depth": `[H, W]` float32, m along the optical axis to the first surface, transparent or not;
                    where there is none, the far clipping plane's (`model.vis.map.zfar * model.stat.extent`).
                "segmentation": `[H, W, 2]` int32, an object's number and type (`mujoco.mjtObj`); -1, -1 where
                    there is none. Numbers never mix at edges: MuJoCo switches multisampling off for it, and for
                    depth, also in "faithful".

        Raises:
            RendererError: closed, an unknown channel, or an `out` of another shape or dtype.
        """
        if not self._free.alive:
            raise RendererError("This renderer is closed; make a new one.")
        picture = self._target(out, channel)
        self._gl.make_current()
        self._update_scene(data, self._camera if camera is None else camera)
        flags = self._scene.flags
        flags[mujoco.mjtRndFlag.mjRND_SEGMENT] = flags[mujoco.mjtRndFlag.mjRND_IDCOLOR] = channel != "rgb"
        mujoco.mjr_render(self._viewport, self._scene, self._context)
        if channel == "depth":
            mujoco.mjr_readPixels(None, self._depth, self._viewport, self._context)
            picture[...] = depth_metres(self._depth, self._scene.camera[0])[::-1]
            return picture
        mujoco.mjr_readPixels(self._colour, None, self._viewport, self._context)
        picture[...] = (self._colour if channel == "rgb" else object_ids(self._colour, self._scene))[::-1]
        return picture

    def _target(self, out: NDArray[Any] | None, channel: Channel) -> NDArray[Any]:
        """Return `out`, or a new array, fit for `channel`."""
        if channel not in CHANNELS:
            raise unknown_name("channel", channel, CHANNELS)
        shape, dtype = CHANNELS[channel].shape(self.config.height, self.config.width), CHANNELS[channel].dtype
        if out is None:
            return np.empty(shape, dtype)
        if out.shape != shape or out.dtype != dtype:
            raise RendererError(
                f"`out` is {out.dtype} {list(out.shape)}; expected {np.dtype(dtype)} {list(shape)} for '{channel}'."
            )
        return out

    def _make_scene(self, geoms: int) -> mujoco.MjvScene:
        scene = mujoco.MjvScene(self._model, maxgeom=geoms)
        if self.config.quality == "fast":
            for flag in COSTLY:
                scene.flags[flag] = 0
        return scene

    def _update_scene(self, data: mujoco.MjData, camera: mujoco.MjvCamera) -> None:
        """Collect what is to be drawn; a scene that is full, from which MuJoCo leaves out the rest, is enlarged."""
        everything = mujoco.mjtCatBit.mjCAT_ALL.value
        mujoco.mjv_updateScene(self._model, data, self._option, None, camera, everything, self._scene)
        while self._scene.status:
            self._scene = self._make_scene(2 * self._scene.maxgeom)
            mujoco.mjv_updateScene(self._model, data, self._option, None, camera, everything, self._scene)

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


def find_camera(model: mujoco.MjModel, name: str) -> mujoco.MjvCamera:
    """Return the camera `name` of the model, or MuJoCo's default free camera for "".

    Raises:
        RendererError: no camera of that name; lists those there are.
    """
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
    pixels = max(config.height, config.width)
    drawn = with_simple_meshes(model, pixels) if config.quality == "fast" else model
    size, quality = drawn.vis.global_, drawn.vis.quality
    kept = size.offwidth, size.offheight, quality.offsamples, quality.shadowsize, quality.numslices, quality.numstacks
    size.offwidth, size.offheight = config.width, config.height
    if config.quality == "fast":
        quality.offsamples = quality.shadowsize = 0
        quality.numslices, quality.numstacks = slices_and_stacks(model, pixels)
    try:
        return mujoco.MjrContext(drawn, mujoco.mjtFontScale.mjFONTSCALE_100.value)
    except mujoco.FatalError as error:
        raise RendererError(
            f"OpenGL cannot draw frames of {config.height} x {config.width} pixels: {error}. Ask for smaller ones."
        ) from error
    finally:
        size.offwidth, size.offheight, quality.offsamples, quality.shadowsize = kept[:4]
        quality.numslices, quality.numstacks = kept[4:]


def _gl_renderer_name() -> str:
    """Return who draws, as OpenGL says it: a graphics card, or software such as llvmpipe."""
    from OpenGL import GL

    name = GL.glGetString(GL.GL_RENDERER)
    return name.decode() if isinstance(name, bytes) else str(name)
