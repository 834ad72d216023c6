"""`coach-relay portal key`: the public keys that a portal's access tokens are signed with."""

from __future__ import annotations

import argparse
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from relay.cli.options import confirm
from relay.core.portals import SECRET_NAME, check_portal_id
from relay.core.token_keys import key_id, parse_public_key
from relay.errors import InvalidRequest
from relay.hub import Portals

MAX_KEY_FILE_BYTES: Final = 16 * 1024  # a PEM or JWK has a few hundred
REMOVES: Final = (
    "Tokens that were signed with it stop working at once, and the devices that came with them go."
)


async def add_key(portals: Portals, args: argparse.Namespace) -> int:
    """Register a public key, and print the id that tokens name it by."""
    public = read_key(args.file)
    await portals.add_token_key(check_portal_id(args.portal), public)
    print(f"PORTAL_TOKEN_KEY_ID={key_id(public)}")
    print("Sign tokens with alg EdDSA, and this id as kid in their header.", file=sys.stderr)
    return 0


async def list_keys(portals: Portals, args: argparse.Namespace) -> int:
    """Print one line a key: its id, its algorithm, the day it was registered."""
    record = await portals.read(check_portal_id(args.portal))
    if record.token_secret:
        print(f"{SECRET_NAME:<45}HS256")
    for key in record.token_keys:
        print(f"{key.id:<45}EdDSA  {datetime.fromtimestamp(key.created, UTC).date()}")
    return 0


async def remove_key(portals: Portals, args: argparse.Namespace) -> int:
    """Take a key away."""
    portal = check_portal_id(args.portal)
    await portals.read(portal)
    confirm(f"{REMOVES} Remove the key {args.key} of {portal}?", args)
    await portals.remove_token_key(portal, args.key)
    print(f"The key {args.key} of {portal} is removed.", file=sys.stderr)
    return 0


def read_key(path: str) -> bytes:
    """The public key in a file, or on standard input for "-"; raises `InvalidRequest`."""
    try:
        if path == "-":
            content = sys.stdin.read(MAX_KEY_FILE_BYTES + 1)
        else:
            with Path(path).open(encoding="utf-8") as file:
                content = file.read(MAX_KEY_FILE_BYTES + 1)
    except (OSError, UnicodeDecodeError):
        raise InvalidRequest(f"the key file {path} cannot be read; check the path") from None
    if len(content) > MAX_KEY_FILE_BYTES:
        raise InvalidRequest(f"the key file {path} is too large to be one")
    return parse_public_key(content)
