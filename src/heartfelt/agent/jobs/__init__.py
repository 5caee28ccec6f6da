# SPDX-License-Identifier: MIT
"""Jobs: reports to a monitor when a run of a job starts, that it makes progress, and how it ends.

`client` makes single calls to a monitor, `outbox` sends pings from a thread of its own, `runs` is what users call.
"""

from __future__ import annotations

from heartfelt.agent.jobs.runs import Job, JobRun, JobStats, flush, job

__all__ = ["Job", "JobRun", "JobStats", "flush", "job"]
