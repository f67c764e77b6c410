"""What a step of the pipeline needs to know of the state, looked up in the transaction that it is applied in."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from gateway.alerts import Known
from gateway.directory import Directory
from gateway.models import Alert, AlertKey, Integration, Reading, Suppressed
from gateway.pipeline import Read, unreadable_key
from gateway.store.base import Transaction


async def of_messages(transaction: Transaction, reads: Iterable[Read], directory: Directory, now: int) -> Known:
    """What is known of all that these messages may touch."""
    wanted = _Wanted(directory, now)
    for read in reads:
        if read.integration is not None:
            wanted.keys[unreadable_key(read.integration)] = None
        for reading in read.readings:
            endpoint_id = read.message.endpoint_id
            taker = directory.integration(endpoint_id, reading.integration_id) or read.integration
            if taker is not None:
                wanted.keys[unreadable_key(taker)] = None
            if reading.event is not None and taker is not None:
                wanted.add(directory.keys(endpoint_id, reading.event, taker), reading, taker)
    return await wanted.known(transaction)


async def of_windows(
    transaction: Transaction, suppressed: Iterable[Suppressed], directory: Directory, now: int
) -> Known:
    """What is known of problems whose maintenance window has ended."""
    wanted = _Wanted(directory, now)
    for one in suppressed:
        taker = directory.integration(one.key.endpoint_id, one.integration_id)
        if taker is not None and one.reading.event is not None:
            wanted.add(directory.keys(one.key.endpoint_id, one.reading.event, taker), one.reading, taker)
    return await wanted.known(transaction)


async def of_alerts(transaction: Transaction, alerts: Sequence[Alert], directory: Directory, now: int) -> Known:
    """What is known of alerts that are about to be closed or assigned."""
    return await _Wanted(directory, now).known(transaction, {alert.key: alert for alert in alerts})


class _Wanted:
    """What is to be looked up."""

    def __init__(self, directory: Directory, now: int) -> None:
        self._directory = directory
        self._now = now
        self.keys: dict[AlertKey, None] = {}
        self._groups: dict[tuple[str, str], int] = {}
        self._flapping: dict[AlertKey, int] = {}

    def add(self, keys: Sequence[AlertKey], reading: Reading, taker: Integration) -> None:
        """One event, with the keys that its alert may have."""
        self.keys |= dict.fromkeys(keys)
        if reading.action != "open":
            return
        advanced = self._directory.advanced_of(taker)
        if advanced.group is not None and reading.group_key is not None:
            self._groups[taker.id, reading.group_key] = self._now - advanced.group.within_ms
        self._look_for_flapping(keys[0], taker)

    def _look_for_flapping(self, key: AlertKey, integration: Integration) -> None:
        flapping = self._directory.advanced_of(integration).delay.flapping
        if flapping is not None:
            # Twice as long: of an alert that is open already, what counts came before it was opened.
            self._flapping[key] = self._now - 2 * flapping.within_ms

    async def known(self, transaction: Transaction, found: Mapping[AlertKey, Alert] | None = None) -> Known:
        """All of it; `found` are the open alerts, where they were looked up already."""
        alerts = await transaction.open_alerts(list(self.keys)) if found is None else found
        leaders = {
            (integration_id, group_key): await transaction.group_leaders(integration_id, group_key, after=after)
            for (integration_id, group_key), after in self._groups.items()
        }
        members = await _members(transaction, list(alerts.values()))  # no other leader can be closed in this step
        for member in (member for each in members.values() for member in each):
            # It may be told by itself, once its leader is closed.
            integration = self._directory.integration(member.endpoint_id, member.integration_id)
            if integration is not None:
                self._look_for_flapping(member.key, integration)
        return Known(
            alerts=alerts,
            leaders=leaders,
            members=members,
            openings={key: await transaction.openings(key, after=after) for key, after in self._flapping.items()},
        )


async def _members(transaction: Transaction, alerts: Sequence[Alert]) -> dict[int, list[Alert]]:
    leaders = {alert.id for alert in alerts if alert.group_key is not None and alert.leader_id is None}
    return {number: await transaction.group_members(number) for number in sorted(leaders)}
