# SPDX-License-Identifier: MIT
"""`heartfelt demo`: many services beat, a few stop, and the hub must report exactly those."""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import TypeVar

from heartfelt import Event, HeartHub, HubClosed
from heartfelt._options import MOST_SHARDS
from heartfelt.cli import UsageError
from heartfelt.cli._client_options import add_trust_arguments, url
from heartfelt.cli._progress import Progress
from heartfelt.cli._services import NS, Beater, DemoPlan
from heartfelt.cli._values import duration, whole, whole_list

T = TypeVar("T")
NAME = "demo"
HELP = "Simulate services; some stop, and exactly those must be reported. The exit status is 0 if they were."
STUCK = (67, 120, 100, 3456, 4000, 5221, 7899, 9999)
MOST_SERVICES = 50_000_000
TICK_NS = NS // 4  # between two progress lines
BATCH = 256  # events
MOST_NAMED = 20  # keys in a complaint
INTERRUPTED = 130


def add_arguments(parser: argparse.ArgumentParser) -> None:
    def option(
        name: str, type_: Callable[[str], object], default: object, help_: str, metavar: str = "SECONDS"
    ) -> None:
        parser.add_argument(name, type=type_, default=default, help=help_, metavar=metavar)

    option("--services", whole(1, MOST_SERVICES), None, "number of services, with ids from 1 (default: 10000)", "N")
    option("--interval", duration, None, "time between two beats of a service (default: 0.5)")
    option("--timeout", duration, None, "time after which a service without a beat is reported (default: 1.0)")
    option("--parallelism", whole(1, MOST_SHARDS), None, "worker threads of the hub (default: 2)", "N")
    default_stuck = ",".join(map(str, STUCK))
    stuck_help = f"services that stop, each after as many ms as its id (default: those of {default_stuck} that exist)"
    option("--stuck", whole_list, None, stuck_help, "ID,ID,...")
    option("--duration", duration, None, "how long to run; longer if a stopped service is not due yet (default: 15.0)")
    parser.add_argument("--json", action="store_true", help="print JSON, one object per line; the last is the summary")
    monitor_help = (
        "send to this monitor instead: instances of which some stop, leave, get stuck, and come back; the defaults are "
        "then --services 1000 --interval 3 --timeout 10, until interrupted"
    )
    option("--monitor", url, None, monitor_help, "URL")
    cluster_help = (
        "start three monitors that share a Redis, kill one of them, and show how the others take over; the defaults "
        "are then --services 3000 --interval 1.5 --timeout 6 --duration 36"
    )
    parser.add_argument("--cluster", action="store_true", help=cluster_help)
    add_trust_arguments(parser)


def run(args: argparse.Namespace) -> int:
    if args.cluster:
        return cluster(args)
    if args.monitor is not None:
        return feed(args)
    for option in ("token_file", "token_env", "ca"):
        if getattr(args, option) is not None:
            raise UsageError(f"argument --{option.replace('_', '-')}: only works with --monitor; leave it out")
    plan = plan_of(args)
    outcome = watch(plan, Printer(json_lines=args.json))
    print(json.dumps(summary_object(plan, outcome)) if args.json else summary_text(plan, outcome), flush=True)
    if args.json and not outcome.interrupted:  # the text form contains them
        for complaint in complaints(plan, outcome):
            print(f"heartfelt demo: {complaint}", file=sys.stderr)
    return exit_status(plan, outcome)


def feed(args: argparse.Namespace) -> int:
    from heartfelt.cli import _feed

    for option in ("parallelism", "stuck"):
        if getattr(args, option) is not None:
            raise UsageError(f"argument --{option}: does not work with --monitor; leave one of them out")
    interval, timeout = or_else(args.interval, 3.0), or_else(args.timeout, 10.0)
    check_interval(interval, timeout)
    return _feed.run(
        args.monitor,
        instances=or_else(args.services, 1000),
        interval_s=interval,
        timeout_s=timeout,
        duration_s=args.duration,
        as_json=args.json,
        token_file=args.token_file,
        token_env=args.token_env,
        ca=args.ca,
    )


