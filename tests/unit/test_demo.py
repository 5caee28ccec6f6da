# SPDX-License-Identifier: MIT
"""`heartfelt demo`: its plan, its judgement, and the command as a user runs it."""

from __future__ import annotations

import json
import os
import queue
import re
import signal
import subprocess
import sys
from collections import Counter
from itertools import pairwise

import pytest

from heartfelt import ConfigError, HeartHub, HubClosed, __version__
from heartfelt.__main__ import main
from heartfelt.cli import demo
from heartfelt.cli._services import NS, Beater, DemoPlan

COMMAND = [sys.executable, "-m", "heartfelt"]
# A live service beats ten times a timeout: a busy machine may be late by 0.9 s.
QUICK = ["demo", "--services", "200", "--interval", "0.1", "--timeout", "1", "--duration", "0.5"]
PATIENT_S = 60
LINE = re.compile(
    r"\d{4}/\d\d/\d\d \d\d:\d\d:\d\d received an event: heartKey=(\d+) eventName=TIME_OUT, "
    r"lastBeatTime=(\d{13}), eventTime=(\d{13}), findTime=(\d+)"
)
posix_only = pytest.mark.skipif(sys.platform == "win32", reason="signals, pseudo-terminals and SIGPIPE")


def run_command(*args):
    return subprocess.run([*COMMAND, *args], capture_output=True, text=True, timeout=PATIENT_S, check=False)


