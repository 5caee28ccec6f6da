# SPDX-License-Identifier: MIT
"""`heartfelt serve --print-unit`: a unit for exactly this invocation, which systemd accepts."""

from __future__ import annotations

import itertools
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("msgspec", reason="needs heartfelt[monitor]")
from heartfelt.cli._unit import quoted, unit_text
from tests.monitor.serving import command, plain_environ

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="systemd")
HARD = [
    "plain",
    "two words",
    "50%",
    "$HOME ${x}",
    'say "yes"',
    "back\\slash",
    "tab\there",
    "new\nline",
    "é ☃",
    ";",
    "'",
    "",
]


def unquoted(line):
    """The words of a line of ExecStart=, as systemd reads them."""
    words = []
    for quote, plain in re.findall(r'"((?:[^"\\]|\\.)*)"|([^\s"]+)', line):
        text = quote or plain
        text = re.sub(r"\\x([0-9a-f]{2})", lambda match: chr(int(match[1], 16)), text)
        text = re.sub(r"\\(.)", lambda match: {"n": "\n", "t": "\t", "r": "\r"}.get(match[1], match[1]), text)
        words.append(text.replace("%%", "%").replace("$$", "$"))
    return words


def fields_of(text):
    found = {}
    for line in text.splitlines():
        if "=" in line and not line.startswith("#"):
            name, _, value = line.partition("=")
            found.setdefault(name, []).append(value)
    return found


def print_unit(*arguments, cwd, **environ):
    return subprocess.run(
        command("serve", "--print-unit", *arguments), capture_output=True, text=True, timeout=40, check=False, cwd=cwd,
        env=plain_environ() | environ,
    )  # fmt: skip


def unit_of(**options):
    defaults = {"data": None, "files": [], "variables": {}, "ports": [8900], "connections": 10, "version": 255}
    return unit_text(options.pop("arguments", []), command=["/opt/bin/heartfelt"], **{**defaults, **options})


def test_words_are_quoted_so_that_systemd_reads_them_back():
    line = " ".join(quoted(word, variables=True) for word in HARD)
    assert "\n" not in line
    assert unquoted(line) == HARD
    assert quoted("a%b$c") == '"a%%b$c"'  # in settings other than ExecStart=, $ has no meaning


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="no systemd here")
def test_systemd_accepts_the_units(tmp_path):
    """Those for all combinations that matter."""
    file = tmp_path / "a file.toml"
    program = shutil.which("true")
    for n, options in enumerate((
        {"version": 252},
        {"version": 252, "data": "/srv/heart felt/50%", "ports": [80]},
        {"version": 252, "arguments": HARD, "variables": {"A": 'b "c" $d 5%'}},
        {"version": 252, "data": str(tmp_path / "data"), "files": [str(file)]},
    )):  # fmt: skip
        text = unit_of(**options).replace("/opt/bin/heartfelt", program)
        path = tmp_path / f"heartfelt{n}.service"
        path.write_text(text, "utf-8")
        done = subprocess.run(
            ["systemd-analyze", "verify", "--man=no", path], capture_output=True, text=True, timeout=40, check=False
        )
        complaints = [line for line in done.stderr.splitlines() if path.name in line]
        assert (done.returncode, complaints) == (0, []), done.stderr


def test_the_version_of_systemd_decides_how_it_is_reloaded():
    new, old = fields_of(unit_of(version=253)), fields_of(unit_of(version=252))
    assert new["Type"] == ["notify-reload"]
    assert "ExecReload" not in new
    for one in (old, fields_of(unit_of(version=None))):
        assert (one["Type"], one["ExecReload"]) == (["notify"], ["/bin/kill -HUP $MAINPID"])


def test_the_user_the_data_and_what_is_hidden_go_together():
    default = fields_of(unit_of())
    assert (default["DynamicUser"], default["StateDirectory"]) == (["yes"], ["heartfelt"])
    assert default["ExecStart"] == ["/opt/bin/heartfelt serve --data /var/lib/heartfelt"]
    assert (default["ProtectHome"], default["PrivateTmp"]) == (["yes"], ["yes"])
    named = fields_of(unit_of(data="/var/lib/beats"))
    assert (named["DynamicUser"], named["StateDirectory"]) == (["yes"], ["beats"])
    elsewhere = fields_of(unit_of(data="/home/me/data"))
    assert "DynamicUser" not in elsewhere
    assert elsewhere["ReadWritePaths"] == ["/home/me/data"]
    assert elsewhere["ProtectHome"] == ["read-only"]
    assert "User" in elsewhere
    temporary = fields_of(unit_of(data="/tmp/data"))
    assert (temporary["PrivateTmp"], temporary["ReadWritePaths"]) == (["no"], ["/tmp/data"])
    at_home = fields_of(unit_of(files=["/home/me/heartfelt.toml"]))
    assert "DynamicUser" not in at_home
    assert at_home["StateDirectory"] == ["heartfelt"]
    low = fields_of(unit_of(ports=[443, 6888]))
    assert low["AmbientCapabilities"] == ["CAP_NET_BIND_SERVICE"]
    assert int(fields_of(unit_of(connections=1_000_000))["LimitNOFILE"][0]) > 2_000_000


