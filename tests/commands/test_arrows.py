"""Imports run one way: cocosnet <- recipe <- data <- metrics <- engine <- commands <- app."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import cocosnet
import pytest

import cocoscli

LAYERS = ("cocosnet", "recipe", "data", "metrics", "engine", "commands", "app")
LEAVES = ("report", "console", "training_console", "errors", "shipped")
ROOTS = {"cocosnet": Path(cocosnet.__file__).parent, "cocoscli": Path(cocoscli.__file__).parent}
ENTRY = {"__main__", "__init__"}


def layer_of(module: str) -> str | None:
    """`cocoscli.data.images` -> data; None where it is another project's."""
    first, *rest = module.split(".")
    if first == "cocosnet":
        return "cocosnet"
    return (rest[0] if rest else "__init__") if first == "cocoscli" else None


def imports(path: Path) -> Iterator[str]:
    """Modules that a file imports, anywhere in it; `from cocoscli import x` counts as x."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path}: a relative import"
            yield node.module or ""
            if node.module == "cocoscli":
                yield from (f"cocoscli.{alias.name}" for alias in node.names)


FILES = [
    pytest.param(name, path, id=f"{name}/{path.relative_to(root).as_posix()}")
    for name, root in ROOTS.items()
    for path in sorted(root.rglob("*.py"))
]


@pytest.mark.parametrize(("package", "path"), FILES)
def test_arrows_run_one_way(package, path):
    parts = path.relative_to(ROOTS[package]).with_suffix("").parts
    layer = "cocosnet" if package == "cocosnet" else parts[0]
    used = {found for module in imports(path) if (found := layer_of(module))} - {"__version__"}
    if layer in ENTRY:
        assert used <= {"app", "__init__"}
    elif layer in LEAVES:
        assert used <= {*LEAVES, "__init__"}
    else:
        below = LAYERS[: LAYERS.index(layer) + 1]
        leaves = () if layer == "cocosnet" else (*LEAVES, "__init__")
        assert used <= {*below, *leaves}
