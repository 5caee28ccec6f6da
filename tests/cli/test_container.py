# SPDX-License-Identifier: MIT
"""The container recipe: its manifests, settings and commands are real ones, and process 1 ends by SIGTERM."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("msgspec", reason="needs heartfelt[monitor]")
from heartfelt.__main__ import build_parser
from heartfelt.monitor.config import MonitorConfig
from heartfelt.monitor.config.settings import BY_VARIABLE
from heartfelt.monitor.web.api.routes import ENDPOINTS
from tests.monitor.serving import command, plain_environ, until

yaml = pytest.importorskip("yaml", reason="the manifests are YAML")
ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "examples" / "container"
MANIFESTS = sorted(FOLDER.rglob("*.yaml"))
PORTS = {"http": 8900, "tcp": 6888, "udp": 8901}
UID = 10001


def dockerfile():
    """The instructions, as (name, rest) pairs."""
    text = re.sub(r"^#.*\n", "", (FOLDER / "Dockerfile").read_text("utf-8"), flags=re.MULTILINE)
    lines = text.replace("\\\n", " ").splitlines()
    return [tuple(line.split(maxsplit=1)) for line in lines if line.strip()]


def instructions(name):
    return [rest for one, rest in dockerfile() if one == name]


def documents():
    return [(path.name, one) for path in MANIFESTS for one in yaml.safe_load_all(path.read_text("utf-8"))]


def kinds(kind):
    return [one for _, one in documents() if one.get("kind") == kind]


def pods():
    return [one["spec"]["template"]["spec"] for kind in ("Deployment", "Job") for one in kinds(kind)]


def containers():
    return [one for pod in pods() for one in pod["containers"]]


def compose():
    return next(one for name, one in documents() if name == "compose.yaml")["services"]["heartfelt"]


def image_variables():
    found = dict(re.findall(r"(HEARTFELT_\w+)=(\S+)", " ".join(instructions("ENV"))))
    assert found.keys() == {"HEARTFELT_DATA", "HEARTFELT_HOST"}
    return found


def test_every_variable_is_a_setting_and_its_value_is_valid():
    for more in (
        compose()["environment"],
        *({one["name"]: one["value"] for one in c.get("env", ())} for c in containers()),
    ):
        variables = image_variables() | more
        assert variables.keys() <= BY_VARIABLE.keys()
        config = MonitorConfig.load(environ=variables)
        assert config.data == instructions("VOLUME")[0]
        assert {name: config.address(name)[1] for name in config.listeners} == PORTS
        assert config.address("http")[0] == "0.0.0.0"


def test_every_command_is_one_of_heartfelt():
    parser = build_parser()
    (entry,), (default,) = instructions("ENTRYPOINT"), instructions("CMD")
    health = instructions("HEALTHCHECK")[0].partition("CMD ")[2]
    assert json.loads(entry) == ["heartfelt"]
    assert parser.parse_args(json.loads(default)).command.NAME == "serve"
    assert json.loads(health)[0] == "heartfelt"
    assert parser.parse_args(json.loads(health)[1:]).command.NAME == "health"
    assert {parser.parse_args(one["args"]).command.NAME for one in containers()} == {"serve", "token"}
    text = "".join(path.read_text("utf-8") for path in (FOLDER / "Dockerfile", *MANIFESTS))
    shown = re.findall(r"heartfelt (token create .*)", text)
    assert len(shown) == 2
    for one in shown:
        assert parser.parse_args(one.split()).scope == ["admin"]


def test_ports_probes_and_the_volume_go_together():
    assert instructions("EXPOSE") == ["8900 6888 8901/udp"]
    assert [one.split(":")[1] for one in compose()["ports"]] == ["8900", "6888", "8901/udp"]
    (monitor,) = (one for one in containers() if one["args"] == ["serve"])
    assert {one["name"]: one["containerPort"] for one in monitor["ports"]} == PORTS
    (service,) = kinds("Service")
    assert {one["targetPort"]: one["port"] for one in service["spec"]["ports"]} == PORTS
    for ports in (monitor["ports"], service["spec"]["ports"]):
        assert [one.get("protocol", "TCP") for one in ports] == ["TCP", "TCP", "UDP"]
    open_paths = {one.path for one in ENDPOINTS if one.scope is None}
    probes = {name: monitor[name]["httpGet"] for name in ("startupProbe", "livenessProbe", "readinessProbe")}
    assert {name: one["path"] for name, one in probes.items()} == {
        "startupProbe": "/healthz", "livenessProbe": "/healthz", "readinessProbe": "/readyz",
    }  # fmt: skip
    assert all(one["port"] == "http" and one["path"] in open_paths for one in probes.values())
    (claim,) = kinds("PersistentVolumeClaim")
    for pod in pods():
        assert pod["volumes"][0]["persistentVolumeClaim"]["claimName"] == claim["metadata"]["name"]
        assert pod["securityContext"]["runAsUser"] == pod["securityContext"]["fsGroup"] == UID
        assert pod["enableServiceLinks"] is False  # its variables would look like settings
        assert pod["containers"][0]["volumeMounts"][0]["mountPath"] == instructions("VOLUME")[0]
    assert instructions("USER") == [f"{UID}:{UID}"]
    (deployment,) = kinds("Deployment")
    assert (deployment["spec"]["replicas"], deployment["spec"]["strategy"]["type"]) == (1, "Recreate")


def test_the_stop_has_the_time_it_may_take():
    from heartfelt.cli._unit import STOP_S
    from heartfelt.monitor.monitor import Monitor
    from heartfelt.monitor.server import HTTP_STOP_S

    longest_s = HTTP_STOP_S + float(re.search(r"in a fleet ([\d.]+) s", Monitor.stop.__doc__)[1])
    (deployment,) = kinds("Deployment")
    assert longest_s < STOP_S == deployment["spec"]["template"]["spec"]["terminationGracePeriodSeconds"]
    assert compose()["stop_grace_period"] == f"{STOP_S}s"
    assert instructions("STOPSIGNAL") == ["SIGTERM"]


def test_the_image_copies_what_there_is_and_its_python_is_supported():
    sources = [word for one in instructions("COPY") if not one.startswith("--from") for word in one.split()[:-1]]
    assert sources
    assert all((ROOT / one).exists() for one in sources)
    for one in instructions("FROM"):
        version = tuple(map(int, re.match(r"python:(\d+)\.(\d+)-slim", one).groups()))
        assert (3, 10) <= version <= (3, 14)


@pytest.mark.skipif(sys.platform != "linux" or shutil.which("unshare") is None, reason="process namespaces")
def test_as_process_1_it_is_healthy_and_ends_by_sigterm(tmp_path):
    """As in a container, where a signal without a handler is lost."""
    unshare = ["unshare", "--pid", "--fork", "--kill-child"]
    if subprocess.run([*unshare, "true"], capture_output=True, check=False).returncode:
        pytest.skip("no process namespaces here")
    environ = plain_environ() | {"HEARTFELT_DATA": str(tmp_path / "data"), "HEARTFELT_HTTP_PORT": "0"}
    arguments = ["--tcp-port", "0", "--udp-port", "0", "--ready-json"]
    with subprocess.Popen([*unshare, *command("serve", *arguments)], stdout=subprocess.PIPE, env=environ) as process:
        try:
            ready = json.loads(process.stdout.readline())
            assert ready["pid"] == 1
            done = subprocess.run(
                command("health"), capture_output=True, text=True, timeout=40, check=False,
                env=environ | {"HEARTFELT_HTTP_PORT": str(ready["http"][1])},
            )  # fmt: skip
            assert done.returncode == 0, done.stderr
            assert json.loads(done.stdout)["ready"] is True
            children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
            (child,) = until(lambda: children.read_text().split())
            os.kill(int(child), signal.SIGTERM)
            assert process.wait(40) == 0
        finally:
            process.kill()
