"""Files that somebody else made or broke: one clear error, never a hang, a crash, or wrong data taken for right."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import struct
import zlib
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from worldmodel.datasets.isolated import Isolated, ReaderDiedError
from worldmodel.datasets.manifest import MANIFEST, Manifest, Provenance, sha256_of
from worldmodel.datasets.packing import fletcher32
from worldmodel.datasets.reader import Recording
from worldmodel.datasets.schema import EPISODE_COLUMNS, Episode
from worldmodel.datasets.store import RecordingStore
from worldmodel.datasets.verify import verify
from worldmodel.errors import RecordingError

SHARD = "shard-00000.h5"
COLUMNS = [
    *("frames/top", "frame_step", "time", "qpos", "qvel", "extra", "visual", "actions", "reward"),
    *(f"episode/{name}" for name in EPISODE_COLUMNS),
]


def digest(folder: Path) -> str:
    """Open a recording, read everything in it, and return a hash of that."""
    whole = hashlib.sha256()
    with Recording.open(folder) as recording:
        for index in range(recording.episodes):
            episode = recording.episode(index)
            whole.update(repr((episode.index, episode.seed, episode.ending)).encode())
            for name, values in episode.columns():
                whole.update(repr((name, values.dtype, values.shape)).encode() + values.tobytes())
    return whole.hexdigest()


@dataclass(frozen=True)
class Read:
    """Read a whole recording, in a process of its own."""

    folder: Path

    def __call__(self) -> Iterator[str]:
        yield digest(self.folder)


@pytest.fixture(scope="module")
def reader() -> Iterator[Isolated]:
    with Isolated(patience=20.0) as isolated:
        yield isolated


@pytest.fixture
def folder(tmp_path: Path, provenance: Provenance, make_episode: Callable[[int], Episode]) -> Path:
    """A recording of three episodes in one shard."""
    return record_three(tmp_path / "out", provenance, make_episode)


def record_three(folder: Path, provenance: Provenance, make_episode: Callable[[int], Episode]) -> Path:
    with RecordingStore(folder, provenance, resume=False) as store:
        for index in range(3):
            store.add(make_episode(index))
        store.finish(1.0)
    return folder


def sign(folder: Path) -> None:
    """Make the manifest fit the shard, as somebody who means harm would."""
    manifest = Manifest.read(folder)
    (entry,) = manifest.shards
    if (folder / SHARD).is_file():
        entry = replace(entry, sha256=sha256_of(folder / SHARD))
        (folder / MANIFEST).write_text(replace(manifest, shards=(entry,)).to_json())


def assert_refused(reader: Isolated, folder: Path) -> str:
    """Assert that the recording is refused by one clear error, by a reader that lives on; return its text."""
    with pytest.raises(RecordingError) as refused:
        list(reader.run(Read(folder)))
    assert not isinstance(refused.value, ReaderDiedError), refused.value
    assert str(folder) in str(refused.value)
    return str(refused.value)


def again(file: h5py.File, name: str, **changes: Any) -> h5py.Dataset:
    """Replace a column by one that differs in `changes` alone."""
    held = file[name]
    values = changes.pop("values", held[:])
    settings = {"chunks": held.chunks and (min(held.chunks[0], len(values)), *values.shape[1:]), "fletcher32": True}
    settings |= {"dtype": values.dtype, "data": values, "shape": values.shape} | changes
    if 0 in (settings["shape"] or ()) or settings["chunks"] is None:
        settings |= {"chunks": None, "fletcher32": False}
    del file[name]
    return file.create_dataset(name, **settings)


@pytest.mark.parametrize(
    "content", [b"", b"Dear all,\n", b"\x89HDF\r\n\x1a\n", b"\x89HDF\r\n\x1a\n" + bytes(5000), bytes(5000)]
)
def test_another_kind_of_file(content: bytes, folder: Path, reader: Isolated) -> None:
    (folder / SHARD).write_bytes(content)
    sign(folder)
    assert "HDF5" in assert_refused(reader, folder)


def test_what_is_no_plain_file_of_the_folder(folder: Path, reader: Isolated, tmp_path: Path) -> None:
    elsewhere = (folder / SHARD).rename(tmp_path / "elsewhere.h5")
    (folder / SHARD).symlink_to(elsewhere)
    assert "link" in assert_refused(reader, folder)
    (folder / SHARD).unlink()
    (folder / SHARD).mkdir()
    assert_refused(reader, folder)
    (folder / SHARD).rmdir()
    os.mkfifo(folder / SHARD)
    assert_refused(reader, folder)


@dataclass(frozen=True)
class ReadAll:
    """Put each of `files(start...)` in a shard's place and read: yields "refused", "right" or "WRONG" for each."""

    folder: Path
    original: bytes
    expected: str
    start: int
    stop: int

    def __call__(self) -> Iterator[str]:
        for seed in range(self.start, self.stop):
            (self.folder / SHARD).write_bytes(mutated(self.original, seed))
            try:
                yield "right" if digest(self.folder) == self.expected else "WRONG"
            except RecordingError:
                yield "refused"


