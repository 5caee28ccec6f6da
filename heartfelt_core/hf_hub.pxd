# SPDX-License-Identifier: MIT
# Declares hf_hub.h, hf_beat.h and the headers that know Python, and nothing else.
from cpython.object cimport PyObject
from libc.stdint cimport int8_t, int64_t, uint32_t, uint64_t


cdef extern from "hf_hub.h" nogil:
    enum: HF_SHARDS_MAX
    const int64_t HF_TIMEOUT_MAX_NS

    ctypedef enum hf_status:
        HF_OK
        HF_SLOW
        HF_NO_MEMORY
        HF_CLOSED
        HF_NOT_WATCHED
        HF_STALE_ID
        HF_NO_TIMEOUT
        HF_FULL
        HF_NO_THREAD
        HF_N_STATUSES

    ctypedef enum hf_clock_kind:
        HF_CLOCK_MONOTONIC
        HF_CLOCK_BOOTTIME
        HF_CLOCK_MANUAL

    ctypedef struct hf_clock:
        hf_clock_kind kind

    int64_t hf_clock_now(const hf_clock *clock)
    void hf_clock_set(hf_clock *clock, int64_t now_ns)
    int64_t hf_clock_wall_offset_ns(const hf_clock *clock)

    ctypedef struct hf_bell:
        int64_t read_fd

    ctypedef enum hf_bell_wait_result:
        HF_BELL_RUNG
        HF_BELL_TIMED_OUT
        HF_BELL_INTERRUPTED

    void hf_bell_init(hf_bell *bell)
    bint hf_bell_open(hf_bell *bell, int64_t read_fd, int64_t write_fd)
    void hf_bell_deinit(hf_bell *bell)
    void hf_bell_ring(hf_bell *bell)
    hf_bell_wait_result hf_bell_wait(hf_bell *bell, int64_t timeout_ns)

    ctypedef enum hf_on_full:
        HF_ON_FULL_DROP_OLDEST
        HF_ON_FULL_DROP_NEWEST
        HF_ON_FULL_BLOCK
        HF_N_ON_FULL

    ctypedef enum hf_stream:
        HF_TO_READERS
        HF_TO_CALLBACKS
        HF_N_STREAMS

    ctypedef struct hf_object_ops:
        pass

    ctypedef enum hf_event_type:
        HF_TIME_OUT
        HF_HEART_BEAT
        HF_REMOVE_KEY
        HF_JOIN
        HF_RECOVER
        HF_OVERFLOW
        HF_STALL
        HF_N_EVENT_TYPES

    ctypedef struct hf_event:
        hf_event_type type
        bint disposable
        uint32_t missed
        void *key
        void *extra
        int64_t timeout_ns, join_ns, beat_ns, deadline_ns, event_ns

    ctypedef struct hf_terms:
        int64_t timeout_ns
        void *extra
        bint has_extra
        int8_t disposable

    enum: HF_TOUCH_BEAT
    enum: HF_TOUCH_PIN
    enum: HF_TOUCH_OWN_TERMS
    enum: HF_TOUCH_TERMS_TO_JOIN

    ctypedef struct hf_past:
        hf_terms terms
        int64_t remaining_ns, silent_ns, watched_ns
        uint32_t missed
        bint lost

    ctypedef struct hf_row:
        void *key
        void *extra
        int64_t join_ns, beat_ns, deadline_ns, timeout_ns
        uint64_t id
        uint32_t missed
        bint disposable, lost

    ctypedef struct hf_counters:
        uint64_t n_joins, n_recoveries, n_removals, n_verdicts, n_visits, n_moved
        int64_t max_lateness_ns

    ctypedef struct hf_shard_stats:
        uint32_t n_keys, n_lost, n_pending, n_dead
        uint64_t n_wakeups
        int64_t cpu_ns
        hf_counters counters

    ctypedef struct hf_stream_stats:
        uint32_t n_waiting[2]
        uint64_t n_dropped, n_overflows, n_stalls
        int64_t stalled_ns

    ctypedef enum hf_guard_kind:
        HF_GUARD_OFF
        HF_GUARD_ON
        HF_GUARD_GIL
        HF_N_GUARDS

    ctypedef struct hf_hub_config:
        uint32_t n_shards
        int64_t default_timeout_ns
        bint disposable
        uint32_t subscribed
        uint32_t to_callbacks
        uint32_t ring_limit
        hf_on_full on_full
        hf_clock_kind clock_kind
        hf_clock *manual_clock
        hf_bell *bells[2]
        hf_guard_kind guard
        hf_bell *canary_bell
        hf_object_ops ops

    ctypedef struct hf_hub:
        uint32_t n_shards
        const hf_clock *clock

    hf_hub hf_hub_unopened
    hf_status hf_hub_create(const hf_hub_config *config, hf_hub **hub)
    void hf_hub_close(hf_hub *hub)
    void hf_hub_destroy(hf_hub *hub)
    void hf_hub_abandon(hf_hub *hub)
    hf_status hf_hub_touch(hf_hub *hub, void *key, uint64_t hash, const hf_terms *terms, int mode, uint64_t *id)
    hf_status hf_hub_touch_id(hf_hub *hub, uint64_t id, const hf_terms *terms, int mode)
    hf_status hf_hub_remove(hf_hub *hub, const void *key, uint64_t hash)
    hf_status hf_hub_restore(hf_hub *hub, void *key, uint64_t hash, const hf_past *past)
    hf_status hf_hub_get(hf_hub *hub, const void *key, uint64_t hash, hf_row *row)
    uint32_t hf_hub_list(hf_hub *hub, uint64_t *cursor, hf_row *rows, uint32_t max)
    uint32_t hf_hub_count(hf_hub *hub)
    void hf_hub_stats(hf_hub *hub, uint32_t shard, hf_shard_stats *stats)
    void hf_hub_stream_stats(hf_hub *hub, hf_stream_stats *stats)
    uint32_t hf_hub_drain(hf_hub *hub, hf_stream stream, hf_event *events, uint32_t max)
    uint32_t hf_hub_waiting(hf_hub *hub, hf_stream stream)
    bint hf_hub_has_ended(const hf_hub *hub)
    int64_t hf_hub_canary_beat(hf_hub *hub)
    void hf_hub_subscribe_callbacks(hf_hub *hub, uint32_t types)
    void hf_hub_advance(hf_hub **hubs, uint32_t n_hubs, hf_clock *clock, int64_t target_ns)
    const char *hf_hub_check(hf_hub *hub)


cdef extern from "hf_beat.h":
    enum: HF_BEAT_GROUP

    ctypedef struct hf_handle:
        pass

    void hf_handle_set(hf_handle *handle, const hf_hub *hub, uint64_t id)
    size_t hf_hub_beat_ids(hf_hub *hub, const int64_t *ids, size_t start, size_t n)


cdef extern from "hf_pykey.h":
    ctypedef enum hf_key_status:
        HF_KEY_OK
        HF_KEY_TYPE
        HF_KEY_RANGE
        HF_KEY_ERROR

    hf_key_status hf_key_hash(object key, uint64_t *hash) except? HF_KEY_ERROR
    hf_object_ops hf_python_ops()


cdef extern from "hf_pyhot.h":
    uint64_t hf_py_beat_group(hf_hub *hub, PyObject **keys, uint32_t n)

    ctypedef class heartfelt._hot.HotHub [object hf_hot_hub]:
        cdef hf_hub *hub

    ctypedef class heartfelt._hot.HotHeart [object hf_hot_heart]:
        cdef hf_hub *hub
        cdef hf_handle handle
