# SPDX-License-Identifier: MIT
"""The content of a beat: identity, host, plugins and other agents, extra information by providers; as JSON."""
