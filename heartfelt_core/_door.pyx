# SPDX-License-Identifier: MIT
"""The seam between Python and the door, which accepts HTTP connections and serves pings and heartbeats on them.

The C files in door/ accept, receive, split and send. Here each request meets what the monitor knows: a known key or
heartbeat of a client whose Host and token were accepted before is renewed by one call; for any other request `service`
gives the whole answer; what is no such request leaves with its connection. All calls belong to the event loop's
thread, and none blocks. Linux only: elsewhere this module is not built.
"""
import os

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.set cimport PySet_GET_SIZE
from libc.stdint cimport int64_t, uint8_t, uint32_t
from libc.string cimport memset
from libc.time cimport time as unix_time

from hf_door cimport *

from heartfelt._numbers import in_order

METHODS = in_order("hf_method", HF_N_METHODS, {
    "GET": HF_METHOD_GET, "HEAD": HF_METHOD_HEAD, "POST": HF_METHOD_POST,
})
TARGETS = in_order("hf_target", HF_N_TARGETS, {"ping": HF_TARGET_PING, "beats": HF_TARGET_BEATS})
IN_MAX = int(HF_DOOR_IN_MAX)
cdef enum:
    PIPELINED_MAX = 16  # requests of a connection in a turn
    ALLOWED_MAX = 1000
    SLICE_NS = 2000000
    ROOM = 16384  # for an answer behind others


cdef inline bytes _bytes(hf_span span):
    return PyBytes_FromStringAndSize(<const char *>span.at, span.n)


cdef inline bint _is_list(hf_span body) noexcept:
    """Whether the body is a list of heartbeats, as `bytes.lstrip` sees it."""
    cdef const uint8_t *at = body.at
    cdef const uint8_t *end = body.at + body.n
    while at < end and (at[0] == c' ' or 9 <= at[0] <= 13):
        at += 1
    return at < end and at[0] == c'['


def split(const uint8_t[::1] data, size_t most_head, size_t most_body):
    """Reads the request at the start of data, for tests. None: it is left to the general server.

    (method, path, query, host, authorization, body, plain key, must close, length). Absent fields are None.
    """
    cdef hf_request request
    if not data.shape[0]:
        return None
    if hf_request_read(&data[0], data.shape[0], most_head, most_body, &request) == HF_REQUEST_OTHER:
        return None
    return (
        METHODS[<int>request.method], _bytes(request.path), _or_none(request.query), _bytes(request.host),
        _or_none(request.authorization), _bytes(request.body), _or_none(request.plain_key), request.must_close,
        request.n_used,
    )


cdef object _or_none(hf_span span):
    return None if span.at == NULL else _bytes(span)


def date_line(int64_t unix_s):
    """The date header's line, for tests."""
    cdef hf_date date
    memset(&date, 0, sizeof(date))
    return PyBytes_FromStringAndSize(hf_date_line(&date, unix_s), HF_DATE_LINE)


