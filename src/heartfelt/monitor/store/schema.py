# SPDX-License-Identifier: MIT
"""The tables, their version, and the check of a file before it is touched.

The header of the file says which program owns it (`application_id`) and which version it has (`user_version`). It is
first read as bytes, since SQLite writes to a file merely by opening it: it copies a left-over WAL into it. A new file
gets its tables and its header in one transaction before it is switched to WAL, so that the header is never only in the
WAL.
"""

from __future__ import annotations

import errno
import os
import sqlite3
import stat
import struct
from pathlib import Path

from heartfelt.errors import StoreError

APPLICATION_ID = 0x48465354  # "HFST"
VERSION = 3

_MAGIC = b"SQLite format 3\0"
_USER_VERSION_AT, _APPLICATION_ID_AT, _HEADER_BYTES = 60, 68, 100

# Migrates a file from the previous version to this one; the first creates a new file. Never edit a released step.
_STEPS: dict[int, str] = {
    1: """
CREATE TABLE meta (name TEXT PRIMARY KEY, value NOT NULL) WITHOUT ROWID;

CREATE TABLE instances (
    id INTEGER PRIMARY KEY, service TEXT NOT NULL, instance_id TEXT NOT NULL, state TEXT NOT NULL,
    since_ms INTEGER NOT NULL, reason TEXT NOT NULL, first_seen_ms INTEGER NOT NULL, last_beat_ms INTEGER NOT NULL,
    meta TEXT NOT NULL, via TEXT NOT NULL, peer TEXT NOT NULL, interval_ms INTEGER, timeout_ms INTEGER,
    skew_ms INTEGER, lag_ms INTEGER, paused_until_ms INTEGER);
-- The beats of an instance are written often and alone: narrow rows, apart from the wide ones.
CREATE TABLE beats (id INTEGER PRIMARY KEY, last_beat_ms INTEGER NOT NULL);

CREATE TABLE changes (
    seq INTEGER PRIMARY KEY, time_ms INTEGER NOT NULL, id INTEGER NOT NULL, service TEXT NOT NULL,
    instance_id TEXT NOT NULL, old TEXT, new TEXT NOT NULL, level INTEGER NOT NULL, reason TEXT NOT NULL,
    outage_ms INTEGER, ip TEXT NOT NULL);
-- An index ends with the row's number, so each gives its rows in that order.
CREATE INDEX changes_id ON changes (id);
CREATE INDEX changes_service ON changes (service);

CREATE TABLE events (
    number INTEGER PRIMARY KEY AUTOINCREMENT, time_ms INTEGER NOT NULL, received_ms INTEGER NOT NULL,
    service TEXT NOT NULL, instance_id TEXT NOT NULL, ip TEXT NOT NULL, scope TEXT NOT NULL, level INTEGER NOT NULL,
    type TEXT NOT NULL, name TEXT NOT NULL, info TEXT NOT NULL);
CREATE INDEX events_time ON events (time_ms);
CREATE INDEX events_service ON events (service);
CREATE INDEX events_instance ON events (instance_id);
CREATE INDEX events_ip ON events (ip);
CREATE INDEX events_level ON events (level);
CREATE INDEX events_type ON events (type);
CREATE INDEX events_name ON events (name);

CREATE TABLE days (
    day INTEGER NOT NULL, service TEXT NOT NULL, watched_s REAL NOT NULL, up_s REAL NOT NULL, losses INTEGER NOT NULL,
    PRIMARY KEY (day, service)) WITHOUT ROWID;
CREATE TABLE heat (
    service TEXT NOT NULL, minute_ms INTEGER NOT NULL, total INTEGER NOT NULL, up INTEGER NOT NULL,
    PRIMARY KEY (service, minute_ms)) WITHOUT ROWID;
CREATE INDEX heat_minute ON heat (minute_ms);

CREATE TABLE documents (
    kind TEXT NOT NULL, name TEXT NOT NULL, value TEXT NOT NULL, PRIMARY KEY (kind, name)) WITHOUT ROWID;

-- state: 0 waiting, 1 claimed, 2 done, 3 failed. next_ms: when it may be claimed; if claimed, when the claim ends.
CREATE TABLE outbox (
    number INTEGER PRIMARY KEY AUTOINCREMENT, target TEXT NOT NULL, key TEXT NOT NULL, payload TEXT NOT NULL,
    created_ms INTEGER NOT NULL, attempts INTEGER NOT NULL DEFAULT 0, state INTEGER NOT NULL DEFAULT 0,
    next_ms INTEGER NOT NULL, answer TEXT NOT NULL DEFAULT '', UNIQUE (target, key));
CREATE INDEX outbox_active ON outbox (target, number) WHERE state < 2;
CREATE INDEX outbox_target ON outbox (target);
""",
    # Reasons are a code and arguments. `reason` keeps the words of those that are "text", as all rows before are.
    2: """
ALTER TABLE instances ADD COLUMN reason_code TEXT NOT NULL DEFAULT 'text';
ALTER TABLE instances ADD COLUMN reason_args TEXT NOT NULL DEFAULT '{}';
ALTER TABLE changes ADD COLUMN reason_code TEXT NOT NULL DEFAULT 'text';
ALTER TABLE changes ADD COLUMN reason_args TEXT NOT NULL DEFAULT '{}';
""",
    # Runs, acknowledgements, periods, events in the order of their times, and what is expected: all that beat by
    # their key until now are.
    3: """
ALTER TABLE instances ADD COLUMN before_pause TEXT;
ALTER TABLE instances ADD COLUMN ack TEXT;
ALTER TABLE instances ADD COLUMN down_since_ms INTEGER;
ALTER TABLE instances ADD COLUMN expected INTEGER NOT NULL DEFAULT 0;
ALTER TABLE instances ADD COLUMN expected_by TEXT NOT NULL DEFAULT 'SERVICE';
ALTER TABLE instances ADD COLUMN every_ms INTEGER;
ALTER TABLE instances ADD COLUMN grace_ms INTEGER;
ALTER TABLE instances ADD COLUMN period_ms INTEGER;
ALTER TABLE instances ADD COLUMN is_job INTEGER NOT NULL DEFAULT 0;
ALTER TABLE instances ADD COLUMN min_duration_ms INTEGER;
ALTER TABLE instances ADD COLUMN max_duration_ms INTEGER;
UPDATE instances SET expected = 1, expected_by = 'KEY' WHERE via = 'ping' OR (via = 'udp' AND meta = '{}');
-- What people were told before a pause, and whether it has beaten since: only its changes say so.
UPDATE instances SET before_pause = (
    SELECT CASE WHEN old NOT IN ('LOST', 'LEFT') THEN NULL WHEN last_beat_ms > since_ms THEN 'UP' ELSE old END
    FROM changes WHERE changes.id = instances.id AND new = 'PAUSED' ORDER BY seq DESC LIMIT 1)
    WHERE state = 'PAUSED';

-- result: the index in RunResult; a run that is 0 (running) or 5 (overdue) may have no end.
CREATE TABLE runs (
    number INTEGER PRIMARY KEY, id INTEGER NOT NULL, rid TEXT NOT NULL, begin_ms INTEGER, end_ms INTEGER,
    result INTEGER NOT NULL, status INTEGER, duration_ms INTEGER, text TEXT NOT NULL, deadline_ms INTEGER,
    liveness_ms INTEGER);
CREATE INDEX runs_id ON runs (id);
CREATE INDEX runs_open ON runs (number) WHERE end_ms IS NULL;

-- Events are listed by the time of their senders, who report them late. One whose clock is ahead is listed by when it
-- was received, so that it does not stay on top. scope is '' where has_scope is 0: a Sermant agent gave none.
ALTER TABLE events ADD COLUMN at_ms INTEGER AS (min(time_ms, received_ms));
ALTER TABLE events ADD COLUMN has_scope INTEGER NOT NULL DEFAULT 1;
DROP INDEX events_service; DROP INDEX events_instance; DROP INDEX events_ip;
DROP INDEX events_level; DROP INDEX events_type; DROP INDEX events_name;
CREATE INDEX events_at ON events (at_ms);
CREATE INDEX events_service ON events (service, at_ms);
CREATE INDEX events_instance ON events (instance_id, at_ms);
CREATE INDEX events_ip ON events (ip, at_ms);
CREATE INDEX events_level ON events (level, at_ms);
CREATE INDEX events_type ON events (type, at_ms);
CREATE INDEX events_name ON events (name, at_ms);
-- Days until now keep their times, which are samples of each minute.
ALTER TABLE days ADD COLUMN observed_s REAL NOT NULL DEFAULT 0;
ALTER TABLE days ADD COLUMN available_s REAL NOT NULL DEFAULT 0;
ALTER TABLE days ADD COLUMN failures INTEGER NOT NULL DEFAULT 0;

-- A delivery waits for the earlier ones of its target and subject: until they are settled, its next_ms is the largest
-- integer. Triggers see to that, so that it holds whoever settles or deletes the earlier one. level: the index in
-- Level; the earlier ones of a subject are at least as urgent as the later ones. What waited before stays in order.
ALTER TABLE outbox ADD COLUMN subject TEXT NOT NULL DEFAULT '';
ALTER TABLE outbox ADD COLUMN level INTEGER NOT NULL DEFAULT 2;
DROP INDEX outbox_active;
CREATE INDEX outbox_due ON outbox (target, level, next_ms) WHERE state < 2;
CREATE INDEX outbox_subject ON outbox (target, subject) WHERE state < 2;
UPDATE outbox SET next_ms = 9223372036854775807 WHERE state < 2
    AND number NOT IN (SELECT min(number) FROM outbox WHERE state < 2 GROUP BY target);
CREATE TRIGGER outbox_waits AFTER INSERT ON outbox WHEN EXISTS (
    SELECT 1 FROM outbox WHERE state < 2 AND target = new.target AND subject = new.subject AND number < new.number)
BEGIN
    UPDATE outbox SET next_ms = 9223372036854775807 WHERE number = new.number;
    UPDATE outbox SET level = new.level
    WHERE state < 2 AND target = new.target AND subject = new.subject AND level > new.level;
END;
CREATE TRIGGER outbox_settled AFTER UPDATE OF state ON outbox WHEN old.state < 2 AND new.state >= 2
BEGIN
    UPDATE outbox SET next_ms = created_ms WHERE next_ms = 9223372036854775807 AND number = (
        SELECT min(number) FROM outbox WHERE state < 2 AND target = old.target AND subject = old.subject);
END;
CREATE TRIGGER outbox_deleted AFTER DELETE ON outbox WHEN old.state < 2
BEGIN
    UPDATE outbox SET next_ms = created_ms WHERE next_ms = 9223372036854775807 AND number = (
        SELECT min(number) FROM outbox WHERE state < 2 AND target = old.target AND subject = old.subject);
END;

-- The instances that are down as far as each target was told: it is told of their recovery. keys: of the deliveries
-- that told it, as JSON. All targets that exist before this version count as told.
CREATE TABLE told (
    target TEXT NOT NULL, service TEXT NOT NULL, instance_id TEXT NOT NULL, keys TEXT NOT NULL,
    PRIMARY KEY (target, service, instance_id)) WITHOUT ROWID;
INSERT INTO told SELECT name, service, instance_id, '[]' FROM documents, instances
    WHERE kind = 'webhook' AND state IN ('LOST', 'STUCK');
""",
}


