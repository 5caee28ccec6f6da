# SPDX-License-Identifier: MIT
"""Builds of heartfelt for compare.py: of a revision, and of the working tree as it is.

Each is installed, not editable, into a folder that is named after its sources, so that the same sources are built once.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tarfile
from io import BytesIO
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
BUILDS = ROOT / "build" / "compare"
NOT_BUILT = (".ci/", ".github/", "benchmarks/", "examples/", "tests/")
DECIDES = ("CC", "CFLAGS", "CPPFLAGS", "LDFLAGS", "HEARTFELT_BUILD")  # what affects the build besides the sources

Sources = dict[str, bytes]


class BuildFailed(Exception):
    pass


def run(*command: str, cwd: Path = ROOT) -> bytes:
    done = subprocess.run(command, cwd=cwd, capture_output=True, check=False)
    if done.returncode != 0:
        raise BuildFailed(f"{' '.join(command)}\n{done.stdout.decode()}{done.stderr.decode()}")
    return done.stdout


def commit_of(revision: str) -> str:
    return run("git", "rev-parse", "--verify", "--quiet", f"{revision}^{{commit}}").decode().strip()


def of_revision(revision: str) -> Sources:
    with tarfile.open(fileobj=BytesIO(run("git", "archive", "--format=tar", commit_of(revision)))) as archive:
        files = {member.name: archive.extractfile(member) for member in archive if member.isfile()}
        return {path: file.read() for path, file in files.items() if file and not path.startswith(NOT_BUILT)}


def of_working_tree() -> Sources:
    """The files that git does not ignore, committed or not."""
    paths = run("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard").decode().split("\0")
    wanted = {path for path in paths if path and not path.startswith(NOT_BUILT)}
    return {path: (ROOT / path).read_bytes() for path in sorted(wanted) if (ROOT / path).is_file()}


def build(sources: Sources) -> Path:
    """The folder into which they are installed."""
    digest = hashlib.sha256(sys.version.encode())
    for name in DECIDES:
        digest.update(f"\0{name}={os.environ.get(name)}".encode())
    for path, content in sorted(sources.items()):
        digest.update(f"\0{path}\0{len(content)}\0".encode() + content)
    folder = BUILDS / digest.hexdigest()[:16]
    installed = folder / "installed"
    if installed.exists():
        return installed
    shutil.rmtree(folder, ignore_errors=True)  # left by a build that did not finish
    for path, content in sources.items():
        target = folder / "sources" / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
    pip += ["--no-build-isolation", "--no-deps", "--no-compile"]
    run(*pip, "--target", str(folder / "new"), str(folder / "sources"))
    shutil.rmtree(folder / "sources")
    (folder / "new").rename(installed)  # only a complete build gets its name
    return installed
