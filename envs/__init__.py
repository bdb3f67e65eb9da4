"""Worlds to learn from: our tasks, other people's environments, and the renderer that films them."""

from worldmodel.envs.gl import import_mujoco

import_mujoco()
