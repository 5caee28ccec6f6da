# SPDX-License-Identifier: MIT
"""Settings of monitors that share a Redis."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from heartfelt import ConfigError
from heartfelt.monitor.cluster.channel.addresses import split_address
from heartfelt.monitor.config import MonitorConfig
from heartfelt.monitor.config.build import make_redis
from heartfelt.monitor.config.channel_tls import read_secret
from heartfelt.monitor.config.shared import advertised

URL = "redis://me:hidden@127.0.0.1:1/2"


def load(**flags):
    return MonitorConfig.load(environ={}, flags={name.replace("_", ".", 1): value for name, value in flags.items()})


def test_without_a_url_the_store_is_sqlite():
    config = MonitorConfig()
    assert config.store is None and make_redis(config) is None
    assert (config.redis_prefix, config.redis_shards, config.cluster_lease, config.cluster_settle) == ("hf", 16, 5, 0.2)
    assert (config.cluster_comeback, config.cluster_host, config.cluster_port) == (5, "127.0.0.1", 0)
    assert MonitorConfig.load(environ={"HEARTFELT_STORE": ""}).store is None


@pytest.mark.parametrize("secret", [b"", b"short\n"])
def test_a_secret_that_is_too_short_is_refused_with_its_file(tmp_path, secret):
    pytest.importorskip("redis")
    from heartfelt.monitor.cluster.member import ClusterMember

    path = tmp_path / "secret"
    path.write_bytes(secret)
    for use in (read_secret, lambda config: ClusterMember(config, lambda: 0)):
        with pytest.raises(ConfigError, match=rf"cluster.secret_file {path} .*at least 16 bytes"):
            use(MonitorConfig(store=URL, cluster_secret_file=str(path)))


def test_a_url_is_used_and_its_password_is_never_shown():
    config = MonitorConfig.load(environ={"HEARTFELT_STORE": URL, "HEARTFELT_REDIS_TIMEOUT": "1500 ms"})
    address, options = make_redis(config)
    assert (address.hosts, address.db, address.user, address.password) == ((("127.0.0.1", 1),), 2, "me", "hidden")
    assert options.timeout_s == 1.5
    rows = {row["name"]: row["value"] for row in config.sources()}
    assert rows["store"] == "redis://***@127.0.0.1:1/2"
    assert "hidden" not in repr(config) + repr(options) + repr(address) + json.dumps(config.sources())
    other = MonitorConfig.load(environ={"HEARTFELT_STORE": "redis://127.0.0.1", "HEARTFELT_REDIS_PASSWORD": "hidden"})
    assert make_redis(other)[1].password == "hidden"
    assert "hidden" not in repr(other) + json.dumps(other.sources())
    assert {row["name"]: row["value"] for row in other.sources()}["redis.password"] == "***"


@pytest.mark.parametrize(
    ("flags", "text"),
    [
        ({"store": "mysql://u:hidden@a"}, "flag store: store must be a URL such as redis://"),
        ({"store": "redis+cluster://u:hidden@a/1"}, "only database 0"),
        ({"store": "redis://u:hidden@a:hidden"}, "must name each host"),
        ({"store": URL, "redis_password": "hidden"}, "flag redis.password: redis.password is set, but the URL"),
        ({"store": URL, "redis_password_file": "x"}, "redis.password_file is set, but the URL"),
        ({"redis_password": "hidden", "redis_password_file": "x"}, "are both set; leave out one"),
        ({"redis_sentinel_password": "hidden", "redis_sentinel_password_file": "x"}, "are both set; leave out one"),
        ({"redis_key": "x"}, "redis.cert is not; set the certificate's file"),
        ({"store": "redis://127.0.0.1", "redis_timeout": "5 s"}, "not shorter than cluster.lease, 5 s"),
        ({"redis_prefix": "a{b}"}, "must have letters, digits"),
        ({"redis_prefix": ":"}, "must have letters, digits"),
        ({"redis_prefix": "a b"}, "must have letters, digits"),
        ({"redis_shards": "0"}, "must be from 1 to 64"),
        ({"redis_shards": "65"}, "must be from 1 to 64"),
        ({"cluster_advertise": "http://a"}, "without a scheme"),
        ({"cluster_advertise": "0.0.0.0:1"}, "under which other machines reach this one"),
        ({"cluster_advertise": "[::]"}, "under which other machines reach this one"),
        ({"cluster_advertise": "a:99999"}, "must be a host or HOST:PORT"),
        ({"store": "redis://127.0.0.1", "cluster_host": "0.0.0.0"}, "set cluster.advertise to the address under which"),
        ({"store": "redis://127.0.0.1", "cluster_host": "::"}, "set cluster.advertise to the address under which"),
    ],
)
def test_what_cannot_be_used_is_refused(flags, text):
    with pytest.raises(ConfigError) as found:
        load(**flags)
    assert text in str(found.value)
    assert "hidden" not in str(found.value)


@pytest.mark.parametrize(
    ("host", "advertise", "told"),
    [
        ("10.0.0.1", None, "10.0.0.1:7"),
        ("fd00::1", None, "[fd00::1]:7"),
        ("0.0.0.0", "m-1.example", "m-1.example:7"),
        ("0.0.0.0", "m-1.example:9", "m-1.example:9"),
        ("::", "[fd00::1]", "[fd00::1]:7"),
        ("::", "[fd00::1]:9", "[fd00::1]:9"),
    ],
)
def test_the_others_are_told_an_address_with_a_port(host, advertise, told):
    """split_address: how they read it."""
    config = MonitorConfig(store="redis://127.0.0.1", cluster_host=host, cluster_advertise=advertise)
    assert advertised(config.cluster_host, config.cluster_advertise, 7) == told
    found, port = split_address(told)
    assert f"[{found}]:{port}" == told if ":" in found else f"{found}:{port}" == told


def test_an_address_that_no_other_machine_reaches_is_warned_of():
    text = "cluster.host is 127.0.0.1, so monitors on other machines cannot reach this one"
    assert any(text in one for one in load(store="rediss://redis.example").warnings)
    for flags in (
        {"store": "redis://127.0.0.1"}, {"store": "unix:///run/redis.sock"}, {},
        {"store": "rediss://redis.example", "cluster_host": "10.0.0.1"},
        {"store": "rediss://redis.example", "cluster_advertise": "m-1.example"},
    ):  # fmt: skip
        assert not any(text in one for one in load(**flags).warnings)


def test_what_can_be_used():
    assert load(redis_prefix="shop:hf-1").redis_prefix == "shop:hf-1"
    for value in ("m-1.example", "m:8902", "[fd00::1]:8902", "10.0.0.1"):
        assert load(cluster_advertise=value).cluster_advertise == value
    assert load(cluster_advertise=" ").cluster_advertise is None
    assert load(redis_timeout="9 s").redis_timeout == 9  # of no use, but of no harm: there is no Redis


def test_what_is_probably_not_intended_is_a_warning():
    assert MonitorConfig(store=URL).warnings == ()
    assert "--store can be seen by every user" in load(store=URL).warnings[0]
    (warning,) = MonitorConfig(store="redis://a.example", cluster_host="10.0.0.1").warnings
    assert "use rediss://" in warning
    (warning,) = MonitorConfig(store="redis://localhost", redis_ca="x").warnings
    assert "redis.ca is set, but store has no TLS" in warning
    assert MonitorConfig(store="rediss://a.example", redis_ca="x", cluster_host="10.0.0.1").warnings == ()


def test_files_are_checked(tmp_path):
    file = tmp_path / "x"
    for name in ("redis_ca", "redis_cert", "redis_password_file", "redis_sentinel_password_file"):
        config = MonitorConfig(store="rediss://a.example", **{name: str(file)})
        with pytest.raises(ConfigError, match=rf"{name.replace('_', '[.]', 1)} .*No such file"):
            make_redis(config)
    file.write_text("none of these", "utf-8")
    for name in ("redis_ca", "redis_cert"):
        with pytest.raises(ConfigError, match="cannot be used"):
            make_redis(MonitorConfig(store="rediss://a.example", **{name: str(file)}))


def test_certificates_are_checked(certificates):
    config = MonitorConfig(
        store="rediss://a.example", redis_ca=str(certificates.ca), redis_cert=str(certificates.certificate),
        redis_key=str(certificates.key), redis_password_file=str(certificates.ca),
    )  # fmt: skip
    assert make_redis(config)[1].cert == str(certificates.certificate)
    other = MonitorConfig(
        store="rediss://a.example", redis_cert=str(certificates.other_ca), redis_key=str(certificates.key)
    )
    with pytest.raises(ConfigError, match="the key must belong to the certificate"):
        make_redis(other)


def test_an_encrypted_key_is_refused_and_not_asked_about(certificates, tmp_path):
    from cryptography.hazmat.primitives import serialization

    key = serialization.load_pem_private_key(certificates.key.read_bytes(), None)
    encryption = serialization.BestAvailableEncryption(b"a password")
    file = tmp_path / "key"
    file.write_bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption))
    config = MonitorConfig(store="rediss://a", redis_cert=str(certificates.certificate), redis_key=str(file))
    with pytest.raises(ConfigError, match="must not be encrypted"):
        make_redis(config)


def heartfelt(*arguments):
    command = [sys.executable, "-m", "heartfelt", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=50, check=False)


def test_the_command_names_a_server_that_cannot_be_reached_and_checks_the_rest(tmp_path):
    done = heartfelt("serve", "--store", URL, "--data", str(tmp_path / "data"), "--http-port", "0", "--tcp-port", "0")
    assert done.returncode != 0
    assert done.stderr.splitlines()[-1].startswith("heartfelt serve: Redis at 127.0.0.1:1 cannot be reached")
    assert "hidden" not in done.stdout + done.stderr
    done = heartfelt("serve", "--check", "--store", URL)
    assert done.returncode == 0 and 'store = "redis://***@127.0.0.1:1/2"' in done.stdout
    assert "hidden" not in done.stdout + done.stderr
    assert "--store URL" in heartfelt("serve", "--help").stdout


def test_nothing_imports_redis_without_a_url(run_python):
    run_python(
        """
        import sys
        import heartfelt.monitor.server, heartfelt.monitor.config.build
        from heartfelt.monitor.config import MonitorConfig
        config = MonitorConfig(store="redis://a")
        heartfelt.monitor.config.build.make_redis(config)
        import heartfelt.monitor.store.redis.opening, heartfelt.monitor.store.redis.link
        assert not {one.partition(".")[0] for one in sys.modules} & {"redis", "hiredis"}
        """
    )


@pytest.mark.parametrize("version", [None, "5.2.1"])
def test_a_client_that_is_missing_or_too_old_is_named(run_python, version):
    text = "pip install" if version is None else "redis-py 5.2.1 is too old"
    run_python(
        f"""
        import sys, types
        from heartfelt.errors import ConfigError
        from heartfelt.monitor.store.redis.address import parse_address
        from heartfelt.monitor.store.redis.opening import make_link
        if {version!r}:
            sys.modules["redis"] = types.SimpleNamespace(__version__={version!r})
        else:
            class Absent:
                def find_spec(self, name, path=None, target=None):
                    if name == "redis":
                        raise ModuleNotFoundError("no redis", name="redis")
            sys.meta_path.insert(0, Absent())
        try:
            make_link(parse_address("redis://u:hidden@a"))
        except ConfigError as error:
            assert {text!r} in str(error) and "'heartfelt[redis]'" in str(error), error
            assert "hidden" not in str(error)
        else:
            raise AssertionError
        """
    )
