# SPDX-License-Identifier: MIT
"""The file of a snapshot: what is refused, in which words, and that the old one stays until the new one is whole."""

import errno
import hashlib
import os
import pickle
import signal
import stat
import subprocess
import sys
import textwrap

import pytest

from heartfelt import HeartfeltError, HeartHub, SnapshotError, _snapshot
from heartfelt._snapshot import FIELDS, HEADER_BYTES, MAGIC
from heartfelt.testing import ManualClock

ROW_HEAD = 41
posix = pytest.mark.skipif(os.name != "posix", reason="of POSIX only")


@pytest.fixture
def path(tmp_path):
    return tmp_path / "hub.snapshot"


@pytest.fixture
def saved(hub, path):
    """The bytes of a small file with a key of each kind."""
    hub.heartbeat("é", extra=[1])
    hub.heartbeat(b"bytes", disposable=False)
    hub.heartbeat(-7)
    hub.save(path, extras=True)
    return path.read_bytes()


@pytest.fixture
def refused(path, monkeypatch):
    """refused(data): the text that refuses it. No hub is made, not even one that is closed again."""

    def make(data, **options):
        path.write_bytes(data)
        with monkeypatch.context() as patch:
            patch.setattr(HeartHub, "__init__", lambda *a, **o: pytest.fail("a hub was made"))
            with pytest.raises(SnapshotError) as caught:
                HeartHub.restore(path, **{"extras": True, **options})
        assert isinstance(caught.value, HeartfeltError)
        assert isinstance(caught.value, ValueError)
        assert str(caught.value).startswith(str(path))
        return str(caught.value)

    return make


def forged(data, rows=None, extras=None, **fields):
    """The same file with other contents, and a digest that fits them."""
    names = ("magic", "version", "flags", "reserved", "n_keys", "n_rows_bytes", "n_extras_bytes", "saved_ns")
    header = dict(zip(names, FIELDS.unpack_from(data), strict=True))
    end = HEADER_BYTES + header["n_rows_bytes"]
    rows = data[HEADER_BYTES:end] if rows is None else rows
    extras = data[end:] if extras is None else extras
    header.update(n_rows_bytes=len(rows), n_extras_bytes=len(extras))
    header.update(fields)
    head = FIELDS.pack(*header.values())
    return head + hashlib.blake2b(rows + extras + head, digest_size=16).digest() + rows + extras


def test_the_forger_changes_nothing_by_itself(saved):
    assert forged(saved) == saved


def test_every_truncation_is_refused(saved, refused):
    for length in range(len(saved)):
        assert "truncated" in refused(saved[:length])


def test_every_flipped_bit_is_refused(saved, refused):
    for at in range(len(saved)):
        for bit in range(8) if at < HEADER_BYTES else (0, 7):
            damaged = bytearray(saved)
            damaged[at] ^= 1 << bit
            refused(bytes(damaged))


def test_what_follows_is_refused(saved, refused):
    assert "longer than it says" in refused(saved + b"\0")


@pytest.mark.parametrize("data", [b"\x80\x05}.", b"{}", b"heart\n" * 99, pickle.dumps({}), MAGIC[:4] + b"X" * 99])
def test_a_foreign_file_is_refused(data, refused):
    assert "is not a snapshot of a HeartHub" in refused(data)


def test_a_newer_format_is_refused(saved, refused):
    text = refused(forged(saved, version=2) + b"whatever it has more")
    assert "format 2" in text
    assert "newer" in text


@pytest.mark.parametrize("fields", [{"version": 0}, {"flags": 3}, {"flags": 0}, {"reserved": 1}])
def test_a_header_that_cannot_be_is_refused(saved, refused, fields):
    assert "header" in refused(forged(saved, **fields))


@pytest.mark.parametrize("n_keys", [0, 2, 4, 2**32, 2**63, 2**64 - 1])
def test_a_wrong_number_of_keys_is_refused(saved, refused, n_keys):
    refused(forged(saved, n_keys=n_keys))


def test_sizes_that_do_not_fit_are_refused(saved, refused):
    for size in 1, 2**63, 2**64 - 1:
        refused(forged(saved, n_rows_bytes=size))
        refused(forged(saved, n_extras_bytes=size))


ROW_FIELDS = {
    "flags": (0, 1, [0x20, 0x80, 3, 12]),
    "timeout": (5, 8, [0, 2**63, 2**64 - 1, 101 * 366 * 86400 * 10**9]),
    "remaining": (13, 8, [101 * 366 * 86400 * 10**9, 2**63]),
    "silent": (21, 8, [2**64 - 1, 2**63 - 1]),
    "watched": (29, 8, [2**64 - 1, 2**63 - 1]),
    "length": (37, 4, [1, 3, 2**31, 2**32 - 1]),
}


@pytest.mark.parametrize(
    ("field", "value"), [(name, value) for name, (*_, all_) in ROW_FIELDS.items() for value in all_]
)
def test_a_row_that_cannot_be_is_refused(saved, refused, field, value):
    start, size, _ = ROW_FIELDS[field]
    rows = bytearray(saved[HEADER_BYTES : HEADER_BYTES + FIELDS.unpack_from(saved)[5]])
    rows[start : start + size] = value.to_bytes(size, "little")
    assert "damaged" in refused(forged(saved, rows=bytes(rows)))


def test_a_key_that_is_no_utf8_is_refused(saved, refused):
    rows = bytearray(saved[HEADER_BYTES : HEADER_BYTES + FIELDS.unpack_from(saved)[5]])
    rows[ROW_HEAD] = 0xFF
    assert "utf-8" in refused(forged(saved, rows=bytes(rows)))


