"""Portals: the tenants of a relay. The API key is kept as a hash; the token secret is needed as it is.

A portal's access tokens are signed with its token secret (HS256) or with a key whose public half is
registered here (EdDSA): then nothing that this relay keeps can make a token.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, NamedTuple

from relay.core.quotas import NO_QUOTAS, Quotas
from relay.core.records import pack_record, unpack_versions
from relay.core.token_keys import (
    MAX_TOKEN_KEYS,
    PUBLIC_KEY_BYTES,
    TokenPublicKey,
    check_public_key,
)
from relay.errors import AccessRefused, InvalidRequest
from relay.wire import fields as f
from relay.wire.errors import ErrorCode, WireError
from relay.wire.ids import PortalId, label, parse_portal_id

_VERSION: Final = 2  # 1 had neither registered keys nor former ones nor quotas
SECRET_NAME: Final = "secret"  # noqa: S105 - what the token secret is called where registered keys have an id
MAX_OVERLAP_SECONDS: Final = 7 * 86_400  # how long former keys may go on: a week to change every server
API_KEY_RANDOM_BYTES: Final = 32
TOKEN_SECRET_BYTES: Final = 32  # HS256: as long as the hash (RFC 7518 3.2)
MAX_ORIGINS: Final = 32
MAX_ORIGIN_CHARS: Final = 256
_HASH_BYTES: Final = 32
_match_key: Final = re.compile(r"crk_([a-z][a-z0-9-]{0,31})_[A-Za-z0-9_-]{43}").fullmatch
_match_origin: Final = re.compile(r"https?://[a-z0-9.\-\[\]:]+").fullmatch


class FormerKeys(NamedTuple):
    """The keys before a rotation, which count until a time (Unix seconds)."""

    api_key_hash: bytes
    token_secret: bytes
    until: int

    def __repr__(self) -> str:
        return f"FormerKeys(until={self.until})"


@dataclass(frozen=True, slots=True, kw_only=True)
class PortalRecord:
    """One portal. `origins`: of its web pages that may connect; `created` in Unix seconds.

    `token_secret` is empty when only registered keys sign its tokens.
    """

    id: PortalId
    api_key_hash: bytes
    token_secret: bytes = field(repr=False)
    origins: tuple[str, ...] = ()
    created: int
    token_keys: tuple[TokenPublicKey, ...] = ()
    former: FormerKeys | None = None
    quotas: Quotas = NO_QUOTAS

    def serialize(self) -> bytes:
        """The record as bytes."""
        fields = (self.id, self.api_key_hash, self.token_secret, self.origins, self.created)
        return pack_record(_VERSION, (*fields, self.token_keys, self.former, self.quotas))

    @classmethod
    def parse(cls, value: bytes) -> PortalRecord:
        """The record in these bytes; raises `StoreCorrupt`."""
        version, fields = unpack_versions(value, _SHAPES)
        portal, key_hash, secret, origins, created = fields[:5]
        keys, former, quotas = fields[5:] if version >= _VERSION else ((), None, NO_QUOTAS)
        return cls(
            id=portal,
            api_key_hash=key_hash,
            token_secret=secret,
            origins=origins,
            created=created,
            token_keys=keys,
            former=former,
            quotas=quotas,
        )

    def check_api_key(self, key: str, now: int) -> None:
        """Raise `AccessRefused` (`token_invalid`) unless this is the portal's API key; in constant time."""
        shown = hash_api_key(key)
        former = self._former(now)
        known = [self.api_key_hash, *([former.api_key_hash] if former else [])]
        matches = [hmac.compare_digest(shown, one) for one in known]
        if not any(matches):
            raise AccessRefused(ErrorCode.TOKEN_INVALID)

    def token_secrets(self, now: int) -> list[tuple[bytes, int]]:
        """The secrets that count now, and until when (0: not known yet)."""
        former = self._former(now)
        found = [(self.token_secret, 0), *([(former.token_secret, former.until)] if former else [])]
        return [(secret, until) for secret, until in found if secret]

    def token_key_names(self, now: int) -> frozenset[str]:
        """The names of all keys that sign its tokens now."""
        secrets = [secret_name(secret_text(secret).encode()) for secret, _ in self.token_secrets(now)]
        return frozenset([*secrets, *[key.id for key in self.token_keys]])

    def _former(self, now: int) -> FormerKeys | None:
        return self.former if self.former is not None and now < self.former.until else None


def _secret(value: object) -> bytes:
    return b"" if value == b"" else _full_secret(value)


_full_secret: Final = f.fixed(TOKEN_SECRET_BYTES)
_FIELDS: Final[tuple[f.Field, ...]] = (
    parse_portal_id,
    f.fixed(_HASH_BYTES),
    _secret,
    f.many(f.text(MAX_ORIGIN_CHARS), most=MAX_ORIGINS),
    f.uint,
)
_SHAPES: Final[dict[int, tuple[f.Field, ...]]] = {
    1: _FIELDS,
    _VERSION: (
        *_FIELDS,
        f.many(f.record(TokenPublicKey, f.fixed(PUBLIC_KEY_BYTES), f.uint), most=MAX_TOKEN_KEYS),
        f.optional(f.record(FormerKeys, f.fixed(_HASH_BYTES), _secret, f.uint)),
        f.record(Quotas, f.uint, f.uint, f.uint),
    ),
}


