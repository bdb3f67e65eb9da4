"""Who imports whom: what the README's table of folders allows, and nothing else."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "worldmodel"
WORLDS, NETWORKS = {"envs", "datasets"}, {"models", "objectives"}
USES = {"planning", "evaluation", "training"}
LAYERS = [*sorted(WORLDS | NETWORKS | USES), "viewing", "cli"]

# the modules at the top, which import none of the folders
COMMON = {path.stem for path in PACKAGE.glob("*.py")} - {"__init__"}
MAY_IMPORT = (
    dict.fromkeys(COMMON, COMMON)
    | dict.fromkeys(WORLDS, COMMON | WORLDS)
    | dict.fromkeys(NETWORKS, COMMON | NETWORKS | {"torch"})
    | dict.fromkeys(USES, COMMON | WORLDS | NETWORKS | USES | {"torch"})
    | {"viewing": COMMON | WORLDS | NETWORKS | USES | {"viewing", "torch"}}
    | {"cli": COMMON | set(LAYERS) | {"torch"}}
)


def imports(path: Path) -> Iterator[tuple[int, str]]:
    """Yield line and full name of whatever a file imports of this package or of PyTorch, at its top or later."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        yield from ((node.lineno, name) for name in names if name.split(".")[0] in ("worldmodel", "torch"))


def layer_of(name: str) -> str:
    """Return the folder, or the module at the top, that an imported name belongs to."""
    package, *rest = name.split(".")
    return rest[0] if package == "worldmodel" and rest else package


def test_every_folder_has_its_place() -> None:
    folders = {path.name for path in PACKAGE.iterdir() if path.is_dir() and any(path.glob("*.py"))}
    assert folders == set(LAYERS)
    assert set(MAY_IMPORT) == folders | COMMON


@pytest.mark.parametrize("layer", sorted(MAY_IMPORT))
def test_a_folder_imports_what_it_may(layer: str) -> None:
    files = [PACKAGE / f"{layer}.py"] if layer in COMMON else sorted((PACKAGE / layer).rglob("*.py"))
    assert files
    wrong = [
        f"{path.relative_to(PACKAGE.parent)}:{line} imports {name}"
        for path in files
        for line, name in imports(path)
        if layer_of(name) not in MAY_IMPORT[layer]
    ]
    assert not wrong, "\n".join(wrong)
