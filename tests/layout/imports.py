# SPDX-License-Identifier: MIT
"""Reads the imports of src/heartfelt and holds them against the list in ARCHITECTURE.md.

`python -m tests.layout.imports` prints the list that the existing layers need, and what is wrong.

The list is the fenced block `imports`: one line per layer, as in

    store:  monitor/store/ monitor/rows.py -> ground model

A layer has files or whole folders of src/heartfelt, and after the arrow the layers that it may import. It may import
only layers above it. A compiled module is written without `.py`; its imports are read from heartfelt_core/*.pyx. Every
import counts, wherever it stands: at the top, in a function, under TYPE_CHECKING, or as the name given to
`importlib.import_module`. Stubs (.pyi) do not count: the sources of the compiled modules do.

Circles between files are refused, too. The fenced block `circles` lists those that are accepted, as in

    monitor/store/a.py monitor/store/b.py: each reads the other's rows

The files of such a circle must be in one folder.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

PACKAGE = "heartfelt"
REMEDY = "see the list of imports in ARCHITECTURE.md"
_CYTHON_IMPORT = re.compile(rf"^\s*from\s+({PACKAGE}[\w.]*)\s+c?import\s+(.+?)\s*$", re.MULTILINE)


@dataclass
class Layer:
    name: str
    places: list[str]
    may_import: list[str]


@dataclass
class Document:
    layers: list[Layer] = field(default_factory=list)
    circles: list[list[str]] = field(default_factory=list)

    def layer_of(self, file: str) -> Layer | None:
        """Returns the layer of the longest place that contains the file."""
        found = [
            (len(place), layer)
            for layer in self.layers
            for place in layer.places
            if file == place or (place.endswith("/") and file.startswith(place))
        ]
        return max(found, key=lambda one: one[0])[1] if found else None


def read_document(text: str) -> Document:
    """Parses the blocks. Raises ValueError for a line that does not have the form above."""
    document = Document()
    for line in _block(text, "imports"):
        match = re.fullmatch(r"(\w[\w.]*):\s*([^>]+?)(?:\s*->\s*(.+))?", line)
        if match is None:
            raise ValueError(f"not `layer: files -> layers`: {line!r}")
        document.layers.append(Layer(match[1], match[2].split(), (match[3] or "").split()))
    for line in _block(text, "circles"):
        files, colon, reason = line.partition(":")
        if not colon or not reason.strip():
            raise ValueError(f"not `files: reason`: {line!r}")
        document.circles.append(sorted(files.split()))
    return document


def _block(text: str, name: str) -> list[str]:
    found = re.findall(rf"^```{name}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    lines = [line.strip() for block in found for line in block.splitlines()]
    return [line for line in lines if line]


def read_imports(root: Path) -> dict[str, set[str]]:
    """Returns the imported files of each file below root/src/heartfelt, and of each compiled module."""
    source = root / "src" / PACKAGE
    paths = {path.relative_to(source).as_posix(): path for path in source.rglob("*.py")}
    compiled = {path.stem: path for path in (root / "heartfelt_core").glob("*.pyx")}
    compiled |= {path.stem: path for path in (root / "heartfelt_core").glob("_*.c")}
    known = paths.keys() | compiled.keys()
    imports = {}
    for file, path in paths.items():
        found = _python_imports(ast.parse(path.read_text("utf-8"), file), file)
        imports[file] = {_file_of(file, module, name, known) for module, name in found}
    for name, path in compiled.items():
        text = path.read_text("utf-8") if path.suffix == ".pyx" else ""
        imports[name] = {
            _file_of(path.name, module, one.strip(), known)
            for module, names in _CYTHON_IMPORT.findall(text)
            for one in names.split(",")
        }
    return {file: {one for one in found if one and one != file} for file, found in imports.items()}


def _python_imports(tree: ast.Module, file: str) -> Iterator[tuple[str, str]]:
    """Yields each imported module with each name that is imported from it, or with ""."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, "") for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            if node.level:
                raise ValueError(f"{file}, line {node.lineno}: a relative import; write `from {PACKAGE}...`")
            yield from ((node.module or "", alias.name) for alias in node.names)
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith("import_module"):
            yield from (
                (one.value, "") for one in node.args if isinstance(one, ast.Constant) and isinstance(one.value, str)
            )


