# SPDX-License-Identifier: MIT
"""The core's enums and limits, for the modules above it: each name with the number that C gives it.

The numbers are the C compiler's, so they cannot differ from the core's. What could differ is checked when this module
is imported: a number of an enum that has no name here, a name that EventType lacks, a limit that Python repeats.
"""
from hf_hub cimport *

from heartfelt import _checks
from heartfelt._types import EventType


def in_order(str enum, int n_numbers, dict numbers):
    """The names of an enum, as a tuple in the order of its numbers, which must be 0 to n_numbers - 1.

    Raises ImportError, naming the enum, if a number has no name, or a name has no number or that of another.
    """
    names = tuple(sorted(numbers, key=numbers.get))
    if [numbers[name] for name in names] != list(range(n_numbers)):
        raise ImportError(
            f"heartfelt was built wrong: {enum} has the numbers 0 to {n_numbers - 1} in C, and Python has {numbers}; "
            f"change both, and build again"
        )
    return names


def same(str what, in_c, in_python):
    """Raises ImportError, naming what differs, unless the two are equal."""
    if in_c != in_python:
        raise ImportError(f"heartfelt was built wrong: {what} is {in_c} in C, and {in_python} in Python; "
                          f"change both, and build again")


STATUS = in_order("hf_status", HF_N_STATUSES, {
    "ok": HF_OK, "slow": HF_SLOW, "no_memory": HF_NO_MEMORY, "closed": HF_CLOSED, "not_watched": HF_NOT_WATCHED,
    "stale_id": HF_STALE_ID, "no_timeout": HF_NO_TIMEOUT, "full": HF_FULL, "no_thread": HF_NO_THREAD,
})
_event_types = in_order("hf_event_type", HF_N_EVENT_TYPES, {
    "TIME_OUT": HF_TIME_OUT, "HEART_BEAT": HF_HEART_BEAT, "REMOVE_KEY": HF_REMOVE_KEY, "JOIN": HF_JOIN,
    "RECOVER": HF_RECOVER, "OVERFLOW": HF_OVERFLOW, "STALL": HF_STALL,
})
same("the set of event types", sorted(_event_types), sorted(EventType.__members__))
EVENT_TYPES = tuple([EventType(name) for name in _event_types])
ON_FULL = in_order("hf_on_full", HF_N_ON_FULL, {
    "drop_oldest": HF_ON_FULL_DROP_OLDEST, "drop_newest": HF_ON_FULL_DROP_NEWEST, "block": HF_ON_FULL_BLOCK,
})
GUARDS = in_order("hf_guard_kind", HF_N_GUARDS, {False: HF_GUARD_OFF, True: HF_GUARD_ON, "gil": HF_GUARD_GIL})
STREAMS = in_order("hf_stream", HF_N_STREAMS, {"readers": HF_TO_READERS, "callbacks": HF_TO_CALLBACKS})
MOST_SHARDS = int(HF_SHARDS_MAX)

same("the longest duration in ns, HF_TIMEOUT_MAX_NS", HF_TIMEOUT_MAX_NS, _checks.LONGEST_NS)
same("the number of streams, which hf_hub.pxd writes as 2,", len(STREAMS), 2)
