"""
Carries out what `ingest` cannot decide without: fetches a certificate, visits a URL, and has the message judged again.

Senders decide when there is something to fetch, so little is done for them: few errands at once, each with a deadline and
a cap, each certificate once for all who wait for it, and one that could not be had not again for a while.
"""

from __future__ import annotations

import asyncio
import logging

from gateway.clock import Clock
from gateway.errands import Errand, Fetched
from gateway.errors import DeliveryError
from gateway.http import Client
from gateway.ingest import Admission, Answer, Ingest
from gateway.store.base import Draft

AT_ONCE = 16
PAUSE = 10.0
"""Seconds for which what came of fetching a certificate is remembered, also where it was of no use."""
_MOST_RECENT = 64
_MOST_ERRANDS = 3
_OFF = "GATEWAY_FETCH_DEADLINE is 0, so nothing is fetched"
_log = logging.getLogger("gateway.fetching")


class Fetching:
    """The errands of one web process; without a client they are all in vain."""

    def __init__(self, ingest: Ingest, client: Client | None, clock: Clock) -> None:
        self._ingest, self._client, self._clock = ingest, client, clock
        self._under_way: dict[Errand, asyncio.Task[Fetched]] = {}
        self._recent: dict[Errand, tuple[float, Fetched]] = {}
        self._visits = 0

    async def judged(self, admission: Admission, body: bytes, errand: Errand) -> Draft | Answer:
        """What becomes of a message after this errand, and those that follow from it."""
        for _ in range(_MOST_ERRANDS):
            verdict = self._ingest.finish(admission, body, await self._fetched(errand))
            if not isinstance(verdict, Errand):
                return verdict
            errand = verdict
        return self._ingest.try_later()  # its certificate is pushed out as soon as it is there

    async def _fetched(self, errand: Errand) -> Fetched:
        recent = self._recent.get(errand)
        if recent is not None and self._clock.monotonic() < recent[0]:
            return recent[1]
        task = self._under_way.get(errand)
        if task is None and len(self._under_way) + self._visits >= AT_ONCE:
            return Fetched(errand, trouble=f"{AT_ONCE} others are being fetched")
        if errand.kind == "visit":
            self._visits += 1
            try:
                return await self._fetch(errand)
            finally:
                self._visits -= 1
        if task is None:
            task = self._under_way[errand] = asyncio.get_running_loop().create_task(self._remembered(errand))
            task.add_done_callback(lambda _: self._under_way.pop(errand, None))
        return await asyncio.shield(task)  # one who goes away must not take it from the others

    async def _remembered(self, errand: Errand) -> Fetched:
        fetched = await self._fetch(errand)
        if len(self._recent) >= _MOST_RECENT:
            del self._recent[next(iter(self._recent))]
        self._recent[errand] = self._clock.monotonic() + PAUSE, fetched
        return fetched

    async def _fetch(self, errand: Errand) -> Fetched:
        if self._client is None:
            return Fetched(errand, trouble=_OFF)
        try:
            answer = await self._client.get(errand.url)
        except DeliveryError as error:
            return Fetched(errand, trouble=str(error))
        except Exception:  # noqa: BLE001  what a server answers must not be able to lose the message
            _log.exception("a %s could not be fetched", errand.kind)
            return Fetched(errand, trouble="an error of the gateway's; its log says which")
        if answer.cut:
            return Fetched(errand, trouble="the answer is too long")
        return Fetched(errand, answer.status, answer.body if errand.kind == "certificate" else b"")
