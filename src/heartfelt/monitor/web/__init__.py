# SPDX-License-Identifier: MIT
"""HTTP except beats: API, panel, event stream, metrics, tokens, and the checks that every request passes."""
