# SPDX-License-Identifier: MIT
"""/metrics as a scraper sees it: what stands in it, by promtool's rules and by those of this project."""

from __future__ import annotations

import ast
import asyncio
import re
import shutil
import socket
import subprocess
from collections import Counter
from pathlib import Path

import pytest

pytest.importorskip("msgspec")
pytest.importorskip("prometheus_client")

from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

import heartfelt.monitor
from heartfelt.monitor import garbage, loop_errors, notify, reload
from heartfelt.monitor.fleet import metrics as fleet
from heartfelt.monitor.ingest import http, intake, sermant, udp
from heartfelt.monitor.ingest.counters import TRANSPORTS
from heartfelt.monitor.metric import gauge
from heartfelt.monitor.store import metrics as store
from heartfelt.monitor.web import auth, forwarded, shield, stream
from heartfelt.monitor.web.http1 import guard, lane
from heartfelt.monitor.web.metrics import SLICE, Metrics
from heartfelt.monitor.webhooks import metrics as webhooks
from tests.monitor.serving import Serving, until

OPENMETRICS = {"Accept": "application/openmetrics-text; version=1.0.0; charset=utf-8, text/plain;q=0.5"}
PROMTOOL = shutil.which("promtool")
ODD = 'sh"o\\p (é)'  # a service may be called so

DECLARED = {
    "registry": fleet.FIGURES,
    "store": store.FIGURES,
    "intake": intake.FIGURES,
    "http": http.FIGURES,
    "stream": stream.FIGURES,
    "webhooks": webhooks.FIGURES,
    "auth": auth.FIGURES,
    "shield": shield.FIGURES,
    "proxies": forwarded.FIGURES,
    "tcp": sermant.FIGURES,
    "udp": udp.FIGURES,
    "requests": guard.FIGURES,
    "reload": {**reload.FIGURES, "error": None, "need_restart": None},
    "gc": garbage.FIGURES,
    "notify": notify.FIGURES,
    **({"lane": lane.FIGURES} if lane.can_serve() else {}),
    "loop": loop_errors.FIGURES,
    "upkeep": dict.fromkeys(("faults", "clients_gone", "left_running")),  # declared in monitor.py
}
WITH_LABELS = {"intake": ("messages_", "beats_", "fast_", "events_", "goodbyes_", "refused_"), "http": ("answers_",)}
"""Beginnings of figures whose names are made of labels' values."""


@pytest.fixture(scope="module")
def busy(tmp_path_factory):
    """A monitor that has had traffic of all kinds, good and bad, and has a viewer."""
    data = tmp_path_factory.mktemp("busy")
    serving = Serving(data=data, webhooks_allow_private="true")
    try:
        serving.wait_ready()
        yield from with_traffic(serving)
    finally:
        serving.end()


def with_traffic(serving):
    serving.beats(3)
    serving.beat(ODD, "one")
    serving.post("/ping/job/one/fail", "it broke")
    serving.post("/api/v1/beats", "{")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.sendto(b"cron/1\n", tuple(serving.ready["udp"]))
    with socket.create_connection(tuple(serving.ready["tcp"])) as agent:
        agent.sendall(b"garbage\n" * 100)
    until(lambda: serving.json("/api/v1/stats")["parts"]["udp"]["datagrams"], "the datagram")
    until(lambda: serving.json("/api/v1/stats")["parts"]["tcp"].get("accepted"), "the connection")
    connection, _ = serving.open_stream()
    until(lambda: value(serving, "heartfelt_store_last_beat_timestamp_seconds"), "the first beats in the store")
    yield serving
    connection.close()


def families(serving):
    return {family.name: family for family in parse_text(serving.get("/metrics").body.decode())}


def value(serving, name, **labels):
    for family in families(serving).values():
        for sample in family.samples:
            if sample.name == name and sample.labels == labels:
                return sample.value
    return None


@pytest.mark.skipif(PROMTOOL is None, reason="promtool is not here (Debian: prometheus)")
def test_promtool_finds_nothing_to_complain_of(busy):
    done = subprocess.run(
        [PROMTOOL, "check", "metrics"], input=busy.get("/metrics").body, capture_output=True, timeout=60, check=False
    )
    assert (done.returncode, done.stdout + done.stderr) == (0, b"")


