# SPDX-License-Identifier: MIT
"""`heartfelt demo --cluster`: monitors that share a Redis, one of which is killed.

processes.py: the Redis and the monitors; feed.py: the simulated instances; watching.py: what the monitors say; show.py:
the lines on the terminal; demo.py: the order of events, and the verdict.
"""
