# SPDX-License-Identifier: MIT
"""The imports of src/heartfelt are those that ARCHITECTURE.md lists; and the check finds what it is made for."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.layout.imports import actual, check, find_circles, read_imports

ROOT = Path(__file__).parents[2]

LIST = """\
# Architecture

```imports
ground:  errors.py _types.py
core:    _core                     -> ground
hub:     __init__.py hub.py        -> ground core
store:   monitor/store/            -> ground
web:     monitor/web/ -> store
api:     monitor/web/api/ -> store web
```
"""
FILES = {
    "src/heartfelt/__init__.py": "from heartfelt.hub import Hub\n",
    "src/heartfelt/errors.py": "import os\nfrom pathlib import Path\n",
    "src/heartfelt/_types.py": "",
    "src/heartfelt/hub.py": "from heartfelt import _core, errors\n",
    "src/heartfelt/monitor/store/__init__.py": "from heartfelt.errors import StoreError\n",
    "src/heartfelt/monitor/store/rows.py": "import heartfelt.monitor.store\n",
    "src/heartfelt/monitor/web/auth.py": "from heartfelt.monitor.store import Store\n",
    "src/heartfelt/monitor/web/api/routes.py": (
        "from heartfelt.monitor.store import rows\nfrom heartfelt.monitor.web.auth import Auth\n"
    ),
    "heartfelt_core/_core.pyx": "cimport cython\nfrom heartfelt._types cimport UNSET\n",
}


@pytest.fixture
def planted(tmp_path):
    """planted({path: text, ...}, (old, new), ...): what the check says about a project with these changes."""

    def make(files=(), *replaced):
        text = LIST
        for old, new in replaced:
            assert old in text
            text = text.replace(old, new)
        for path, content in {**FILES, **dict(files), "ARCHITECTURE.md": text}.items():
            target = tmp_path / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(content, "utf-8")
        return check(tmp_path)

    return make


def test_the_imports_are_those_that_the_architecture_lists():
    assert check(ROOT) == []


def test_nothing_is_overlooked():
    imports = read_imports(ROOT)
    assert len(imports) > 150
    assert "fleet" in " ".join(imports["monitor/monitor.py"])
    assert "_event" in imports["_core"]
    assert "_core" in imports["hub.py"]


def test_the_list_that_is_printed_is_the_one_that_passes():
    lines = actual(ROOT)
    document = (ROOT / "ARCHITECTURE.md").read_text("utf-8")
    assert [line for line in lines if line not in document] == []
    assert len(lines) > 20


def test_a_project_that_agrees_with_its_list_passes(planted):
    assert planted() == []


def up(text):
    return {"src/heartfelt/monitor/store/rows.py": text}


@pytest.mark.parametrize(
    "text",
    [
        "from heartfelt.monitor.web.auth import Auth\n",
        "import heartfelt.monitor.web.auth as auth\n",
        "from heartfelt.monitor.web import auth\n",
        "def late():\n    from heartfelt.monitor.web.auth import Auth\n",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from heartfelt.monitor.web.auth import Auth\n",
        "import importlib\nimportlib.import_module('heartfelt.monitor.web.auth')\n",
    ],
)
def test_an_import_that_is_not_listed_is_found_wherever_it_stands(planted, text):
    said = planted(up(text))
    assert "monitor/store/rows.py (store) imports monitor/web/auth.py (web), which is not listed" in said[0]


def test_a_compiled_module_is_read_from_its_source(planted):
    said = planted({"heartfelt_core/_core.pyx": "from heartfelt._types import A\nfrom heartfelt.hub cimport Hub\n"})
    assert "_core (core) imports hub.py (hub), which is not listed" in said[0]


def test_the_most_exact_layer_counts(planted):
    assert planted({"src/heartfelt/monitor/web/auth.py": FILES["src/heartfelt/monitor/web/api/routes.py"]}) == []
    said = planted({"src/heartfelt/monitor/web/stream.py": "from heartfelt.monitor.web.api import routes\n"})
    assert "monitor/web/stream.py (web) imports monitor/web/api/routes.py (api), which is not listed" in said[0]


def test_a_listed_import_that_no_longer_exists_is_found(planted):
    assert planted({}, ("web:     monitor/web/ -> store", "web:     monitor/web/ -> ground store")) == [
        "layer web may import ground, but does not; remove it from the list"
    ]


def test_a_file_without_a_layer_is_found(planted):
    assert "monitor/clock.py is in no layer" in planted({"src/heartfelt/monitor/clock.py": ""})[0]


def test_a_layer_without_its_file_is_found(planted):
    assert planted({}, ("errors.py _types.py", "errors.py _types.py gone.py monitor/gone/")) == [
        "layer ground has gone.py, which does not exist",
        "layer ground has monitor/gone/, which does not exist",
    ]


def test_an_import_of_a_layer_below_cannot_be_listed(planted):
    text = "from heartfelt.monitor.web import auth\n"
    said = planted(up(text), ("/store/            -> ground", "/store/ -> ground web"))
    assert said[0] == "layer store may import web, which is not listed above it"


CIRCLE = {
    "src/heartfelt/monitor/store/rows.py": "from heartfelt.monitor.store.schema import Schema\n",
    "src/heartfelt/monitor/store/schema.py": "def make():\n    from heartfelt.monitor.store.rows import Row\n",
}
FILES_OF_CIRCLE = "monitor/store/rows.py, monitor/store/schema.py"


def test_a_circle_is_found_even_within_a_layer(planted):
    assert planted(CIRCLE) == [f"these files import each other: {FILES_OF_CIRCLE}"]


def test_a_circle_is_accepted_with_a_reason(planted):
    accepted = "```\n\n```circles\nmonitor/store/schema.py monitor/store/rows.py: each needs the other\n```\n"
    assert planted(CIRCLE, ("web\n```\n", "web\n" + accepted)) == []


def test_an_accepted_circle_that_no_longer_exists_is_found(planted):
    accepted = "```\n\n```circles\nmonitor/store/schema.py monitor/store/rows.py: each needs the other\n```\n"
    assert planted({}, ("web\n```\n", "web\n" + accepted)) == [
        f"the circle {FILES_OF_CIRCLE} does not exist any more; remove it from the list"
    ]


def test_a_circle_beyond_one_folder_is_not_accepted(planted):
    files = {
        "src/heartfelt/monitor/web/auth.py": (
            "from heartfelt.monitor.store import Store\nfrom heartfelt.monitor.web.x.y import Z\n"
        ),
        "src/heartfelt/monitor/web/x/y.py": "from heartfelt.monitor.web.auth import Auth\n",
    }
    accepted = "```\n\n```circles\nmonitor/web/auth.py monitor/web/x/y.py: both are old\n```\n"
    assert planted(files, ("web\n```\n", "web\n" + accepted)) == [
        "the circle monitor/web/auth.py, monitor/web/x/y.py goes beyond one folder"
    ]


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        (("errors.py _types.py", "errors.py _types.py => nothing"), "not `layer: files -> layers`"),
        (("web\n```\n", "web\n```\n```circles\na.py b.py\n```\n"), "not `files: reason`"),
    ],
)
def test_a_line_that_cannot_be_read_is_refused(planted, bad, said):
    with pytest.raises(ValueError, match=said):
        planted({}, bad)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("from heartfelt.gone import x\n", "rows.py imports heartfelt.gone, which does not exist"),
        ("import heartfelt.monitor.store.gone\n", "which does not exist"),
        ("from . import schema\n", "line 1: a relative import"),
    ],
)
def test_an_import_that_cannot_be_followed_is_refused(planted, text, said):
    with pytest.raises(ValueError, match=said):
        planted(up(text))


def test_circles_are_whole_components():
    imports = {"a": {"b"}, "b": {"c"}, "c": {"a", "d"}, "d": {"e"}, "e": {"d"}, "f": {"a"}}
    assert find_circles(imports) == [["a", "b", "c"], ["d", "e"]]