def mutated(original: bytes, seed: int) -> bytes:
    """Break a file in one of several ways, drawn from `seed`."""
    rng = np.random.default_rng(seed)
    data = bytearray(original)
    size = len(data)
    # HDF5's own structures are a few per cent of the file, near its beginning and its end: break them half the time
    region = int(rng.choice([600, size]))
    at = int(rng.integers(region)) if rng.random() < 0.5 else size - 1 - int(rng.integers(region))
    length = min(int(rng.integers(1, 64)), size - at)
    match seed % 6:
        case 0:
            data[at] ^= 1 << int(rng.integers(8))
        case 1:
            data[at] = int(rng.integers(256))
        case 2:
            data[at : at + length] = rng.bytes(length)
        case 3:
            data[at : at + length] = bytes([int(rng.choice([0, 255]))]) * length
        case 4:
            other = int(rng.integers(size - length))
            data[at : at + length], data[other : other + length] = data[other : other + length], data[at : at + length]
            data = data[:size]
        case _:
            data = data[:at]
    return bytes(data)


@pytest.mark.parametrize("compression", ["lz4", "gzip"])
def test_random_damage_is_refused_or_does_no_harm(
    compression: str,
    tmp_path: Path,
    provenance: Provenance,
    make_episode: Callable[[int], Episode],
    reader: Isolated,
) -> None:
    folder = record_three(tmp_path / "out", replace(provenance, compression=compression), make_episode)
    original = (folder / SHARD).read_bytes()
    work = ReadAll(folder, original, digest(folder), 0, 500)
    outcomes: list[str] = []
    while len(outcomes) < work.stop:
        try:
            outcomes.extend(reader.run(replace(work, start=len(outcomes))))
        except ReaderDiedError as error:
            outcomes.append(str(error))
    bad = {seed: outcome for seed, outcome in enumerate(outcomes) if outcome not in ("right", "refused")}
    assert not bad
    assert outcomes.count("refused") > 100


def write_raw_chunk(file: h5py.File, name: str, body: bytes, mask: int = 0, *, checksum: bool = True) -> None:
    if checksum:
        body += struct.pack("<I", fletcher32(body))
    file[name].id.write_direct_chunk((0,) * file[name].ndim, body, mask)


def lz4_lies(total: int, block: int, packed: int, body: bytes = b"x" * 16) -> Callable[[h5py.File, str], None]:
    def lie(file: h5py.File, name: str) -> None:
        write_raw_chunk(file, name, struct.pack(">QI", total % 2**64, block % 2**32) + struct.pack(">I", packed) + body)

    return lie


def filter_left_out(file: h5py.File, name: str) -> None:
    raw = file[name].id.read_direct_chunk((0,) * file[name].ndim)[1]
    write_raw_chunk(file, name, raw[:-4], mask=1 << (len(file[name]._filters) - 1), checksum=False)


