# SPDX-License-Identifier: MIT
"""Data that the tests of lines send."""

from __future__ import annotations

INTERVAL_S = 0.05
HEAD = b'{"service":"s","instanceId":"i","name":"\xc3\xa4"'
GOODBYE = b'{"service":"s","instanceId":"i","goodbye":true}'
