# SPDX-License-Identifier: MIT
"""Decides which instances are up, late, lost or gone. Start with README.md and registry.py, the door to all of it."""
