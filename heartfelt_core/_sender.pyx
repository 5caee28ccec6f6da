# SPDX-License-Identifier: MIT
"""The seam between Python and the native sender: one native thread that sends the beats of all lines.

The C functions of sender/hf_sender.h make every decision. A call that waits for a lock releases the GIL first, so no
thread that holds it ever waits for the sender's thread. POSIX only: elsewhere this module is not built.
"""
import os

from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t

from hf_sender cimport *

from heartfelt._numbers import in_order

available = True
HEAD_MAX = int(HF_HEAD_MAX)
ADDRESSES_MAX = int(HF_ADDRESSES_MAX)
STATES = in_order("hf_line_state", HF_N_LINE_STATES, {
    "idle": HF_LINE_IDLE, "resolving": HF_LINE_RESOLVING, "connecting": HF_LINE_CONNECTING,
    "connected": HF_LINE_CONNECTED, "waiting": HF_LINE_WAITING, "closed": HF_LINE_CLOSED,
})
STAGES = in_order("hf_line_stage", HF_N_LINE_STAGES, {
    "nothing": HF_AT_NOTHING, "resolve": HF_AT_RESOLVE, "connect": HF_AT_CONNECT, "connect_time": HF_AT_CONNECT_TIME,
    "write": HF_AT_WRITE, "write_time": HF_AT_WRITE_TIME, "read": HF_AT_READ, "peer_closed": HF_AT_PEER_CLOSED,
    "answer": HF_AT_ANSWER, "answer_time": HF_AT_ANSWER_TIME, "status": HF_AT_STATUS,
})
TRANSPORTS = {name: number for number, name in enumerate(in_order("hf_transport", HF_N_TRANSPORTS, {
    "sermant": HF_SERMANT, "http": HF_HTTP, "udp": HF_UDP,
}))}

cdef hf_sender _sender
if hf_sender_init(&_sender) != HF_OK:
    raise MemoryError("no memory for the locks of the sender")


cdef object raised(hf_status status):
    if status == HF_NO_MEMORY:
        return MemoryError("no memory, or no file descriptor, for a line to a backend")
    if status == HF_NO_THREAD:
        return RuntimeError("the system gave no thread to send beats")
    if status == HF_FULL:
        return ValueError(f"a beat is too long: its head takes more than {HF_HEAD_MAX} bytes when compressed")
    return RuntimeError("the line is closed: make a new one")


