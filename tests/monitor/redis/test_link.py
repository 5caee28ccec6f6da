# SPDX-License-Identifier: MIT
"""The link to one server."""

from __future__ import annotations

import socket
import threading
import time

import pytest

from heartfelt.monitor.store.redis.link import FLEET, Command, Script, Unreachable

redis = pytest.importorskip("redis")
ECHO = Script("ECHO", "return {KEYS[1], ARGV[1]}")
PUT = Script("PUT", "redis.call('SET', KEYS[1], ARGV[1]) return redis.call('INCR', KEYS[2])")
ODD = ["{", "}", "{a}{b}", "a\nb\r\n", "*?[a-z]", "$6\r\n", "", "\x00\xff", "ä\ud800"]


def test_replies_come_in_the_order_of_the_commands(redis_server, link_to):
    link = link_to(redis_server.url)
    commands = [Command(n % 3, ("ECHO", f"{n}")) for n in range(500)]
    assert link.execute(commands) == [b"%d" % n for n in range(500)]
    assert link.execute([]) == []
    assert link.stats()["pipelines"] == 1


@pytest.mark.parametrize("odd", ODD, ids=repr)
def test_arguments_may_contain_anything(redis_server, link_to, odd):
    link = link_to(redis_server.url)
    data = odd.encode("utf-8", "surrogatepass")
    assert link.call(0, ECHO, odd, keys=[f"odd:{{0}}:{odd}"]) == [
        f"odd:{{0}}:{odd}".encode("utf-8", "surrogatepass"),
        data,
    ]
    assert link.call(0, "HSET", "odd:{0}:hash", odd, data) in (0, 1)
    assert link.call(0, "HGET", "odd:{0}:hash", data) == data
    assert link.call(0, "HDEL", "odd:{0}:hash", odd) == 1
    assert link.call(0, "EVAL", "return #ARGV[1]", 0, odd) == len(data)


def test_what_cannot_be_sent_is_refused_before_anything_is_sent(redis_server, link_to):
    link = link_to(redis_server.url)
    for word in (None, True, [1], {}):
        with pytest.raises(TypeError, match=type(word).__name__):
            link.execute([Command(0, ("SET", "unsent", "1")), Command(0, ("SET", "unsent", word))])
    with pytest.raises(ValueError, match="without words"):
        link.execute([Command(0, ())])
    assert link.call(0, "EXISTS", "unsent") == 0


def test_an_error_is_the_reply_of_its_command_only(redis_server, link_to):
    link = link_to(redis_server.url)
    replies = link.execute(
        [Command(0, ("ECHO", "a")), Command(0, ("NO-SUCH",)), Command(0, (Script("BAD", "return x y"),)),
         Command(0, (Script("FAILS", "return redis.error_reply('ERR planted')"),)), Command(0, ("ECHO", "b"))]
    )  # fmt: skip
    assert (replies[0], replies[4]) == (b"a", b"b")
    for reply, text in zip(replies[1:4], ("unknown command", "compiling script", "planted"), strict=True):
        assert isinstance(reply, redis.ResponseError)
        assert text in str(reply)
    with pytest.raises(redis.ResponseError):
        link.call(FLEET, "NO-SUCH")
    for reply in link.execute([Command(0, (Script("BAD", "return x y"),))] * 3):
        assert isinstance(reply, redis.ResponseError) and "compiling script" in str(reply)
    assert link.stats()["repeated"] == 0
    assert link.call(0, "ECHO", "c") == b"c"


def test_scripts_are_loaded_again_after_a_flush_and_a_restart(make_redis, link_to):
    server = make_redis()
    link = link_to(server.url)
    for n in range(2):
        assert link.call(0, PUT, "x", keys=["{0}:a", "{0}:n"]) == n + 1
    server.ask("SCRIPT", "FLUSH")
    batch = [Command(0, (PUT, "x"), ["{0}:a", "{0}:n"])] * 3
    assert link.execute(batch) == [3, 4, 5]
    assert link.stats()["repeated"] == 3
    server.restart()
    assert link.execute(batch) == [1, 2, 3]
    assert link.stats()["repeated"] == 3
    # In one pipeline, a command after the script was executed before the script could be loaded.
    server.ask("SCRIPT", "FLUSH")
    first, second = link.execute([batch[0], Command(0, ("INCR", "{0}:n"))])
    assert isinstance(first, Unreachable) and first.refused
    assert isinstance(second, Unreachable) and not second.refused
    assert link.execute(batch[:1]) == [5]


