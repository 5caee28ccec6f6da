# SPDX-License-Identifier: MIT
"""Sermant's own files: each key of its agent is used, or known to mean nothing to this one."""

from __future__ import annotations

import pytest

from heartfelt import ConfigError
from heartfelt.agent import AgentConfig

USED = {
    "agent.service.heartbeat.enable": "true", "heartbeat.interval": "10000", "gateway.nettyIp": "127.0.0.1",
    "gateway.nettyPort": "6888", "gateway.nettyConnectTimeout": "5000", "gateway.initReconnectInternalTime": "5",
    "gateway.maxReconnectInternalTime": "180", "artifact": "default", "appName": "default", "appType": "default",
    "serviceName": "default",
}  # fmt: skip
OTHERS = """
    agent.config.isReTransformEnable agent.config.isShowEnhanceLog agent.config.isShowEnhanceLogEnable
    agent.config.isOutputEnhancedClasses agent.config.enhancedClassesOutputPath agent.config.enhancedClassOutputPath
    agent.config.useContextLoader agent.config.ignoredPrefixes agent.config.ignoredInterfaces
    agent.config.serviceInjectList agent.config.serviceBlackList agent.config.combineStrategy
    agent.config.isEnhanceBootStrapEnable agent.config.preFilter.enable agent.config.preFilter.path
    agent.config.preFilter.file agent.config.externalAgent.injection agent.config.externalAgent.name
    agent.config.externalAgent.file agent.service.gateway.enable agent.service.tracing.enable
    agent.service.inject.enable agent.service.dynamic.config.enable agent.service.httpserver.enable
    agent.service.xds.service.enable agent.service.visibility.enable agent.service.hot.plugging.service.enable
    adaptor.config.isLoadExtAgentEnable event.enable event.offerWarnLog event.offerErrorLog event.sendInterval
    event.offerInterval notification.enable inject.essentialPackage dynamic.config.timeoutValue
    dynamic.config.defaultGroup dynamic.config.serverAddress dynamic.config.dynamicConfigType
    dynamic.config.connectRetryTimes dynamic.config.connectTimeout dynamic.config.enableAuth dynamic.config.userName
    dynamic.config.password dynamic.config.privateKey dynamic.config.requestTimeout gateway.nettyWriteAndReadWaitTime
    gateway.sendInternalTime backend.httpIp backend.httpPort xds.config.control.plane.address
    xds.config.security.enable xds.config.service.account.token.path service.meta.service service.meta.application
    service.meta.version service.meta.project service.meta.environment service.meta.zone service.meta.parameters
    service.meta.customLabel service.meta.customLabelValue monitor.service.address monitor.service.port
    monitor.service.isStartMonitor visibility.service.enableStart instanceName
"""


@pytest.fixture
def load(tmp_path):
    def load(text, **environ):
        path = tmp_path / "config.properties"
        path.write_text(text, encoding="utf-8")
        return AgentConfig.load(path, environ=environ, strict=True)  # strict: a warning is an error

    return load


def test_each_key_of_sermants_agent_is_known(load):
    lines = [f"{name}={value}" for name, value in USED.items()] + [f"{name}=${{NOWHERE}}" for name in OTHERS.split()]
    assert load("\n".join(lines)).interval == 10


def test_the_older_names_of_the_backends_address(load):
    config = load("backend.nettyIp=10.0.0.1\nbackend.nettyPort=7000\n")
    assert (config.host, config.port) == ("10.0.0.1", 7000)


def test_placeholders(load):
    text = "gateway.nettyIp=${BACKEND:10.0.0.1}\ngateway.nettyPort=${backend.port}\nheartfelt.token=${TOKEN:t}\n"
    config = load(text, BACKEND_PORT="7000")
    assert (config.host, config.port, config.token) == ("10.0.0.1", 7000, "t")
    with pytest.raises(ConfigError, match=r"config.properties:2: gateway.nettyPort: .*backend.port.*BACKEND_PORT"):
        load(text)