def check_file(path: Path) -> None:
    """Raises StoreError if the file is not ours, or if its version is newer than VERSION. Only reads."""
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise StoreError(f"{path} is not a file; {_REMEDY}")
        with path.open("rb") as file:
            header = file.read(_HEADER_BYTES)
    except FileNotFoundError:
        return
    except OSError as error:
        remedy = "run this as the monitor's user" if isinstance(error, PermissionError) else _REMEDY
        raise StoreError(f"{path} cannot be read: {error.strerror}; {remedy}") from error
    if not header:
        return
    if len(header) < _HEADER_BYTES or not header.startswith(_MAGIC):
        raise StoreError(f"{path} is not an SQLite file and was not changed; {_REMEDY}")
    (application,) = struct.unpack_from(">I", header, _APPLICATION_ID_AT)
    (version,) = struct.unpack_from(">I", header, _USER_VERSION_AT)
    if application != APPLICATION_ID:
        raise StoreError(f"{path} is the SQLite file of another program and was not changed; {_REMEDY}")
    if version > VERSION:
        raise StoreError(
            f"{path} was written by a newer heartfelt (schema {version}, this version supports {VERSION}) and was not "
            "changed; install that version again, or use another data folder"
        )


_REMEDY = "move it away, or use another data folder"


def create_folder(path: Path) -> None:
    """Creates the folder of the file so that only its owner may look into it. An existing one keeps its mode."""
    folder = path.parent
    try:
        if not folder.is_dir():
            folder.parent.mkdir(parents=True, exist_ok=True)
            folder.mkdir(mode=0o700, exist_ok=True)
        elif not path.exists() and not os.access(folder, os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    except OSError as error:
        raise _unwritable(path, error) from error


def create_file(path: Path) -> None:
    """Creates the file so that only its owner may read it: it contains hashes of tokens and URLs of webhooks."""
    create_folder(path)
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
    except OSError as error:
        raise _unwritable(path, error) from error


def _unwritable(path: Path, error: OSError) -> StoreError:
    return StoreError(
        f"{path} cannot be opened for writing: {error.strerror}; let the monitor's user write there, or use another "
        "data folder"
    )


def prepare(connection: sqlite3.Connection) -> None:
    """Migrates the tables to VERSION, each step in a transaction, and switches to WAL. `check_file` must have checked
    the file."""
    version = make_tables(connection, VERSION)
    connection.execute("PRAGMA journal_mode = WAL").fetchone()
    if version != VERSION:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()


def make_tables(connection: sqlite3.Connection, version: int) -> int:
    """Migrates the tables to a version, and returns the version that they had; 0: there were none."""
    (before,) = connection.execute("PRAGMA user_version").fetchone()
    if before == 0:
        connection.execute("PRAGMA auto_vacuum = INCREMENTAL")  # has an effect only before the first table
    for step in range(before + 1, version + 1):
        connection.executescript(
            f"BEGIN IMMEDIATE;{_STEPS[step]}"
            f"PRAGMA application_id = {APPLICATION_ID};PRAGMA user_version = {step};COMMIT;"
        )
    return int(before)


def configure(connection: sqlite3.Connection, *, busy_ms: int) -> None:
    """Configures a connection that writes. NORMAL: committed data survives any end of the process; a power cut may lose
    the last moments, but does not damage the file."""
    for pragma in (
        f"busy_timeout = {busy_ms}",
        "synchronous = NORMAL",
        "foreign_keys = ON",
        "secure_delete = OFF",
        "cache_size = -32768",
        "journal_size_limit = 67108864",
        "temp_store = MEMORY",
    ):
        connection.execute(f"PRAGMA {pragma}")
