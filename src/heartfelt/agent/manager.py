# SPDX-License-Identifier: MIT
"""ServiceManager: one service of a kind for the whole process, started by its framework and found by its plugins."""

from __future__ import annotations

import os
import threading
from datetime import timedelta
from typing import Any, TypeVar

from heartfelt._checks import shown
from heartfelt.agent.config import AgentConfig
from heartfelt.agent.service import STOP_WAIT_S, HeartbeatService, configured
from heartfelt.errors import ConfigError, HeartfeltError

T = TypeVar("T", bound=HeartbeatService)


class ServiceNotStarted(HeartfeltError, KeyError):
    """The framework has started no such service, or has stopped it."""

    def __str__(self) -> str:  # KeyError would show the text's repr
        return str(self.args[0]) if self.args else ""


class ServiceManager:
    """Has no instances. Any thread may call its methods."""

    _lock = threading.RLock()
    _service: HeartbeatService | None = None

    def __init__(self) -> None:
        raise TypeError("ServiceManager has no instances: call its methods on the class")

    @classmethod
    def start(cls, config: AgentConfig | None = None, **keywords: Any) -> HeartbeatService:
        """Starts the process's service, and gives it; as HeartbeatService(config, **keywords) makes it.

        If there is one it is given, and started if it does not run. Raises ConfigError if another configuration is
        asked for than it has: stop it first.
        """
        with cls._lock:
            if cls._service is None:
                cls._service = HeartbeatService(config, **keywords)
            elif (config is not None or keywords) and configured(config, keywords) != cls._service.config:
                raise ConfigError("the service was started with another configuration: ServiceManager.stop() first")
            cls._service.start()
            return cls._service

    @classmethod
    def get_service(cls, kind: type[T]) -> T:
        """The service of a kind that was started: get_service(HeartbeatService).

        Raises ServiceNotStarted (a KeyError) if none was, TypeError for what is no kind of service.
        """
        if not isinstance(kind, type) or not issubclass(kind, HeartbeatService):
            raise TypeError(f"there are services of the kind HeartbeatService, not {shown(kind)}")
        service = cls._service
        if not isinstance(service, kind):
            raise ServiceNotStarted(
                f"no {kind.__name__} was started, or it was stopped: the framework calls ServiceManager.start(config)"
            )
        return service

    @classmethod
    def stop(cls, wait: float | timedelta = STOP_WAIT_S) -> bool:
        """Stops the service, if there is one, and forgets it. Whether a goodbye went out; blocks for `wait` at most."""
        with cls._lock:
            service, cls._service = cls._service, None
            return service is not None and service.stop(wait)


def _in_child() -> None:
    ServiceManager._lock = threading.RLock()  # another thread may have held it


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_child)
