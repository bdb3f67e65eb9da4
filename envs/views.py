"""Several cameras' views as one frame."""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType

import mujoco

from worldmodel.envs.channels import join_views
from worldmodel.envs.renderer import Frame, Quality, Renderer, RendererConfig, find_camera


class ViewsRenderer:
    """Draw a model as several cameras see it, side by side. It belongs to the thread that made it. Close it.

    Args:
        cameras: names in the model, the leftmost first; "" is MuJoCo's free camera.
        height, width: of the whole frame, pixels; each of the V cameras gets `width / V`.
        quality: "fast" or "faithful".

    Raises:
        RendererError: no OpenGL context, no camera of that name, or a frame too large for this OpenGL.
    """

    def __init__(
        self, cameras: Sequence[str], height: int, width: int, *, quality: Quality = "fast", model: mujoco.MjModel
    ) -> None:
        self._cameras = [find_camera(model, name) for name in cameras]
        self._renderer = Renderer(RendererConfig(height, width // len(cameras), quality=quality), model=model)

    def draw(self, data: mujoco.MjData) -> Frame:
        """Draw the state in `data`, which must be current, `[H, W, 3]` uint8."""
        return join_views([self._renderer.draw(data, camera=camera) for camera in self._cameras])

    def close(self) -> None:
        """Free the OpenGL context; closing twice does nothing."""
        self._renderer.close()

    def __enter__(self) -> ViewsRenderer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
