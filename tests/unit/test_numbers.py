# SPDX-License-Identifier: MIT
"""The core's enums and limits as Python knows them: a difference from the C headers is found at import."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
import sysconfig

import pytest

from heartfelt import EventType, _numbers
from heartfelt._options import mask
from tests import ROOT

CORE = ROOT / "heartfelt_core"
COMPILER = shlex.split(os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc")
IMPORT = """
import importlib.util, sys
import heartfelt
spec = importlib.util.spec_from_file_location("heartfelt._numbers", sys.argv[1])
spec.loader.exec_module(importlib.util.module_from_spec(spec))
"""

# Each is a change of the C side alone: header, what is replaced by what, what the error must name.
PLANTS = {
    "a status that Python does not know": (
        "hf_base.h",
        "  HF_N_STATUSES,",
        "  HF_TIRED,\n  HF_N_STATUSES,",
        "hf_status",
    ),
    "an event type that Python does not know": (
        "hf_event.h",
        "  HF_N_EVENT_TYPES,",
        "  HF_SNORE,\n  HF_N_EVENT_TYPES,",
        "hf_event_type",
    ),
    "two event types with one number": ("hf_event.h", "  HF_JOIN,", "  HF_JOIN = HF_REMOVE_KEY,", "hf_event_type"),
    "a way to be full that Python does not know": (
        "hf_event.h",
        "HF_ON_FULL_BLOCK, HF_N_ON_FULL",
        "HF_ON_FULL_BLOCK, HF_ON_FULL_CRY, HF_N_ON_FULL",
        "hf_on_full",
    ),
    "a stall guard that Python does not know": (
        "hf_guard.h",
        "HF_GUARD_GIL, HF",
        "HF_GUARD_GIL, HF_GUARD_DOG, HF",
        "hf_guard_kind",
    ),
    "a third stream": ("hf_stream.h", "HF_N_STREAMS }", "HF_TO_NOBODY, HF_N_STREAMS }", "hf_stream"),
    "a longer longest timeout": ("hf_base.h", "(INT64_C(100) * 366", "(INT64_C(101) * 366", "HF_TIMEOUT_MAX_NS"),
}


@pytest.fixture(scope="module")
def generated(tmp_path_factory):
    """The C of _numbers.pyx."""
    pytest.importorskip("Cython", reason="Cython compiles the module again, from headers that were changed")
    if os.name != "posix" or shutil.which(COMPILER[0]) is None:
        pytest.skip(f"no C compiler: {COMPILER[0]}")
    target = tmp_path_factory.mktemp("numbers") / "_numbers.c"
    command = [
        sys.executable,
        "-m",
        "cython",
        "-3",
        "-X",
        "freethreading_compatible=True",
        "-I",
        str(CORE),
        "-I",
        "src",
        "--module-name",
        "heartfelt._numbers",
    ]
    command += [str(CORE / "_numbers.pyx"), "-o", str(target)]
    subprocess.run(command, cwd=ROOT, check=True, timeout=120)
    return target


def import_compiled(generated, headers):
    """Compiles the module with these headers, imports it in another process, and returns the errors of that."""
    module = headers / "_numbers.so"
    parallel = "1" if sysconfig.get_config_var("Py_GIL_DISABLED") else "0"
    command = [*COMPILER, "-std=gnu11", "-D_GNU_SOURCE", "-O0", "-w", "-shared", "-fPIC", f"-DHF_PARALLEL={parallel}"]
    command += [f"-I{headers}", f"-I{sysconfig.get_path('include')}", str(generated), "-o", str(module)]
    if sys.platform == "darwin":
        command += ["-undefined", "dynamic_lookup"]
    subprocess.run(command, check=True, timeout=120)
    done = subprocess.run(
        [sys.executable, "-c", IMPORT, str(module)], capture_output=True, text=True, timeout=120, check=False
    )
    return done.stderr


@pytest.fixture
def headers(tmp_path):
    for header in CORE.glob("*.h"):
        shutil.copy(header, tmp_path)
    return tmp_path


def test_headers_that_agree_are_imported(generated, headers):
    assert import_compiled(generated, headers) == ""


@pytest.mark.parametrize("name", PLANTS)
def test_a_planted_difference_is_found_at_import(generated, headers, name):
    file, old, new, named = PLANTS[name]
    text = (headers / file).read_text()
    assert text.count(old) == 1
    (headers / file).write_text(text.replace(old, new))
    errors = import_compiled(generated, headers)
    assert re.search(rf"ImportError: heartfelt was built wrong: .*{named} ", errors), errors


def test_numbers_that_change_places_are_the_compilers():
    """Names are tied to numbers by the compiler: the order in which a table is written does not matter."""
    assert _numbers.in_order("an enum", 3, {"c": 2, "a": 0, "b": 1}) == ("a", "b", "c")


@pytest.mark.parametrize("numbers", [{"a": 0}, {"a": 0, "b": 0}, {"a": 0, "b": 2}, {"a": 0, "b": 1, "c": 2}])
def test_a_table_that_does_not_fit_its_enum_is_refused(numbers):
    with pytest.raises(ImportError, match=r"an enum has the numbers 0 to 1 in C, and Python has \{'a': 0"):
        _numbers.in_order("an enum", 2, numbers)


# Enums whose numbers no Python code repeats: it uses their C names, or does not know them.
NOT_REPEATED = {
    "hf_answer_result", "hf_bell_wait_result", "hf_clock_kind", "hf_key_status", "hf_request_result",
    "hf_sender_state", "hf_state",
}  # fmt: skip


def test_every_other_enum_of_the_core_has_a_table_that_is_checked():
    """The sender's and the door's are in modules of their own, since not every system has them."""
    headers = "".join(header.read_text() for header in CORE.glob("**/*.h"))
    tables = "".join((CORE / name).read_text() for name in ("_numbers.pyx", "_sender.pyx", "_door.pyx"))
    enums = set(re.findall(r"typedef enum \{[^}]*\} (hf_\w+);", headers))
    assert {enum for enum in enums if f'in_order("{enum}"' in tables} == enums - NOT_REPEATED


def test_event_types_have_the_bits_of_the_core():
    assert [mask([event_type]) for event_type in _numbers.EVENT_TYPES] == [1 << n for n in range(len(EventType))]
