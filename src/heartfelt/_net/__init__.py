# SPDX-License-Identifier: MIT
"""Sockets, names and HTTP for agent and command line: synchronous, bounded in time and size, standard library only."""