def new_portal(
    portal: str,
    *,
    api_key: str,
    token_secret: bytes = b"",
    token_key: bytes = b"",
    origins: Sequence[str] = (),
    now: int,
) -> PortalRecord:
    """A portal's record, with a token secret or a registered key.

    Raises `InvalidRequest` on an id, key or origin that may not be.
    """
    keys = (TokenPublicKey(check_public_key(token_key), now),) if token_key else ()
    return PortalRecord(
        id=check_portal_id(portal),
        api_key_hash=hash_api_key(api_key),
        token_secret=token_secret if keys and not token_secret else _check_secret(token_secret),
        origins=_check_origins(origins),
        created=now,
        token_keys=keys,
    )


def with_token_key(record: PortalRecord, public: bytes, now: int) -> PortalRecord:
    """The portal with one registered key more; raises `InvalidRequest`. One that it has stays as it is."""
    key = TokenPublicKey(check_public_key(public), now)
    if key.id in {known.id for known in record.token_keys}:
        return record
    if len(record.token_keys) >= MAX_TOKEN_KEYS:
        raise InvalidRequest(f"a portal has {MAX_TOKEN_KEYS} token keys at most; remove one first")
    return replace(record, token_keys=(*record.token_keys, key))


def without_token_key(record: PortalRecord, name: str) -> PortalRecord:
    """The portal without a registered key, or without its token secret; raises `InvalidRequest`."""
    if name == SECRET_NAME:
        former = record.former and record.former._replace(token_secret=b"")
        after = replace(record, token_secret=b"", former=former)
    else:
        after = replace(record, token_keys=tuple(key for key in record.token_keys if key.id != name))
    if after == record:
        raise InvalidRequest("the portal has no such token key")
    if not (after.token_secret or after.token_keys):
        raise InvalidRequest("this is the portal's only token key: nobody could connect; add another first")
    return after


def rotated(
    record: PortalRecord, *, api_key: str, token_secret: bytes, now: int, overlap: int = 0
) -> PortalRecord:
    """The portal with a new API key, and a new token secret if it has one; registered keys stay.

    The former ones count for `overlap` more seconds. Raises `InvalidRequest`.
    """
    check_overlap(overlap)
    former = FormerKeys(record.api_key_hash, record.token_secret, now + overlap) if overlap else None
    return replace(
        record,
        api_key_hash=hash_api_key(api_key),
        token_secret=_check_secret(token_secret) if record.token_secret else b"",
        former=former,
    )


def with_origins(record: PortalRecord, origins: Sequence[str]) -> PortalRecord:
    """The portal with other pages; raises `InvalidRequest`."""
    return replace(record, origins=_check_origins(origins))


def check_overlap(seconds: int) -> int:
    """How long former keys go on; raises `InvalidRequest`."""
    if not 0 <= seconds <= MAX_OVERLAP_SECONDS:
        raise InvalidRequest(f"former keys may go on for 0 to {MAX_OVERLAP_SECONDS // 3600} hours")
    return seconds


def check_portal_id(portal: Any) -> PortalId:
    """The id; raises `InvalidRequest`."""
    try:
        return parse_portal_id(portal)
    except WireError as error:
        raise InvalidRequest("a portal id is 1 to 32 of a-z 0-9 -, beginning with a letter") from error


def make_api_key(portal: PortalId, random: bytes) -> str:
    """The key that a portal shows: 256 random bits, and its id so that a request needs one look-up."""
    if len(random) != API_KEY_RANDOM_BYTES:
        raise InvalidRequest("an API key is made of 32 random bytes")
    return f"crk_{portal}_{base64.urlsafe_b64encode(random).rstrip(b'=').decode('ascii')}"


def portal_of_api_key(key: str) -> PortalId:
    """Which portal a key claims to be of; raises `AccessRefused` (`token_invalid`) if it is no key at all."""
    match = _match_key(key)
    if match is None:
        raise AccessRefused(ErrorCode.TOKEN_INVALID)
    return PortalId(match.group(1))


def secret_text(secret: bytes) -> str:
    """A token secret as the portal is shown it: HS256's key is this very text, in ASCII."""
    return base64.urlsafe_b64encode(secret).rstrip(b"=").decode("ascii")


def secret_name(text: bytes) -> str:
    """What tells a token secret from every other, and tells nothing else of it."""
    return hashlib.sha256(label("token key") + text).hexdigest()


def hash_api_key(key: str) -> bytes:
    """What is kept of a key. It has 256 random bits: a plain hash needs no salt and no stretching."""
    return hashlib.sha256(label("api key") + key.encode("utf-8", "surrogatepass")).digest()


def _check_secret(secret: bytes) -> bytes:
    if len(secret) != TOKEN_SECRET_BYTES:
        raise InvalidRequest("a token secret has 32 bytes")
    return secret


def _check_origins(origins: Sequence[str]) -> tuple[str, ...]:
    wrong = [o for o in origins if len(o) > MAX_ORIGIN_CHARS or not _match_origin(o)]
    if wrong or len(origins) > MAX_ORIGINS:
        raise InvalidRequest("an origin is http or https, a host and perhaps a port: https://portal.example")
    return tuple(origins)
