# SPDX-License-Identifier: MIT
"""Builds the compiled core. Everything else about the project is in pyproject.toml.

HEARTFELT_BUILD picks a variant: "release" (default), "debug" (checks of bounds and invariants after each mutation),
"asan" or "tsan" (sanitizers; see the Makefile for how to run with them).
"""

from __future__ import annotations

import os
import sys
import sysconfig
from pathlib import Path

from Cython.Build import cythonize
from setuptools import Extension, setup

CORE = Path("heartfelt_core")
DOOR = CORE / "door"  # Linux only
SENDER = CORE / "sender"  # POSIX only; of the core it needs these:
SENDER_GROUND = [CORE / f"hf_{name}.c" for name in ("bell", "clock", "thread")]
VARIANTS = {
    "release": ["-O2", "-g0"],
    "debug": ["-O1", "-g", "-DHF_DEBUG_CHECKS"],
    "asan": ["-O1", "-g", "-fno-omit-frame-pointer", "-fsanitize=address,undefined"],
    "tsan": ["-O1", "-g", "-fno-omit-frame-pointer", "-fsanitize=thread"],
}


def flags(variant: str) -> tuple[list[str], list[str]]:
    if sys.platform == "win32":
        return ["/O2", "/std:c11", "/experimental:c11atomics"], []
    compile_flags = ["-std=gnu11", "-D_GNU_SOURCE", "-Wall", "-Wextra", "-Wno-unused-parameter", *VARIANTS[variant]]
    link_flags = [flag for flag in compile_flags if flag.startswith("-fsanitize")]
    return compile_flags, ["-pthread", *link_flags]


def extensions() -> list[Extension]:
    variant = os.environ.get("HEARTFELT_BUILD", "release")
    if variant not in VARIANTS:
        raise SystemExit(f"HEARTFELT_BUILD must be one of {', '.join(VARIANTS)}; got {variant!r}")
    compile_flags, link_flags = flags(variant)
    headers = ["setup.py", *(str(path) for path in sorted(CORE.glob("**/*.h")))]

    def extension(name: str, *sources: Path) -> Extension:
        return Extension(
            f"heartfelt.{name}",
            [path.as_posix() for path in sources],
            include_dirs=[str(CORE), str(SENDER), str(DOOR)],
            depends=headers,
            define_macros=[("HF_PARALLEL", "1" if sysconfig.get_config_var("Py_GIL_DISABLED") else "0")],
            extra_compile_args=compile_flags,
            extra_link_args=link_flags,
            libraries=["ws2_32"] if sys.platform == "win32" else [],
        )

    checked = variant != "release"
    modules = [
        extension("_hot", CORE / "_hot.c"),
        extension("_numbers", CORE / "_numbers.pyx"),
        extension("_event", CORE / "_event.pyx"),
        extension("_bell", CORE / "_bell.pyx", CORE / "hf_bell.c"),
        extension("_arguments", CORE / "_arguments.pyx"),
        extension("_core", CORE / "_core.pyx", *sorted(CORE.glob("hf_*.c"))),
        extension("_heart", CORE / "_heart.pyx"),
        extension("_known", CORE / "_known.pyx"),
        extension("_ingest", CORE / "_ingest.pyx"),
        extension("_rows", CORE / "_rows.pyx", CORE / "hf_clock.c"),
    ]
    if sys.platform != "win32":
        modules.append(extension("_sender", CORE / "_sender.pyx", *sorted(SENDER.glob("*.c")), *SENDER_GROUND))
    if sys.platform == "linux":
        modules.append(extension("_door", CORE / "_door.pyx", *sorted(DOOR.glob("*.c"))))
    return cythonize(
        modules,
        build_dir="build/cython",
        include_path=[str(CORE), "src"],
        language_level="3",
        compiler_directives={
            "boundscheck": checked,
            "wraparound": False,
            "cdivision": False,
            "embedsignature": True,
            "emit_code_comments": False,
            "binding": False,
            "freethreading_compatible": True,
        },
    )


# Each variant has a build folder of its own, so that none links what another has compiled.
BUILD_BASE = f"build/{os.environ.get('HEARTFELT_BUILD', 'release')}"
setup(ext_modules=extensions(), options={"build": {"build_base": BUILD_BASE}})
