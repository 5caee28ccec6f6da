# SPDX-License-Identifier: MIT
# Declares sender/hf_sender.h, and from the headers below it only what the module needs.
from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t


cdef extern from "hf_sender.h" nogil:
    enum: HF_ADDRESSES_MAX
    enum: HF_HEAD_MAX

    ctypedef enum hf_status:
        HF_OK
        HF_NO_MEMORY
        HF_CLOSED
        HF_FULL
        HF_NO_THREAD

    ctypedef enum hf_transport:
        HF_SERMANT
        HF_HTTP
        HF_UDP
        HF_N_TRANSPORTS

    ctypedef enum hf_line_state:
        HF_LINE_IDLE
        HF_LINE_RESOLVING
        HF_LINE_CONNECTING
        HF_LINE_CONNECTED
        HF_LINE_WAITING
        HF_LINE_CLOSED
        HF_N_LINE_STATES

    ctypedef enum hf_line_stage:
        HF_AT_NOTHING
        HF_AT_RESOLVE
        HF_AT_CONNECT
        HF_AT_CONNECT_TIME
        HF_AT_WRITE
        HF_AT_WRITE_TIME
        HF_AT_READ
        HF_AT_PEER_CLOSED
        HF_AT_ANSWER
        HF_AT_ANSWER_TIME
        HF_AT_STATUS
        HF_N_LINE_STAGES

    ctypedef struct hf_envelope:
        hf_transport transport
        const uint8_t *preamble
        size_t n_preamble

    ctypedef struct hf_line_config:
        hf_envelope envelope
        bint resolves
        int64_t interval_ns, connect_limit_ns, write_limit_ns, first_wait_ns, most_wait_ns
        uint64_t seed

    ctypedef struct hf_line_stats:
        hf_line_state state
        hf_line_stage failed_at
        int fail_code
        uint64_t n_beats, n_missed, n_refused, n_connects, n_failures
        int64_t wait_ns, max_late_ns

    ctypedef struct hf_head:
        uint8_t *deflated
        size_t n_deflated
        uint32_t crc, n_plain

    ctypedef struct hf_address:
        uint32_t n

    ctypedef struct hf_net:
        pass

    const hf_net hf_net_system
    bint hf_address_from_text(hf_address *address, const char *text, uint16_t port, uint32_t scope_id)

    ctypedef struct hf_sender:
        pass
    ctypedef struct hf_sender_line:
        pass

    hf_status hf_sender_init(hf_sender *sender)
    hf_sender_line *hf_sender_open(hf_sender *sender, const hf_line_config *config, const hf_net *net)
    hf_status hf_sender_start(hf_sender_line *line)
    hf_status hf_sender_set_head(hf_sender_line *line, const hf_head *head)
    void hf_sender_refresh(hf_sender_line *line)
    void hf_sender_beat_now(hf_sender_line *line)
    void hf_sender_set_addresses(hf_sender_line *line, const hf_address *addresses, uint32_t n)
    void hf_sender_lookup_failed(hf_sender_line *line)
    bint hf_sender_take_wish(hf_sender_line *line)
    hf_line_stats hf_sender_stats(hf_sender_line *line)
    bint hf_sender_close(hf_sender_line *line, const uint8_t *goodbye, size_t n, int64_t wait_ns)
    void hf_sender_abandon(hf_sender_line *line)
    void hf_sender_release(hf_sender_line *line)
    bint hf_sender_wait_for_wish(hf_sender *sender, int64_t timeout_ns)
    void hf_sender_ring_wishes(hf_sender *sender)
    bint hf_sender_runs(hf_sender *sender)
    void hf_sender_before_fork(hf_sender *sender)
    void hf_sender_after_fork_in_parent(hf_sender *sender)
    void hf_sender_after_fork_in_child(hf_sender *sender)
