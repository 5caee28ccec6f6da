# SPDX-License-Identifier: MIT
"""One name for one thing: no two classes in src/heartfelt share a name, unless ALLOWED gives the reason."""

from __future__ import annotations

import ast
from collections import defaultdict
from pathlib import Path

SOURCE = Path(__file__).parents[2] / "src" / "heartfelt"
ALLOWED = {
    "Events": "heartfelt.events.Events is public; web/api's is a schema in openapi.json, whose name clients may use",
    "Webhooks": "web/api's is a schema in openapi.json; webhooks' is the part itself",
}


def shared_names(root: Path) -> dict[str, list[str]]:
    """Returns the names that several top-level classes have, each with their files."""
    files: dict[str, list[str]] = defaultdict(list)
    for path in sorted(root.rglob("*.py")):
        for node in ast.parse(path.read_text("utf-8"), str(path)).body:
            if isinstance(node, ast.ClassDef):
                files[node.name].append(path.relative_to(root).as_posix())
    return {name: where for name, where in files.items() if len(where) > 1 and not name.startswith("_")}


def test_no_two_classes_share_a_name():
    found = shared_names(SOURCE)
    assert {name: where for name, where in found.items() if name not in ALLOWED} == {}, "rename the private one"
    assert sorted(set(ALLOWED) - set(found)) == [], "no longer needed in ALLOWED"


def test_a_shared_name_is_found(tmp_path):
    (tmp_path / "sub").mkdir()
    (tmp_path / "a.py").write_text("class One: ...\nclass Two: ...\nclass _Own: ...\n")
    (tmp_path / "sub" / "b.py").write_text("class Two: ...\nclass _Own: ...\n")
    assert shared_names(tmp_path) == {"Two": ["a.py", "sub/b.py"]}
