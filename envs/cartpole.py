"""A cart on a rail and a pole that hangs on it, seen from the side: swing it to where an image shows it."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from worldmodel.envs.exploration import Policy, coloured_noise
from worldmodel.envs.task import Task
from worldmodel.envs.world import Action, State, World

POLE = 0.5  # its length, m, as in cartpole.xml
RAIL = 0.4  # starts and goals have the cart within this, m; the rail ends at 0.55


class Cartpole(Task):
    """Have cart and pole where the goal image shows them: mostly upright, which takes a swing.

    Actions: force on the cart, as a share of 10 N, in [-1, 1].
    Distance: the larger of the distances of the cart and of the pole's tip to their places in the goal, m.
    Hard because the motor pulls the cart and not the pole: to lift the tip, energy is put in swing by swing, which
    leads away from the goal at first, and upright the pole falls unless it is balanced. An image does not show
    velocity: a goal taken from a recording may be one that the pole swung through.

    Starts have the pole anywhere, at rest or swinging by up to 6 rad/s; goals have it within 0.1 rad of upright.

    Source: dm_control's cartpole swing-up (Tassa et al., DeepMind Control Suite, 2018), after Barto et al., 1983.
    Differs: a pole of 0.5 m in place of 1 m on a rail of 1.1 m in place of 3.6 m, so that all of it is seen at
    64 x 64; told by an image of the goal; a control step of 0.02 s.
    """

    camera = "side"
    substeps = 2
    max_steps = 300
    tolerance = 0.1
    unit = "m"

    def sample(self, rng: np.random.Generator) -> State:
        qpos = np.array([rng.uniform(-RAIL, RAIL), rng.uniform(-np.pi, np.pi)])
        swing = rng.uniform(-6, 6) if rng.random() < 0.5 else 0.0
        return State(qpos=qpos, qvel=np.array([0.0, swing]), act=np.zeros(0), time=0.0)

    def sample_goal(self, rng: np.random.Generator, start: State) -> State:
        qpos = np.array([rng.uniform(-RAIL, RAIL), rng.uniform(-0.1, 0.1)])
        return State(qpos=qpos, qvel=np.zeros(2), act=np.zeros(0), time=0.0)

    def distance(self, state: State, goal: State) -> float:
        return float(np.linalg.norm(_places(state) - _places(goal), axis=-1).max())

    def explorer(self) -> Policy:
        """Swing the pole up and down while the cart stays off the rail's ends."""
        return _Swinging()


class _Swinging:
    """Coloured noise, a push that takes the swing up or down to some height, and a spring to the middle of the rail.

    Noise alone has the cart at an end of the rail a third of the time, and the pole hangs. Each episode draws how
    strong noise and push are, and the height; from a little above upright, the pole passes there slowly.
    """

    NOISE, KEEP = (0.1, 0.9), 0.92  # share of the bounds; of the noise, from one step to the next
    PUSH = (0.0, 0.6)  # share of the bounds
    HEIGHT = (-0.5, 1.5)  # where the swing would come to rest, in lengths of the pole above the hinge
    SPRING, BRAKE = 1.6, 0.25  # share of the bounds per m and per m/s
    LIFT = 3 * 9.81 / POLE  # turning at the root of this, rad/s, takes the tip up by the pole's length

    def reset(self, rng: np.random.Generator, episode: int) -> None:
        self._noise = coloured_noise(rng, 1, self.KEEP)
        self._strength, self._push = rng.uniform(*self.NOISE), rng.uniform(*self.PUSH)
        self._height = rng.uniform(*self.HEIGHT)

    def __call__(self, world: World) -> Action:
        cart, angle = world.data.qpos.tolist()
        speed, turn = world.data.qvel.tolist()
        height = math.cos(angle) + turn * turn / self.LIFT
        up = -math.copysign(self._push, turn * math.cos(angle))
        (noise,) = next(self._noise)
        force = (
            self._strength * noise + (up if height < self._height else -up) - self.SPRING * cart - self.BRAKE * speed
        )
        return np.array([min(max(force, -1.0), 1.0)], np.float32)


def _places(state: State) -> NDArray[np.float64]:
    """Return where cart and tip are, `[2, 2]`: along the rail and up, m."""
    cart, angle = state.qpos
    return np.array([[cart, 0.0], [cart + POLE * np.sin(angle), POLE * np.cos(angle)]])