CHUNK_DAMAGE: dict[str, Callable[[h5py.File, str], None]] = {
    "huge": lz4_lies(2**62, 2**30, 16),
    "negative": lz4_lies(-1, -1, 2**32 - 1),
    "zero": lz4_lies(0, 0, 0),
    "zero block": lz4_lies(960, 0, 16),
    "beyond the end": lz4_lies(2**24, 2**24, 2**24),
    "too little": lz4_lies(16, 16, 16),
    "no bytes": lambda file, name: write_raw_chunk(file, name, b""),
    "checksum alone": lambda file, name: write_raw_chunk(file, name, b"\0" * 3, checksum=False),
    "another stream": lambda file, name: write_raw_chunk(file, name, zlib.compress(bytes(10**6))),
    "filter left out": filter_left_out,
}


@pytest.mark.parametrize("name", ["frames/top", "qpos", "actions"])
@pytest.mark.parametrize("damage", CHUNK_DAMAGE)
def test_a_chunk_that_lies(damage: str, name: str, folder: Path, reader: Isolated) -> None:
    with h5py.File(folder / SHARD, "r+") as file:
        CHUNK_DAMAGE[damage](file, name)
    sign(folder)
    assert name in assert_refused(reader, folder)


def test_a_gzip_bomb(folder: Path, reader: Isolated) -> None:
    bomb = zlib.compress(bytes(2**28), 9)
    for name in ("frames/top", "qpos"):
        with h5py.File(folder / SHARD, "r+") as file:
            again(file, name, compression="gzip")
            write_raw_chunk(file, name, bomb)
        sign(folder)
        assert "qpos" in assert_refused(reader, folder) or name == "frames/top"


def linked(file: h5py.File, name: str, link: Any) -> None:
    del file[name]
    file[name] = link


def raw_dataset(file: h5py.File, name: str, space: Any, plist: Any = None, kind: Any = h5py.h5t.NATIVE_DOUBLE) -> None:
    del file[name]
    h5py.h5d.create(file.id, name.encode(), kind, space, dcpl=plist)


def external(file: h5py.File) -> None:
    values = file["qpos"][:]
    Path(file.filename).with_name("secret").write_bytes(values.tobytes())
    del file["qpos"]
    where = [(str(Path(file.filename).with_name("secret")), 0, values.nbytes)]
    file.create_dataset("qpos", values.shape, values.dtype, external=where)


def virtual(file: h5py.File) -> None:
    layout = h5py.VirtualLayout(file["qpos"].shape, file["qpos"].dtype)
    layout[:] = h5py.VirtualSource("elsewhere.h5", "qpos", file["qpos"].shape)
    del file["qpos"]
    file.create_virtual_dataset("qpos", layout)


def unknown_filter(file: h5py.File) -> None:
    plist = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    plist.set_chunk(file["qpos"].shape)
    plist.set_filter(399, h5py.h5z.FLAG_OPTIONAL, (1, 2))
    raw_dataset(file, "qpos", h5py.h5s.create_simple(file["qpos"].shape), plist)


def odd_number(file: h5py.File) -> None:
    """Doubles whose sign and mantissa are elsewhere than where everybody has them."""
    kind = h5py.h5t.NATIVE_DOUBLE.copy()
    kind.set_ebias(1000)
    plist = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    plist.set_chunk(file["qpos"].shape)
    plist.set_fletcher32()
    raw_dataset(file, "qpos", h5py.h5s.create_simple(file["qpos"].shape), plist, kind)


def assign(name: str, row: int, value: float) -> Callable[[h5py.File], object]:
    def change(file: h5py.File) -> None:
        values = file[name][:]
        values[row] = value
        again(file, name, values=values)

    return change


def frames_and_actions_do_not_fit(file: h5py.File) -> None:
    assign("episode/action_start", 1, file["episode/action_start"][1] - 4)(file)


