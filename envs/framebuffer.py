"""What OpenGL's buffers hold, read as metres and as object numbers."""

from __future__ import annotations

import mujoco
import numpy as np
from numpy.typing import NDArray


def depth_metres(buffer: NDArray[np.float32], camera: mujoco.MjvGLCamera) -> NDArray[np.float64]:
    """Turn MuJoCo's depth buffer into distances along the optical axis.

    The buffer is reversed: 1 at the near plane, 0 at the far plane, where nothing was drawn.

    Shapes: any.

    Args:
        buffer: as `mjr_readPixels` reads it, in [0, 1].
        camera: the scene's camera as it was drawn.

    Returns:
        Distances in m; exactly the far plane's where nothing was drawn.

    Source: glFrustum's reference page. OpenGL keeps that matrix in single precision, where its coefficients
        lose up to far / near x 1e-7 of their value: they are rounded here as they are there.
    """
    near, far = np.float32(camera.frustum_near), np.float32(camera.frustum_far)
    if camera.orthographic:
        metres = float(far) - buffer.astype(np.float64) * (float(far) - float(near))
    else:
        scale = np.float32(0.5) * (far + near) / (far - near) - np.float32(0.5)
        offset = far * near / (far - near)
        metres = float(offset) / (buffer.astype(np.float64) + float(scale))
    metres[buffer == 0] = far
    return metres


def object_ids(colours: NDArray[np.uint8], scene: mujoco.MjvScene) -> NDArray[np.int32]:
    """Turn the colours that MuJoCo draws objects in, to tell them apart, into the objects.

    Shapes: any leading axes.

    Args:
        colours: `[..., 3]`; red is the lowest byte of an object's number in the scene, plus 1.
        scene: as it was drawn.

    Returns:
        `[..., 2]`: number in the model and type (`mujoco.mjtObj`); -1, -1 where nothing was drawn.
    """
    code = colours @ np.array([1, 1 << 8, 1 << 16], np.int32)
    table = np.full((scene.ngeom + 1, 2), -1, np.int32)
    for geom in scene.geoms[: scene.ngeom]:
        if geom.segid >= 0:
            table[geom.segid + 1] = geom.objid, geom.objtype
    return table[code]
