# SPDX-License-Identifier: MIT
"""Guards of speed that no noise reaches: what is counted here is the same on a busy machine."""

from __future__ import annotations

import sys
from pathlib import Path

HERE = Path(__file__).parent

# For `import callgrind` and `import compare`: importlib mode adds no directory itself.
sys.path += [str(HERE), str(HERE.parents[1] / "benchmarks")]
