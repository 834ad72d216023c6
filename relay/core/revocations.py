"""What a portal has taken back from one of its users: tokens, and devices (PROTOCOL 3). Pure rules."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from relay.core.access import LEEWAY_SECONDS, MAX_LIFE_SECONDS, MAX_TOKEN_ID_CHARS, AccessToken
from relay.core.blob_access import BlobGrant
from relay.core.records import pack_record, unpack_record
from relay.errors import AccessRefused, InvalidRequest
from relay.wire import fields as f
from relay.wire.errors import ErrorCode
from relay.wire.ids import DeviceId, parse_device_id
from relay.wire.limits import BLOB_TOKEN_SECONDS

MAX_REVOKED_TOKENS: Final = 64  # single tokens; whoever needs more revokes them all
MAX_REVOKED_DEVICES: Final = 1024  # of one user, for good: 8 at a time, so nobody comes near it by living on
# A token that exists now has expired, leeways included, when this is over: then its revocation is forgotten.
FORGET_SECONDS: Final = MAX_LIFE_SECONDS + 2 * LEEWAY_SECONDS

_VERSION: Final = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Revocations:
    """`issued_before` refuses tokens by their `iat`, `tokens` some by (`jti`, until when that matters).

    `blobs_before` refuses blob tokens by when they were made. Times in Unix seconds.
    """

    issued_before: int = 0
    blobs_before: int = 0
    tokens: tuple[tuple[str, int], ...] = ()
    devices: tuple[DeviceId, ...] = ()

    def serialize(self) -> bytes:
        """The record as bytes."""
        return pack_record(_VERSION, (self.issued_before, self.blobs_before, self.tokens, self.devices))

    @classmethod
    def parse(cls, value: bytes) -> Revocations:
        """The record in these bytes; raises `StoreCorrupt`."""
        issued, blobs, tokens, devices = unpack_record(value, _VERSION, _FIELDS)
        return cls(issued_before=issued, blobs_before=blobs, tokens=tokens, devices=devices)

    def check_token(self, token: AccessToken, device: DeviceId) -> None:
        """Raise `AccessRefused` if this device, or this token, was revoked."""
        self.check_device(device)
        if token.issued < self.issued_before or any(token.token_id == jti for jti, _ in self.tokens):
            raise AccessRefused(ErrorCode.TOKEN_REVOKED)

    def check_grant(self, grant: BlobGrant) -> None:
        """Raise `AccessRefused` if what a blob token grants was taken back."""
        self.check_device(grant.device)
        if grant.expires - BLOB_TOKEN_SECONDS < self.blobs_before:
            raise AccessRefused(ErrorCode.TOKEN_REVOKED)

    def check_device(self, device: DeviceId) -> None:
        """Raise `AccessRefused` if this device was revoked."""
        if device in self.devices:
            raise AccessRefused(ErrorCode.DEVICE_REVOKED)

    def without_past(self, now: int) -> Revocations:
        """What still matters."""
        over = max(self.issued_before, self.blobs_before) + FORGET_SECONDS <= now
        return Revocations(
            issued_before=0 if over else self.issued_before,
            blobs_before=0 if over else self.blobs_before,
            tokens=tuple((jti, until) for jti, until in self.tokens if until > now),
            devices=self.devices,
        )


NOTHING_REVOKED: Final = Revocations()


def _token(*values: object) -> tuple[object, ...]:
    return values


_FIELDS: Final[Sequence[f.Field]] = (
    f.uint,
    f.uint,
    f.many(f.record(_token, f.text(MAX_TOKEN_ID_CHARS), f.uint), most=MAX_REVOKED_TOKENS),
    f.many(parse_device_id, most=MAX_REVOKED_DEVICES),
)


def revoke_tokens(before: Revocations, *, issued_before: int | None, now: int) -> Revocations:
    """All tokens with an earlier `iat` revoked; without `issued_before` all that exist by our clock.

    A portal whose clock is ahead of ours names its own time. Raises `InvalidRequest` on one in the future.
    """
    limit = now + 1 if issued_before is None else issued_before
    if not 0 <= limit <= now + 1 + LEEWAY_SECONDS:
        raise InvalidRequest("issued_before may not lie in the future")
    kept = before.without_past(now)
    return replace(kept, issued_before=max(kept.issued_before, limit), blobs_before=now + 1)


def revoke_token(before: Revocations, token_id: str, now: int) -> Revocations:
    """One token revoked, by its `jti`; when there are too many, all of them."""
    if not 1 <= len(token_id) <= MAX_TOKEN_ID_CHARS:
        raise InvalidRequest(f"a jti has 1 to {MAX_TOKEN_ID_CHARS} characters")
    kept = before.without_past(now)
    others = tuple(known for known in kept.tokens if known[0] != token_id)
    if len(others) >= MAX_REVOKED_TOKENS:
        return revoke_tokens(kept, issued_before=None, now=now)
    # Blob tokens do not say which token they came from: the user's devices ask for new ones.
    return replace(kept, tokens=(*others, (token_id, now + FORGET_SECONDS)), blobs_before=now + 1)


def revoke_device(before: Revocations, device: DeviceId, now: int) -> Revocations:
    """A device revoked, for good; raises `InvalidRequest`."""
    kept = before.without_past(now)
    if device in kept.devices:
        return kept
    if len(kept.devices) >= MAX_REVOKED_DEVICES:
        raise InvalidRequest("too many devices of this user are revoked; give the user no tokens any more")
    return replace(kept, devices=(*kept.devices, device))
