"""The MLS suites of conversations: which there are, which one several people share, which is stronger."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from enum import StrEnum
from typing import Final

from client_sdk.identity import VerifiedManifest
from client_sdk.mls import SUITE_3, SUITE_XWING, CipherSuite

KNOWN: Final = (SUITE_XWING, SUITE_3)
"""The strongest first (PROTOCOL 7): a conversation may move up in this list, and never down."""


def supported(manifest: VerifiedManifest) -> tuple[CipherSuite, ...]:
    """The suites of a user's devices that this version knows, in that user's order."""
    known = {suite.id: suite for suite in KNOWN}
    return tuple(known[number] for number in manifest.suites if number in known)


def choose(own: VerifiedManifest, others: Iterable[VerifiedManifest]) -> CipherSuite:
    """The suite of a new conversation: the first of ours that all these people's device lists name.

    Only signed lists count, never which key packages the relay gives. If they have none in common it is our
    first, and who lacks it waits outside.
    """
    listed = [manifest.suites for manifest in others]
    ours = supported(own)
    return next((suite for suite in ours if all(suite.id in suites for suites in listed)), ours[0])


def is_stronger(suite: int, than: int) -> bool:
    """Whether a conversation may move to this suite from that one."""
    order: Sequence[int] = [known.id for known in KNOWN]
    return suite in order and than in order and order.index(suite) < order.index(than)


def is_post_quantum(suite: int) -> bool:
    """Whether what is said in this suite stays secret from somebody with a quantum computer."""
    return suite == SUITE_XWING.id


class Protection(StrEnum):
    """What somebody who records today and has a quantum computer later could read, in plain words."""

    NONE = "There is nothing to protect yet: this device waits to be let into the conversation."
    NOT_YET = (
        "Protected against later decryption by quantum computers: not yet. It comes by itself when everybody "
        "here has updated their app."
    )
    FROM_NOW_ON = (
        "Protected against later decryption by quantum computers: messages and files yes; calls, and what "
        "was said before everybody had updated their app, no."
    )
    YES = "Protected against later decryption by quantum computers: messages and files yes, calls not yet."


def protection(suite: int, generation: int) -> Protection:
    """The protection of a conversation whose group has this suite; a later generation began as another."""
    if not suite:
        return Protection.NONE
    if not is_post_quantum(suite):
        return Protection.NOT_YET
    return Protection.YES if generation == 1 else Protection.FROM_NOW_ON
