"""Read a file with robomimic itself: `with_robomimic.py READERS read FILE ANSWER`."""

from __future__ import annotations

import sys

import numpy as np

sys.path.append(sys.argv[1])

import robomimic.utils.obs_utils
from robomimic.utils.dataset import SequenceDataset

PICTURES, NUMBERS = ["top_image", "wrist:left_image"], ["qpos", "qvel"]

robomimic.utils.obs_utils.initialize_obs_utils_with_obs_specs({"obs": {"low_dim": NUMBERS, "rgb": PICTURES}})
dataset = SequenceDataset(
    sys.argv[3], obs_keys=[*PICTURES, *NUMBERS], dataset_keys=["actions", "rewards", "dones"], hdf5_cache_mode=None
)
answer = {"length": np.array(len(dataset))}
for episode in range(2):
    trajectory = dataset.get_trajectory_at_index(episode)
    for key in ("actions", "rewards", "dones"):
        answer[f"{episode}/{key}"] = trajectory[key]
    for group in ("obs", "next_obs"):
        for key in (*PICTURES, *NUMBERS):
            answer[f"{episode}/{group}/{key}"] = trajectory[group][key]
np.savez(sys.argv[4], **answer)
