"""Several cameras' views as one frame: known answers."""

from __future__ import annotations

import gymnasium
import numpy as np
import pytest

from worldmodel.envs.channels import join_views
from worldmodel.envs.reacher import Reacher
from worldmodel.envs.renderer import Renderer, RendererConfig
from worldmodel.envs.views import ViewsRenderer
from worldmodel.errors import RendererError


def test_views_lie_side_by_side_in_their_order() -> None:
    left, right = np.zeros((2, 2, 2, 3), np.uint8), np.ones((2, 2, 2, 3), np.uint8)
    assert join_views([left, right])[..., 0].tolist() == [[[0, 0, 1, 1]] * 2] * 2
    assert join_views([right, left])[..., 0].tolist() == [[[1, 1, 0, 0]] * 2] * 2
    assert np.array_equal(join_views([right]), right)


def test_a_frame_is_what_each_camera_sees() -> None:
    task = Reacher()
    task.reset(np.random.default_rng(0))
    alone = []
    for camera in ("top", ""):
        with Renderer(RendererConfig(32, 32, camera), model=task.model) as renderer:
            alone.append(renderer.draw(task.data))
    assert not np.array_equal(*alone)
    with ViewsRenderer(("top", ""), 32, 64, model=task.model) as views:
        assert np.array_equal(views.draw(task.data), np.concatenate(alone, axis=1))
    with pytest.raises(RendererError, match="Unknown camera 'side'"):
        ViewsRenderer(("top", "side"), 32, 64, model=task.model)


def test_an_environment_shows_image_and_goal_from_all_its_cameras() -> None:
    with_two, with_one = (
        gymnasium.make("worldmodel/Reacher-v0", size=32, **more) for more in ({"cameras": ("", "top")}, {})
    )
    two, one = (env.reset(seed=0)[0] for env in (with_two, with_one))
    for name in ("image", "goal"):
        assert two[name].shape == (32, 64, 3)
        assert np.array_equal(two[name][:, 32:], one[name])
    assert with_two.observation_space.contains(two)
    with_two.close()
    with_one.close()
