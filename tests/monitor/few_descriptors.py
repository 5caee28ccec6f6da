# SPDX-License-Identifier: MIT
"""`python -m tests.monitor.few_descriptors`: heartfelt with a low limit of open files, soft and hard."""

from __future__ import annotations

import resource
import sys

from heartfelt.__main__ import main

SOFT, HARD = 128, 256

if __name__ == "__main__":
    resource.setrlimit(resource.RLIMIT_NOFILE, (SOFT, HARD))
    sys.exit(main())