def _file_of(importer: str, module: str, name: str, known: set[str]) -> str | None:
    """Returns the file of the module `name` in the package `module`, or of `module`; None for another package."""
    parts = module.split(".")
    if parts[0] != PACKAGE:
        return None
    path = "/".join(parts[1:])
    within = f"{path}/{name}".strip("/")
    for file in (f"{within}.py", within, f"{within}/__init__.py", f"{path}.py", path, f"{path}/__init__.py".strip("/")):
        if file in known:
            return file
    raise ValueError(f"{importer} imports {module}, which does not exist")


def find_circles(imports: dict[str, set[str]]) -> list[list[str]]:
    """Returns the groups of files that import each other, directly or not (Tarjan's components of several files)."""
    order: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    circles = []

    def visit(file: str) -> None:
        order[file] = low[file] = len(order)
        stack.append(file)
        for other in sorted(imports.get(file, ())):
            if other not in order:
                visit(other)
            if other in stack:
                low[file] = min(low[file], low[other])
        if low[file] == order[file]:
            group = stack[stack.index(file) :]
            del stack[stack.index(file) :]
            if len(group) > 1:
                circles.append(sorted(group))

    for file in sorted(imports):
        if file not in order:
            visit(file)
    return sorted(circles)


def check(root: Path) -> list[str]:
    """Returns what does not agree with ARCHITECTURE.md, as sentences; an empty list if everything does."""
    document = read_document((root / "ARCHITECTURE.md").read_text("utf-8"))
    imports = read_imports(root)
    return [*_check_layers(document, imports), *_check_circles(document, imports)]


def _check_layers(document: Document, imports: dict[str, set[str]]) -> Iterator[str]:
    names = [layer.name for layer in document.layers]
    for position, layer in enumerate(document.layers):
        if layer.name in names[:position]:
            yield f"layer {layer.name} is listed twice"
        yield from (
            f"layer {layer.name} may import {other}, which is not listed above it"
            for other in layer.may_import
            if other not in names[:position]
        )
        yield from (
            f"layer {layer.name} has {place}, which does not exist"
            for place in layer.places
            if not any(file == place or (place.endswith("/") and file.startswith(place)) for file in imports)
        )
    used: set[tuple[str, str]] = set()
    for file, found in sorted(imports.items()):
        layer = document.layer_of(file)
        if layer is None:
            yield f"{file} is in no layer; {REMEDY}"
            continue
        for other in sorted(found):
            target = document.layer_of(other)
            if target is None or target.name == layer.name:
                continue
            used.add((layer.name, target.name))
            if target.name not in layer.may_import:
                yield f"{file} ({layer.name}) imports {other} ({target.name}), which is not listed; {REMEDY}"
    for layer in document.layers:
        yield from (
            f"layer {layer.name} may import {other}, but does not; remove it from the list"
            for other in layer.may_import
            if other in names and (layer.name, other) not in used
        )


def _check_circles(document: Document, imports: dict[str, set[str]]) -> Iterator[str]:
    circles = find_circles(imports)
    for circle in circles:
        if circle not in document.circles:
            yield f"these files import each other: {', '.join(circle)}"
    for circle in document.circles:
        if circle not in circles:
            yield f"the circle {', '.join(circle)} does not exist any more; remove it from the list"
        if len({file.rpartition("/")[0] for file in circle}) > 1:
            yield f"the circle {', '.join(circle)} goes beyond one folder"


def actual(root: Path) -> list[str]:
    """Returns the lines of the block `imports` for the layers of ARCHITECTURE.md with the imports that exist."""
    document = read_document((root / "ARCHITECTURE.md").read_text("utf-8"))
    used: dict[str, set[str]] = {}
    for file, found in read_imports(root).items():
        layers = [document.layer_of(one) for one in (file, *found)]
        if layers[0] is not None:
            used.setdefault(layers[0].name, set()).update(layer.name for layer in layers[1:] if layer is not None)
    lines = []
    for layer in document.layers:
        others = [one.name for one in document.layers if one.name in used.get(layer.name, ()) and one is not layer]
        line = f"{layer.name + ':':11} {' '.join(layer.places):36}" + (f" -> {' '.join(others)}" if others else "")
        lines.append(line.rstrip())
    return lines


if __name__ == "__main__":
    root = Path(__file__).parents[2]
    print(*actual(root), "", *check(root), sep="\n")
    sys.exit(1 if check(root) else 0)
