"""Lists of engagements, a page at a time: the cursor says where the next one begins."""

from __future__ import annotations

import base64
import binascii
import re
from typing import Final, NamedTuple

from relay.core.engagements import ACTIVE, ENDED, EngagementRecord
from relay.errors import InvalidRequest
from relay.wire.ids import EngagementId, UserId

DEFAULT_PAGE: Final = 50
MAX_PAGE: Final = 100
# How many are looked at for one page: a filter that fits few gives short pages rather than long waits.
MAX_LOOKED_AT: Final = 512
MAX_CURSOR_CHARS: Final = 128
STATUSES: Final = (ACTIVE, ENDED)
_match_all: Final = re.compile(r"a[0-9]{11}/eng_[A-Za-z0-9_-]{22}").fullmatch
_match_user: Final = re.compile(r"ueng_[A-Za-z0-9_-]{22}").fullmatch


class Query(NamedTuple):
    """Which engagements of a portal: of a user, of a status (None: of any)."""

    user: UserId | None = None
    status: str | None = None

    def takes(self, record: EngagementRecord) -> bool:
        """Whether an engagement is one of these."""
        if self.user is not None and self.user not in record.users:
            return False
        return self.status is None or self.status == record.status


class Page(NamedTuple):
    """Some engagements, and the cursor of the next page; None: there is none."""

    engagements: list[EngagementRecord]
    next: str | None


def index_suffix(record: EngagementRecord) -> str:
    """Where an engagement stands in its portal's list: by its age."""
    return f"{record.created:011d}/{record.id}"


def make_cursor(query: Query, suffix: str) -> str:
    """The cursor of what comes after this place in the list."""
    text = ("a" if query.user is None else "u") + suffix
    return base64.urlsafe_b64encode(text.encode("ascii")).rstrip(b"=").decode("ascii")


def read_cursor(query: Query, cursor: str) -> str:
    """The place that a cursor stands for; raises `InvalidRequest` on one that this list did not give."""
    text = ""
    if len(cursor) <= MAX_CURSOR_CHARS and cursor.isascii():
        try:
            text = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True).decode()
        except (binascii.Error, UnicodeDecodeError):
            text = ""
    if not (_match_all if query.user is None else _match_user)(text):
        raise InvalidRequest("the cursor is not one that this list gave")
    return text[1:]


def engagement_of(suffix: str) -> EngagementId:
    """The engagement at a place in a list."""
    return EngagementId(suffix.rpartition("/")[2])
