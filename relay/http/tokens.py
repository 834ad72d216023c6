"""Access tokens (PROTOCOL 3): what a portal's JWT must be to let a device in. The clock is an argument."""

from __future__ import annotations

import base64
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from jwt import PyJWS
from jwt.exceptions import PyJWTError

from relay.core.access import AccessToken
from relay.errors import AccessRefused
from relay.http import strict_json
from relay.wire.errors import ErrorCode, WireError
from relay.wire.ids import PortalId, parse_portal_id, parse_user_id
from relay.wire.limits import MAX_TOKEN_CHARS

AUDIENCE: Final = "coach-relay"
MAX_LIFE_SECONDS: Final = 3600  # a stolen token is useless within the hour
LEEWAY_SECONDS: Final = 30  # how far portal and relay clocks may differ
MAX_TOKEN_ID_CHARS: Final = 128  # a UUID, a ULID or a hash fits

_HEADER_FIELDS: Final = frozenset(
    {"alg", "typ"}
)  # kid, crit, jwk, jku, x5u, b64: all of them have been attacks
_TYPES: Final = frozenset({"jwt", "at+jwt"})
_CLAIMS: Final = ("iss", "sub", "aud", "iat", "nbf", "exp", "jti")
_jws: Final = PyJWS()


@dataclass(frozen=True, slots=True)
class TokenKey:
    """The key that a portal signs with; the algorithm belongs to the key, a token has no say in it."""

    secret: bytes = field(repr=False)
    algorithm: Literal["HS256"] = "HS256"


def token_key(secret: bytes, /) -> TokenKey:
    """Return the key of a portal whose record holds these random bytes."""
    return TokenKey(secret_text(secret).encode("ascii"))


def secret_text(secret: bytes, /) -> str:
    """Return a token secret as the portal is shown it: HS256's key is this very text, in ASCII."""
    return base64.urlsafe_b64encode(secret).rstrip(b"=").decode("ascii")


NO_KEY: Final = TokenKey(
    b"no portal signs with this key: it only makes an unknown issuer take as long as a known one"
)


def unverified_issuer(token: str, /) -> PortalId:
    """Return the portal that a token claims to come from, only to look up its key. Raises `AccessRefused`."""
    if len(token) > MAX_TOKEN_CHARS or not token.isascii():
        raise _invalid("the access token is too long or not a token")
    try:
        parts = _jws.decode_complete(
            token, options={"verify_signature": False, "enforce_minimum_key_length": False}
        )
    except PyJWTError as error:
        raise _invalid("the access token is not a signed JWT") from error
    _check_header(parts["header"])
    return _issuer(_claims(parts["payload"]))


def verify_token(token: str, /, *, key: TokenKey, now: int) -> AccessToken:
    """Return what a token grants. `now` is in Unix seconds.

    Raises `AccessRefused` with `token_expired` if it was good and its time is over, else with
    `token_invalid`.
    """
    unverified_issuer(token)
    try:
        payload = _jws.decode(token, key.secret, algorithms=[key.algorithm])
    except PyJWTError as error:
        raise _invalid("the access token's signature does not verify") from error
    return _grant(_claims(payload), now)


def _invalid(detail: str) -> AccessRefused:
    return AccessRefused(ErrorCode.TOKEN_INVALID, detail)


def _check_header(header: dict[str, Any]) -> None:
    if not _HEADER_FIELDS.issuperset(header):
        raise _invalid("the access token's header may hold alg and typ, nothing else")
    kind = header.get("typ", "JWT")
    if not isinstance(kind, str) or kind.lower() not in _TYPES:
        raise _invalid("the access token's typ is not JWT")


def _claims(payload: bytes) -> dict[str, Any]:
    try:
        claims = strict_json.loads(payload)
    except ValueError as error:
        raise _invalid("the access token's claims are not JSON") from error
    if not isinstance(claims, dict):
        raise _invalid("the access token's claims are not a JSON object")
    return claims


def _issuer(claims: dict[str, Any]) -> PortalId:
    try:
        return parse_portal_id(claims.get("iss"))
    except WireError as error:
        raise _invalid("the access token's iss is not a portal id") from error


def _grant(claims: dict[str, Any], now: int) -> AccessToken:
    missing = [name for name in _CLAIMS if name not in claims]
    if missing:
        raise _invalid(f"the access token lacks {', '.join(missing)}")
    if claims["aud"] != AUDIENCE:
        raise _invalid(f"the access token's aud is not {AUDIENCE}")
    expires = _check_times(claims, now)
    try:
        user = parse_user_id(claims["sub"])
    except WireError as error:
        raise _invalid("the access token's sub is not a user id") from error
    token_id = claims["jti"]
    if not isinstance(token_id, str) or not 1 <= len(token_id) <= MAX_TOKEN_ID_CHARS:
        raise _invalid(f"the access token's jti is not a text of 1 to {MAX_TOKEN_ID_CHARS} characters")
    return AccessToken(portal=_issuer(claims), user=user, expires=expires, token_id=token_id)


def _check_times(claims: dict[str, Any], now: int) -> int:
    times = [claims[name] for name in ("iat", "nbf", "exp")]
    if any(type(value) is not int or not 0 <= value < 2**53 for value in times):
        raise _invalid("the access token's iat, nbf and exp are not whole Unix seconds")
    issued, not_before, expires = times
    if expires <= issued or expires - issued > MAX_LIFE_SECONDS:
        raise _invalid(f"the access token's life is not between 1 and {MAX_LIFE_SECONDS} s")
    if max(issued, not_before) > now + LEEWAY_SECONDS:
        raise _invalid("the access token is not valid yet")
    if expires + LEEWAY_SECONDS <= now:
        raise AccessRefused(ErrorCode.TOKEN_EXPIRED, "the access token has expired")
    return int(expires)
