# SPDX-License-Identifier: MIT
from hf_hub cimport hf_bell


cdef class Bell:
    cdef hf_bell bell
    cdef object sockets
    cdef int open(self) except -1
