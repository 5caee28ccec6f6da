# SPDX-License-Identifier: MIT
"""Shared reading of the agent's and the monitor's configuration: files, the environment, kinds of values."""
