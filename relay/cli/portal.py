"""`coach-relay portal`: registers portals and their keys. It works beside a running relay."""

from __future__ import annotations

import argparse
import asyncio
import secrets
import sys
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any, Final

from relay.cli.options import add_command, add_settings, settings_of
from relay.config import parse_origin
from relay.core.portals import check_portal_id
from relay.errors import InvalidRequest
from relay.http.tokens import secret_text
from relay.hub import NewKeys, Portals
from relay.store.sqlite import SqliteDirectory, prepare_folder

Action = Callable[[Portals, argparse.Namespace], Awaitable[int]]

ROTATES: Final = "The portal's present API key and token secret stop working at once, its users' tokens too."
REMOVES: Final = (
    "Nobody can reach the portal's engagements any more; what they hold goes when its age is over."
)


def register(commands: Any) -> None:
    parser = add_command(
        commands,
        "portal",
        help="register portals and change their keys",
        example="coach-relay portal add growth --origin https://portal.example",
    )
    actions = parser.add_subparsers(title="actions", metavar="ACTION", required=True)
    add = _action(
        actions, "add", add_portal, "register a portal, and print its keys once", "growth > portal.env"
    )
    add.add_argument(
        "--origin",
        action="append",
        default=[],
        metavar="ORIGIN",
        help="a page's address, such as https://portal.example, from which browsers may connect; repeatable",
    )
    _action(actions, "list", list_portals, "list the portals", "", named=False)
    for name, action, help_text in (
        ("rotate", rotate_portal, "give a portal new keys, and end its present ones"),
        ("remove", remove_portal, "remove a portal"),
    ):
        parser = _action(actions, name, action, help_text, "growth --yes")
        parser.add_argument("--yes", action="store_true", help="do not ask")


def _action(
    actions: Any, name: str, action: Action, help_text: str, example: str, *, named: bool = True
) -> argparse.ArgumentParser:
    line = f"coach-relay portal {name} {example}".rstrip()
    parser = add_command(actions, name, help=help_text, example=line)
    if named:
        parser.add_argument("portal", help="its id: 1 to 32 of a-z 0-9 -, beginning with a letter")
    add_settings(parser)
    parser.set_defaults(run=lambda args: asyncio.run(_with_portals(action, args)))
    return parser


async def _with_portals(action: Action, args: argparse.Namespace) -> int:
    folder = settings_of(args).data_dir
    prepare_folder(folder)
    directory = SqliteDirectory.open(folder)
    try:
        return await action(Portals(directory, clock=time.time, rng=secrets.token_bytes), args)
    finally:
        await directory.close()


async def add_portal(portals: Portals, args: argparse.Namespace) -> int:
    """Register a portal and print its keys in the form of a file of environment variables."""
    _show(await portals.add(args.portal, origins=[_origin(text) for text in args.origin]))
    return 0


async def list_portals(portals: Portals, _args: argparse.Namespace) -> int:
    """Print one line a portal: its id, the day it was registered, its origins."""
    for record in await portals.list():
        day = datetime.fromtimestamp(record.created, UTC).date()
        print(f"{record.id:<34}{day}  {' '.join(record.origins)}".rstrip())
    return 0


async def rotate_portal(portals: Portals, args: argparse.Namespace) -> int:
    """Replace both keys of a portal, and print the new ones."""
    before = await portals.read(check_portal_id(args.portal))
    _confirm(f"{ROTATES} Give {before.id} new keys?", args)
    _show(await portals.rotate(before.id))
    return 0


async def remove_portal(portals: Portals, args: argparse.Namespace) -> int:
    """Remove a portal."""
    before = await portals.read(check_portal_id(args.portal))
    _confirm(f"{REMOVES} Remove {before.id}?", args)
    await portals.remove(before.id)
    print(f"Portal {before.id} is removed.", file=sys.stderr)
    return 0


def _show(keys: NewKeys) -> None:
    """The keys on standard output, and nothing else there: it may be sent into a file."""
    portal, secret = keys.record.id, secret_text(keys.record.token_secret)
    print(f"PORTAL_ID={portal}\nPORTAL_API_KEY={keys.api_key}\nPORTAL_TOKEN_SECRET={secret}")
    print("These keys are shown only now: keep them where the portal keeps its secrets.", file=sys.stderr)


def _origin(text: str) -> str:
    try:
        return parse_origin(text)
    except ValueError as error:
        raise InvalidRequest(f"--origin is wrong: {error}") from None


def _confirm(question: str, args: argparse.Namespace) -> None:
    if args.yes:
        return
    if not sys.stdin.isatty():
        raise InvalidRequest("this asks before it does something final; say --yes where nobody can answer")
    print(f"{question} [y/N] ", end="", file=sys.stderr, flush=True)
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise InvalidRequest("nothing was changed")
