# SPDX-License-Identifier: MIT
"""Lines: an agent's way to its backend, which beats on its own. `open` chooses between the two kinds."""

from __future__ import annotations

from heartfelt.agent.line.line import Line, LineStats, Plan
from heartfelt.agent.line.open import has_native, open_line

__all__ = ["Line", "LineStats", "Plan", "has_native", "open_line"]