def test_many_threads_use_it_at_once(redis_server, link_to):
    link = link_to(redis_server.url)
    found = []

    def work(name):
        found.append([link.call(0, ECHO, f"{name}{n}", keys=["k"])[1] for n in range(50)])

    threads = [threading.Thread(target=work, args=(f"{n}-",)) for n in range(12)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert sorted(map(tuple, found)) == sorted(tuple(f"{n}-{k}".encode() for k in range(50)) for n in range(12))
    (state,) = link.servers()
    assert state.up and 1 <= state.connections <= 12


def test_it_can_be_closed_at_any_time(make_redis, link_to):
    server = make_redis()
    link = link_to(server.url, timeout_s=0.2)
    link.call(0, "PING")
    server.stop()
    link.close()
    link.close()
    with pytest.raises(Unreachable):
        link.call(0, "PING")
    assert not [one for one in threading.enumerate() if one.name == "heartfelt-redis"]
    server.cont()


def test_the_time_is_the_servers_and_never_falls(make_redis, link_to, eventually):
    server = make_redis()
    link = link_to(server.url)
    before = time.time() * 1000
    found = [link.now_ms(0) for _ in range(1000)]
    assert found == sorted(found)
    assert before - 100 <= found[0] and found[-1] <= time.time() * 1000 + 100
    server.end()
    eventually(lambda: not link.servers()[0].up)
    assert link.now_ms(0) >= found[-1]
    with pytest.raises(Unreachable):
        link.now_ms(1)


class OtherClock:
    """Has the clock of a link's only server run ahead by `ms`: redis-server does not run with libfaketime."""

    def __init__(self, link):
        self.ms = 0.0
        (node,) = link._topology.nodes()
        self._check, node.check = node.check, self.check

    def check(self):
        reading = self._check()
        return reading._replace(time_ms=reading.time_ms + self.ms)


def test_a_clock_that_jumps_ahead_is_told_and_one_that_jumps_back_stands_still(redis_server, link_to, eventually):
    jumps = []
    link = link_to(redis_server.url, on_jump=jumps.append)
    before = [link.now_ms(0), link.now_ms(1)]
    clock = OtherClock(link)
    clock.ms = 1000.0
    eventually(lambda: link.now_ms(0) - before[0] > 1000)
    assert not jumps
    clock.ms = 11_000.0
    eventually(lambda: jumps)
    assert link.stats()["jumps_ahead"] == len(jumps) == 1  # one clock, though two shards have it
    assert 9_500 < jumps[0] < 11_500  # with the first second, if the link had not seen that yet
    last = link.now_ms(1)
    assert last - before[1] > 10_000
    clock.ms = 0.0
    eventually(lambda: link.stats()["jumps_back"])
    stands = link.now_ms(1)
    assert link.now_ms(1) == stands >= last
    assert len(jumps) == 1


def test_an_error_in_the_callback_does_not_end_the_checks(redis_server, link_to, eventually, caplog):
    told = []

    def fail(milliseconds):
        told.append(milliseconds)
        raise ValueError("planted")

    link = link_to(redis_server.url, on_jump=fail)
    link.now_ms(0)
    clock = OtherClock(link)
    clock.ms = 5000.0
    eventually(lambda: told)
    clock.ms = 15_000.0
    eventually(lambda: len(told) == 2)
    assert "the check of the Redis servers has failed" in caplog.text
    assert link.call(0, "PING") == b"PONG"


@pytest.mark.parametrize(
    "answer", [b"", b"nonsense\r\n", b"$5\r\nab", b"*99999999999999999999\r\n", b"+OK\r\n+OK\r\n" * 40]
)
def test_a_server_that_is_no_redis(link_to, answer):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        taken = []

        def serve():
            while True:
                try:
                    one, _ = listener.accept()
                except OSError:
                    return
                taken.append(one)
                one.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        link = link_to(f"redis://127.0.0.1:{listener.getsockname()[1]}", timeout_s=0.1)
        for _ in range(3):
            replies = link.execute([Command(0, ("PING",)), Command(1, (ECHO, "x"), ["y"])])
            assert not answer.startswith(b"+") or len(replies) == 2
            assert all(isinstance(one, (Exception, bytes)) for one in replies)
        link.close()
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()
        for one in taken:
            one.close()


def test_a_database_that_does_not_exist(make_redis, link_to):
    server = make_redis(databases="2")
    assert link_to(f"{server.url}/1").call(0, "PING") == b"PONG"
    with pytest.raises(Unreachable, match="out of range"):
        link_to(f"{server.url}/2").call(0, "PING")
