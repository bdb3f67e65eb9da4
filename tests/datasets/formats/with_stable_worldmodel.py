"""Read or write a file with stable-worldmodel itself: `with_stable_worldmodel.py READERS read|write FILE ANSWER`."""

from __future__ import annotations

import importlib.util
import sys
import types
from pathlib import Path

import numpy as np

sys.path.append(sys.argv[1])


def skip_package_imports() -> None:
    """Let its formats be imported without what the package itself imports, environments above all."""
    root = Path(importlib.util.find_spec("stable_worldmodel").origin).parent
    for name in ("", ".data", ".data.formats"):
        module = types.ModuleType(f"stable_worldmodel{name}")
        module.__path__ = [str(root / name[1:].replace(".", "/"))]
        sys.modules[module.__name__] = module


def read(path: Path) -> dict[str, np.ndarray]:
    """Return each episode's columns, and the first clip of four steps."""
    answer = {}
    for number, length in enumerate(HDF5Dataset(path=path).lengths):
        episode = HDF5Dataset(path=path).load_episode(number)
        answer |= {f"{number}/{name}": episode[name].numpy() for name in ("pixels", "action", "qpos")}
        answer[f"{number}/length"] = np.array(length)
    clip = HDF5Dataset(path=path, num_steps=4)[0]
    return answer | {f"clip/{name}": clip[name].numpy() for name in ("pixels", "action")}


def write(path: Path) -> dict[str, np.ndarray]:
    """Write two episodes, the action of the last row NaN as in all of that package's files; return what was written."""
    rng = np.random.default_rng(0)
    answer = {}
    with HDF5Writer(path, mode="overwrite") as writer:
        for number, length in enumerate((7, 70)):
            pixels = rng.integers(0, 256, (length, 16, 16, 3), dtype=np.uint8)
            action = rng.uniform(-1, 1, (length, 2)).astype(np.float32)
            action[-1] = np.nan
            qpos = rng.normal(size=(length, 3))
            writer.write_episode({"pixels": list(pixels), "action": list(action), "qpos": list(qpos)})
            answer |= {f"{number}/pixels": pixels, f"{number}/action": action, f"{number}/qpos": qpos}
    return answer


if __name__ == "__main__":
    skip_package_imports()
    from stable_worldmodel.data.formats.hdf5 import HDF5Dataset, HDF5Writer

    np.savez(sys.argv[4], **{"read": read, "write": write}[sys.argv[2]](Path(sys.argv[3])))
