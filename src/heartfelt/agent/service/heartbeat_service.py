# SPDX-License-Identifier: MIT
"""HeartbeatService: sends heartbeats to a backend, with information about this process."""

from __future__ import annotations

import logging
import math
import threading
from collections.abc import Callable, Mapping
from datetime import timedelta
from types import TracebackType
from typing import Any

from heartfelt._checks import duration_or_zero_ns, shown
from heartfelt.agent.config import AgentConfig
from heartfelt.agent.content import plugins
from heartfelt.agent.content.identity import new_identity
from heartfelt.agent.content.providers import Provider, Providers
from heartfelt.agent.line import Line, Plan, open_line
from heartfelt.agent.service import fork, refresh
from heartfelt.agent.service.plan import plan_of
from heartfelt.agent.service.run import ServiceRun
from heartfelt.agent.service.stats import NO_LINE, AgentStats, with_line

STOP_WAIT_S = 2.0
_logger = logging.getLogger("heartfelt.agent")


def configured(config: AgentConfig | None, keywords: Mapping[str, Any]) -> AgentConfig:
    """Makes the configuration from a service's arguments."""
    if config is None:
        return AgentConfig.load(**keywords)
    if not isinstance(config, AgentConfig):
        raise TypeError(f"config must be an AgentConfig, not {shown(config)}: AgentConfig.load(path) reads a file")
    return config.replace(**keywords) if keywords else config