def cluster(args: argparse.Namespace) -> int:
    from heartfelt.cli._cluster.demo import ClusterPlan
    from heartfelt.cli._cluster.demo import run as run_cluster

    for option in ("parallelism", "stuck", "monitor", "token_file", "token_env", "ca"):
        if getattr(args, option) is not None:
            raise UsageError(
                f"argument --{option.replace('_', '-')}: does not work with --cluster; leave one of them out"
            )
    plan = ClusterPlan(
        services=or_else(args.services, ClusterPlan.services),
        interval_s=or_else(args.interval, ClusterPlan.interval_s),
        timeout_s=or_else(args.timeout, ClusterPlan.timeout_s),
        duration_s=or_else(args.duration, ClusterPlan.duration_s),
    )
    check_interval(plan.interval_s, plan.timeout_s)
    return run_cluster(plan, as_json=args.json)


def or_else(given: T | None, default: T) -> T:
    return default if given is None else given


def check_interval(interval: float, timeout: float) -> None:
    if interval >= timeout:
        raise UsageError(
            f"argument --interval: {interval:g} is not shorter than --timeout {timeout:g}, so that healthy "
            f"services would be reported; give a shorter --interval or a longer --timeout"
        )


def plan_of(args: argparse.Namespace) -> DemoPlan:
    services, stuck = or_else(args.services, 10_000), args.stuck
    interval, timeout = or_else(args.interval, 0.5), or_else(args.timeout, 1.0)
    if stuck is None:
        stuck = tuple(service for service in STUCK if service <= services)
    if stuck and max(stuck) > services:
        raise UsageError(
            f"argument --stuck: {max(stuck)} is out of range; the services are 1 to {services}: "
            f"leave it out, or give --services {max(stuck)}"
        )
    check_interval(interval, timeout)
    return DemoPlan(services, interval, timeout, or_else(args.parallelism, 2), or_else(args.duration, 15.0), stuck)


class Printer:
    """Prints events as they come, and the progress."""

    def __init__(self, *, json_lines: bool) -> None:
        self._line = json_line if json_lines else text_line
        self._progress = Progress()

    def events(self, events: Iterable[Event]) -> None:
        self._progress.clear()
        sys.stdout.write("".join(self._line(event) + "\n" for event in events))
        sys.stdout.flush()

    def progress(self, elapsed_ns: int, beats: int, hub: HeartHub, n_events: int) -> None:
        if self._progress.live:
            watched = len(hub)
            self._progress.show(
                f"{elapsed_ns / NS:6.1f} s   beats {beats:,}   keys watched {watched:,}   events {n_events:,}"
            )

    def end(self) -> None:
        self._progress.clear()


def event_fields(event: Event) -> dict[str, object]:
    """The fields of the log line; times are in ms since the epoch."""
    beat_ms, event_ms = math.floor(event.beat_time * 1000), math.floor(event.event_time * 1000)
    return {
        "heartKey": event.key,
        "eventName": event.type.value,
        "lastBeatTime": beat_ms,
        "eventTime": event_ms,
        "findTime": event_ms - beat_ms,
    }


def text_line(event: Event) -> str:
    fields = event_fields(event)
    name, *times = (f"{name}={value}" for name, value in fields.items() if name != "heartKey")
    now = time.strftime("%Y/%m/%d %H:%M:%S")
    return f"{now} received an event: heartKey={fields['heartKey']} {name}, {', '.join(times)}"


def json_line(event: Event) -> str:
    return json.dumps(event_fields(event) | {"lateness": event.lateness})


@dataclass
class DemoOutcome:
    """Results of a run. Times are in seconds; late, left_out, pause as in Beater; cpu_time includes hub_cpu_time."""

    reported: Counter[str] = field(default_factory=Counter)
    lateness: list[float] = field(default_factory=list)
    interrupted: bool = False
    elapsed: float = 0.0
    begun: int = 0
    beats: int = 0
    left_out: int = 0
    late: float = 0.0
    pause: float = 0.0
    watched_at_end: int = 0
    cpu_time: float = 0.0
    hub_cpu_time: float = 0.0

    def add(self, events: Iterable[Event]) -> None:
        for event in events:
            self.reported[str(event.key)] += 1
            self.lateness.append(event.lateness)