cdef class SenderLine:
    """One line. Times are in ns. The envelope's preamble is described in sender/hf_envelope.h."""
    cdef hf_sender_line *line

    def __cinit__(
        self, int transport, const uint8_t[::1] preamble, bint resolves, int64_t interval_ns,
        int64_t connect_limit_ns, int64_t write_limit_ns, int64_t first_wait_ns, int64_t most_wait_ns, uint64_t seed
    ):
        cdef hf_line_config config
        if interval_ns <= 0 or not HF_SERMANT <= transport <= HF_UDP:
            raise ValueError(f"a line needs an interval and a transport, not {interval_ns} ns and {transport}")
        config.envelope.transport = <hf_transport>transport
        config.envelope.n_preamble = preamble.shape[0]
        config.envelope.preamble = &preamble[0] if preamble.shape[0] else NULL
        config.resolves = resolves
        config.interval_ns = interval_ns
        config.connect_limit_ns = connect_limit_ns
        config.write_limit_ns = write_limit_ns
        config.first_wait_ns = first_wait_ns
        config.most_wait_ns = most_wait_ns
        config.seed = seed
        self.line = hf_sender_open(&_sender, &config, &hf_net_system)
        if self.line is NULL:
            raise raised(HF_NO_MEMORY)

    def __dealloc__(self):
        if self.line is not NULL:
            with nogil:
                hf_sender_release(self.line)

    def start(self):
        """Starts to send beats. Raises RuntimeError if the line is closed or there is no thread; MemoryError."""
        cdef hf_status status
        with nogil:
            status = hf_sender_start(self.line)
        if status != HF_OK:
            raise raised(status)

    def set_head(self, const uint8_t[::1] deflated, uint32_t crc, uint32_t n_plain):
        """Sets the head of the beats, as raw deflate up to a sync flush. On a closed line this does nothing."""
        cdef hf_head head
        cdef hf_status status
        head.deflated = <uint8_t *>&deflated[0]
        head.n_deflated = deflated.shape[0]
        head.crc = crc
        head.n_plain = n_plain
        with nogil:
            status = hf_sender_set_head(self.line, &head)
        if status != HF_OK and status != HF_CLOSED:
            raise raised(status)

    def refreshed(self):
        hf_sender_refresh(self.line)

    def beat_now(self):
        with nogil:
            hf_sender_beat_now(self.line)

    def set_addresses(self, list addresses):
        """Sets up to ADDRESSES_MAX addresses, each (text, port, scope id). Raises ValueError for an invalid one."""
        cdef hf_address found[HF_ADDRESSES_MAX]
        cdef uint32_t n = 0
        cdef bytes text
        for address, port, scope_id in addresses[:HF_ADDRESSES_MAX]:
            text = address.encode()
            if not hf_address_from_text(&found[n], text, port, scope_id):
                raise ValueError(f"not an IPv4 or IPv6 address: {address!r}")
            n += 1
        with nogil:
            hf_sender_set_addresses(self.line, found, n)

    def lookup_failed(self):
        with nogil:
            hf_sender_lookup_failed(self.line)

    def take_wish(self):
        """Returns True once for each request for addresses."""
        cdef bint wishes
        with nogil:
            wishes = hf_sender_take_wish(self.line)
        return wishes

    def close(self, const uint8_t[::1] goodbye, int64_t wait_ns):
        """Ends the line; blocks for at most wait_ns. True if the goodbye went out. One caller at a time."""
        cdef const uint8_t *bytes = NULL
        cdef size_t n = 0
        cdef bint sent
        if goodbye is not None and goodbye.shape[0]:
            bytes = &goodbye[0]
            n = goodbye.shape[0]
        with nogil:
            sent = hf_sender_close(self.line, bytes, n, wait_ns)
        return sent

    def abandon(self):
        """Forgets the line, in the child after a fork."""
        hf_sender_abandon(self.line)

    def stats(self):
        """State, beats, missed, refused, connects, failures, stage and code of the last failure, wait, most late."""
        cdef hf_line_stats s
        with nogil:
            s = hf_sender_stats(self.line)
        return (
            STATES[<int>s.state], s.n_beats, s.n_missed, s.n_refused, s.n_connects, s.n_failures,
            STAGES[<int>s.failed_at], s.fail_code, s.wait_ns, s.max_late_ns,
        )


def wait_for_wish(int64_t timeout_ns=-1):
    """Blocks until a line may need addresses, or the time is over (negative: no limit). Raises MemoryError."""
    cdef bint sound
    with nogil:
        sound = hf_sender_wait_for_wish(&_sender, timeout_ns)
    if not sound:
        raise MemoryError("no file descriptor to wait for lines that need addresses")


def ring_wishes():
    """Makes wait_for_wish return."""
    hf_sender_ring_wishes(&_sender)


def runs():
    """Whether the sending thread runs."""
    cdef bint there
    with nogil:
        there = hf_sender_runs(&_sender)
    return there


def _before_fork():
    with nogil:
        hf_sender_before_fork(&_sender)


def _after_fork_in_parent():
    hf_sender_after_fork_in_parent(&_sender)


def _after_fork_in_child():
    hf_sender_after_fork_in_child(&_sender)


os.register_at_fork(
    before=_before_fork, after_in_parent=_after_fork_in_parent, after_in_child=_after_fork_in_child
)
