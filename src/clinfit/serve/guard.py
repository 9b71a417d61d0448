"""What every request passes before and after its route: names, origins, headers, times, log, audit, and what is said
of what nobody expected. Written on ASGI itself, so that streams pass unbuffered."""

import asyncio
import logging
import re
import time
from collections.abc import Mapping, MutableMapping
from typing import Any
from uuid import uuid4

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from clinfit.runs.steps.failures import failure_of
from clinfit.serve.problems import Problem, no_key
from clinfit.serve.security import is_own_host, is_own_origin
from clinfit.serve.service import Service

log = logging.getLogger("clinfit.serve")

#: Nothing from elsewhere, no script and no style but our files, nobody's frame.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}
REQUEST_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")
SAFE_METHODS = ("GET", "HEAD", "OPTIONS")
#: Methods as they are counted; others are one.
METHODS = (*SAFE_METHODS, "POST", "DELETE", "PUT", "PATCH")


class Guard:
    """The outermost layer of the application."""

    def __init__(self, app: ASGIApp, service: Service) -> None:
        self._app, self._service = app, service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        headers = Headers(scope=scope)
        given = headers.get("x-request-id", "")
        state: MutableMapping[str, Any] = scope.setdefault("state", {})
        state["request_id"] = given if REQUEST_ID.fullmatch(given) else uuid4().hex
        began, status, started = time.perf_counter(), 500, False

        async def guarded(message: Message) -> None:
            nonlocal status, started
            if message["type"] == "http.response.start":
                status, started = message["status"], True
                answer = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    answer.setdefault(name, value)
                answer["X-Request-Id"] = state["request_id"]
            await send(message)

        try:
            refused = self._refused(scope, headers)
            if refused is not None:
                self._service.metrics.count("clinfit_refused_total", reason=refused.code)
                return await refused.response(state["request_id"], scope["path"])(scope, receive, guarded)
            limited = _limited(receive, self._most(scope), self._service.settings.body_seconds)
            await self._app(scope, limited, guarded)
        except Exception as error:
            log.error("request %s: %s", state["request_id"], failure_of(error).reason)
            if not started:
                problem = Problem("failed", "the log tells more under this request's id")
                await problem.response(state["request_id"], scope["path"])(scope, receive, guarded)
        finally:
            self._tell(scope, state, status, time.perf_counter() - began)
        return None

    def _refused(self, scope: Scope, headers: Headers) -> Problem | None:
        if not is_own_host(headers.get("host", ""), self._service.hosts):
            return Problem("wrong-host", "name the service's hosts with --allow-host")
        if scope["method"] not in SAFE_METHODS and not is_own_origin(headers):
            return Problem("other-origin", "ask from the service's own page, or from a program")
        if scope["method"] not in SAFE_METHODS and self._service.keys.holder(headers.get("authorization")) is None:
            return no_key()  # every route that takes a body needs one; the body of a stranger is not read
        length, most = headers.get("content-length", ""), self._most(scope)
        if length.isdecimal() and int(length[:18]) > most:
            return Problem("too-large", f"at most {most} bytes")
        return None

    def _most(self, scope: Scope) -> int:
        """Bytes that a request to this address may have."""
        settings = self._service.settings
        return settings.table_bytes if scope["path"] == "/v1/jobs" else settings.body_bytes

    def _tell(self, scope: Scope, state: MutableMapping[str, Any], status: int, seconds: float) -> None:
        """By the route's pattern: an address may hold an id, or whatever somebody typed."""
        route = getattr(scope.get("route"), "path", None) or "other"
        method = scope["method"] if scope["method"] in METHODS else "other"
        self._service.metrics.count("clinfit_requests_total", route=route, method=method, status=str(status))
        self._service.metrics.time(seconds, route)
        told = {name: state[name] for name in ("model", "pack", "items", "job") if name in state}
        log.info("%s %s %d %.1f ms %s", method, route, status, 1000 * seconds, state["request_id"])
        if scope["method"] not in SAFE_METHODS or status in (401, 403) or "job" in told:
            self._audit(
                {
                    "request": state["request_id"],
                    "key": state.get("key"),
                    "method": method,
                    "route": route,
                    "status": status,
                    "ms": round(1000 * seconds, 1),
                    **told,
                }
            )

    def _audit(self, entry: Mapping[str, Any]) -> None:
        """The answer has been sent: a disk that is full, or a file that was closed, is the log's matter."""
        try:
            self._service.audit.write(entry)
        except (OSError, ValueError) as error:
            log.error("request %s was not audited: %s", entry["request"], type(error).__name__)


def _limited(receive: Receive, most: int, seconds: float) -> Receive:
    """Counts what really comes, whatever the header said, and how long it takes to come whole."""
    got, coming = 0, True
    ends = asyncio.get_running_loop().time() + seconds

    async def counted() -> Message:
        nonlocal got, coming
        try:
            async with asyncio.timeout_at(ends if coming else None):  # behind the body comes the end of the connection
                message = await receive()
        except TimeoutError:
            raise HTTPException(408) from None
        got += len(message.get("body", b""))
        coming = message.get("more_body", False)
        if got > most:
            raise HTTPException(413)
        return message

    return counted
