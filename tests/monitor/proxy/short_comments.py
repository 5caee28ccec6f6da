# SPDX-License-Identifier: MIT
"""`heartfelt`, whose event streams have a comment each second, so that a short time limit of a proxy can be tested."""

from __future__ import annotations

import sys

from heartfelt.__main__ import main
from heartfelt.monitor.web.stream import Stream

COMMENT_S = 1.0

if __name__ == "__main__":
    Stream.__init__.__kwdefaults__["comment_s"] = COMMENT_S
    sys.exit(main())
