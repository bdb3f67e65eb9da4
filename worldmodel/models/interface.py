"""What a model was trained on, and so what it can be used with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Interface:
    """The world as a model knows it.

    Attributes:
        env: name of the environment.
        cameras: who films, the leftmost view of a frame first; "" is MuJoCo's free camera.
        height, width: size of a frame, of all views together, pixels.
        quality: "fast" or "faithful", as the frames were drawn.
        steps_per_frame: K, control steps between two frames, which make an action block.
        control_seconds: time between two control steps, s.
        low, high: bounds of the A actuators, each in its own unit.
        recording: fingerprint of the recording, by which its held-out episodes are known.
        env_arguments: what the environment was made with, a JSON object.
        proprioception: P, the numbers that the robot feels of its own joints at each frame; 0 if it is not asked.
    """

    env: str
    cameras: tuple[str, ...]
    height: int
    width: int
    quality: Literal["fast", "faithful"]
    steps_per_frame: int
    control_seconds: float
    low: tuple[float, ...]
    high: tuple[float, ...]
    recording: str = ""
    env_arguments: str = "{}"
    proprioception: int = 0

    @property
    def block(self) -> int:
        """U, the numbers in a flat action block."""
        return self.steps_per_frame * len(self.low)
