# SPDX-License-Identifier: MIT
"""Each row of the tables of RFC 9112 and RFC 9110, however its bytes arrive."""

from __future__ import annotations

import pytest

from tests.monitor.web.http1 import rfc9110, rfc9112
from tests.monitor.web.http1.rows import SPLITS, check

ROWS = rfc9112.ROWS | rfc9110.ROWS


@pytest.fixture(scope="module")
def serving(tmp_path_factory):
    from tests.monitor.serving import Serving

    serving = Serving(data=tmp_path_factory.mktemp("rfcs") / "data")
    serving.wait_ready()
    yield serving
    assert serving.find("smuggled") is None
    assert "Traceback" not in serving.log
    serving.end()


def test_no_row_is_in_two_tables():
    assert len(ROWS) == len(rfc9112.ROWS) + len(rfc9110.ROWS)


@pytest.mark.parametrize("split", SPLITS)
@pytest.mark.parametrize("name", ROWS)
def test_a_row_is_answered_by_the_book(serving, name, split):
    check(serving, ROWS[name], split)