@pytest.mark.parametrize("extras", [b"?", pickle.dumps(1), pickle.dumps([]), pickle.dumps([1, 2]), b"\x80\x05"])
def test_extras_that_cannot_be_are_refused(saved, refused, extras):
    assert "extras" in refused(forged(saved, extras=extras))


def test_a_key_that_is_there_twice_is_restored_as_the_second(hub, path, saved, make_hub, clock):
    rows = saved[HEADER_BYTES : HEADER_BYTES + FIELDS.unpack_from(saved)[5]]
    first = bytearray(rows[: ROW_HEAD + 2])
    later = bytearray(first)
    later[5:13] = (20 * 10**9).to_bytes(8, "little")
    lost = bytearray(first)
    lost[0] = 8 | 16  # LOST, with an extra
    for several in [first, later], [lost, later], [first, lost, later], [later, lost, first, later]:
        data = forged(saved, rows=b"".join(several), extras=pickle.dumps([1] * len(several)), n_keys=len(several))
        path.write_bytes(data)
        clock = ManualClock()
        with HeartHub.restore(path, extras=True, clock=clock, subscribe=["JOIN", "TIME_OUT"]) as restored:
            assert (list(restored), restored["é"].timeout, restored.stats().lost) == (["é"], 20, 0)
            assert restored._check() is None
            clock.advance(20)
            assert [event.type for event in restored.events.get_many(9, timeout=0)] == ["JOIN", "TIME_OUT"]


def test_a_hub_that_fails_half_way_is_closed(saved, path, monkeypatch):
    made = []

    class Mine(HeartHub):
        def __init__(self, *args, **options):
            super().__init__(*args, **options)
            made.append(self)
            monkeypatch.setattr(_snapshot, "KEYS_AT_ONCE", None)  # an error in the middle of the restore

    with pytest.raises(TypeError):
        Mine.restore(path, extras=True)
    assert [hub.closed for hub in made] == [True]


def test_there_is_no_such_file(path):
    with pytest.raises(FileNotFoundError):
        HeartHub.restore(path)
    with pytest.raises(OSError):
        HeartHub.restore(path.parent)


def test_a_failed_write_leaves_the_old_file_and_nothing_else(hub, path, saved, monkeypatch):
    def full(descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match=os.strerror(errno.ENOSPC)):
        hub.save(path)
    assert path.read_bytes() == saved
    assert list(path.parent.iterdir()) == [path]


def test_where_nothing_can_be_written(hub, path, saved):
    with pytest.raises(FileNotFoundError):
        hub.save(path.parent / "none" / "file")
    with pytest.raises(NotADirectoryError if os.name == "posix" else OSError):
        hub.save(path / "file")
    with pytest.raises(OSError):
        hub.save(path.parent)
    assert list(path.parent.iterdir()) == [path]


@posix
@pytest.mark.skipif(hasattr(os, "geteuid") and os.geteuid() == 0, reason="root may do anything")
def test_a_folder_that_may_not_be_written(hub, path, saved):
    path.parent.chmod(0o500)
    try:
        with pytest.raises(PermissionError):
            hub.save(path)
    finally:
        path.parent.chmod(0o700)
    assert path.read_bytes() == saved


@posix
def test_who_may_read_it(hub, path):
    before = os.umask(0o027)
    try:
        hub.save(path)
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    for mode in 0o600, 0o644:  # that of the old file, narrower or wider
        path.chmod(mode)
        hub.save(path)
        assert stat.S_IMODE(path.stat().st_mode) == mode


@posix
def test_a_symbolic_link_stays_one(hub, path):
    link = path.parent / "link"
    link.symlink_to(path)
    hub.heartbeat("key")
    hub.save(str(link))
    assert link.is_symlink()
    with HeartHub.restore(path, clock=ManualClock()) as restored:
        assert list(restored) == ["key"]


@posix
@pytest.mark.parametrize(("nth", "keys"), [(1, ["old"]), (2, ["old", "new"])])
def test_a_process_that_is_killed_leaves_a_whole_file(hub, path, nth, keys):
    """At the first fsync the new file has not taken the old one's place, at the second, of the folder, it has."""
    hub.heartbeat("old")
    hub.save(path)
    code = f"""
        import os, signal
        from heartfelt import HeartHub
        calls = []
        def killed(descriptor):
            calls.append(descriptor)
            if len(calls) == {nth}:
                os.kill(os.getpid(), signal.SIGKILL)
        hub = HeartHub.restore({str(path)!r}, timeout=10)
        hub.heartbeat("new")
        os.fsync = killed
        hub.save({str(path)!r})
        """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], timeout=60, check=False)
    assert done.returncode == -signal.SIGKILL
    with HeartHub.restore(path, clock=ManualClock()) as restored:
        assert sorted(restored) == sorted(keys)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_child_after_a_fork_does_not_overwrite_its_parent_s_file(run_python, path):
    out = run_python(
        f"""
        import os
        from heartfelt import HeartHub, HubClosed
        hub = HeartHub(10)
        hub.heartbeat("key")
        hub.save({str(path)!r})
        child = os.fork()
        if child == 0:
            try:
                hub.save({str(path)!r})
            except HubClosed:
                os._exit(0)
            os._exit(1)
        print(os.waitpid(child, 0)[1], list(HeartHub.restore({str(path)!r})))
        """
    )
    assert out.split() == ["0", "['key']"]
