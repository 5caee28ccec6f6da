# SPDX-License-Identifier: MIT
"""ServiceManager: one service for the whole process, started by the framework and found by plugins."""

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
    """There is no such service: it was not started, or was stopped."""

    def __str__(self) -> str:  # KeyError would show the repr of the text
        return str(self.args[0]) if self.args else ""


class ServiceManager:
    """The service of the process. Used as a class, without instances; any thread may call its methods."""

    _lock = threading.RLock()
    _service: HeartbeatService | None = None

    def __init__(self) -> None:
        raise TypeError("ServiceManager has no instances: call its methods on the class")

    @classmethod
    def start(cls, config: AgentConfig | None = None, **keywords: Any) -> HeartbeatService:
        """Makes the process's service as HeartbeatService(config, **keywords), starts it and returns it.

        If there is one already, that is returned, and started if it is not running. Raises ConfigError if it has a
        different configuration: stop it first.
        """
        with cls._lock:
            if cls._service is None:
                cls._service = HeartbeatService(config, **keywords)
            elif (config is not None or keywords) and configured(config, keywords) != cls._service.config:
                raise ConfigError(
                    "the service is running with a different configuration: call ServiceManager.stop() first"
                )
            cls._service.start()
            return cls._service

    @classmethod
    def get_service(cls, kind: type[T]) -> T:
        """Returns the service, if it is of this class: get_service(HeartbeatService).

        Raises ServiceNotStarted (a KeyError) if there is none, TypeError for another kind of argument.
        """
        if not isinstance(kind, type) or not issubclass(kind, HeartbeatService):
            raise TypeError(f"get_service takes HeartbeatService or a subclass, not {shown(kind)}")
        service = cls._service
        if not isinstance(service, kind):
            raise ServiceNotStarted(
                f"there is no running {kind.__name__}: ServiceManager.start(config) must be called first"
            )
        return service

    @classmethod
    def stop(cls, wait: float | timedelta = STOP_WAIT_S) -> bool:
        """Stops and forgets the service. Returns whether a goodbye was sent; blocks for at most `wait`."""
        with cls._lock:
            service, cls._service = cls._service, None
            return service is not None and service.stop(wait)


def _in_child() -> None:
    ServiceManager._lock = threading.RLock()  # another thread may have held it


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_child)
