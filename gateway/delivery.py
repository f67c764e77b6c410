"""
What is due is claimed, attempted, and settled: delivered, tried again later, or given up.

Attempts run side by side, at most `PER_TARGET` to one address and `IN_FLIGHT` in all, so that an address that hangs
takes a few places and holds up nobody else. Whatever has ended since the last look is settled in one transaction, and
the free places are filled in the next: under load the batches grow by themselves, without a timer.

Each notification is delivered at least once. The gateway that is killed between an attempt and its settlement tries
again after its start, under the same id.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from collections.abc import Callable, Mapping

import msgspec

from gateway.clock import Clock
from gateway.config import Settings
from gateway.errors import DeliveryError, PermanentDeliveryError, StoreBusyError, TemporaryDeliveryError
from gateway.faults import NO_FAULTS, Faults
from gateway.models import Attempt, Notification
from gateway.notifiers.base import Notifier, Sent, excerpt
from gateway.store.base import State
from gateway.wake import Wake

IN_FLIGHT = 256
"""How many attempts are under way at a time."""
PER_TARGET = 4
"""How many of them to one address."""
PAUSE_LIMIT = 3600.0
"""The longest pause, in seconds, that a target may ask for."""
STOP_DEADLINE = 5.0
"""How long attempts may go on once delivery is told to stop, in seconds."""

_POLL = 1.0
_BLOCKED_POLL = 0.5
_BUSY_PAUSE = 0.2
_SLACK = 1.0
_LEASE_SLACK = 60.0
_POINTLESS = "the alert was taken or closed before it was due"

_log = logging.getLogger(__name__)


class Delivery:
    """
    The loop that delivers. `notifiers` are by kind; the caller closes them.

    `wake` rings when there is something new; without it the state is looked at once a second. `jitter` gives a
    number from 0 to 1 for each pause between attempts.
    """

    def __init__(
        self,
        state: State,
        notifiers: Mapping[str, Notifier],
        settings: Settings,
        clock: Clock,
        faults: Faults = NO_FAULTS,
        wake: Wake | None = None,
        *,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._state = state
        self._notifiers = notifiers
        self._settings = settings
        self._clock = clock
        self._faults = faults
        self._wake = wake
        self._jitter = jitter
        self._running: set[asyncio.Task[None]] = set()
        self._ended: list[tuple[Attempt | None, Notification]] = []
        self._news = asyncio.Event()

    async def run(self, stop: asyncio.Event) -> None:
        """
        Deliver until `stop` is set, then let what is under way end, for `STOP_DEADLINE` seconds at most, and settle it.

        What does not end by then is tried again after the next start. Raises what the state raises, but StoreBusyError.
        """
        await self._release()
        ears = [asyncio.create_task(self._listen()), asyncio.create_task(self._hear_stop(stop))]
        try:
            while not stop.is_set():
                self._news.clear()
                pause = await self._round()
                if pause > 0:
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout(pause):
                            await self._news.wait()
        finally:
            for ear in ears:
                ear.cancel()
            await asyncio.gather(*ears, return_exceptions=True)
            await self._finish()

    async def _round(self) -> float:
        """Settle what has ended, fill the free places; how many seconds to wait if nothing is heard meanwhile."""
        try:
            await self._settle()
            return await self._claim()
        except StoreBusyError as error:
            _log.warning("the state is busy, delivery waits: %s", error)
            return _BUSY_PAUSE

    async def _settle(self) -> None:
        batch = self._ended[:]
        if not batch:
            return
        await self._state.settle(batch)
        del self._ended[: len(batch)]
        self._faults.point("delivery.after_mark")

    async def _claim(self) -> float:
        free = IN_FLIGHT - len(self._running) - len(self._ended)
        if free <= 0:
            return _POLL
        now = self._clock.now()
        lease_until = now + round((self._settings.attempt_deadline + _LEASE_SLACK) * 1000)
        claimed = await self._state.claim(now, limit=free, per_target=PER_TARGET, lease_until=lease_until)
        if claimed:
            self._faults.point("delivery.claimed")
        for notification in claimed:
            task = asyncio.create_task(self._deliver(notification))
            self._running.add(task)
            task.add_done_callback(self._done)
        if len(claimed) == free:
            return _POLL  # all places are taken: the next attempt that ends is heard
        due_at = await self._state.next_due()
        if due_at is None:
            return _POLL
        if due_at <= self._clock.now():
            # What is due and was not claimed waits for its target, and the end of an attempt there is heard.
            return _BLOCKED_POLL
        return min(_POLL, (due_at - self._clock.now()) / 1000)

    async def _deliver(self, notification: Notification) -> None:
        """One attempt, and what is to become of the notification."""
        at, started = self._clock.now(), self._clock.monotonic()
        code: int | None = None
        response = ""
        failure: DeliveryError | None = None
        try:
            if await self._is_pointless(notification):
                self._end(
                    None,
                    msgspec.structs.replace(
                        notification, status="withdrawn", finished_at=self._clock.now(), error=_POINTLESS
                    ),
                )
                return
            sent = await self._attempt(notification)
            code, response = sent.code, excerpt(sent.response)
        except DeliveryError as error:
            failure = error
            code, response = error.status, excerpt(error.response)
        attempt = Attempt(
            notification_id=notification.id,
            number=notification.attempts + 1,
            at=at,
            duration_ms=max(0, round((self._clock.monotonic() - started) * 1000)),
            code=code,
            error=None if failure is None else _said(failure),
            response=response,
        )
        self._end(attempt, self._settled(notification, failure))

    def _end(self, attempt: Attempt | None, notification: Notification) -> None:
        self._ended.append((attempt, notification))
        self._news.set()

    async def _attempt(self, notification: Notification) -> Sent:
        kind = notification.contact.kind
        notifier = self._notifiers.get(kind)
        if notifier is None:
            known = ", ".join(sorted(self._notifiers)) or "none"
            msg = f"no notifier is called {kind!r} (there are: {known}); install what brings it, or change the contact"
            raise PermanentDeliveryError(msg)
        limit = self._settings.attempt_deadline + _SLACK
        try:
            self._faults.point("delivery.before_send")
            async with asyncio.timeout(limit):
                sent = await notifier.send(notification)
            self._faults.point("delivery.after_send")
            if not isinstance(sent, Sent):
                msg = f"send() gave back {type(sent).__name__}, not Sent"
                raise TypeError(msg)  # noqa: TRY301 - it is one of the unexpected
        except DeliveryError:
            raise
        except TimeoutError:
            msg = f"{kind}: not done within {limit:g} seconds"
            raise TemporaryDeliveryError(msg) from None
        except BaseException as error:
            task = asyncio.current_task()
            if isinstance(error, asyncio.CancelledError) and task is not None and task.cancelling():
                raise
            # Its text may hold an address or a key; the class and the place in the code do not.
            _log.error("notifier %s failed on %s: %s%s", kind, notification.id, type(error).__name__, _place(error))
            msg = f"{kind}: the notifier failed with {type(error).__name__}"
            raise TemporaryDeliveryError(msg) from None
        return sent

    async def _is_pointless(self, notification: Notification) -> bool:
        """Whether this is a later step for an alert that needs nobody any more. What was tried before never is."""
        is_later_step = notification.kind == "opened" and notification.due_at > notification.created_at
        if notification.attempts or not is_later_step:
            return False
        try:
            alert = await self._state.alert(notification.alert_id)
            if alert is None or alert.status == "open":
                return False
            return not await self._state.attempts(notification.id)
        except StoreBusyError:
            return False

    def _settled(self, notification: Notification, failure: DeliveryError | None) -> Notification:
        now = self._clock.now()
        attempts = notification.attempts + 1
        replace = msgspec.structs.replace
        if failure is None:
            return replace(notification, status="delivered", attempts=attempts, finished_at=now, error=None)
        error = _said(failure)
        if isinstance(failure, PermanentDeliveryError):
            return replace(notification, status="dead", attempts=attempts, finished_at=now, error=error)
        if attempts >= self._settings.attempts:
            error = f"given up after {attempts} attempts: {error}"
            return replace(notification, status="dead", attempts=attempts, finished_at=now, error=error)
        pause = backoff(attempts, base=self._settings.retry_base, cap=self._settings.retry_cap, jitter=self._jitter())
        asked = getattr(failure, "retry_after", None) or 0.0
        due_at = now + round(max(pause, min(asked, PAUSE_LIMIT)) * 1000)
        return replace(notification, status="pending", attempts=attempts, due_at=due_at, error=error)

    async def _release(self) -> None:
        while True:
            try:
                return await self._state.release()
            except StoreBusyError as error:
                _log.warning("the state is busy, delivery waits: %s", error)
                await asyncio.sleep(_BUSY_PAUSE)

    async def _finish(self) -> None:
        if self._running:
            await asyncio.wait(self._running, timeout=STOP_DEADLINE)
        left = list(self._running)
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)
        with contextlib.suppress(StoreBusyError):  # they are tried again under the same ids
            await self._settle()

    def _done(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        self._news.set()
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.error("an attempt went unrecorded, and is made again: %s%s", type(error).__name__, _place(error))

    async def _listen(self) -> None:
        while self._wake is not None:
            if await self._wake.wait(_POLL):
                self._news.set()

    async def _hear_stop(self, stop: asyncio.Event) -> None:
        await stop.wait()
        self._news.set()


def backoff(attempts: int, *, base: float, cap: float, jitter: float) -> float:
    """Seconds to wait after so many attempts: `base`, doubled each time up to `cap`, times `jitter` from 0 to 1."""
    return min(cap, base * 2.0 ** min(attempts - 1, 64)) * jitter


def _said(error: BaseException) -> str:
    try:
        return excerpt(str(error)) or type(error).__name__
    except Exception:  # noqa: BLE001 - a notifier's own error may not even be able to say what it is
        return type(error).__name__


def _place(error: BaseException) -> str:
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return "" if trace is None else f" ({trace.tb_frame.f_code.co_filename}:{trace.tb_lineno})"