def watch(plan: DemoPlan, printer: Printer) -> DemoOutcome:
    """Runs the plan. After its duration, it goes on until no event is missing, or one is long overdue."""
    outcome = DemoOutcome()
    with HeartHub(timeout=plan.timeout, parallelism=plan.parallelism) as hub:
        beater = Beater(hub, plan)
        beater.start()
        try:
            read_until_end(beater, plan, outcome, printer)
        except KeyboardInterrupt:
            outcome.interrupted = True
        finally:
            printer.end()
            ended_ns = beater.elapsed_ns()
            hub.close()  # before the beats end, so that their end causes no event
            beater.stop(ended_ns)
        for event in () if outcome.interrupted else hub.events:  # the remaining ones
            outcome.add([event])
            printer.events([event])
        stats = hub.stats()
    outcome.elapsed, outcome.late, outcome.pause = ended_ns / NS, beater.late_ns / NS, beater.pause_ns / NS
    outcome.begun, outcome.beats, outcome.left_out = beater.begun, beater.beats, beater.left_out
    outcome.watched_at_end = stats.keys
    outcome.cpu_time, outcome.hub_cpu_time = time.process_time(), stats.cpu_time
    return outcome


def read_until_end(beater: Beater, plan: DemoPlan, outcome: DemoOutcome, printer: Printer) -> None:
    hub = beater.hub
    missing = set(plan.due_ns)
    while True:
        elapsed_ns = beater.elapsed_ns()
        over = not missing and beater.begun == plan.services
        left_ns = (plan.duration_ns if over else plan.patience_ns) - elapsed_ns
        if left_ns <= 0:
            return
        printer.progress(elapsed_ns, beater.beats, hub, len(outcome.lateness))
        try:
            events = hub.events.get_many(BATCH, timeout=min(left_ns, TICK_NS) / NS)
        except HubClosed:
            return  # the beats have ended with an error
        if events:
            outcome.add(events)
            printer.events(events)
            missing.difference_update(str(event.key) for event in events)


def complaints(plan: DemoPlan, outcome: DemoOutcome) -> list[str]:
    """Lists what is wrong; empty if exactly the stopped services were reported, once each."""
    found = []
    if keys := missing_keys(plan, outcome):
        found.append(f"missing (stopped but not reported): {named(keys)}")
    if keys := extra_keys(plan, outcome):
        found.append(f"extra (reported but not stopped): {named(keys)}")
    if keys := repeated_keys(plan, outcome):
        found.append(f"repeated (stopped once but reported more often): {named(keys)}")
    if not found and outcome.watched_at_end != outcome.begun - len(plan.due_ns):
        found.append(
            f"not watched at the end: {outcome.begun - len(plan.due_ns) - outcome.watched_at_end:,} live services"
        )
    if outcome.begun != plan.services:
        found.append(
            f"never begun: {plan.services - outcome.begun:,} services; there was no time for their first beats"
        )
    return found


def missing_keys(plan: DemoPlan, outcome: DemoOutcome) -> list[str]:
    return [key for key in plan.due_ns if key not in outcome.reported]


def extra_keys(plan: DemoPlan, outcome: DemoOutcome) -> list[str]:
    return [key for key in outcome.reported if key not in plan.due_ns]


def repeated_keys(plan: DemoPlan, outcome: DemoOutcome) -> list[str]:
    return [key for key, times in outcome.reported.items() if times > 1 and key in plan.due_ns]


def named(keys: list[str]) -> str:
    rest = len(keys) - MOST_NAMED
    return ", ".join(keys[:MOST_NAMED]) + (f" and {rest:,} more" if rest > 0 else "")


def exit_status(plan: DemoPlan, outcome: DemoOutcome) -> int:
    if outcome.interrupted:
        return INTERRUPTED
    return 1 if complaints(plan, outcome) else 0


