"""Two calls in one process, joined as an engine would join them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from hashlib import sha256

from client_sdk.calls import Call, CallContext, CallSettings, Party
from client_sdk.errors import RelayUnreachable

CALL = b"C" * 16
ANNA = Party(user="anna", identity=b"\xaa" * 32)
BEN = Party(user="ben", identity=b"\xbb" * 32)
ANNAS_DEVICE, BENS_DEVICE = b"anna's device 01", b"ben's device  01"
PARTIES = {ANNAS_DEVICE: ANNA, BENS_DEVICE: BEN}
SETTINGS = CallSettings(loopback=True)


def context(*, caller: bool, media: frozenset[str] = frozenset({"audio", "video"})) -> CallContext:
    shared = CallContext(
        call=CALL,
        group_id=b"group",
        own_device=ANNAS_DEVICE,
        own=ANNA,
        media=media,
        party_of=PARTIES.get,
        peer=BEN,
    )
    if caller:
        return shared
    return replace(shared, own_device=BENS_DEVICE, own=BEN, peer=ANNA, caller_device=ANNAS_DEVICE)


class Line:
    """One side's signals: given to the other side in the next turn of the event loop, if `passes` lets it."""

    def __init__(self, device: bytes) -> None:
        self.device = device
        self.other: Call | None = None
        self.sent: list[str] = []
        self.passes: Callable[[str, dict[str, object]], bool] = lambda kind, body: True
        self.epoch = 1

    async def send(self, kind: str, body: dict[str, object]) -> bytes:
        authenticator = sha256(b"epoch %d" % self.epoch).digest()
        self.sent.append(kind)
        if not self.passes(kind, body):
            raise RelayUnreachable("offline")
        if self.other is not None:
            asyncio.get_running_loop().call_soon(self.other.deliver, self.device, kind, body, authenticator)
        await asyncio.sleep(0)
        return authenticator


async def until(condition: Callable[[], bool], *, within: float = 40.0) -> None:
    """Wait for what only time brings: media, and what travels."""
    async with asyncio.timeout(within):
        while not condition():  # noqa: ASYNC110  there is no event for each picture
            await asyncio.sleep(0.01)


async def pictures(call: Call, wanted: int) -> None:
    """Wait until so many pictures have arrived."""
    async with asyncio.timeout(30):
        while (await call.statistics()).video.frames_decoded < wanted:  # noqa: ASYNC110  as above
            await asyncio.sleep(0.01)


def lines() -> tuple[Line, Line]:
    return Line(ANNAS_DEVICE), Line(BENS_DEVICE)


def joined(annas: Line, bens: Line, anna: Call, settings: CallSettings = SETTINGS) -> Call:
    """Ben's side of Anna's call, its invitation stored at 7."""
    media = anna._context.media
    ben = Call.invited(context(caller=False, media=media), bens, seq=7, settings=settings)
    annas.other, bens.other = ben, anna
    anna.invite_stored(7)
    return ben