def test_it_is_for_exactly_this_invocation(tmp_path, certificates):
    cert, key = certificates.certificate, certificates.key
    (tmp_path / "heartfelt.toml").write_text('data = "from-file"\nlog.level = "warning"\n', "utf-8")
    done = print_unit(
        "--config", "heartfelt.toml", "--http-port", "81", "--cert", os.path.relpath(cert, tmp_path), "--set",
        f"tls.key={os.path.relpath(key, tmp_path)}", "--set", "service.a $b 5%.timeout=3 s", cwd=tmp_path,
        HEARTFELT_TCP_PORT="0", HEARTFELT_TOKEN="secret",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    fields = fields_of(done.stdout)
    words = unquoted(fields["ExecStart"][0])
    serve = words.index("serve")
    assert all(Path(word).is_absolute() for word in words[:1])
    assert words[serve + 1 :] == [
        "--config", str(tmp_path / "heartfelt.toml"), "--http-port", "81", "--set", "service.a $b 5%.timeout=3 s",
        "--cert", str(tmp_path / os.path.relpath(cert, tmp_path)),
        "--key", str(tmp_path / os.path.relpath(key, tmp_path)), "--data", str(tmp_path / "from-file"),
    ]  # fmt: skip
    assert fields["Environment"] == ["HEARTFELT_TCP_PORT=0"]
    assert "secret" not in done.stdout
    assert not (tmp_path / "from-file").exists()
    # what it starts is valid
    checked = subprocess.run(
        [*words, "--check"], capture_output=True, text=True, timeout=40, check=False, cwd="/", env=plain_environ()
    )
    assert checked.returncode == 0, checked.stderr
    refused = print_unit("--http-port", "x", cwd=tmp_path)
    assert refused.returncode == 1
    assert not refused.stdout


def test_a_data_folder_named_by_the_one_above_is_writable(tmp_path):
    (tmp_path / "here").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    done = print_unit("--data", "../here/../link/data", cwd=tmp_path / "here")
    assert done.returncode == 0, done.stderr
    fields = fields_of(done.stdout)
    folder = str(tmp_path.resolve() / "link" / "data")  # systemd ignores a path with ".."
    assert fields["ReadWritePaths"] == [quoted(folder)]
    assert unquoted(fields["ExecStart"][0])[-2:] == ["--data", folder]


def test_files_of_a_shared_redis_are_named_by_their_whole_path(tmp_path):
    (tmp_path / "p").write_text("x", "utf-8")
    done = print_unit("--store", "rediss://r.example", "--set", "redis.password_file=p", "--set", "redis.shards=8",
                      cwd=tmp_path, HEARTFELT_REDIS_CA="ca.pem")  # fmt: skip
    assert done.returncode == 0, done.stderr
    words = unquoted(fields_of(done.stdout)["ExecStart"][0])
    pairs = list(itertools.pairwise(words))
    assert ("--store", "rediss://r.example") in pairs
    for value in (f"redis.password_file={tmp_path / 'p'}", f"redis.ca={tmp_path / 'ca.pem'}", "redis.shards=8"):
        assert ("--set", value) in pairs
    assert "redis.password_file=p" not in words


@pytest.mark.parametrize(
    ("arguments", "environ", "file"),
    [
        (["--store", "redis://u:hidden@127.0.0.1"], {}, "redis.password_file"),
        ([], {"HEARTFELT_STORE": "redis://u:hidden@127.0.0.1"}, "redis.password_file"),
        (["--set", "redis.password=hidden"], {}, "redis.password_file"),
        ([], {"HEARTFELT_REDIS_SENTINEL_PASSWORD": "hidden"}, "redis.sentinel_password_file"),
    ],
)
def test_a_password_of_redis_is_not_written_into_a_unit(tmp_path, arguments, environ, file):
    done = print_unit(*arguments, cwd=tmp_path, **environ)
    assert done.returncode != 0 and file in done.stderr
    assert "hidden" not in done.stdout + done.stderr
