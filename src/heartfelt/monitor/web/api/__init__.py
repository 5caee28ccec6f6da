# SPDX-License-Identifier: MIT
"""The HTTP interface: REST under /api/v1/, Sermant's paths, metrics, health. `routes.py` has the table of routes."""
