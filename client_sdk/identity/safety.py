"""Safety numbers: 30 digits for each identity key, for two people to compare (docs/PROTOCOL.md section 6)."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
from dataclasses import dataclass
from typing import Final

from relay.wire.ids import PortalId, UserId, label

from ..content.packing import pack, unpack
from ..errors import SafetyCodeInvalid, SafetyNumberDiffers, UsageError
from .keys import KEY_BYTES

ROUNDS = 5200
"""Makes each guess at a colliding key cost 5200 hashes, and a display 5 ms (as Signal chose it)."""

CODE_START: Final = "coach-relay:safety:"
CODE_CHARS: Final = 512
"""Two users of the longest ids stay below 350."""

_FORMAT: Final = 1
_GROUPS = 6
_BASE64URL: Final = re.compile(r"[A-Za-z0-9_-]*")
_GROUP_BYTES = 5


def safety_number(portal: PortalId, user: UserId, identity_key: bytes) -> str:
    """The 30 digits of one user's identity key, without spaces; takes about 5 ms."""
    if len(identity_key) != KEY_BYTES:
        raise UsageError(f"An identity key is {KEY_BYTES} bytes.")
    digest = label("safety number") + pack([portal, user, identity_key])
    for _ in range(ROUNDS):
        digest = hashlib.sha512(digest + identity_key).digest()
    groups = (digest[i * _GROUP_BYTES : (i + 1) * _GROUP_BYTES] for i in range(_GROUPS))
    return "".join(f"{int.from_bytes(group, 'big') % 100_000:05d}" for group in groups)


def shown_together(one: str, other: str) -> str:
    """Both people's numbers as both of them see them: the lower first, in groups of five digits."""
    digits = "".join(sorted((one, other)))
    return " ".join(digits[i : i + 5] for i in range(0, len(digits), 5))


@dataclass(frozen=True, slots=True)
class Compared:
    """Two people and their identity keys, as one of them knows them."""

    portal: PortalId
    user: UserId
    identity_key: bytes
    other: UserId
    other_key: bytes

    @property
    def code(self) -> str:
        """What stands in the QR code that ``user`` shows to ``other``."""
        values = [_FORMAT, self.portal, self.user, self.identity_key, self.other, self.other_key]
        return CODE_START + base64.urlsafe_b64encode(pack(values)).rstrip(b"=").decode("ascii")

    def check_scanned(self, code: str) -> None:
        """Whether the other's code says the same of both; raises SafetyCodeInvalid, SafetyNumberDiffers."""
        portal, user, key, other, other_key = _scanned(code)
        if (portal, user, other) != (self.portal, self.other, self.user):
            raise SafetyCodeInvalid(
                "This code is for two other people. Let the one that you want to verify show you theirs."
            )
        same = hmac.compare_digest(key, self.other_key), hmac.compare_digest(other_key, self.identity_key)
        if not all(same):
            raise SafetyNumberDiffers(
                "The keys are not the same. Somebody may stand between you: do not write anything that "
                "matters, and tell your portal."
            )


def _scanned(code: str) -> tuple[str, str, bytes, str, bytes]:
    text = code.strip()
    if not text.startswith(CODE_START) or len(text) > CODE_CHARS:
        raise SafetyCodeInvalid(
            "This is no code of a safety number. Scan the one that `coach verify --qr` shows."
        )
    try:
        digits = text[len(CODE_START) :]
        if _BASE64URL.fullmatch(digits) is None:
            raise ValueError("of another form")
        data = base64.urlsafe_b64decode(digits + "=" * (-len(digits) % 4))
        match unpack(data):
            case [int(form), str(portal), str(user), bytes(key), str(other), bytes(other_key)] if (
                type(form) is int and form == _FORMAT and len(key) == len(other_key) == KEY_BYTES
            ):
                return portal, user, key, other, other_key
        raise ValueError("of another form")
    except (ValueError, TypeError, binascii.Error) as error:
        raise SafetyCodeInvalid("This code of a safety number is damaged. Scan it again.") from error
