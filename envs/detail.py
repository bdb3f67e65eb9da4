"""As much detail as a small frame can show: MuJoCo draws a sphere of 3 pixels with 900 triangles, a robot with 200,000.

A software rasteriser spends nearly all its time on triangles that are smaller than a pixel. `fast` frames are drawn
from rounder shapes with fewer sides and from meshes whose vertices were moved to a grid finer than the pixels.
"""

from __future__ import annotations

import copy

import mujoco
import numpy as np
from numpy.typing import NDArray

PIXELS_PER_SLICE, PIXELS_PER_STACK = 64 / 14, 64 / 8  # of a shape as large as the frame; most are far smaller
PIXELS_PER_CELL = 2.0  # the same of a mesh's grid
FEW_FACES = 2_000  # of all meshes: below this they cost nothing


def slices_and_stacks(model: mujoco.MjModel, pixels: int) -> tuple[int, int]:
    """Return how many sides round shapes get, around and along, in a frame of `pixels`; never more than the model asks.

    A circle as large as the frame is off by at most 0.8 pixels, one of a quarter of it by 0.2.
    """
    quality = model.vis.quality
    slices = min(quality.numslices, max(8, round(pixels / PIXELS_PER_SLICE)))
    stacks = min(quality.numstacks, max(5, round(pixels / PIXELS_PER_STACK)))
    return slices, stacks


def with_simple_meshes(model: mujoco.MjModel, pixels: int) -> mujoco.MjModel:
    """Return the model with fewer triangles in its meshes, for drawing alone; the model itself if they are few.

    The vertices of a mesh in the same cell of a grid become the one nearest to their mean; triangles that
    lose their area, or repeat one, are left out. A mesh as large as the frame moves by at most two pixels.

    Source: Rossignac and Borrel, Multi-resolution 3D approximations for rendering complex scenes, 1993.
    """
    if int(model.mesh_facenum.sum()) <= FEW_FACES:
        return model
    simple = copy.deepcopy(model)
    for mesh in range(model.nmesh):
        first, count = int(model.mesh_faceadr[mesh]), int(model.mesh_facenum[mesh])
        start = int(model.mesh_vertadr[mesh])
        vertices = model.mesh_vert[start : start + int(model.mesh_vertnum[mesh])]
        faces = slice(first, first + count)
        moved = _cluster(vertices, max(4, round(pixels / PIXELS_PER_CELL)))[model.mesh_face[faces]]
        kept = _distinct_triangles(moved, len(vertices))
        into = slice(first, first + len(kept))
        simple.mesh_face[into] = moved[kept]
        simple.mesh_facenormal[into] = model.mesh_facenormal[faces][kept]
        simple.mesh_facetexcoord[into] = model.mesh_facetexcoord[faces][kept]
        simple.mesh_facenum[mesh] = len(kept)
    return simple


def _cluster(vertices: NDArray[np.float32], cells: int) -> NDArray[np.int64]:
    """Return, for each vertex `[V, 3]`, the one that stands for its cell `[V]`."""
    low = vertices.min(axis=0)
    extent = float((vertices.max(axis=0) - low).max()) or 1.0
    place = np.minimum((vertices - low) / extent * cells, cells - 1).astype(np.int64)
    _, cell = np.unique(place @ np.array([cells * cells, cells, 1]), return_inverse=True)
    count = np.bincount(cell)
    mean = np.stack([np.bincount(cell, vertices[:, axis]) for axis in range(3)], axis=1) / count[:, None]
    distance = ((vertices - mean[cell]) ** 2).sum(axis=1)
    nearest_first = np.lexsort((distance, cell))
    nearest = nearest_first[np.cumsum(count) - count]
    return np.asarray(nearest[cell])


def _distinct_triangles(faces: NDArray[np.int64], vertices: int) -> NDArray[np.int64]:
    """Return which of the triangles `[F, 3]` have an area and do not repeat another, at least one, rising."""
    corners = np.sort(faces, axis=1)
    has_area = (corners[:, 0] != corners[:, 1]) & (corners[:, 1] != corners[:, 2])
    _, first = np.unique((corners[:, 0] * vertices + corners[:, 1]) * vertices + corners[:, 2], return_index=True)
    kept = np.sort(first[has_area[first]])
    return kept if len(kept) else np.zeros(1, np.int64)
