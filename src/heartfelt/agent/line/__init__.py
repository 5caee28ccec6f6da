# SPDX-License-Identifier: MIT
"""Lines: a line connects an agent to its backend and beats on its own. `open` chooses between the two kinds."""

from __future__ import annotations

from heartfelt.agent.line.line import Line, LineStats, Plan
from heartfelt.agent.line.open import has_native, open_line

__all__ = ["Line", "LineStats", "Plan", "has_native", "open_line"]
