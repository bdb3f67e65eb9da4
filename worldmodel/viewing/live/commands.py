"""What a viewer may ask of a live session, and how it is told apart from nonsense."""

from __future__ import annotations

import base64
import binascii
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from worldmodel.config import read_dataclass
from worldmodel.errors import WorldModelError, unknown_name
from worldmodel.viewing.live.factors import Factors

FRAMES_PER_SECOND = (1.0, 60.0)
SAMPLES = (8, 2000)


@dataclass(frozen=True)
class Drive:
    """Hold these actions from now on: `[A]`, each in [-1, 1] of its actuator's range."""

    action: tuple[float, ...]


@dataclass(frozen=True)
class Pause:
    """Stop the world, or let it go on."""

    paused: bool


@dataclass(frozen=True)
class Step:
    """Advance a paused world by one frame."""


@dataclass(frozen=True)
class Look:
    """Let the dream begin anew from what is really seen."""


@dataclass(frozen=True)
class Wander:
    """Let smooth noise drive, or stop it."""

    on: bool


@dataclass(frozen=True)
class Begin:
    """Start a new episode."""


@dataclass(frozen=True)
class BeginAt:
    """Put the world into the state that a recorded frame shows."""

    episode: int
    frame: int


@dataclass(frozen=True)
class ShowEpisode:
    """Send the frames of a recorded episode to whoever asks."""

    episode: int


@dataclass(frozen=True)
class RecordedGoal:
    """Take a recorded frame for the goal."""

    episode: int
    frame: int


@dataclass(frozen=True)
class DrawnGoal:
    """Take a picture for the goal: height times width times 3 bytes, in base64."""

    pixels: str

    def image(self) -> bytes:
        """Return the bytes.

        Raises:
            WorldModelError: not base64.
        """
        try:
            return base64.b64decode(self.pixels, validate=True)
        except (binascii.Error, ValueError) as error:
            raise WorldModelError(f"The drawn goal is not base64: {error}.") from error


@dataclass(frozen=True)
class PlanAndAct:
    """Plan towards the goal, then do it."""


@dataclass(frozen=True)
class Stop:
    """Give the controls back to people."""


@dataclass(frozen=True)
class Settings:
    """What can be changed while it runs.

    Attributes:
        frames_per_second: how fast the world goes.
        look_every: frames after which the dream looks again; 0 never lets it.
        horizon: blocks in a plan.
        samples: plans tried in a round of the search around the proposals.
        replan: plan anew at each frame, not do a whole plan blindly.
        factors: light, colour, friction.
    """

    frames_per_second: float = 15.0
    look_every: int = 0
    horizon: int = 5
    samples: int = 32
    replan: bool = True
    factors: Factors = field(default_factory=Factors)

    def __post_init__(self) -> None:
        for name, low, high in (
            ("frames_per_second", *FRAMES_PER_SECOND),
            ("samples", *SAMPLES),
            ("look_every", 0, 1000),
            ("horizon", 1, 1000),
        ):
            if not low <= getattr(self, name) <= high:
                raise WorldModelError(f"{name} is {getattr(self, name)}; expected {low:g} to {high:g}.")


Command = (
    Drive
    | Pause
    | Step
    | Look
    | Wander
    | Begin
    | BeginAt
    | ShowEpisode
    | RecordedGoal
    | DrawnGoal
    | PlanAndAct
    | Stop
    | Settings
)


@dataclass(frozen=True)
class Left:
    """The viewer has gone; no command, but told by the server in their order."""


COMMANDS: Mapping[str, type[Command]] = {
    "drive": Drive,
    "pause": Pause,
    "step": Step,
    "look": Look,
    "wander": Wander,
    "begin": Begin,
    "begin-at": BeginAt,
    "show-episode": ShowEpisode,
    "recorded-goal": RecordedGoal,
    "drawn-goal": DrawnGoal,
    "plan": PlanAndAct,
    "stop": Stop,
    "settings": Settings,
}


def read_message(text: str) -> tuple[str, dict[str, object]]:
    """Read a message as a JSON object; return its `type` and the rest.

    Raises:
        WorldModelError: no such object.
    """
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise WorldModelError(f"A message is not JSON: {error}.") from None
    if not isinstance(value, dict) or not isinstance(value.get("type"), str):
        raise WorldModelError('A message is a JSON object with a "type"; expected {"type": ..., ...}.')
    return value.pop("type"), value


def read_command(text: str) -> Command:
    """Read a command from JSON text.

    Raises:
        WorldModelError: not one of `COMMANDS`, a field of another type, or a number out of bounds.
    """
    name, fields = read_message(text)
    if name not in COMMANDS:
        raise unknown_name("command", name[:40], COMMANDS)
    try:
        command: Command = read_dataclass(COMMANDS[name], fields, name)
    except ValueError as error:
        raise WorldModelError(f"Command '{name}': {str(error)[:200]}.") from None
    except OverflowError:
        raise WorldModelError(
            f"Command '{name}': a number is larger than any float; expected numbers of a few digits."
        ) from None
    if isinstance(command, Drive) and not all(map(math.isfinite, command.action)):
        raise WorldModelError("Command 'drive': an action is not finite; expected numbers in [-1, 1].")
    return command
