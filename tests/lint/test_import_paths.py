# SPDX-License-Identifier: MIT
"""Test modules import each other by their whole names: none changes sys.path."""

from __future__ import annotations

import re

import pytest

from tests import ROOT

CHANGES = re.compile(r"^\s*sys\.path(\.(append|insert|extend)\(|\s*\+=)", re.MULTILINE)


def test_no_test_module_changes_the_import_path():
    files = (ROOT / "tests").rglob("*.py")
    assert [str(path.relative_to(ROOT)) for path in files if CHANGES.search(path.read_text("utf-8"))] == []


@pytest.mark.parametrize("line", ['sys.path.append("x")', "    sys.path += [HERE]", "sys.path.insert(0, HERE)"])
def test_a_module_that_does_is_found(line):
    assert CHANGES.search(f"import sys\n{line}\n")
