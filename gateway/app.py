"""
The ASGI app: the first page, the health pages, and the ingest front for any ASGI server. No logic.

Under `protocol.Front` messages come here only when they are pipelined; under any other server they all do.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, MutableMapping, Sequence
from http import HTTPStatus
from typing import Any, cast
from urllib.parse import quote

import msgspec
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from gateway import web
from gateway.clock import Clock
from gateway.endpoints import PREFIX
from gateway.errands import Errand
from gateway.errors import StoreError
from gateway.fetching import Fetching
from gateway.ingest import BAD_REQUEST, TIMED_OUT, Admission, Answer, Ingest
from gateway.metrics import CONTENT_TYPE, GatewayMetrics
from gateway.own_alerts import LATE, backlog_of
from gateway.store.base import Draft, Journal, Receipt, State

_PREFIX = PREFIX.decode()
_log = logging.getLogger("gateway.app")
_NO_STORE = {"cache-control": "no-store", "x-content-type-options": "nosniff"}


class _Gone(Exception):  # noqa: N818 - it never leaves this module
    """The sender went away before its request was complete."""


class IngestASGI:
    """The ingest front for any ASGI server: `/POSTAlert/…`. `body_deadline` is in seconds."""

    def __init__(self, ingest: Ingest, journal: Journal, fetching: Fetching, *, body_deadline: float = 15.0) -> None:
        self._ingest, self._journal, self._fetching = ingest, journal, fetching
        self._body_deadline = body_deadline

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            return
        try:
            answer = await self._answer(scope, receive)
        except _Gone:
            self._ingest.counts.disconnected += 1
            return
        except Exception:  # noqa: BLE001  a bug of ours costs the sender a second try, not the message
            _log.exception("a message could not be taken; the sender is told to come again")
            answer = self._ingest.try_later()
        headers = answer.headers
        if answer.status in (BAD_REQUEST.status, TIMED_OUT.status, HTTPStatus.REQUEST_ENTITY_TOO_LARGE):
            headers.append((b"connection", b"close"))  # there may be more of the body, and nobody wants it
        await send({"type": "http.response.start", "status": answer.status, "headers": headers})
        await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else answer.body})

    async def _answer(self, scope: Scope, receive: Receive) -> Answer:
        path = cast("bytes", scope.get("raw_path") or quote(scope["path"]).encode())
        query = cast("bytes", scope.get("query_string", b""))
        target = path + b"?" + query if query else path
        headers = list(scope["headers"])  # uvicorn adds the trailers to its own list, which are no headers
        begun = self._ingest.begin(scope["method"].encode(), target, headers)
        if not isinstance(begun, Admission):
            return begun
        try:
            async with asyncio.timeout(self._body_deadline):
                body = await self._body(receive)
        except TimeoutError:
            self._ingest.counts.refuse(TIMED_OUT.status)
            return TIMED_OUT
        verdict = self._ingest.finish(begun, body)
        if isinstance(verdict, Errand):
            verdict = await self._fetching.judged(begun, body, verdict)
        if not isinstance(verdict, Draft):
            return verdict
        outcome = await self._stored(verdict)
        if isinstance(outcome, Receipt):
            return self._ingest.accepted(outcome, len(body))
        return self._ingest.busy(outcome)

    async def _body(self, receive: Receive) -> bytes:
        body = bytearray()
        while len(body) <= self._ingest.max_body:  # a byte more is enough for `finish` to refuse it
            message = await receive()
            if message["type"] == "http.disconnect":
                raise _Gone
            body += message.get("body", b"")
            if not message.get("more_body", False):
                break
        return bytes(body)

    async def _stored(self, draft: Draft) -> Receipt | StoreError:
        told: asyncio.Future[Receipt | StoreError] = asyncio.get_running_loop().create_future()

        def done(outcome: Receipt | StoreError) -> None:
            if not told.done():  # it is, where the sender went away meanwhile
                told.set_result(outcome)

        try:
            self._journal.append(draft, done)
        except StoreError as error:
            return error
        return await told


class Health:
    """`/healthz`, `/readyz`, `/metrics`. `trouble` says what is wrong with the journal, None where nothing is."""

    def __init__(
        self, ingest: Ingest, journal: Journal, state: State, clock: Clock, trouble: Callable[[], str | None]
    ) -> None:
        self._journal, self._state, self._clock, self._trouble = journal, state, clock, trouble
        self._metrics = GatewayMetrics(ingest.counts)

    async def healthz(self, _: Request) -> Response:
        """Whether this process is alive."""
        return _json({"status": "ok"})

    async def readyz(self, _: Request) -> Response:
        """Whether messages are accepted, and read soon."""
        reasons = [trouble] if (trouble := self._trouble()) else []
        behind = 0
        try:
            behind, oldest = await backlog_of(self._journal, await self._state.cursor())
            if oldest is not None and (age := self._clock.now() - oldest) > LATE:
                reasons.append(f"the worker is {behind} messages behind; the oldest waits for {age // 1000} s")
        except StoreError as error:
            reasons.append(str(error))
        status = "not ready" if reasons else "ready"
        return _json({"status": status, "reasons": reasons, "backlog": behind}, 503 if reasons else 200)

    async def metrics(self, _: Request) -> Response:
        """Figures for Prometheus; those of a store that cannot be read are left out."""
        try:
            counts, head = await self._state.counts(), await self._journal.head()
        except StoreError:
            counts, head = None, 0
        return Response(self._metrics.text(counts, head), media_type=CONTENT_TYPE, headers=_NO_STORE)


def create_app(
    *,
    ingest: Ingest,
    journal: Journal,
    fetching: Fetching,
    state: State,
    clock: Clock,
    trouble: Callable[[], str | None] = lambda: None,
    routes: Sequence[BaseRoute] = (),
    body_deadline: float = 15.0,
) -> ASGIApp:
    """The app. `routes` are those of the REST API and of plugins; they come after ours."""
    health = Health(ingest, journal, state, clock, trouble)
    page = web.index()

    async def index(_: Request) -> Response:
        return Response(page.body, headers=page.headers)

    app = Starlette(
        routes=[
            Route("/", index),
            Route("/healthz", health.healthz),
            Route("/readyz", health.readyz),
            Route("/metrics", health.metrics),
            *routes,
        ],
        exception_handlers={HTTPException: _http_error, 500: _our_error},
    )
    app.router.redirect_slashes = False
    return _Door(IngestASGI(ingest, journal, fetching, body_deadline=body_deadline), app)


class _Door:
    """Messages go to the left, past the router, which costs as much as all else; everything else goes to the right."""

    def __init__(self, ingest: ASGIApp, pages: ASGIApp) -> None:
        self._ingest, self._pages = ingest, pages

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"].startswith(_PREFIX):
            await self._ingest(scope, receive, send)
            return
        try:
            await self._pages(scope, receive, send)
        except ClientDisconnect:  # that a sender went away is no error of ours, and needs no traceback
            return


async def _http_error(_: Request, error: Exception) -> Response:
    status, headers = 500, None
    if isinstance(error, HTTPException):
        status, headers = error.status_code, error.headers
    phrase = HTTPStatus(status).phrase
    code, message = (
        phrase.lower().replace(" ", "_"),
        "there is nothing here" if status == HTTPStatus.NOT_FOUND else phrase,
    )
    response = _json({"error": {"code": code, "message": message}}, status)
    response.headers.update(headers or {})
    return response


async def _our_error(_: Request, __: Exception) -> Response:
    return _json({"error": {"code": "unexpected", "message": "an error of the gateway's; its log says which"}}, 500)


def _json(value: MutableMapping[str, Any], status: int = 200) -> Response:
    return Response(msgspec.json.encode(value), status, media_type="application/json", headers=_NO_STORE)
