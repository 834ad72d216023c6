"""`coach-relay portal set-quota`: how much of the relay a portal may take."""

from __future__ import annotations

import argparse
import re
from typing import Final

from relay.core.portals import check_portal_id
from relay.core.quotas import NAMES, Quotas
from relay.errors import InvalidRequest
from relay.hub import Portals

UNITS: Final = {"": 1, "KIB": 2**10, "MIB": 2**20, "GIB": 2**30, "TIB": 2**40}
WITHOUT: Final = "none"
_match_amount: Final = re.compile(r"([0-9]{1,15})\s?(KiB|MiB|GiB|TiB)?", re.I | re.A).fullmatch


def add_quotas(parser: argparse.ArgumentParser) -> None:
    """Add the options of `set-quota`."""
    parser.add_argument("--engagements", metavar="N", help="active engagements at one time, or none")
    parser.add_argument("--stored-bytes", metavar="SIZE", help="sealed files, such as 50GiB, or none")
    parser.add_argument("--connections", metavar="N", help="connected devices at one time, or none")


async def set_quotas(portals: Portals, args: argparse.Namespace) -> int:
    """Change the quotas that are named, and print all of them; without any, only print them."""
    asked = {name: getattr(args, name) for name in NAMES}
    changes = {name: _amount(name, text) for name, text in asked.items() if text is not None}
    portal = check_portal_id(args.portal)
    if changes:
        record = await portals.set_quotas(portal, lambda quotas: quotas._replace(**changes))
    else:
        record = await portals.read(portal)
    _show(record.quotas)
    return 0


def _show(quotas: Quotas) -> None:
    for name, value in zip(NAMES, quotas, strict=True):
        print(f"{name:<14} {value or WITHOUT}")


def _amount(name: str, text: str) -> int:
    if text.strip().lower() == WITHOUT:
        return 0
    matched = _match_amount(text.strip())
    unit = (matched[2] or "").upper() if matched else ""
    if matched is None or int(matched[1]) == 0 or (unit and name != "stored_bytes"):
        units = ", perhaps with KiB, MiB, GiB or TiB," if name == "stored_bytes" else ""
        option = "--" + name.replace("_", "-")
        raise InvalidRequest(f"{option} is a whole number from 1 on{units} or {WITHOUT}")
    return int(matched[1]) * UNITS[unit]
