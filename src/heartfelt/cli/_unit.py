# SPDX-License-Identifier: MIT
"""A systemd unit for an invocation of `heartfelt serve`."""

from __future__ import annotations

import getpass
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

__all__ = ["quoted", "systemd_version", "unit_text"]

NOTIFY_RELOAD = 253
"""The first version of systemd with Type=notify-reload."""
STATE = Path("/var/lib")
WATCHDOG_S = 30
START_S = 300
STOP_S = 60
"""More than the longest stop takes."""
LEAST_DESCRIPTORS = 65_536
_PLAIN = re.compile(r"[A-Za-z0-9_./:=,@+-]+")
_HOMES = (Path("/home"), Path("/root"), Path("/run/user"))
_TEMPORARY = (Path("/tmp"), Path("/var/tmp"))
_ESCAPES = {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\r": "\\r", "\t": "\\t"}


def quoted(word: str, *, variables: bool = False) -> str:
    """Quotes a word as systemd reads it. variables: `$` names a variable there, as in ExecStart=."""
    word = word.replace("%", "%%")
    if variables:
        word = word.replace("$", "$$")
    if _PLAIN.fullmatch(word):
        return word
    return '"' + "".join(_escaped(char) for char in word) + '"'


def _escaped(char: str) -> str:
    if char in _ESCAPES:
        return _ESCAPES[char]
    return char if char.isprintable() else "".join(f"\\x{byte:02x}" for byte in os.fsencode(char))


def systemd_version() -> int | None:
    """Returns the version of systemd on this machine, or None. Blocks a moment."""
    systemctl = shutil.which("systemctl")
    if systemctl is None:
        return None
    try:
        done = subprocess.run([systemctl, "--version"], capture_output=True, text=True, timeout=5, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    match = re.match(r"systemd (\d+)", done.stdout)
    return int(match[1]) if match else None


def program() -> list[str]:
    """Returns the command that starts this program, with absolute paths."""
    interpreter = Path(sys.executable).absolute()  # not resolved: a virtual environment is a link
    script = interpreter.with_name("heartfelt")
    return [str(script)] if os.access(script, os.X_OK) else [str(interpreter), "-m", "heartfelt"]


def unit_text(
    arguments: Sequence[str],
    *,
    data: str | None,
    files: Sequence[str],
    variables: Mapping[str, str],
    ports: Sequence[int],
    connections: int,
    version: int | None,
    command: Sequence[str] | None = None,
) -> str:
    """Returns the unit. arguments: those of `heartfelt serve`, except --data. data: the absolute path of the data
    folder; None: systemd's. files: absolute paths of the files it reads. variables: its part of the environment."""
    command = program() if command is None else list(command)
    folder = Path(data) if data is not None else STATE / "heartfelt"
    read = [Path(one) for one in (command[0], *files)]
    has_state = folder.parent == STATE
    in_home = any(_is_below(one, _HOMES) for one in (*read, folder))
    is_dynamic = has_state and not any(_is_below(one, (*_HOMES, *_TEMPORARY)) for one in read)
    words = [*command, "serve", *arguments, "--data", str(folder)]
    lines = [
        "[Unit]",
        "Description=heartfelt monitor",
        "Documentation=man:systemd.service(5)",
        "Wants=network-online.target",
        "After=network-online.target",
        "",
        "[Service]",
        *(
            ["Type=notify-reload"]
            if version is not None and version >= NOTIFY_RELOAD
            else ["Type=notify", "ExecReload=/bin/kill -HUP $MAINPID"]
        ),
        "NotifyAccess=main",
        *(f"Environment={quoted(f'{name}={value}')}" for name, value in variables.items()),
        f"ExecStart={' '.join(quoted(one, variables=True) for one in words)}",
        "Restart=on-failure",
        "RestartSec=2",
        f"WatchdogSec={WATCHDOG_S}",
        f"TimeoutStartSec={START_S}",
        f"TimeoutStopSec={STOP_S}",
        f"LimitNOFILE={max(LEAST_DESCRIPTORS, 2 * connections + 1024)}",
        "",
        *_user(is_dynamic, has_state, folder),
        "",
        "UMask=0077",
        "NoNewPrivileges=yes",
        "ProtectSystem=strict",
        f"ProtectHome={'read-only' if in_home else 'yes'}",
        f"PrivateTmp={'no' if any(_is_below(one, _TEMPORARY) for one in (*read, folder)) else 'yes'}",
        "PrivateDevices=yes",
        "ProtectClock=yes",
        "ProtectHostname=yes",
        "ProtectControlGroups=yes",
        "ProtectKernelLogs=yes",
        "ProtectKernelModules=yes",
        "ProtectKernelTunables=yes",
        "RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX",
        "RestrictNamespaces=yes",
        "RestrictRealtime=yes",
        "RestrictSUIDSGID=yes",
        "LockPersonality=yes",
        "SystemCallArchitectures=native",
        "SystemCallFilter=@system-service",
        *_capabilities(ports),
        "",
        "[Install]",
        "WantedBy=multi-user.target",
    ]
    return "\n".join(lines)


def _user(is_dynamic: bool, has_state: bool, folder: Path) -> list[str]:
    state = [f"StateDirectory={quoted(folder.name)}", "StateDirectoryMode=0700"]
    if is_dynamic:
        return [
            "# A user that exists while the monitor runs. It must be able to read the files in ExecStart=.",
            "# To use an existing one: User=NAME instead of DynamicUser=yes.",
            "DynamicUser=yes",
            *state,
        ]
    return [
        "# The user that printed this unit. It must be able to read the files in ExecStart=, and to write the data.",
        f"User={quoted(_user_name())}",
        *(state if has_state else [f"ReadWritePaths={quoted(str(folder))}"]),
    ]


def _user_name() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # an unknown user id, as in some containers
        return str(os.getuid())


def _capabilities(ports: Sequence[int]) -> list[str]:
    if any(0 < port < 1024 for port in ports):
        return ["AmbientCapabilities=CAP_NET_BIND_SERVICE", "CapabilityBoundingSet=CAP_NET_BIND_SERVICE"]
    return ["CapabilityBoundingSet="]


def _is_below(path: Path, folders: Sequence[Path]) -> bool:
    return any(folder in path.parents for folder in folders)
