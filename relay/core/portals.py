"""Portals: the tenants of a relay. The API key is kept as a hash; the token secret is needed as it is."""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from relay.core.records import pack_record, unpack_record
from relay.errors import AccessRefused, InvalidRequest
from relay.wire import fields as f
from relay.wire.errors import ErrorCode, WireError
from relay.wire.ids import PortalId, label, parse_portal_id

_VERSION: Final = 1
API_KEY_RANDOM_BYTES: Final = 32
TOKEN_SECRET_BYTES: Final = 32  # HS256: as long as the hash (RFC 7518 3.2)
MAX_ORIGINS: Final = 32
MAX_ORIGIN_CHARS: Final = 256
_HASH_BYTES: Final = 32
_match_key: Final = re.compile(r"crk_([a-z][a-z0-9-]{0,31})_[A-Za-z0-9_-]{43}").fullmatch
_match_origin: Final = re.compile(r"https?://[a-z0-9.\-\[\]:]+").fullmatch


@dataclass(frozen=True, slots=True, kw_only=True)
class PortalRecord:
    """One portal. `origins`: of its web pages that may connect; `created` in Unix seconds."""

    id: PortalId
    api_key_hash: bytes
    token_secret: bytes = field(repr=False)
    origins: tuple[str, ...] = ()
    created: int

    def serialize(self) -> bytes:
        """The record as bytes."""
        fields = (self.id, self.api_key_hash, self.token_secret, self.origins, self.created)
        return pack_record(_VERSION, fields)

    @classmethod
    def parse(cls, value: bytes) -> PortalRecord:
        """The record in these bytes; raises `StoreCorrupt`."""
        portal, key_hash, secret, origins, created = unpack_record(value, _VERSION, _FIELDS)
        return cls(id=portal, api_key_hash=key_hash, token_secret=secret, origins=origins, created=created)

    def check_api_key(self, key: str) -> None:
        """Raise `AccessRefused` (`token_invalid`) unless this is the portal's API key; in constant time."""
        if not hmac.compare_digest(hash_api_key(key), self.api_key_hash):
            raise AccessRefused(ErrorCode.TOKEN_INVALID)


_FIELDS: Final[tuple[f.Field, ...]] = (
    parse_portal_id,
    f.fixed(_HASH_BYTES),
    f.fixed(TOKEN_SECRET_BYTES),
    f.many(f.text(MAX_ORIGIN_CHARS), most=MAX_ORIGINS),
    f.uint,
)


def new_portal(
    portal: str, *, api_key: str, token_secret: bytes, origins: Sequence[str] = (), now: int
) -> PortalRecord:
    """A portal's record; raises `InvalidRequest` on an id, secret or origin that may not be."""
    return PortalRecord(
        id=check_portal_id(portal),
        api_key_hash=hash_api_key(api_key),
        token_secret=_check_secret(token_secret),
        origins=_check_origins(origins),
        created=now,
    )


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
