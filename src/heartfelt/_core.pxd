# SPDX-License-Identifier: MIT
# What _rows takes from _core, which alone is linked with the core. A hub is passed as its pointer: see HotHub.
from libc.stdint cimport uint32_t, uint64_t

from hf_hub cimport hf_hub, hf_past, hf_row


cdef object get_row(hf_hub *hub, object key, hf_row *row)
cdef uint32_t list_rows(hf_hub *hub, uint64_t *cursor, hf_row *rows, uint32_t most) noexcept
cdef object restore_key(hf_hub *hub, object key, const hf_past *past)
