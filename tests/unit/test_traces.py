# SPDX-License-Identifier: MIT
"""tests/plugins/traces.py: a test that changes what all tests share fails by name, and the next one is as before."""

import os

from tests.unit.planted import planted_run

HEAD = "import gc, logging, os, signal, sys\n"
LEAVES = {
    "logging.getLogger().setLevel(10)": "the levels of loggers",
    "logging.getLogger('a.b').setLevel(10)": "the levels of loggers",
    "signal.signal(signal.SIGINT, lambda *_: None)": "the handlers of signals",
    "os.environ['LEFT'] = '1'": "the environment",
    "os.environ.pop('PATH')": "the environment",
    "os.chdir('/')": "the working directory",
    "os.umask(0o222)": "the umask",
    "gc.set_threshold(1234, 5, 6)": "the garbage collector",
    "gc.disable()": "the garbage collector",
    "sys.path.append('/nowhere')": "sys.path",
    "sys.excepthook = print": "the hooks for exceptions",
}
if os.name == "posix":
    LEAVES["import resource; resource.setrlimit(7, (100, resource.getrlimit(7)[1]))"] = "the limit of descriptors"


def test_what_a_test_leaves_behind_is_its_failure_and_is_put_back(tmp_path):
    """A test that leaves nothing runs after each; it would fail, too, if it were not put back."""
    tests = [f"def test_leaves_{n}():\n    {line}\ndef test_after_{n}():\n    pass\n" for n, line in enumerate(LEAVES)]
    status, output = planted_run(tmp_path, HEAD + "".join(tests), plugins=["traces"])
    assert status == 1
    assert f"{2 * len(LEAVES)} passed, {len(LEAVES)} errors" in output, output
    for n, name in enumerate(LEAVES.values()):
        shown = output.partition(f"ERROR at teardown of test_leaves_{n} ")[2].partition("ERROR at teardown")[0]
        assert f"E         {name}: " in shown, output


def test_what_a_test_puts_back_is_no_trace(tmp_path):
    source = f"""
        {HEAD}
        def test_tidy(monkeypatch, caplog, tmp_path):
            monkeypatch.setenv("LEFT", "1")
            monkeypatch.chdir(tmp_path)
            monkeypatch.syspath_prepend("/nowhere")
            caplog.set_level(logging.DEBUG)
            caplog.set_level(logging.DEBUG, logger="a.b")
    """
    status, output = planted_run(tmp_path, source, plugins=["traces"])
    assert status == 0, output


def test_each_test_of_this_suite_is_watched(request):
    assert "_leaves_no_trace" in request.fixturenames
