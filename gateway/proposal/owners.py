"""Whose an id is: the problem's, or that of something else which is the same in every message, or in one alone."""

from __future__ import annotations

from gateway.proposal.columns import Column
from gateway.proposal.words import vocabulary

IDS = vocabulary("id ids uid uuid guid arn key identifier number no fingerprint hash ref reference alias sid")
"""Words that say that a value is an id."""
_OWNERS = vocabulary(
    "account org organization organisation user team tenant customer project app application workspace policy contact "
    "integration installation webhook hook group location region subscription collection publisher sender author actor "
    "creator assignee caller repository repo channel topic product class type api license family parent schema"
)
_MESSAGES = vocabulary(
    "version message notification delivery request trace span session transaction ack operation communication commit "
    "revision sha checkout attempt retry count sequence"
)
_ALONE = vocabulary("data")
"""Of a message in `event_data_id`, and of nothing in `data.id`."""


def is_of_another(column: Column) -> bool:
    """Whether it belongs to an owner, a message or a build: `project.id` is the project's, `project.alert_id` is not."""
    others, name = _OWNERS | _MESSAGES, set(column.name)
    return bool(name & (others | _ALONE) or (name <= IDS | {"slug", "token"} and others & set(column.parents[-1:])))
