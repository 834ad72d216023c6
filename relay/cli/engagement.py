"""`coach-relay engagement`: what the relay knows of engagements, and ending one; also while a relay runs."""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any, Final

from relay.cli.options import add_command, add_settings, add_yes, confirm
from relay.cli.records import directory_of
from relay.core.engagement_pages import STATUSES, Query
from relay.core.engagements import EngagementRecord
from relay.core.portals import check_portal_id
from relay.errors import InvalidRequest
from relay.hub import EngagementAdmin, Portals
from relay.store import Directory
from relay.wire.errors import WireError
from relay.wire.ids import EngagementId, PortalId, UserId, parse_engagement_id, parse_user_id

Action = Callable[[Directory, argparse.Namespace], Awaitable[int]]

EXAMPLE: Final = "eng_7QzN0mJ8T3uB5cXw2yR4aA"
ENDS: Final = (
    "Nobody can write or call in it any more, and the relay erases what it holds of it: messages that "
    "were not fetched yet, and files. What is on people's devices stays there. This cannot be undone."
)


def register(commands: Any) -> None:
    parser = add_command(
        commands,
        "engagement",
        help="look at engagements, and end one",
        example="coach-relay engagement list growth --status active",
    )
    actions = parser.add_subparsers(title="actions", metavar="ACTION", required=True)
    listing = _action(actions, "list", list_engagements, "list a portal's engagements", "growth --user anna")
    listing.add_argument("portal", help="the portal's id")
    listing.add_argument("--user", help="only those that this user takes part in")
    listing.add_argument("--status", choices=STATUSES, help="only those that are active, or have ended")
    show = _action(actions, "show", show_engagement, "show what the relay knows of one", EXAMPLE)
    end = _action(actions, "end", end_engagement, "end one for good, and erase what the relay holds", EXAMPLE)
    for parser in (show, end):
        parser.add_argument("engagement", help="its id, eng_...")
    add_yes(end)


def _action(actions: Any, name: str, action: Action, help_text: str, example: str) -> argparse.ArgumentParser:
    line = f"coach-relay engagement {name} {example}"
    parser = add_command(actions, name, help=help_text, example=line)
    add_settings(parser)
    parser.set_defaults(run=lambda args: asyncio.run(_with_directory(action, args)))
    return parser


async def _with_directory(action: Action, args: argparse.Namespace) -> int:
    async with directory_of(args) as directory:
        return await action(directory, args)


async def list_engagements(directory: Directory, args: argparse.Namespace) -> int:
    """Print one line an engagement: its id, its status, the day it began, who takes part."""
    portal = await _portal(directory, args.portal)
    admin = _admin(directory)
    await admin.start()
    found = False
    async for record in admin.all(portal, Query(_user(args.user), args.status)):
        found = True
        print(f"{record.id}  {record.status:<7} {_day(record.created)}  {_people(record)}")
    if not found:
        print(_nothing(portal, args), file=sys.stderr)
    return 0


def _nothing(portal: PortalId, args: argparse.Namespace) -> str:
    bounds = [option for option in ("user", "status") if getattr(args, option)]
    if not bounds:
        return f"{portal} has no engagement yet: the portal's own program opens them."
    return f"No such engagement of {portal}: leave --{' and --'.join(bounds)} out to see all."


async def show_engagement(directory: Directory, args: argparse.Namespace) -> int:
    """Print everything about an engagement that the relay can tell."""
    record = await _admin(directory).read(_engagement(args.engagement))
    lines = {
        "engagement": record.id,
        "portal": record.portal,
        "status": record.status,
        "began": _moment(record.created),
        "ended": _moment(record.ended) if record.ended else "",
        "messages kept": f"{record.retention_hours // 24} days at most",
        "participants": _people(record),
    }
    for name, value in lines.items():
        if value:
            print(f"{name:<14} {value}")
    return 0


async def end_engagement(directory: Directory, args: argparse.Namespace) -> int:
    """End an engagement, after asking."""
    admin = _admin(directory)
    record = await admin.read(_engagement(args.engagement))
    if record.ended:
        print(f"The engagement {record.id} ended on {_day(record.ended)}.", file=sys.stderr)
        return 0
    confirm(f"{ENDS}\nEnd {record.id} of {record.portal} ({_people(record)})?", args)
    await admin.end(record.id)
    print(f"The engagement {record.id} has ended.", file=sys.stderr)
    return 0


def _admin(directory: Directory) -> EngagementAdmin:
    return EngagementAdmin(directory, clock=time.time)


async def _portal(directory: Directory, text: str) -> PortalId:
    portals = Portals(directory, clock=time.time, rng=bytes)
    return (await portals.read(check_portal_id(text))).id


def _user(text: str | None) -> UserId | None:
    try:
        return None if text is None else parse_user_id(text)
    except WireError:
        raise InvalidRequest("--user is not a user's id") from None


def _engagement(text: str) -> EngagementId:
    try:
        return parse_engagement_id(text)
    except WireError:
        raise InvalidRequest("an engagement's id is eng_ and 22 characters") from None


def _people(record: EngagementRecord) -> str:
    return ", ".join(f"{one.user} ({one.role.value})" for one in record.participants)


def _day(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).date().isoformat()


def _moment(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(sep=" ", timespec="minutes")