cdef class Door:
    """Connections that only ping and beat.

    service: has `known_ping(key, peer)` and `known_beat(text, peer)`, which return whether they renewed an instance,
    and `answer(...)`, which returns (status line, rest of the head and body, whether to close, whether Host and token
    were accepted for any request). `plain` has the answers to known ones, (status line, rest), at target * 4 + is_head
    * 2 + closes. `fault(error)` answers a request that made one of these raise an exception. others: the connections
    that count as well for most_open; above it requests get `too_many(peer, is_head)`. Above most_kept of both, a new
    connection is closed without an answer, as silent ones would take all descriptors.
    """
    cdef hf_door door
    cdef hf_date date
    cdef object known_ping, known_beat, answer, too_many, fault
    cdef set allowed, others
    cdef list plain
    cdef size_t most_head, most_body
    cdef Py_ssize_t most_open, most_kept
    cdef readonly uint64_t requests, released

    def __cinit__(self, service, set others, Py_ssize_t most_open, Py_ssize_t most_kept, size_t most_head,
                  size_t most_body):
        cdef int error = hf_door_init(&self.door)
        if error:
            raise OSError(error, os.strerror(error))
        self.known_ping = service.known_ping
        self.known_beat = service.known_beat
        self.answer = service.answer
        self.too_many = service.too_many
        self.fault = service.fault
        self.plain = service.plain
        self.allowed = set()
        self.others = others
        self.most_open = most_open
        self.most_kept = most_kept
        self.most_head = most_head
        self.most_body = most_body

    def __dealloc__(self):
        hf_door_close_all(&self.door)

    def fileno(self):
        return self.door.epoll_fd

    def listen(self, int fd):
        """Accepts connections from this listening socket, which stays the caller's. Raises OSError."""
        cdef int error = hf_door_listen(&self.door, fd)
        if error:
            raise OSError(error, os.strerror(error))

    def stop_listening(self):
        hf_door_stop_listening(&self.door)

    def resume(self):
        """Accepts again, if that had paused for want of descriptors."""
        hf_door_resume(&self.door)

    def forget_allowed(self):
        """Checks the Host and the token of each later request again."""
        self.allowed.clear()

    def close(self):
        """Closes all connections."""
        hf_door_close_all(&self.door)

    def expire(self, int64_t fresh_ns, int64_t idle_ns, bytes text):
        """Closes connections that sent nothing since fresh_ns, after `text`, and those idle since idle_ns, in ns of
        CLOCK_MONOTONIC. Returns the number of the first."""
        return hf_door_expire(&self.door, fresh_ns, idle_ns, PyBytes_AS_STRING(text), PyBytes_GET_SIZE(text))

    @property
    def n_open(self):
        return self.door.n_open

    @property
    def paused(self):
        return self.door.paused

    @property
    def accept_error(self):
        """The last error of accepting; 0: none yet."""
        return self.door.accept_error

    @property
    def refused(self):
        """Connections closed at once above most_kept."""
        return self.door.n_refused

    def counts(self):
        """(accepted, errors of accepting, evicted, broken)."""
        return self.door.n_accepted, self.door.n_accept_errors, self.door.n_evicted, self.door.n_broken

    def turn(self, int64_t now_ns):
        """Handles a bounded part of what has arrived. Returns the connections to hand over, as (descriptor, bytes that
        were received and not served, bytes that the client has not read yet)."""
        cdef list released = None
        cdef hf_door_conn *conn
        cdef Py_ssize_t room = self.most_kept - PySet_GET_SIZE(self.others)
        self.door.most_open = <uint32_t>min(max(room, 0), 0x7fffffff)
        hf_door_begin(&self.door, now_ns, SLICE_NS)
        while True:
            conn = hf_door_next(&self.door)
            if conn == NULL:
                return () if released is None else released
            one = self._serve(conn)
            if one is not None:
                if released is None:
                    released = []
                released.append(one)

    cdef object _serve(self, hf_door_conn *conn):
        """Serves what a connection has sent. Returns the connection if it is to be handed over."""
        cdef hf_door *door = &self.door
        cdef hf_request request
        cdef size_t at = 0
        cdef int n = 0
        cdef bint closes = False
        cdef int64_t sent
        cdef size_t n_out = 0
        cdef str peer = conn.peer.decode("ascii")
        try:
            while at < door.n_in and n < PIPELINED_MAX and door.n_out + ROOM <= HF_DOOR_OUT_MAX and peer:
                if hf_request_read(door.into + at, door.n_in - at, self.most_head, self.most_body, &request) \
                        == HF_REQUEST_OTHER:
                    break
                if request.target == HF_TARGET_BEATS and _is_list(request.body):
                    break
                if request.must_close and at + request.n_used != door.n_in:
                    break  # the general server reads on before it closes, so that the client is not reset
                n_out = door.n_out
                closes = self._answer(&request, peer)
                at += request.n_used
                n += 1
                if closes:
                    break
        except Exception as error:
            door.n_out = n_out
            status, rest = self.fault(error)
            self._append(status, rest)
            closes = True
            at = door.n_in
        self.requests += n
        sent = hf_door_send(door, conn)
        if sent < 0:
            hf_door_close(door, conn)
        elif at == door.n_in and sent == <int64_t>door.n_out:
            if closes:
                hf_door_close(door, conn)
            else:
                hf_door_keep(door, conn)
        else:
            return self._release(conn, at, <size_t>sent, closes)
        return None

    cdef object _release(self, hf_door_conn *conn, size_t at, size_t sent, bint closes):
        received = PyBytes_FromStringAndSize(<const char *>self.door.into + at, self.door.n_in - at)
        unsent = PyBytes_FromStringAndSize(<const char *>self.door.out + sent, self.door.n_out - sent)
        self.released += 1
        return hf_door_release(&self.door, conn), received, unsent, closes

    cdef bint _answer(self, hf_request *request, str peer) except -1:
        """Appends the answer. Returns whether the connection closes after it."""
        cdef bint is_head = request.method == HF_METHOD_HEAD
        cdef bint closes = request.must_close
        cdef bint known = False
        cdef bytes gate
        if <Py_ssize_t>self.door.n_open + PySet_GET_SIZE(self.others) > self.most_open:
            status, rest = self.too_many(peer, is_head)
            self._append(status, rest)
            return True
        gate = _bytes(request.host)
        if request.authorization.at != NULL:
            gate = gate + b"\0" + _bytes(request.authorization)
        if gate in self.allowed:
            if request.plain_key.at != NULL:
                known = self.known_ping(_bytes(request.plain_key), peer)
            elif request.target == HF_TARGET_BEATS and request.method == HF_METHOD_POST and request.body.n \
                    and request.query.at == NULL:
                known = self.known_beat(_bytes(request.body), peer)
            if known:
                status, rest = self.plain[<int>request.target * 4 + is_head * 2 + closes]
                self._append(status, rest)
                return closes
        status, rest, closes, allows = self.answer(
            METHODS[<int>request.method], _bytes(request.path), _bytes(request.query) if request.query.at else b"",
            _bytes(request.host), _or_none(request.authorization), _bytes(request.body), peer, closes,
        )
        self._append(status, rest)
        if allows:
            if len(self.allowed) >= ALLOWED_MAX:
                self.allowed.clear()
            self.allowed.add(gate)
        return closes

    cdef int _append(self, bytes status, bytes rest) except -1:
        cdef const char *date = hf_date_line(&self.date, unix_time(NULL))
        if not (
            hf_door_append(&self.door, PyBytes_AS_STRING(status), PyBytes_GET_SIZE(status))
            and hf_door_append(&self.door, date, HF_DATE_LINE)
            and hf_door_append(&self.door, PyBytes_AS_STRING(rest), PyBytes_GET_SIZE(rest))
        ):
            raise RuntimeError(f"an answer of {len(rest)} bytes is too long for the door")
        return 0
