# SPDX-License-Identifier: MIT
"""Guards of speed that no noise reaches: what is counted here is the same on a busy machine."""

from __future__ import annotations
