"""Finding an item of the conversation that a command works with."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Final, TypeVar

from client_sdk import Engagement, Item
from client_sdk.cli.errors import CliError, Exit
from client_sdk.engine import AnyItem

PAGE: Final = 500

_I = TypeVar("_I", bound=Item)
_T = TypeVar("_T")


async def newest(room: Engagement, kind: type[_I], what: str) -> _I:
    """Return the newest item of a kind that somebody else sent; raises `CliError` if there is none."""
    async for item in whole_history(room):
        if isinstance(item, kind) and not item.mine:
            return item
    raise CliError(
        f"Nobody has sent you a {what}.", do="See what there is: coach read", exit_code=Exit.FAILED
    )


async def find_item(room: Engagement, prefix: str, kind: type[_I], what: str) -> _I:
    """Return the one item of a kind whose id begins so; raises `CliError` if there is none, or several."""
    return _only_one([i async for i in _begin_so(room, prefix) if isinstance(i, kind)], prefix, what)


async def find_any(room: Engagement, prefix: str, what: str) -> AnyItem:
    """Return the one item whose id begins so; raises `CliError` if there is none, or several."""
    return _only_one([item async for item in _begin_so(room, prefix)], prefix, what)


async def _begin_so(room: Engagement, prefix: str) -> AsyncIterator[AnyItem]:
    async for item in whole_history(room):
        if item.id.hex().startswith(prefix.lower()):
            yield item


def _only_one(found: Sequence[_T], prefix: str, what: str) -> _T:
    if len(found) == 1:
        return found[0]
    how_many = "no" if not found else "more than one"
    raise CliError(
        f"There is {how_many} {what} whose id begins with {prefix!r}.",
        do="coach read --ids shows the ids; give more of its characters if it is not enough.",
    )


async def whole_history(room: Engagement) -> AsyncIterator[AnyItem]:
    """Yield everything, the newest first."""
    page = await room.history(limit=PAGE)
    while page:
        for item in page:
            yield item
        page = await room.history(before=page[-1], limit=PAGE)
