# SPDX-License-Identifier: MIT
"""Bell: a file descriptor that is readable while events wait. Its module has a copy of hf_bell.c of its own."""
cimport cython
from cpython.exc cimport PyErr_CheckSignals
from libc.stdint cimport int64_t

from hf_hub cimport *

from heartfelt._checks import bell_sockets


cdef class Bell:
    """Signals that events wait. Outlives its hub for as long as someone waits."""

    def __cinit__(self):
        hf_bell_init(&self.bell)

    def __dealloc__(self):
        hf_bell_deinit(&self.bell)

    def fileno(self):
        with cython.critical_section(self):
            self.open()
        return self.bell.read_fd

    cdef int open(self) except -1:
        cdef int64_t read_fd = -1, write_fd = -1
        if self.bell.read_fd < 0:
            self.sockets = bell_sockets()
            if self.sockets is not None:
                read_fd, write_fd = self.sockets[0].fileno(), self.sockets[1].fileno()
            if not hf_bell_open(&self.bell, read_fd, write_fd):
                raise OSError("no file descriptor is left to wait for events")
        return 0

    def wait(self, int64_t timeout_ns=-1):
        """Waits until the bell rings; False if timeout_ns passed, True may be a false alarm.

        Releases the GIL, and runs signal handlers.
        """
        cdef hf_bell_wait_result result
        self.fileno()
        with nogil:
            result = hf_bell_wait(&self.bell, timeout_ns)
        if result == HF_BELL_INTERRUPTED:
            PyErr_CheckSignals()
        return result != HF_BELL_TIMED_OUT