STRUCTURE: dict[str, Callable[[h5py.File], object]] = {
    "no format": lambda f: f.attrs.__delitem__("format"),
    "another format": lambda f: f.attrs.__setitem__("format", "recording"),
    "a format that is huge": lambda f: f.attrs.__setitem__("format", np.zeros(2**20)),
    "a format that is empty": lambda f: f.attrs.__setitem__("format", h5py.Empty("S10")),
    "a format of variable length": lambda f: f.attrs.__setitem__("format", "worldmodel-recording"),
    "another version": lambda f: f.attrs.__setitem__("version", 1),
    "a version of words": lambda f: f.attrs.__setitem__("version", "two"),
    "versions": lambda f: f.attrs.__setitem__("version", np.array([2, 2])),
    "one more dataset": lambda f: f.create_dataset("more", data=np.zeros(3)),
    "one more picture": lambda f: f.create_dataset("frames/side", data=f["frames/top"][:]),
    "one more group": lambda f: f.create_group("more"),
    "a group in a group": lambda f: f.create_group("episode/more"),
    "a group in place of a column": lambda f: (f.__delitem__("qpos"), f.create_group("qpos")),
    "a column in place of a group": lambda f: (f.__delitem__("frames"), f.create_dataset("frames", data=[1])),
    "a named type": lambda f: f.__setitem__("kind", np.dtype("f8")),
    "a cycle": lambda f: f.__setitem__("frames/again", f["frames"]),
    "a cycle through the root": lambda f: f.__setitem__("root", f["/"]),
    "pictures in the root": lambda f: linked(f, "frames", f["/"]),
    "two names of a column": lambda f: linked(f, "qvel", f["qpos"]),
    "soft link": lambda f: linked(f, "qvel", h5py.SoftLink("/qpos")),
    "soft link in a group": lambda f: linked(f, "episode/index", h5py.SoftLink("/episode/frame_start")),
    "soft link to the index": lambda f: linked(f, "episode/frame_start", h5py.SoftLink("/episode/action_start")),
    "soft link in place of a group": lambda f: (f.move("frames", "f"), linked_anew(f, "frames", h5py.SoftLink("/f"))),
    "external link": lambda f: linked(f, "qpos", h5py.ExternalLink("elsewhere.h5", "/qpos")),
    "external link in place of a group": lambda f: linked(f, "episode", h5py.ExternalLink("elsewhere.h5", "/episode")),
    "external link at the picture": lambda f: linked(f, "frames/top", h5py.ExternalLink("/etc/passwd", "/x")),
    "external storage": external,
    "virtual": virtual,
    "unknown filter": unknown_filter,
    "odd numbers": odd_number,
    "objects": lambda f: again(
        f, "qpos", values=np.full(f["qpos"].shape, "x", object), dtype=h5py.string_dtype(), fletcher32=False
    ),
    "references": lambda f: again(
        f, "qpos", values=np.full(f["qpos"].shape, f.ref, object), dtype=h5py.ref_dtype, fletcher32=False
    ),
    "compounds": lambda f: again(f, "qpos", values=np.zeros(f["qpos"].shape, [("a", "f8")])),
    "arrays": lambda f: again(f, "qpos", values=f["qpos"][:], dtype=np.dtype(("f8", (2,))), data=None),
    "booleans": lambda f: again(f, "episode/ending", values=np.zeros(3, bool)),
    "big-endian": lambda f: again(f, "qpos", dtype=">f8"),
    "no space": lambda f: linked(f, "qpos", h5py.Empty("f8")),
    "a scalar": lambda f: linked(f, "qpos", 1.0),
    "a scalar index": lambda f: linked(f, "episode/frame_start", 1),
    "no checksum": lambda f: again(f, "qpos", fletcher32=False),
    "no chunks": lambda f: again(f, "qpos", chunks=None, fletcher32=False),
    "chunks across rows": lambda f: again(f, "frames/top", chunks=(8, 1, 8, 3)),
    "another codec": lambda f: again(f, "frames/top", compression="lzf"),
    "no bound": lambda f: again(f, "qpos", maxshape=(None, None)),
    "huge in a small file": lambda f: again(f, "qpos", data=None, shape=(2**50, 2), chunks=(1024, 2)),
    "huge chunks": lambda f: again(f, "qpos", data=None, shape=(2**27, 2), chunks=(2**27, 2)),
    "never written": lambda f: again(f, "frames/top", data=None),
    "an index never written": lambda f: again(f, "episode/frame_start", data=None),
    "does not start at 0": assign("episode/frame_start", 0, 1),
    "falls": assign("episode/frame_start", 1, 99),
    "negative": assign("episode/frame_start", 1, -3),
    "beyond the end": assign("episode/action_start", -1, 2**40),
    "empty episode": lambda f: assign("episode/frame_start", 1, 0)(f),
    "frames and actions do not fit": frames_and_actions_do_not_fit,
    "another episode": assign("episode/index", 1, 7),
    "another seed": assign("episode/seed", 1, 8),
    "an ending that nobody has": assign("episode/ending", 1, 9),
    "frame step beyond": assign("frame_step", 2, 2**40),
    "frame step negative": assign("frame_step", 2, -5),
    "not a number": assign("qpos", 2, np.nan),
    "infinite": assign("actions", 2, np.inf),
}