def test_both_formats_can_be_parsed_and_say_the_same(busy):
    answer = busy.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    plain = list(parse_text(answer.body.decode()))
    answer = busy.get("/metrics", headers=OPENMETRICS)
    assert answer.headers["content-type"].startswith("application/openmetrics-text; version=1.0.0")
    open_ = list(parse_openmetrics(answer.body.decode()))  # which is strict: duplicates, units, order

    def names(found):  # the histograms' _created are families of their own in the older format
        return {family.name for family in found} - {
            f"{family.name}_created" for family in found if family.type == "histogram"
        }

    assert names(open_) - {"heartfelt"} == names(plain) - {"heartfelt_info"}
    assert {family.unit for family in open_ if family.name.endswith(("_seconds", "_bytes"))} <= {"seconds", "bytes", ""}


def test_names_kinds_units_and_helps_keep_to_the_rules(busy):
    body = busy.get("/metrics").body.decode()
    assert max(Counter(line.split()[2] for line in body.splitlines() if line.startswith("# TYPE")).values()) == 1
    seen = Counter()
    for family in parse_text(body):
        if family.name.startswith("process_"):  # prometheus_client's own
            continue
        assert family.name.startswith("heartfelt_"), family.name
        assert family.documentation[:1].isupper() or family.documentation[:1].isdigit(), family
        assert not family.documentation.endswith("."), family
        words = {"heartfelt", *family.name.split("_"), "seconds", "bytes"}
        assert set(re.findall(r"[a-z]+", family.documentation.lower())) - words, f"{family} explains nothing"
        assert len(family.documentation.split()) >= 3 or family.name in ("heartfelt_info",), family
        for sample in family.samples:
            seen[(sample.name, *sorted(sample.labels.items()))] += 1
            assert sample.name.endswith("_total") is (family.type == "counter"), sample
            assert sample.value >= 0, sample
    assert max(seen.values()) == 1


def test_every_figure_of_the_stats_is_declared(busy):
    parts = busy.json("/api/v1/stats")["parts"]
    assert parts.keys() == DECLARED.keys()
    for part, stats in parts.items():
        left = {name for name in stats.keys() - DECLARED[part] if not name.startswith(WITH_LABELS.get(part, "?"))}
        assert not left, f"declare {left} in the FIGURES of {part}"


def counted_in(*names):
    """The constant keys with which these modules of ingest/ count."""
    folder = Path(heartfelt.monitor.__file__).parent / "ingest"
    for name in names:
        for node in ast.walk(ast.parse((folder / name).read_text("utf-8"))):
            if isinstance(node, ast.Subscript) and getattr(node.value, "attr", "") == "counts":
                yield from (one.value for one in ast.walk(node.slice) if isinstance(one, ast.Constant) and one.value)
            elif isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "_quarantine":
                yield node.args[0].value


def test_what_is_counted_by_a_name_is_declared_by_that_name():
    tcp = set(counted_in("sermant.py", "connection.py"))
    assert tcp >= {"accepted", "closed", "broken", "lost_framing", "left_open"}  # it finds them
    assert tcp <= sermant.FIGURES.keys()
    datagrams = set(counted_in("udp.py"))
    assert datagrams >= {"datagrams", "dropped_at_stop"}
    assert datagrams <= udp.FIGURES.keys()


def test_values_of_all_parts(busy):
    assert value(busy, "heartfelt_instances", state="NEW", service="shop") == 3
    assert value(busy, "heartfelt_instances", state="LOST", service="shop") == 0
    assert value(busy, "heartfelt_instances", state="NEW", service=ODD) == 1  # escaped and read back
    assert value(busy, "heartfelt_services") == 4
    assert value(busy, "heartfelt_ingest_beats_total", transport="http") == 4
    assert {
        transport for transport in TRANSPORTS if value(busy, "heartfelt_ingest_events_total", transport=transport)
    } == {"ping"}
    assert value(busy, "heartfelt_ingest_refused_total", transport="http", reason="json") == 1
    assert value(busy, "heartfelt_http_answers_total", status="400") == 1
    assert value(busy, "heartfelt_store_ok") == 1
    written = until(lambda: value(busy, "heartfelt_store_last_write_timestamp_seconds"), "the first write")
    assert written > 1_600_000_000
    beaten = until(lambda: value(busy, "heartfelt_store_last_beat_timestamp_seconds"), "the first heartbeat is written")
    assert 1_600_000_000 < beaten <= value(busy, "heartfelt_store_last_write_timestamp_seconds") + 1
    assert value(busy, "heartfelt_services_without_label") == 0
    assert value(busy, "heartfelt_stream_viewers") == 1
    assert value(busy, "heartfelt_tcp_accepted_total") == 1
    assert value(busy, "heartfelt_left_running_total", part="store") == 0
    assert value(busy, "process_start_time_seconds") > 1_600_000_000
    assert families(busy)["heartfelt_info"].samples[0].labels == {"version": heartfelt.__version__}


