"""What a message may need fetched before it can be judged; `fetching` carries it out. Nothing here does I/O."""

from __future__ import annotations

from typing import Literal

import msgspec

_TRY_LATER = (408, 425, 429)


class Errand(msgspec.Struct, frozen=True, gc=False):
    """A URL to fetch: the certificate that a message is signed with, or what it wants visited."""

    kind: Literal["certificate", "visit"]
    url: str


class Fetched(msgspec.Struct, frozen=True, gc=False):
    """What came of an errand: an answer, or the `trouble` for which there is none."""

    errand: Errand
    status: int = 0
    body: bytes = b""
    trouble: str = ""

    @property
    def flaw(self) -> str | None:
        """Why it was in vain; None where it was not. A redirect is in vain: it leads where nobody allowed."""
        if self.trouble:
            return self.trouble
        return None if 200 <= self.status < 300 else f"the answer is {self.status}"  # noqa: PLR2004 - HTTP's own

    @property
    def worth_another_try(self) -> bool:
        """Whether it may go better later: there was no answer, or one of a server in trouble."""
        return bool(self.trouble) or self.status >= 500 or self.status in _TRY_LATER  # noqa: PLR2004 - HTTP's own