def linked_anew(file: h5py.File, name: str, link: Any) -> None:
    file[name] = link


@pytest.mark.parametrize("name", STRUCTURE)
def test_a_structure_that_a_recording_never_has(name: str, folder: Path, reader: Isolated) -> None:
    shutil.copy(folder / SHARD, folder / "elsewhere.h5")
    with h5py.File(folder / SHARD, "r+", libver="latest") as file:
        STRUCTURE[name](file)
    sign(folder)
    assert_refused(reader, folder)


def other_values(values: np.ndarray, change: str) -> np.ndarray | None:
    kinds = {"i": "i4", "u": "u2", "f": "f2"}
    match change:
        case "kind":
            return values.astype(kinds[values.dtype.kind])
        case "shorter":
            return values[:-1]
        case "longer":
            return np.concatenate([values, values[-1:]])
        case "axes":
            return values[..., None]
        case _:
            return None


@pytest.mark.parametrize("column", COLUMNS)
def test_a_column_that_is_missing_or_of_another_form(column: str, folder: Path, reader: Isolated) -> None:
    whole = (folder / SHARD).read_bytes()
    for change in ("kind", "shorter", "longer", "axes", "missing"):
        (folder / SHARD).write_bytes(whole)
        with h5py.File(folder / SHARD, "r+") as file:
            values = other_values(file[column][:], change)
            if values is None:
                del file[column]
            else:
                again(file, column, values=values)
        sign(folder)
        assert_refused(reader, folder)


def test_something_before_the_data(folder: Path, reader: Isolated) -> None:
    whole = (folder / SHARD).read_bytes()
    (folder / SHARD).write_bytes(bytes(512) + whole)
    sign(folder)
    assert_refused(reader, folder)


def test_an_attribute_bomb_is_not_read(folder: Path, reader: Isolated) -> None:
    expected = digest(folder)
    with h5py.File(folder / SHARD, "r+", libver="latest") as file:
        file.attrs["bomb"] = np.zeros(2**21)
        file["qpos"].attrs["bomb"] = np.zeros(2**21)
    sign(folder)
    assert list(reader.run(Read(folder))) == [expected]


def deep(depth: int) -> str:
    return "[" * depth + "]" * depth


