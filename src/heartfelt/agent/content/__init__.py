# SPDX-License-Identifier: MIT
"""What a beat says: the instance's identity, the host, plugins and other agents, and what providers add; as JSON."""