def start_command(*args):
    return subprocess.Popen([*COMMAND, *args], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def plan(**changes):
    settings = {"services": 200, "interval": 0.1, "timeout": 1.0, "parallelism": 2, "duration": 0.5, "stuck": (67, 120)}
    return DemoPlan(**(settings | changes))


def outcome(*keys, begun=200, watched_at_end=None, **changes):
    watched = begun - len(keys) if watched_at_end is None else watched_at_end
    return demo.DemoOutcome(
        reported=Counter(keys), lateness=[0.0] * len(keys), begun=begun, watched_at_end=watched, **changes
    )


@pytest.fixture(scope="module")
def real_outcome():
    return demo.watch(plan(), demo.Printer(json_lines=True))


class TestPlan:
    def test_every_service_is_in_exactly_one_group(self):
        bounds = plan(services=1003).bounds
        assert (bounds[0], bounds[-1]) == (0, 1003)
        assert all(low < high for low, high in pairwise(bounds))

    def test_group_of_a_service_is_the_one_whose_bounds_hold_it(self):
        one = plan(services=1003)
        for service in range(1, 1004):
            assert one.bounds[one.group(service)] < service <= one.bounds[one.group(service) + 1]

    def test_first_beats_come_within_the_first_interval(self):
        one = plan(services=10_000, interval=0.5, duration=15)
        assert 0.4 * NS < one.step_ns * one.group(10_000) < 0.5 * NS

    def test_first_beats_of_very_many_services_take_longer_than_one_interval(self):
        one = plan(services=1_000_000, interval=0.5, duration=15)
        assert one.step_ns * one.group(1_000_000) > 2 * NS

    @pytest.mark.parametrize("service", [501, 3456, 9999])
    def test_last_beat_is_the_last_one_not_after_the_stop(self, service):
        one = plan(services=10_000, interval=0.5, duration=15, stuck=(service,))
        last_ns = one.due_ns[str(service)] - NS
        assert last_ns <= service * 1_000_000 < last_ns + 0.5 * NS

    def test_stop_before_the_first_beat_still_leaves_the_first_beat(self):
        one = plan(services=10, stuck=(1, 3))
        assert one.step_ns * one.group(3) > 3_000_000
        assert one.due_ns == {"1": NS, "3": NS + one.step_ns * one.group(3)}

    def test_service_whose_stop_is_not_before_the_end_never_stops(self):
        assert plan(duration=0.12, stuck=(119, 120, 121)).stopping == (119,)


class TestJudgement:
    def test_exactly_the_stopped_services_once_each_is_success(self):
        assert demo.exit_status(plan(), outcome("120", "67")) == 0

    def test_missing_event_is_a_failure(self):
        assert demo.exit_status(plan(), outcome("67")) == 1
        assert demo.complaints(plan(), outcome("67")) == ["missing (stopped but not reported): 120"]

    def test_extra_event_is_a_failure(self):
        assert demo.exit_status(plan(), outcome("67", "120", "5")) == 1
        assert demo.complaints(plan(), outcome("67", "120", "5")) == ["extra (reported but not stopped): 5"]

    def test_double_event_is_a_failure(self):
        assert demo.exit_status(plan(), outcome("67", "120", "67")) == 1
        assert "more often): 67" in demo.complaints(plan(), outcome("67", "120", "67"))[0]

    def test_live_service_that_the_hub_forgot_is_a_failure(self):
        assert "not watched at the end: 1 " in demo.complaints(plan(), outcome("67", "120", watched_at_end=197))[0]

    def test_service_that_never_began_is_a_failure(self):
        assert "never begun: 10 services" in demo.complaints(plan(), outcome("67", "120", begun=190))[0]

    def test_many_keys_are_cut(self):
        assert demo.named([str(n) for n in range(50)]).endswith("18, 19 and 30 more")

    def test_real_run_is_right_for_its_own_plan(self, real_outcome):
        assert demo.complaints(plan(), real_outcome) == []
        assert demo.exit_status(plan(), real_outcome) == 0

    def test_real_run_fails_a_plan_with_one_more_stop(self, real_outcome):
        planted = plan(stuck=(67, 120, 150))
        assert demo.complaints(planted, real_outcome) == ["missing (stopped but not reported): 150"]
        assert demo.exit_status(planted, real_outcome) == 1

    def test_real_run_fails_a_plan_with_one_stop_less(self, real_outcome):
        planted = plan(stuck=(67,))
        assert demo.complaints(planted, real_outcome) == ["extra (reported but not stopped): 120"]
        assert demo.exit_status(planted, real_outcome) == 1

    @pytest.mark.parametrize(
        ("late", "pause", "text"),
        [
            (0.01, 0.11, "on time"),
            (0.3, 0.4, "which the timeout of 1 s allows"),
            (0.3, 1.2, "live services are correct"),
        ],
    )
    def test_summary_says_whether_beating_fell_behind(self, late, pause, text):
        summary = demo.summary_text(plan(), outcome("67", "120", late=late, pause=pause))
        assert text in summary
        assert ("BEATING FELL BEHIND" in summary) == (late > 0.1)

    def test_percentiles_are_values_that_occurred(self):
        assert demo.percentiles([float(n) for n in range(201)]) == {"p50": 100.0, "p99": 198.0, "max": 200.0}
        assert demo.percentiles([]) is None


class TestBeater:
    def test_error_in_the_thread_closes_the_hub_and_comes_out_of_stop(self):
        with HeartHub() as hub:  # no timeout: the first beat is refused
            beater = Beater(hub, plan())
            beater.start()
            with pytest.raises(HubClosed):
                hub.events.get(timeout=PATIENT_S)
            with pytest.raises(ConfigError, match="has no timeout"):
                beater.stop(0)

    def test_stopped_services_are_reported_and_no_other(self):
        with HeartHub(timeout=1) as hub:
            beater = Beater(hub, plan())
            beater.start()
            found = {hub.events.get(timeout=PATIENT_S).key, hub.events.get(timeout=PATIENT_S).key}
            assert found == {"67", "120"}
            with pytest.raises(queue.Empty):
                hub.events.get_nowait()
            hub.close()
            beater.stop(beater.elapsed_ns())
        assert beater.begun == 200


class TestCommand:
    def test_text_has_a_line_an_event_with_all_fields_and_a_summary(self):
        done = run_command(*QUICK)
        found = LINE.findall(done.stdout)
        assert {key for key, *_ in found} == {"67", "100", "120"}
        assert all(int(find) == int(event) - int(beat) >= 1000 for _, beat, event, find in found)
        assert done.stdout.splitlines()[-1].startswith("verdict:  ok")
        assert (done.returncode, done.stderr) == (0, "")

    def test_json_is_one_object_a_line_and_the_summary_last(self):
        done = run_command(*QUICK, "--json", "--stuck", "150")
        event, last = (json.loads(line) for line in done.stdout.splitlines())
        assert (event["heartKey"], event["eventName"]) == ("150", "TIME_OUT")
        assert event["findTime"] == event["eventTime"] - event["lastBeatTime"]
        summary = last["summary"]
        assert (summary["expected"], summary["missing"], summary["extra"], summary["status"]) == (1, [], [], 0)
        assert summary["watched_at_end"] == 199
        assert summary["beats"] > 200
        assert summary["cpu_time"] > summary["hub_cpu_time"] > 0
        assert done.returncode == 0

    def test_live_services_that_are_reported_make_the_status_1(self):
        # Nobody can beat every half microsecond.
        tight = ["--services", "3", "--interval", "500ns", "--timeout", "1us", "--duration", "0.01", "--stuck", ""]
        done = run_command("demo", *tight)
        assert "BEATING FELL BEHIND" in done.stdout
        assert "FAILED: extra (reported but not stopped): " in done.stdout.splitlines()[-1]
        assert done.returncode == 1

    @posix_only
    def test_interrupt_ends_with_the_summary_and_status_130(self):
        with start_command(*QUICK, "--duration", "20", "--stuck", "1", "--json") as process:
            first = process.stdout.readline()
            process.send_signal(signal.SIGINT)
            rest, errors = process.communicate(timeout=PATIENT_S)
        assert json.loads(first)["heartKey"] == "1"
        assert json.loads(rest)["summary"]["interrupted"] is True
        assert (process.returncode, errors) == (130, "")

    @posix_only
    def test_reader_that_goes_away_is_no_traceback(self):
        with start_command(*QUICK) as process:
            process.stdout.readline()
            process.stdout.close()
            assert process.stderr.read() == ""
            assert process.wait(timeout=PATIENT_S) == 141

    @posix_only
    def test_terminal_shows_the_progress(self):
        parent, child = os.openpty()
        done = subprocess.run(
            [*COMMAND, *QUICK, "--stuck", ""], stderr=child, stdout=subprocess.DEVNULL, timeout=PATIENT_S, check=True
        )
        os.set_blocking(parent, False)
        shown = os.read(parent, 65536).decode()
        os.close(child)
        os.close(parent)
        assert re.search(r"\r +0\.\d s   beats [\d,]+   keys watched 200   events 0", shown)
        assert shown.endswith(" \r")
        assert done.returncode == 0


class TestOptions:
    @pytest.mark.parametrize(
        ("options", "text"),
        [
            (["--interval", "0"], "argument --interval: a duration must be longer than zero"),
            (["--interval", "-1"], "'-1' is not a duration"),
            (["--timeout", "nan"], "argument --timeout: 'nan' is not a duration"),
            (["--duration", "999999 days"], "at most 100 years; got 86399913600.0"),
            (["--duration", "soon"], "argument --duration: 'soon' is not a duration"),
            (["--services", "0"], "argument --services: '0' is out of range; give a number from 1"),
            (["--services", "many"], "'many' is not a whole number"),
            (["--parallelism", "65"], "argument --parallelism: '65' is out of range; give a number from 1 to 64"),
            (["--stuck", "67,x"], "argument --stuck: 'x' is not a whole number"),
            (["--stuck", "0"], "argument --stuck: '0' is out of range; the smallest number is 1"),
            (["--stuck", "67,120,67"], "argument --stuck: 67 is repeated; give each number once"),
            (["--services", "9", "--stuck", "10"], "10 is out of range; the services are 1 to 9"),
            (["--interval", "2", "--timeout", "2"], "healthy services would be reported; give a shorter --interval"),
        ],
    )
    def test_bad_value_ends_with_status_2_and_says_what_would_do(self, capsys, options, text):
        with pytest.raises(SystemExit) as ended:
            main(["demo", *options])
        assert ended.value.code == 2
        assert text in capsys.readouterr().err

    def test_version(self, capsys):
        with pytest.raises(SystemExit) as ended:
            main(["--version"])
        assert ended.value.code == 0
        assert capsys.readouterr().out == f"heartfelt {__version__}\n"

    def test_no_command_is_an_error(self, capsys):
        with pytest.raises(SystemExit) as ended:
            main([])
        assert ended.value.code == 2
        assert "COMMAND" in capsys.readouterr().err
