# SPDX-License-Identifier: MIT
"""The web panel: static files, and one page for all paths that its router knows. Plain ES modules, nothing is built.

Everything is read once, at the start; an answer costs a lookup. The policy allows scripts, styles and connections of
this host only, and nothing inline: what a stranger writes into its metadata can be shown, but not run.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from heartfelt.monitor.problems import Problem
from heartfelt.monitor.reasons import panel_module
from heartfelt.monitor.web.api.endpoint import problem_response

CSP = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "font-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
PAGES = (
    "/", "/instances", "/instances/{id:int}", "/services", "/events", "/webhooks", "/tokens", "/settings",
)  # fmt: skip
"""The paths of lib/router.js."""
FILES = "/panel/{name:path}"
OF_PROGRAMS = frozenset({"api", "sermant", "ping", "panel", "metrics", "healthz", "readyz"})
"""Whatever begins with these is asked for by programs, so a wrong path there is a problem document, not a page."""

MADE = {"words/reasons.js": panel_module()}
"""Modules that stand in no file here: the catalogue of reasons is the monitor's own."""

_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
    ".txt": "text/plain; charset=utf-8",
}
_NOT = re.compile(r"(?:^|;)\s*q\s*=\s*0(?:\.0*)?\s*(?:;|$)", re.IGNORECASE)
_PAGE_METHODS = ["GET", "HEAD", "OPTIONS"]
_ALWAYS = "no-cache"  # kept, but asked for each time: a 304 if it is the same
_FOR_GOOD = "public, max-age=31536000, immutable"  # the version stands in the name


@dataclass(frozen=True, slots=True)
class _File:
    body: bytes
    etag: str
    media: str
    cache: str

    def answer(self, request: Request) -> Response:
        headers = {"ETag": self.etag, "Cache-Control": self.cache, "Content-Security-Policy": CSP}
        wanted = request.headers.get("if-none-match", "")
        if self.etag in (one.strip().removeprefix("W/") for one in wanted.split(",")):
            return Response(status_code=304, headers=headers)
        return Response(self.body, media_type=self.media, headers=headers)


def read_files(folder: Path | None = None, *, base: str = "") -> dict[str, _File]:
    """All that is served, by its path below /panel/. base: the path below which a proxy serves the monitor. Blocks.

    Only the page names its files by whole paths, since it is served at several depths. Modules find theirs, and the
    base, from their own addresses (lib/base.js).
    """
    folder = folder or Path(__file__).parent
    found = {}
    for path in sorted(folder.rglob("*")):
        if path.suffix in _TYPES and path.is_file():
            body = path.read_bytes()
            if path.suffix == ".html":
                body = body.replace(b'"/panel/', f'"{base}/panel/'.encode())
            name = path.relative_to(folder).as_posix()
            cache = _FOR_GOOD if name.startswith("vendor/") else _ALWAYS
            found[name] = _File(body, _etag(body), _TYPES[path.suffix], cache)
    for name, body in MADE.items():
        found[name] = _File(body, _etag(body), _TYPES[".js"], _ALWAYS)
    return found


def _etag(body: bytes) -> str:
    return f'"{hashlib.sha256(body).hexdigest()[:32]}"'


def wants_page(request: Request) -> bool:
    """Whether somebody typed or followed this address, and so is to be shown a page even if there is none."""
    first = request.scope["path"].lstrip("/").partition("/")[0]
    if request.method not in ("GET", "HEAD") or first in OF_PROGRAMS:
        return False
    accepted = (one.partition(";") for one in request.headers.get("accept", "").split(","))
    return any(kind.strip().lower() == "text/html" and not _NOT.search(more) for kind, _, more in accepted)


def no_such_page(files: dict[str, _File]) -> Response:
    """The panel, which says that there is no such page, and leads back."""
    index = files["index.html"]
    headers = {"Cache-Control": "no-store", "Content-Security-Policy": CSP}
    return Response(index.body, status_code=404, media_type=index.media, headers=headers)


def panel_routes(files: dict[str, _File]) -> list[Route]:
    index = files["index.html"]

    async def page(request: Request) -> Response:
        if request.method == "OPTIONS":  # HAProxy's check, if it is given no path, is `OPTIONS /`
            return Response(status_code=204, headers={"Allow": ", ".join(_PAGE_METHODS)})
        return index.answer(request)

    async def file(request: Request) -> Response:
        found = files.get(request.path_params["name"])
        if found is None:
            return problem_response(Problem(404, "no_such_path", f"there is no {request.url.path!r} in the panel"))
        return found.answer(request)

    return [*(Route(path, page, methods=_PAGE_METHODS) for path in PAGES), Route(FILES, file)]
