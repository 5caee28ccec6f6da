# SPDX-License-Identifier: MIT
"""Everything that is served over HTTP besides beats: API, panel, events stream, metrics, tokens."""
