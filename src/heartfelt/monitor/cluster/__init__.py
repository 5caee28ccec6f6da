# SPDX-License-Identifier: MIT
"""Many monitors that share one Redis: who owns an instance, and answers for the whole fleet. See README.md."""