class HeartbeatService:
    """Sends heartbeats at a fixed rate, from `start` to `stop`; the native sender does not need Python for that.

    The configuration is an AgentConfig, or keywords of one: HeartbeatService(service="shop", interval=5) takes the
    other settings from the environment. Any thread may call any method. A running service is kept alive until it is
    stopped, and says goodbye at the exit of the interpreter.
    """

    def __init__(
        self, config: AgentConfig | None = None, *, _open_line: Callable[[Plan], Line] | None = None, **keywords: Any
    ) -> None:
        self._config = config = configured(config, keywords)
        self._open_line = _open_line or open_line
        self._lock = threading.RLock()
        self._providers = Providers(config.provider_timeout, config.provider_limit, self._provider_done)
        self._versions: dict[str, str] = {}
        self._agents: dict[str, str] = {}
        self._run: ServiceRun | None = None
        self._stopping: list[ServiceRun] = []
        self._last = NO_LINE
        self._last_run: ServiceRun | None = None
        self._life = "new"
        self._instance_id: str | None = None
        for warning in config.warnings:
            _logger.warning("%s", warning)

    @property
    def config(self) -> AgentConfig:
        return self._config

    @property
    def instance_id(self) -> str | None:
        """The instanceId of the present run, otherwise of the last one; None before the first start."""
        return self._instance_id

    # -- start and stop

    def start(self) -> None:
        """Sends a beat at once, then one per interval. Does nothing if it is running, or switched off by `enable`.

        Does not wait for the connection, but for at most 50 ms for providers, so that the results of quick ones are in
        the first beat. Reads entry points, the token file and the CA file; raises ConfigError if a file is invalid.
        """
        with self._lock:
            if self._run is not None:
                return
            if not self._config.enable:
                self._life = "disabled"
                _logger.info("agent.service.heartbeat.enable is false: no heartbeats are sent")
                return
            self._start(in_child=False)

    def _start(self, in_child: bool) -> None:
        plan = plan_of(self._config)
        if self._config.entry_points:
            self._add_installed()
        identity = new_identity(self._config, in_child)
        try:
            line = self._open_line(plan)
            run = ServiceRun(self._config, identity, line, self._providers, self._announced)
        except BaseException:
            identity.release()
            raise
        self._instance_id = identity.instance_id
        fork.remember(self)
        self._run = run
        try:
            run.start()
        except BaseException:
            self._run = None
            run.stop(0)
            raise
        self._life = "running"

    def stop(self, wait: float | timedelta = STOP_WAIT_S) -> bool:
        """Says goodbye, so that heartfelt's monitor does not report a loss, and ends. Returns whether it was sent.

        Blocks for at most `wait`. Idempotent; start() can be called again.
        """
        wait_s = duration_or_zero_ns(wait, "wait") / 1e9
        with self._lock:
            run, self._run = self._run, None
            if run is None:
                if self._life == "restarting":
                    self._life = "stopped"
                return False
            self._life = "stopped"
            self._stopping.append(run)
        try:
            return run.stop(wait_s)
        finally:
            with self._lock:
                self._stopping.remove(run)
                self._last, self._last_run = run.line_stats(), run
                if self._run is None:
                    fork.forget(self)

    def __enter__(self) -> HeartbeatService:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def beat_now(self) -> bool:
        """Sends an additional beat as soon as possible. False if the service is not running."""
        with self._lock:
            if self._run is None:
                return False
            self._run.beat_now()
            return True

    # -- content

    def add_plugin(self, name: str, version: str = plugins.UNKNOWN) -> None:
        """Reports a plugin; another version under the same name replaces the one before."""
        name = plugins.checked_name(name, "a plugin's name")
        self._versions[name] = plugins.checked_name(version, "a plugin's version")
        self._changed()

    def add_external_agent(self, name: str, version: str = plugins.UNKNOWN) -> None:
        """Reports another agent in this process."""
        name = plugins.checked_name(name, "an agent's name")
        self._agents[name] = plugins.checked_name(version, "an agent's version")
        self._changed()

    def set_ext_info(self, plugin: str, provider: Provider | None) -> None:
        """Sets the provider of a plugin's extra information: a callable that returns a mapping of str to str, or None.
        It is called before each beat, on a thread of its own. A later provider replaces it, None removes it. A plugin
        that was not added is added, with version "unknown".

        A provider that raises, takes longer than heartfelt.provider.timeout, or returns anything else delays nothing:
        the beat has its last good value, and the reason of the failure (extInfoFailures). While it hangs, it is not
        called again.
        """
        plugin = plugins.checked_name(plugin, "a plugin's name")
        if provider is not None and not callable(provider):
            raise TypeError(f"provider must be callable without arguments, not {shown(provider)}")
        self._providers.set(plugin, provider)
        if provider is not None:
            self._versions.setdefault(plugin, plugins.UNKNOWN)
        self._changed()

    def _add_installed(self) -> None:
        found = plugins.installed()
        for name, version in found.plugins.items():
            self._versions.setdefault(name, version)
        for name, provider in found.providers.items():
            if self._providers.add(name, provider):
                self._versions.setdefault(name, plugins.UNKNOWN)
        for failure in found.failures:
            _logger.warning("%s", failure)
        self._providers.count(found.failures)

    def _announced(self) -> tuple[dict[str, str], dict[str, str]]:
        return dict(self._versions), dict(self._agents)

    def _changed(self) -> None:
        if (run := self._run) is not None:
            run.changed()

    def _provider_done(self) -> None:
        self._changed()

    # -- state

    def stats(self) -> AgentStats:
        """Returns the counters of the present run, otherwise of the last one; those of providers are never reset."""
        with self._lock:
            run = self._run or self._last_run
            failures, last_failure, hanging = self._providers.counts()
            return with_line(
                self._run.line_stats() if self._run is not None else self._last,
                life=self._life,
                instance_id=self._instance_id,
                refreshes=run.refreshes if run else 0,
                heads=run.heads if run else 0,
                provider_failures=failures,
                last_provider_failure=last_failure,
                providers_hanging=hanging,
                lag_ms=self._run.lag_s() * 1000 if self._run is not None else 0.0,
                max_lag_ms=run.max_lag_s * 1000 if run else 0.0,
                failures_of_refresh=refresh.the_refresher.errors,
            )

    def __repr__(self) -> str:
        config = self._config
        return (
            f"<HeartbeatService {config.service}, {self._life}: {config.transport} to {config.host} port {config.port}>"
        )

    def __reduce__(self) -> str:
        raise TypeError(
            "a HeartbeatService cannot be pickled: pickle its config, and make a new one in the other process"
        )

    # -- after a fork

    def _in_child(self) -> None:
        """Called in a forked child, in its only thread: replaces everything that another thread may have held."""
        run, self._run = self._run, None
        stopping, self._stopping = self._stopping, []
        self._lock = threading.RLock()
        self._providers.in_child()
        for one in stopping if run is None else [*stopping, run]:
            one.abandon()
        if run is None and self._life != "restarting":
            return
        self._last_run, self._last, self._instance_id = None, NO_LINE, None
        self._life = "silent"
        if self._config.fork == "restart":
            self._life = "restarting"
            fork.start_later(self)

    def _start_in_child(self) -> None:
        with self._lock:
            if self._life == "restarting":  # neither started nor stopped in the meantime
                self._start(in_child=True)

    def _stop_at_exit(self, wait_s: float) -> None:
        self.stop(max(wait_s, 0) if math.isfinite(wait_s) else STOP_WAIT_S)
