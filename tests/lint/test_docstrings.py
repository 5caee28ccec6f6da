# SPDX-License-Identifier: MIT
"""The check of docstrings finds what it is made for, and only that."""

from __future__ import annotations

import pytest

from tests.lint.docstrings import CHECKED, REFUSED, ROOT, check_all, find, main


def test_the_checked_folders_are_clean():
    assert all((ROOT / one).is_dir() for one in CHECKED)
    assert check_all() == []


@pytest.mark.parametrize("word", sorted(REFUSED))
@pytest.mark.parametrize(
    "source",
    [
        '"""{word} is in it."""\n',
        'def f():\n    """\n    {word}\n    is in it."""\n',
        "async def f():\n    '{word}, if any.'\n",
        'class C:\n    x: int\n    """{word} it is."""\n',
        'class C:\n    def f(self):\n        """{word} is returned."""\n',
    ],
)
def test_a_docstring_that_begins_with_a_refused_word_is_found(source, word):
    [said] = find(source.format(word=word), "a.py")
    assert said.startswith("a.py:")
    assert f"begins with {word!r}" in said


@pytest.mark.parametrize(
    "source",
    [
        '"""Returns what is known of it."""\n',
        '"""Offers and Sorts begin with letters of refused words."""\n',
        'TEXT = "Of each one."\n',
        'f("Who is it?")\n',
        "# Of each one.\n",
        '""""""\n',
        "1\n",
    ],
)
def test_other_texts_pass(source):
    assert list(find(source, "a.py")) == []


def test_the_command_prints_each_place_and_fails(tmp_path, capsys):
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "good.py").write_text('"""Good."""\n')
    assert main([str(tmp_path)]) == 0
    assert capsys.readouterr().out == ""
    (tmp_path / "sub" / "bad.pyi").write_text('\n"""Which one it is."""\n')
    assert main([str(tmp_path)]) == 1
    assert f"{tmp_path}/sub/bad.pyi:2: begins with 'Which'" in capsys.readouterr().out


def test_a_path_that_does_not_exist_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="correct CHECKED"):
        main([str(tmp_path / "gone")])
