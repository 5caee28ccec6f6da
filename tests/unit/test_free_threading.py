# SPDX-License-Identifier: MIT
"""In a free-threaded Python heartfelt does not enable the GIL again. Sharing between threads is in tests/stress."""

import sysconfig

import pytest

pytestmark = pytest.mark.skipif(
    not sysconfig.get_config_var("Py_GIL_DISABLED"), reason="this interpreter has a GIL in any case"
)


def test_the_gil_stays_off(run_python, monkeypatch):
    monkeypatch.delenv("PYTHON_GIL", raising=False)  # 0 keeps it off whatever is imported
    code = """
        import sys, warnings
        warnings.simplefilter("error")
        import heartfelt, heartfelt.testing, heartfelt.events
        print(sys._is_gil_enabled())
    """
    assert run_python(code).strip() == "False"
