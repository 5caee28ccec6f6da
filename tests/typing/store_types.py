# SPDX-License-Identifier: MIT
"""Type-checked, not run: the store in SQLite is a Store."""

from heartfelt.monitor.store import Store
from heartfelt.monitor.store.sqlite import SqliteStore

store: Store = SqliteStore("heartfelt.db")
