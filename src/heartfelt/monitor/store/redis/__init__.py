# SPDX-License-Identifier: MIT
"""The store on Redis, for any number of monitors. monitor/cluster/README.md has the design and all keys."""