def percentiles(values: list[float]) -> dict[str, float] | None:
    """The median, the 99th percentile and the largest value; None if there are no values."""
    if not values:
        return None
    ordered = sorted(values)
    last = len(ordered) - 1
    return {"p50": ordered[last // 2], "p99": ordered[math.ceil(last * 0.99)], "max": ordered[last]}


def fell_behind(plan: DemoPlan, outcome: DemoOutcome) -> bool:
    return outcome.late > plan.interval or outcome.pause > plan.timeout


def beating_text(plan: DemoPlan, outcome: DemoOutcome) -> str:
    late = f"at most {outcome.late * 1e3:.1f} ms late"
    if not fell_behind(plan, outcome):
        return f"on time ({late})"
    pause = f"a live service was without a beat for up to {outcome.pause:.3g} s"
    left_out = f"{late}, {outcome.left_out:,} left out"
    if outcome.pause <= plan.timeout:
        return f"BEATING FELL BEHIND: {left_out}; {pause}, which the timeout of {plan.timeout:g} s allows"
    return (
        f"BEATING FELL BEHIND: {left_out}; {pause}, longer than the timeout of {plan.timeout:g} s, so that reports of "
        f"live services are correct. Give fewer --services, or a longer --interval and --timeout"
    )


def summary_text(plan: DemoPlan, outcome: DemoOutcome) -> str:
    n_stopped, n_events = len(plan.due_ns), len(outcome.lateness)
    lateness = percentiles(outcome.lateness)
    share = 100 * outcome.cpu_time / outcome.elapsed if outcome.elapsed else 0.0
    ms = {name: f"{value * 1e3:.3f} ms" for name, value in (lateness or {}).items()}
    if outcome.interrupted:
        verdict = f"interrupted: {n_events:,} events so far; {n_stopped:,} services would have stopped in all"
    elif wrong := complaints(plan, outcome):
        verdict = "FAILED: " + "; ".join(wrong)
    elif n_stopped:
        verdict = f"ok: all services that stopped ({n_stopped:,}) were reported, once each, and no other"
    else:
        verdict = "ok: no service stopped, and none was reported"
    rows = {
        "watched": f"{plan.services:,} services for {outcome.elapsed:.1f} s, a beat every {plan.interval:g} s, "
        f"timeout {plan.timeout:g} s, parallelism {plan.parallelism}; {outcome.watched_at_end:,} at the end",
        "beats": f"{outcome.beats:,}, {beating_text(plan, outcome)}",
        "events": f"{n_events:,}",
        "lateness": ", ".join(f"{name} {value}" for name, value in ms.items()) or "none",
        "CPU time": f"{outcome.cpu_time:.2f} s in all ({share:.1f} % of a core), "
        f"{outcome.hub_cpu_time:.3f} s of it by the hub's workers",
        "verdict": verdict,
    }
    return "\n".join(["", *(f"{name + ':':10}{text}" for name, text in rows.items())])


def summary_object(plan: DemoPlan, outcome: DemoOutcome) -> dict[str, object]:
    return {
        "summary": {
            "services": plan.services,
            "interval": plan.interval,
            "timeout": plan.timeout,
            "parallelism": plan.parallelism,
            "duration": plan.duration,
            "elapsed": outcome.elapsed,
            "begun": outcome.begun,
            "watched_at_end": outcome.watched_at_end,
            "beats": outcome.beats,
            "beats_left_out": outcome.left_out,
            "beats_late": outcome.late,
            "longest_pause": outcome.pause,
            "fell_behind": fell_behind(plan, outcome),
            "events": len(outcome.lateness),
            "expected": len(plan.due_ns),
            "missing": missing_keys(plan, outcome),
            "extra": extra_keys(plan, outcome),
            "repeated": repeated_keys(plan, outcome),
            "lateness": percentiles(outcome.lateness),
            "cpu_time": outcome.cpu_time,
            "hub_cpu_time": outcome.hub_cpu_time,
            "interrupted": outcome.interrupted,
            "status": exit_status(plan, outcome),
        }
    }