MANIFESTS: dict[str, Callable[[dict[str, Any]], object]] = {
    "path upward": lambda m: m["shards"][0].update(file="../elsewhere.h5"),
    "absolute path": lambda m: m["shards"][0].update(file="/etc/passwd"),
    "parent": lambda m: m["shards"][0].update(file=".."),
    "no name": lambda m: m["shards"][0].update(file=""),
    "nul": lambda m: m["shards"][0].update(file="shard\0.h5"),
    "long name": lambda m: m["shards"][0].update(file="s" * 5000),
    "duplicate shards": lambda m: m["shards"].append(m["shards"][0]),
    "episodes": lambda m: m["shards"][0].update(episodes=2),
    "frames": lambda m: m["shards"][0].update(frames=13),
    "actions": lambda m: m["shards"][0].update(actions=30),
    "negative": lambda m: m["shards"][0].update(episodes=-3),
    "zero": lambda m: m["shards"][0].update(frames=0),
    "huge": lambda m: m["shards"][0].update(frames=10**400),
    "huge bound": lambda m: m["provenance"].update(low=[-(10**400), -1]),
    "huge seconds": lambda m: m.update(seconds=10**400),
    "huge size": lambda m: m["provenance"].update(height=10**30),
    "huge seed": lambda m: m["provenance"].update(seed=10**30),
    "boolean": lambda m: m["shards"][0].update(episodes=True),
    "words": lambda m: m["shards"][0].update(episodes="3"),
    "fraction": lambda m: m["shards"][0].update(episodes=3.0),
    "nothing": lambda m: m["provenance"].update(cameras=[]),
    "two cameras": lambda m: m["provenance"]["cameras"].append(m["provenance"]["cameras"][0] | {"name": "side"}),
    "no provenance": lambda m: m.pop("provenance"),
    "one field more": lambda m: m.update(more=1),
    "a list": lambda m: m.update(shards={"0": m["shards"][0]}),
    "not a number": lambda m: m["provenance"].update(control_seconds=float("nan")),
    "not a bound": lambda m: m["provenance"].update(low=[float("nan"), -1.0]),
    "infinite": lambda m: m.update(seconds=float("inf")),
    "bounds of another robot": lambda m: m["provenance"].update(low=[-1.0], high=[1.0]),
    "another rate": lambda m: m["provenance"].update(steps_per_frame=4),
    "another seed": lambda m: m["provenance"].update(seed=8),
    "another size": lambda m: m["provenance"].update(width=16),
    "another camera": lambda m: m["provenance"]["cameras"][0].update(name="../../x"),
}


@pytest.mark.parametrize("name", MANIFESTS)
def test_a_manifest_that_lies(name: str, folder: Path, reader: Isolated) -> None:
    manifest = asdict(Manifest.read(folder))
    manifest["shards"] = [asdict(entry) for entry in Manifest.read(folder).shards]
    manifest = json.loads(json.dumps(manifest))
    MANIFESTS[name](manifest)
    (folder / MANIFEST).write_text(json.dumps(manifest))
    assert_refused(reader, folder)


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "null", "NaN", "1" * 5000, deep(100_000), '{"format": ' + deep(100_000) + "}", "\0", "\ud800"],
    ids=range(10),
)
def test_a_manifest_that_is_none(text: str, folder: Path, reader: Isolated) -> None:
    (folder / MANIFEST).write_bytes(text.encode("utf-8", "surrogatepass"))
    assert_refused(reader, folder)


def test_a_key_that_comes_twice(folder: Path, reader: Isolated) -> None:
    text = (folder / MANIFEST).read_text()
    (folder / MANIFEST).write_text(text.replace('"episodes": 3,', '"episodes": 3, "episodes": 3,', 1))
    assert "episodes" in assert_refused(reader, folder)


def test_verify_survives_them_and_says_where(folder: Path) -> None:
    with h5py.File(folder / SHARD, "r+") as file:
        CHUNK_DAMAGE["beyond the end"](file, "qpos")
    sign(folder)
    report = verify(folder, deep=True)
    assert {finding.file for finding in report.errors} == {SHARD}
    assert {finding.episode for finding in report.errors} == {0, 1, 2}
