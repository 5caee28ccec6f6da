# SPDX-License-Identifier: MIT
"""Heart: a handle on one key of a hub."""
from libc.stdint cimport uint64_t

from hf_hub cimport HF_TOUCH_BEAT, HF_TOUCH_TERMS_TO_JOIN, HotHeart, hf_handle_set

from heartfelt._arguments cimport hashed_key
from heartfelt._core cimport Hub

from heartfelt._checks import shown
from heartfelt._hot import own_hot_methods
from heartfelt._types import UNSET

cdef object _unset = UNSET


cdef class Heart(HotHeart):
    """A handle on one key: beats without looking the key up. `HeartHub.heart` makes it. Keeps its hub alive."""
    cdef readonly object key
    cdef Hub owner
    cdef object timeout, extra, disposable

    def __init__(self):
        raise TypeError("a Heart is made by hub.heart(key)")

    def __reduce__(self):
        raise TypeError("a Heart cannot be pickled or copied: its hub watches in this process alone")

    def _beat(self):
        if self.owner is None:
            raise TypeError("this Heart has no hub; make one by hub.heart(key)")
        hf_handle_set(&self.handle, self.hub, self.owner._touch(
            self.key, self.timeout, self.extra, self.disposable, HF_TOUCH_BEAT | HF_TOUCH_TERMS_TO_JOIN))

    @property
    def hub(self):
        """The hub of the key."""
        return self.owner

    def __repr__(self):
        return f"<Heart of {shown(self.key)}>"


own_hot_methods(Heart)


def heart_of(Hub hub, key, timeout, extra, disposable):
    """A Heart on the key. With options this is a beat with them; without, the key joins unless it is watched."""
    cdef bint plain = timeout is None and extra is _unset and disposable is None
    cdef Heart heart = Heart.__new__(Heart)
    heart.timeout, heart.extra, heart.disposable, heart.owner = timeout, extra, disposable, hub
    (<HotHeart> heart).hub = hub.hub
    hf_handle_set(&heart.handle, hub.hub,
                  hub._touch(key, timeout, extra, disposable, 0 if plain else HF_TOUCH_BEAT))
    cdef uint64_t hash = 0
    heart.key = hashed_key(key, &hash)
    return heart