def test_the_age_of_the_oldest_waiting_delivery_is_that_of_its_target(busy):
    url = f"http://127.0.0.1:{busy.port}/none"  # which answers 404
    hook = busy.post("/api/v1/webhooks", {"kind": "generic", "url": url, "filter": {"states": []}}).json["id"]

    def age():
        return value(busy, "heartfelt_webhooks_oldest_waiting_seconds", target=hook)

    assert value(busy, "heartfelt_webhooks_targets") == 1
    assert (age(), value(busy, "heartfelt_webhooks_waiting", target=hook)) == (0, 0)
    busy.beat("pay", "one")
    until(lambda: value(busy, "heartfelt_webhooks_waiting", target=hook), "the delivery")
    before = age()
    assert value(busy, "heartfelt_webhooks_oldest_delivery_seconds") >= before  # of all targets
    until(lambda: age() > before, "the delivery grows older")
    assert busy.request("DELETE", f"/api/v1/webhooks/{hook}").status == 204
    assert age() is None


# -- the text, of a fleet of any size

MANY = gauge("heartfelt_many", "Many", labels=("name",))
ONE = gauge("heartfelt_one", "One")


async def nothing():
    pass


def rendered(n, accept=""):
    """Renders `n` samples of one metric; returns the text, and how often other tasks had their turn meanwhile."""

    async def run():
        metrics = Metrics(lambda: [(MANY, {(f"# {i}\n",): i for i in range(n)}), ONE.reading(1)], refresh=nothing)
        turns = 0

        async def others():
            nonlocal turns
            while True:
                turns += 1
                await asyncio.sleep(0)

        task = asyncio.ensure_future(others())
        text, _ = await metrics.text(accept)
        task.cancel()
        return text.decode(), turns

    return asyncio.run(run())


@pytest.mark.parametrize("n", [0, 1, SLICE - 1, SLICE, SLICE + 1, 10 * SLICE, 10 * SLICE + 1])
def test_slices_are_one_text(n):
    for parse, accept in ((parse_text, ""), (parse_openmetrics, OPENMETRICS["Accept"])):
        text, _ = rendered(n, accept)
        assert text.count("# TYPE heartfelt_many ") == 1
        assert text.count("# EOF\n") == (parse is parse_openmetrics)
        found = {family.name: family for family in parse(text)}
        assert [sample.value for sample in found["heartfelt_many"].samples] == list(range(n))
        assert [sample.labels["name"] for sample in found["heartfelt_many"].samples] == [f"# {i}\n" for i in range(n)]
        assert found["heartfelt_one"].samples[0].value == 1
        assert "heartfelt_loop_lag_seconds" in found


def test_others_have_their_turn_while_the_text_is_made():
    _, few = rendered(1)
    _, many = rendered(20 * SLICE)
    assert many >= few + 19


def test_several_parts_may_have_samples_of_one_metric():
    async def run():
        metrics = Metrics(lambda: [(MANY, {("a",): 1}), (MANY, {("b",): 2})], refresh=nothing)
        return (await metrics.text())[0].decode()

    text = asyncio.run(run())
    assert text.count("# TYPE heartfelt_many ") == 1
    assert 'heartfelt_many{name="a"} 1.0' in text and 'heartfelt_many{name="b"} 2.0' in text


def test_monitors_of_one_process_do_not_share_histograms():
    one, other = (Metrics(list, refresh=nothing) for _ in range(2))
    one.lateness.observe(0.1)
    assert "heartfelt_detection_lateness_seconds_count 1.0" in asyncio.run(one.text())[0].decode()
    assert "heartfelt_detection_lateness_seconds_count 0.0" in asyncio.run(other.text())[0].decode()
