# SPDX-License-Identifier: MIT
"""Sockets, host names, TLS and HTTP for the agent and the command line; standard library only.

Everything here is synchronous and bounded: each wait has a deadline, and each answer a largest size.

| module | what it has |
|---|---|
| `resolver` | looking up host names, each on a thread of its own, so that no caller waits longer than it wants to |
| `connection` | a TCP or UDP socket, with or without TLS, whose waits have deadlines and can be cancelled |
| `http` | HTTP/1.1 messages: building a request, reading an answer |
| `http_client` | requests over a connection that is kept open |
| `url`, `tls`, `token` | checking what users configure |
| `explain` | error messages for people |
"""
