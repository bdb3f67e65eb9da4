"""Plots in one style: matplotlib on plain white, without a display."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from worldmodel.viewing.pictures import write_png

BLUE, ORANGE, GREEN, GREY, INK = "#2563eb", "#ea7317", "#0f8a4d", "#9ca3af", "#1f2937"
TITLE: Mapping[str, Any] = {"loc": "left", "fontsize": 11, "fontweight": "bold", "color": INK, "pad": 10}
DPI = 100


def new_figure(width: float, height: float, *, arrange: bool = True) -> Figure:
    """Return a white figure of `width` by `height` inches, 100 pixels each; `arrange` makes room for all labels."""
    return Figure(figsize=(width, height), dpi=DPI, facecolor="white", layout="constrained" if arrange else None)


def write_figure(path: Path, figure: Figure) -> None:
    """Draw the figure and write it as a PNG."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()  # type: ignore[no-untyped-call]
    pixels = np.asarray(canvas.buffer_rgba())  # type: ignore[no-untyped-call]
    write_png(path, np.ascontiguousarray(pixels[..., :3]))


def tidy(axes: Axes) -> None:
    """Take away what carries nothing: two edges of the frame, and half of the grid."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=9, colors=INK)
    axes.grid(axis="y", color="#e5e7eb", lw=0.8)
    axes.set_axisbelow(True)
