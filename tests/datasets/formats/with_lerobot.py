"""Read or write a dataset with LeRobot itself: `with_lerobot.py READERS read|write FOLDER ANSWER`."""

from __future__ import annotations

import sys
import types
from pathlib import Path

import av
import numpy as np
import torch

sys.path.append(sys.argv[1])


def stub_torchvision() -> None:
    """Stand in for torchvision, of which LeRobot needs a decoder to read video, and one transformation of pictures."""
    modules = {name: types.ModuleType(f"torchvision{name}") for name in ("", ".transforms", ".transforms.v2", ".io")}

    class Transform: ...

    class ToTensor:
        def __call__(self, image):
            return torch.from_numpy(np.array(image)).permute(2, 0, 1).float() / 255

    class VideoReader:
        def __init__(self, path, stream):
            self.container = av.open(path)
            self.stream = self.container.streams.video[0]

        def seek(self, seconds, keyframes_only=False):
            self.container.seek(int(seconds / self.stream.time_base), stream=self.stream)

        def __iter__(self):
            for frame in self.container.decode(self.stream):
                picture = torch.from_numpy(frame.to_ndarray(format="rgb24")).permute(2, 0, 1)
                yield {"pts": frame.time, "data": picture}

    modules[""].__spec__ = None
    modules[""].set_video_backend = lambda backend: None
    modules[""].transforms, modules[""].io = modules[".transforms"], modules[".io"]
    modules[".transforms"].v2, modules[".transforms"].ToTensor = modules[".transforms.v2"], ToTensor
    modules[".transforms.v2"].Transform, modules[".transforms.v2"].functional = Transform, types.SimpleNamespace()
    modules[".io"].VideoReader = VideoReader
    sys.modules.update({f"torchvision{name}": module for name, module in modules.items()})


def read(folder: Path) -> dict[str, np.ndarray]:
    """Return what LeRobot makes of every row; pictures as uint8, channels last."""
    dataset = LeRobotDataset("somebody/something", root=folder, video_backend="pyav")
    rows = [dataset[index] for index in range(len(dataset))]
    answer = {}
    for name, value in rows[0].items():
        if name.startswith("observation.images"):
            answer[name] = np.stack([(row[name].permute(1, 2, 0) * 255).round().byte().numpy() for row in rows])
        elif isinstance(value, torch.Tensor):
            answer[name] = np.stack([row[name].numpy() for row in rows])
    return answer | {"task": np.array([row["task"] for row in rows]), "fps": np.array(dataset.fps)}


def write(folder: Path) -> dict[str, np.ndarray]:
    """Write two episodes, videos in AV1 as LeRobot does by itself; return what was written."""
    features = {
        "observation.images.top": {"dtype": "video", "shape": (64, 64, 3), "names": ["height", "width", "channels"]},
        "observation.image": {"dtype": "image", "shape": (64, 64, 3), "names": ["height", "width", "channels"]},
        "observation.state": {"dtype": "float32", "shape": (3,), "names": ["a", "b", "c"]},
        "action": {"dtype": "float32", "shape": (2,), "names": ["x", "y"]},
    }
    dataset = LeRobotDataset.create("somebody/something", 20, features, root=folder, video_backend="pyav")
    rng = np.random.default_rng(0)
    ramp = np.linspace(0, 200, 64, dtype=np.uint8)
    frames, actions = [], []
    for length in (12, 9):
        for number in range(length):
            frame = np.stack([ramp[None].repeat(64, 0), ramp[:, None].repeat(64, 1), np.full((64, 64), 9 * number)], -1)
            frames.append(frame.astype(np.uint8))
            actions.append(rng.uniform(-1, 1, 2).astype(np.float32))
            dataset.add_frame(
                {
                    "observation.images.top": frames[-1],
                    "observation.image": frames[-1],
                    "observation.state": rng.normal(size=3).astype(np.float32),
                    "action": actions[-1],
                    "task": "reach",
                }
            )
        dataset.save_episode()
    dataset.finalize()
    return {"frames": np.stack(frames), "actions": np.stack(actions)}


if __name__ == "__main__":
    import datasets  # noqa: F401, TID251  Hugging Face's, before the stub: it looks for torchvision

    stub_torchvision()
    from lerobot.datasets.lerobot_dataset import LeRobotDataset

    np.savez(sys.argv[4], **{"read": read, "write": write}[sys.argv[2]](Path(sys.argv[3])))
