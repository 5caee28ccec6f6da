# SPDX-License-Identifier: MIT
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t

cdef extern from "hf_request.h" nogil:
    ctypedef enum hf_request_result:
        HF_REQUEST_OTHER
        HF_REQUEST_READY
    ctypedef enum hf_method:
        HF_METHOD_GET
        HF_METHOD_HEAD
        HF_METHOD_POST
        HF_N_METHODS
    ctypedef enum hf_target:
        HF_TARGET_PING
        HF_TARGET_BEATS
        HF_N_TARGETS
    ctypedef struct hf_span:
        const uint8_t *at
        size_t n
    ctypedef struct hf_request:
        hf_method method
        hf_target target
        hf_span path, query, host, authorization, body, plain_key
        bint must_close
        size_t n_used
    hf_request_result hf_request_read(const uint8_t *bytes, size_t n, size_t most_head, size_t most_body,
                                      hf_request *out)

cdef extern from "hf_date.h" nogil:
    enum:
        HF_DATE_LINE
    ctypedef struct hf_date:
        pass
    const char *hf_date_line(hf_date *date, int64_t unix_s)

cdef extern from "hf_door.h" nogil:
    enum:
        HF_DOOR_IN_MAX
        HF_DOOR_OUT_MAX
    ctypedef struct hf_door_conn:
        bint watched
        char peer[46]
    ctypedef struct hf_door:
        int epoll_fd, accept_error
        bint paused
        uint32_t n_open, most_open
        uint64_t n_accepted, n_accept_errors, n_evicted, n_broken, n_refused
        size_t n_in, n_out
        uint8_t *into "in"
        uint8_t *out
    int hf_door_init(hf_door *door)
    int hf_door_listen(hf_door *door, int fd)
    void hf_door_stop_listening(hf_door *door)
    void hf_door_close_all(hf_door *door)
    void hf_door_begin(hf_door *door, int64_t now_ns, int64_t slice_ns)
    hf_door_conn *hf_door_next(hf_door *door)
    bint hf_door_append(hf_door *door, const void *bytes, size_t n)
    int64_t hf_door_send(hf_door *door, hf_door_conn *conn)
    bint hf_door_keep(hf_door *door, hf_door_conn *conn)
    void hf_door_close(hf_door *door, hf_door_conn *conn)
    int hf_door_release(hf_door *door, hf_door_conn *conn)
    uint32_t hf_door_expire(hf_door *door, int64_t fresh_ns, int64_t idle_ns, const void *text, size_t n)
    void hf_door_resume(hf_door *door)
