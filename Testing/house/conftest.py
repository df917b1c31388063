"""The library's source, parsed once."""

from __future__ import annotations

import ast
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pytest

LIBRARY = Path(__file__).resolve().parents[2] / "MedDetectLib"


@dataclass(frozen=True)
class Import:
    """One module that is imported: where, and whether already when the file is loaded."""

    module: str
    line: int
    at_load: bool


@dataclass(frozen=True)
class Source:
    """One file of the library; `path` is relative to it, with slashes."""

    path: str
    text: str
    tree: ast.Module

    @property
    def room(self) -> str:
        """The folder right under MedDetectLib; empty for the package's own files."""
        return self.path.split("/")[0] if "/" in self.path else ""

    @cached_property
    def imports(self) -> list[Import]:
        """Every import, wherever it stands; of `from X import Y` both X and X.Y."""
        found: list[Import] = []
        self._collect(self.tree.body, True, found)
        return found

    def _collect(self, body, at_load, found):
        for node in body:
            if isinstance(node, ast.Import):
                found += [Import(name.name, node.lineno, at_load) for name in node.names]
            elif isinstance(node, ast.ImportFrom):
                base = self._absolute(node)
                found.append(Import(base, node.lineno, at_load))
                found += [Import(f"{base}.{n.name}", node.lineno, at_load) for n in node.names]
            elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
                self._collect(ast.iter_child_nodes(node), False, found)
            elif isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
                self._collect(node.body, False, found)
                self._collect(node.orelse, at_load, found)
            else:
                self._collect(ast.iter_child_nodes(node), at_load, found)

    def _absolute(self, node: ast.ImportFrom) -> str:
        if not node.level:
            return node.module or ""
        package = ["MedDetectLib", *self.path.split("/")[:-1]]
        base = package[: len(package) - node.level + 1]
        return ".".join([*base, *([node.module] if node.module else [])])


@pytest.fixture(scope="session")
def library() -> Path:
    return LIBRARY


@pytest.fixture(scope="session")
def sources() -> list[Source]:
    files = sorted(p for p in LIBRARY.rglob("*.py") if "__pycache__" not in p.parts)
    read = []
    for path in files:
        text = path.read_text("utf-8")
        relative = path.relative_to(LIBRARY).as_posix()
        read.append(Source(relative, text, ast.parse(text, str(path))))
    assert len(read) > 30
    return read
