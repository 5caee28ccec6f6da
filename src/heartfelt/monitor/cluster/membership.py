# SPDX-License-Identifier: MIT
"""Tells who lives, who leads, and the fleet's secret: what the monitors agree on in Redis, as one of them sees it.

Each monitor renews its entry four times in a lease, by one script that also returns the entries of all others. The
entry's stamp, the primary's TIME, only has to change: a monitor lives as long as its stamp has changed within a lease
of this monitor's own clock. So nobody dies because Redis was away, or because its clock has jumped: while nothing can
be read, nothing changes, and afterwards each has half a lease to be heard again.

The leader is the monitor whose id is in `lead`, with a fence that grows with each new leader. It leads for nine tenths
of a lease from the moment before it asked, by a clock that also counts while the machine sleeps: a leader that was
stopped for longer finds that at `leads()`, before it does anything. Between `leads()` and the end of what it then does
it may still be stopped, so a script that only the leader may run compares `lead` with `lead_token`.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import msgspec

from heartfelt._version import __version__
from heartfelt.monitor.cluster.entries import RENEW, RESIGN, FleetMember, RenewReply, parsed
from heartfelt.monitor.metric import Figures, Reading, counter, gauge, read
from heartfelt.monitor.store.outage_log import OutageLog
from heartfelt.monitor.store.redis.keys import SEQ_EPOCH_MS, Keys
from heartfelt.monitor.store.redis.link import FLEET, Link
from heartfelt.monitor.tasks import TimedEvent, end_tasks, run_in_thread

__all__ = ["FIGURES", "FleetMember", "Membership", "new_monitor_id"]

LEASE_S = 5.0
MOST_LEASE_S = 300.0
RENEWALS = 4
"""How often an entry is renewed in a lease."""
LEADS = 0.9
"""Part of a lease for which a leader is sure of itself."""
SECRET_BYTES = 32
FORGOTTEN_S = 3600.0
"""After so long the entry of a monitor that did not say that it ends is deleted."""
SKEW_MS = 5000
"""How much this machine's clock may differ from the primary's before that is told."""
END_S = 1.0
"""How long the tasks may take to end at the stop, and how long giving up the entry may take."""
_logger = logging.getLogger("heartfelt.monitor.cluster")

FIGURES: Figures = {
    "living": gauge("heartfelt_membership_monitors", "Monitors of the fleet that live, with this one"),
    "leads": gauge("heartfelt_membership_leads", "1 if this monitor has the fleet's single duties"),
    "renewals": counter("heartfelt_membership_renewals", "Renewals of this monitor's entry in Redis"),
    "failures": counter("heartfelt_membership_failures", "Renewals of this monitor's entry that failed"),
    "bad_entries": counter("heartfelt_membership_bad_entries", "Entries of other monitors that cannot be read"),
    "elections": counter("heartfelt_membership_elections", "How often this monitor has begun to lead"),
    "changes": counter("heartfelt_membership_changes", "How often the living monitors have changed"),
    "listener_errors": counter("heartfelt_membership_listener_errors", "Errors of what is told about the fleet"),
    "skew_s": gauge(
        "heartfelt_membership_skew_seconds", "How much this machine's clock is ahead of that of Redis", unit="seconds"
    ),
    "age_s": gauge(
        "heartfelt_membership_age_seconds", "Time since this monitor's entry was last renewed", unit="seconds"
    ),
}


class _Seen:
    """Another monitor: its stamp, how old that is, and for how long this one has read the same stamp: the primary's
    clock may have jumped before. is_lost: Redis has lost its entry."""

    __slots__ = ("is_lost", "read_s", "silent_s", "stamp")

    def __init__(self, stamp: int, silent_s: float, read_s: float = 0.0, *, is_lost: bool = False) -> None:
        self.stamp, self.silent_s, self.read_s, self.is_lost = stamp, silent_s, read_s, is_lost


def awake_s() -> float:
    """Seconds of a clock that never falls, and counts also while the machine sleeps, where there is one."""
    boot = getattr(time, "CLOCK_BOOTTIME", None)
    return time.monotonic() if boot is None else time.clock_gettime(boot)


def new_monitor_id() -> str:
    return secrets.token_hex(16)


class Membership:
    """`await start()`, then it renews by itself, then `await stop()`. Belongs to the loop's thread; the calls of `link`
    run in threads.

    own: this monitor's id. address: of its channel. secret: the fleet's, if it comes from a file; None: it is in Redis,
    where the first monitor puts a random one. clock: seconds.

    on_change(living), on_lead(fence), on_secret(secret): set before `start`; on_lead gets None when it leads no more.
    """

    def __init__(
        self,
        link: Link,
        keys: Keys,
        own: str,
        address: str,
        *,
        secret: bytes | None = None,
        lease_s: float = LEASE_S,
        clock: Callable[[], float] = awake_s,
        wall_ms: Callable[[], float] = lambda: time.time() * 1000,
    ) -> None:
        self._link, self.own, self._lease_s, self._clock = link, own, lease_s, clock
        self._keys = [keys.fleet(name) for name in ("mons", "stamps", "lead", "fence", "secret")]
        self._entry = FleetMember(address, __version__, int(time.time() * 1000), socket.gethostname(), lease_s)
        self._has_file = secret is not None
        self._secret = secret
        self._seen: dict[str, _Seen] = {}
        self._living: dict[str, FleetMember] = {own: self._entry}
        self._leader: str | None = None
        self._fence: int | None = None
        self._sure_until_s = 0.0
        self._read_s: float | None = None
        self._task: asyncio.Task[None] | None = None
        self._lapse: asyncio.TimerHandle | None = None
        self._is_calling = False
        self._is_ending = False
        self._again = TimedEvent()
        self._wall_ms = wall_ms
        self.skew_ms = 0
        """How much this machine's clock was ahead of the primary's at the last renewal."""
        self._is_skewed = False
        self._outage = OutageLog(_logger, "this monitor's entry is renewed again")
        self.counts = dict.fromkeys(("renewals", "failures", "bad_entries", "elections", "changes"), 0)
        self.counts["listener_errors"] = 0
        self.on_change: Callable[[Mapping[str, FleetMember]], object] | None = None
        self.on_lead: Callable[[int | None], object] | None = None
        self.on_secret: Callable[[bytes], object] | None = None

    # -- what is known

    @property
    def living(self) -> Mapping[str, FleetMember]:
        """The monitors that live, with this one, by id."""
        return self._living

    @property
    def leader(self) -> str | None:
        """The id of the monitor that led at the last renewal."""
        return self._leader

    @property
    def secret(self) -> bytes:
        assert self._secret is not None, "not started"
        return self._secret

    def leads(self) -> bool:
        """Returns whether this monitor leads at this moment. To be asked right before each duty."""
        return self._fence is not None and self._clock() < self._sure_until_s

    @property
    def lead_token(self) -> bytes | None:
        """The value of `lead` in Redis as long as this monitor leads; None if it does not."""
        return f"{self.own}:{self._fence}".encode() if self.leads() else None

    def set_address(self, address: str) -> None:
        """Sets the address of this monitor's channel, before the start."""
        self._entry = msgspec.structs.replace(self._entry, address=address)
        self._living = {self.own: self._entry}

    # -- start and stop

    async def start(self) -> None:
        """Enters itself. Raises what `link` raises if that fails; then it can be called again."""
        await self._renew()
        self._task = asyncio.get_running_loop().create_task(self._keep(), name="membership")

    async def stop(self) -> None:
        """Gives up the entry and the lead at once, within 3 * END_S. Idempotent."""
        task, self._task = self._task, None
        if task is None:
            return
        self._is_ending = True
        await end_tasks([task], seconds=END_S)
        self._leads_no_more()
        ends_s, pause = time.monotonic() + END_S, TimedEvent()
        while self._is_calling and time.monotonic() < ends_s:
            await pause.wait(0.01)
        if not self._is_calling:  # a renewal that still runs would enter it again
            try:
                await run_in_thread("membership", self._resign, seconds=END_S)
            except Exception as error:
                _logger.warning("the entry of this monitor could not be given up, and ends by itself: %s", error)

    def renew_soon(self) -> None:
        """Renews now, for example because the channel has found that a monitor is gone."""
        self._again.set()

    # -- renewing

    async def _keep(self) -> None:
        while True:
            await self._again.wait(self._lease_s / RENEWALS)
            self._again.clear()
            try:
                await self._renew()
            except Exception as error:
                self._outage.failed(f"this monitor's entry cannot be renewed: {error or repr(error)}")
            else:
                self._outage.worked()

    async def _renew(self) -> None:
        """Renews once. A call that hangs is waited for at most a lease, and no second one is begun meanwhile."""
        if self._is_calling:
            self.counts["failures"] += 1
            raise TimeoutError("the last renewal still hangs")
        began_s = self._clock()
        self._is_calling = True
        try:
            answer = await run_in_thread("membership", self._call, seconds=self._lease_s)
        except BaseException:
            self.counts["failures"] += 1
            raise
        self.counts["renewals"] += 1
        self._took(answer, began_s)

    def _call(self) -> RenewReply:
        """Calls the script. Runs in a thread."""
        try:
            entry = msgspec.json.encode(self._entry)
            mine = b"" if self._has_file else (self._secret or secrets.token_hex(SECRET_BYTES).encode())
            lease_ms = int(self._lease_s * 1000)
            gone = [
                word
                for id, one in self._seen.items()
                if one.silent_s >= FORGOTTEN_S and one.read_s >= self._lease_s
                for word in (id, one.stamp)
            ]
            reply = parsed(
                self._link.call(FLEET, RENEW, self.own, entry, lease_ms, mine, SEQ_EPOCH_MS, *gone, keys=self._keys)
            )
            self.skew_ms = int(self._wall_ms()) - reply.now_ms
            return reply
        finally:
            self._is_calling = False

    def _resign(self) -> None:
        self._link.call(FLEET, RESIGN, self.own, keys=self._keys[:3])

    # -- what a renewal says

    def _took(self, answer: RenewReply, began_s: float) -> None:
        if self._is_ending:
            return
        self._tell_skew()
        self._take_secret(answer.secret)
        self._take_lead(answer.lead, began_s)
        self._take_entries(answer, began_s)

    def skew(self) -> str | None:
        """Says that this machine's clock, or the primary's, is wrong; None: they agree."""
        if abs(self.skew_ms) <= SKEW_MS:
            return None
        side = "ahead of" if self.skew_ms > 0 else "behind"
        return (
            f"the clock of this machine is {abs(self.skew_ms) / 1000:.0f} s {side} that of Redis: no loss is wrong, "
            "but the times that are shown and stored are; look at the NTP of both"
        )

    def _tell_skew(self) -> None:
        text = self.skew()
        if text is not None and not self._is_skewed:
            _logger.warning("%s", text)
        elif text is None and self._is_skewed:
            _logger.info("the clock of this machine and that of Redis agree again")
        self._is_skewed = text is not None

    def _take_secret(self, secret: bytes | None) -> None:
        if not self._has_file and secret and secret != self._secret:
            is_new = self._secret is not None
            self._secret = secret
            if is_new:
                _logger.warning("the fleet's secret in Redis is another one, which is used from now on")
                self._tell(self.on_secret, secret)

    def _take_lead(self, lead: str, began_s: float) -> None:
        self._leader, _, fence = lead.partition(":")
        if self._leader != self.own:
            self._leads_no_more()
            return
        if self._fence is not None and (self._fence != int(fence) or not self.leads()):
            self._leads_no_more()  # it had lost the lead meanwhile, or was not sure of it
        self._sure_until_s = began_s + LEADS * self._lease_s
        left_s = self._sure_until_s - self._clock()
        if left_s <= 0:
            return  # the answer took too long: the lead may be another's already
        loop = asyncio.get_running_loop()
        if self._lapse is not None:
            self._lapse.cancel()
        self._lapse = loop.call_later(left_s, self._check_lead)
        if self._fence is None:
            self._fence = int(fence)
            self.counts["elections"] += 1
            _logger.info("this monitor leads, with the fence %d", self._fence)
            self._tell(self.on_lead, self._fence)

    def _check_lead(self) -> None:
        if self.leads():
            self._lapse = asyncio.get_running_loop().call_later(self._sure_until_s - self._clock(), self._check_lead)
        else:
            self._leads_no_more()

    def _leads_no_more(self) -> None:
        if self._lapse is not None:
            self._lapse.cancel()
            self._lapse = None
        if self._fence is not None:
            level = logging.INFO if self._is_ending else logging.WARNING
            _logger.log(level, "this monitor leads no more; its fence was %d", self._fence)
            self._fence = None
            self._tell(self.on_lead, None)

    def _take_entries(self, answer: RenewReply, began_s: float) -> None:
        gap_s = 0.0 if self._read_s is None else began_s - self._read_s
        self._read_s = began_s
        passed_s = min(gap_s, self._lease_s / 2)  # after a longer gap all have time to renew
        living = {self.own: self._entry}
        seen: dict[str, _Seen] = {}
        for id, stamp in answer.stamps.items():
            if id == self.own:
                continue
            former = self._seen.get(id)
            if former is None:
                age_s = max(0.0, (answer.now_ms - stamp) / 1000)
                seen[id] = _Seen(stamp, age_s)
            elif former.stamp != stamp:
                seen[id] = _Seen(stamp, 0.0)
            else:
                seen[id] = _Seen(stamp, former.silent_s + passed_s, former.read_s + passed_s)
            member = self._member(id, answer.entries.get(id))
            if member is not None and seen[id].silent_s < max(self._lease_s, min(member.lease_s, MOST_LEASE_S)):
                living[id] = member
        for id, former in self._seen.items():  # a Redis that was emptied gets their entries again, one by one
            if id not in answer.stamps and (answer.is_new or former.is_lost) and id in self._living:
                one = _Seen(former.stamp, former.silent_s + passed_s, former.read_s + passed_s, is_lost=True)
                if one.silent_s < self._lease_s:
                    seen[id], living[id] = one, self._living[id]
        self._seen = seen
        if living != self._living:
            self._living = living
            self.counts["changes"] += 1
            self._tell(self.on_change, living)

    def _member(self, id: str, entry: bytes | None) -> FleetMember | None:
        try:
            return msgspec.json.decode(entry or b"", type=FleetMember)
        except msgspec.MsgspecError as error:
            if self.counts["bad_entries"] == 0:
                _logger.warning("the entry of the monitor %r cannot be read, and is left out: %s", id[:64], error)
            self.counts["bad_entries"] += 1
            return None

    def _tell(self, listener: Callable[..., object] | None, *what: object) -> None:
        if listener is None:
            return
        try:
            listener(*what)
        except Exception:
            self.counts["listener_errors"] += 1
            _logger.exception("what follows a change in the fleet failed")

    # -- figures

    def stats(self) -> dict[str, Any]:
        return {
            **self.counts,
            "living": len(self._living),
            "leads": int(self.leads()),
            "skew_s": self.skew_ms / 1000,
            "age_s": None if self._read_s is None else self._clock() - self._read_s,
        }

    def readings(self) -> Iterator[Reading]:
        yield from read(FIGURES, self.stats())
