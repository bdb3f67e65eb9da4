"""A planar arm of three links, seen from above, that takes the pose shown in an image."""

from __future__ import annotations

from worldmodel.envs.reacher import Reacher


class ThreeLinkReacher(Reacher):
    """The reacher with another joint, a wrist, and links of 0.08 m in place of 0.12 m.

    Actions: torque of shoulder, elbow and wrist, as a share of 0.05 N m, in [-1, 1].
    Distance: the largest of the elbow's, the wrist's and the fingertip's distance to their places in the goal, m.
    Hard because a search over three torques has to look at far more candidates, and because the joints, of links a
    third shorter, push each other about; the arm also lies upon itself, where the picture hides a link.

    Source: our own, after dm_control's reacher.
    """

    LINK = 0.08
    JOINTS = 3
