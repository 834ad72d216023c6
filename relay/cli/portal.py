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

from relay.cli.options import add_command, add_settings, add_yes, confirm, settings_of
from relay.cli.portal_keys import add_key, list_keys, read_key, remove_key
from relay.cli.portal_quotas import add_quotas, set_quotas
from relay.cli.records import directory_of
from relay.config import parse_origin
from relay.core.portals import check_overlap, check_portal_id, secret_text
from relay.errors import InvalidRequest
from relay.http.stores import where
from relay.hub import NewKeys, Portals

NO_PORTAL: Final = (
    "No portal is registered with the relay that has its {}. Register one: coach-relay portal add growth "
    "--origin https://portal.example. If there are some, name that relay's --config or --data-dir."
)

Action = Callable[[Portals, argparse.Namespace], Awaitable[int]]

ROTATES: Final = "The portal's present API key and token secret stop working at once, its users' tokens too."
OVERLAPS: Final = (
    "The portal's present API key and token secret stop working in {} hours, its users' tokens too."
)
REMOVES: Final = (
    "Its users' devices are sent away, and nobody can reach the portal's engagements any more; what they "
    "hold goes when its age is over."
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
    add.add_argument(
        "--token-key",
        metavar="FILE",
        help="an Ed25519 public key (PEM or JWK) that signs access tokens, instead of a shared token secret",
    )
    _action(actions, "list", list_portals, "list the portals", "", named=False)
    rotate = _action(
        actions, "rotate", rotate_portal, "give a portal new keys, and end its present ones", "growth --yes"
    )
    rotate.add_argument(
        "--overlap-hours", type=int, default=0, metavar="N", help="let the present keys go on so long (0)"
    )
    remove = _action(actions, "remove", remove_portal, "remove a portal", "growth --yes")
    for parser in (rotate, remove):
        add_yes(parser)
    origins = _action(
        actions,
        "set-origins",
        set_origins,
        "say from which pages browsers may connect, instead of those said before",
        "growth https://portal.example https://app.portal.example",
    )
    origins.add_argument("origins", nargs="*", metavar="ORIGIN", help="a page's address; none: no page may")
    quota = _action(
        actions,
        "set-quota",
        set_quotas,
        "bound what a portal may take of the relay; without a bound named, show them",
        "growth --engagements 500 --stored-bytes 50GiB --connections 2000",
    )
    add_quotas(quota)
    _register_keys(actions)


def _register_keys(actions: Any) -> None:
    parser = add_command(
        actions,
        "key",
        help="the public keys that sign a portal's access tokens",
        example="coach-relay portal key add growth public.pem",
    )
    keys = parser.add_subparsers(title="actions", metavar="ACTION", required=True)
    add = _action(
        keys, "add", add_key, "register a public key; those it has go on", "growth public.pem", path="key "
    )
    add.add_argument("file", metavar="FILE", help="an Ed25519 public key, PEM or JWK; - for standard input")
    _action(keys, "list", list_keys, "list a portal's token keys", "growth", path="key ")
    remove = _action(
        keys, "remove", remove_key, "take a key away, at once", "growth secret --yes", path="key "
    )
    remove.add_argument("key", metavar="KEY", help="the key's id, or the word secret for the token secret")
    add_yes(remove)


def _action(
    actions: Any,
    name: str,
    action: Action,
    help_text: str,
    example: str,
    *,
    named: bool = True,
    path: str = "",
) -> argparse.ArgumentParser:
    line = f"coach-relay portal {path}{name} {example}".rstrip()
    parser = add_command(actions, name, help=help_text, example=line)
    if named:
        parser.add_argument("portal", help="its id: 1 to 32 of a-z 0-9 -, beginning with a letter")
    add_settings(parser)
    parser.set_defaults(run=lambda args: asyncio.run(_with_portals(action, args)))
    return parser


async def _with_portals(action: Action, args: argparse.Namespace) -> int:
    async with directory_of(args) as directory:
        return await action(Portals(directory, clock=time.time, rng=secrets.token_bytes), args)


async def add_portal(portals: Portals, args: argparse.Namespace) -> int:
    """Register a portal and print its keys in the form of a file of environment variables."""
    token_key = read_key(args.token_key) if args.token_key else b""
    origins = [_origin(text) for text in args.origin]
    _show(await portals.add(args.portal, origins=origins, token_key=token_key))
    print(f"Registered with the relay that has its {where(settings_of(args))}.", file=sys.stderr)
    return 0


async def list_portals(portals: Portals, args: argparse.Namespace) -> int:
    """Print one line a portal: its id, the day it was registered, its origins."""
    records = await portals.list()
    if not records:
        print(NO_PORTAL.format(where(settings_of(args))), file=sys.stderr)
    for record in records:
        day = datetime.fromtimestamp(record.created, UTC).date()
        print(f"{record.id:<34}{day}  {' '.join(record.origins)}".rstrip())
    return 0


async def set_origins(portals: Portals, args: argparse.Namespace) -> int:
    """Replace the origins of a portal's pages, and print them."""
    origins = [_origin(text, "ORIGIN") for text in args.origins]
    record = await portals.set_origins(check_portal_id(args.portal), origins)
    print("\n".join(record.origins) or "none")
    return 0


async def rotate_portal(portals: Portals, args: argparse.Namespace) -> int:
    """Replace both keys of a portal, and print the new ones."""
    before = await portals.read(check_portal_id(args.portal))
    overlap = args.overlap_hours * 3600
    check_overlap(overlap)
    told = OVERLAPS.format(args.overlap_hours) if overlap else ROTATES
    confirm(f"{told} Give {before.id} new keys?", args)
    _show(await portals.rotate(before.id, overlap=overlap))
    return 0


async def remove_portal(portals: Portals, args: argparse.Namespace) -> int:
    """Remove a portal."""
    before = await portals.read(check_portal_id(args.portal))
    confirm(f"{REMOVES} Remove {before.id}?", args)
    await portals.remove(before.id)
    print(f"Portal {before.id} is removed.", file=sys.stderr)
    return 0


def _show(keys: NewKeys) -> None:
    """The keys on standard output, and nothing else there: it may be sent into a file."""
    record = keys.record
    print(f"PORTAL_ID={record.id}\nPORTAL_API_KEY={keys.api_key}")
    if record.token_secret:
        print(f"PORTAL_TOKEN_SECRET={secret_text(record.token_secret)}")
    elif record.token_keys:
        print(f"PORTAL_TOKEN_KEY_ID={record.token_keys[-1].id}")
    print("These keys are shown only now: keep them where the portal keeps its secrets.", file=sys.stderr)


def _origin(text: str, name: str = "--origin") -> str:
    try:
        return parse_origin(text)
    except ValueError as error:
        raise InvalidRequest(f"{name} is wrong: {error}") from None
