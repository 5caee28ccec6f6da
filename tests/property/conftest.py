# SPDX-License-Identifier: MIT
"""How long to search is said in tests/conftest.py."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parent))  # for `import model`: importlib mode adds no directory itself
