# SPDX-License-Identifier: MIT
"""What the agent's and the monitor's configurations are read with: files, the environment, kinds of values."""
