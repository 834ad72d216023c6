"""Access tokens (PROTOCOL 3): what a portal's JWT must be to let a device in. The clock is an argument.

Each key has one algorithm, and a token has no say in it: without `kid` it is HS256 under the portal's secret,
with a `kid` it is EdDSA under the registered key of that name.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass, field
from typing import Any, Final, Literal, NamedTuple

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from jwt import PyJWS
from jwt.exceptions import PyJWTError

from relay.core.access import LEEWAY_SECONDS, MAX_LIFE_SECONDS, MAX_TOKEN_ID_CHARS, AccessToken
from relay.core.portals import secret_name, secret_text
from relay.core.token_keys import is_key_id, key_id
from relay.errors import AccessRefused
from relay.http import strict_json
from relay.wire.errors import ErrorCode, WireError
from relay.wire.ids import PortalId, parse_portal_id, parse_user_id
from relay.wire.limits import MAX_TOKEN_CHARS

AUDIENCE: Final = "coach-relay"

_HEADER_FIELDS: Final = frozenset({"alg", "typ", "kid"})  # crit, jwk, jku, x5u, b64: all have been attacks
_TYPES: Final = frozenset({"jwt", "at+jwt"})
_CLAIMS: Final = ("iss", "sub", "aud", "iat", "nbf", "exp", "jti")
_jws: Final = PyJWS()


@dataclass(frozen=True, slots=True)
class TokenKey:
    """A key that a portal signs with. `kid` names a registered one; `until` (0: no end) in Unix seconds."""

    secret: bytes = field(repr=False)
    algorithm: Literal["HS256", "EdDSA"] = "HS256"
    kid: str | None = None
    until: int = 0

    @property
    def name(self) -> str:
        """What tells this key from every other, and tells nothing else."""
        return self.kid or secret_name(self.secret)


def token_key(secret: bytes, /, *, until: int = 0) -> TokenKey:
    """Return the key of a portal whose record holds these random bytes."""
    return TokenKey(secret_text(secret).encode("ascii"), until=until)


def registered_key(public: bytes, /) -> TokenKey:
    """Return the key that a portal registered (Ed25519, 32 bytes)."""
    return TokenKey(public, "EdDSA", key_id(public))


NO_KEY: Final = TokenKey(
    b"no portal signs with this key: it only makes an unknown issuer take as long as a known one"
)
_NO_PUBLIC_KEY: Final = base64.b16decode("D75A980182B10AB7D54BFED3C964073A0EE172F3DAA62325AF021A68F707511A")


def no_key(kid: str | None, /) -> TokenKey:
    """Return a key of the kind that a token names, with which nobody signs."""
    return NO_KEY if kid is None else TokenKey(_NO_PUBLIC_KEY, "EdDSA", kid)


class Claimed(NamedTuple):
    """Whose token one claims to be, and which key it names; nothing of it is verified."""

    issuer: PortalId
    kid: str | None


def unverified(token: str, /) -> Claimed:
    """Return what a token claims, only to look up its key. Raises `AccessRefused`."""
    if len(token) > MAX_TOKEN_CHARS or not token.isascii():
        raise _invalid("the access token is too long or not a token")
    try:
        parts = _jws.decode_complete(
            token, options={"verify_signature": False, "enforce_minimum_key_length": False}
        )
    except PyJWTError as error:
        raise _invalid("the access token is not a signed JWT") from error
    _check_header(parts["header"])
    return Claimed(_issuer(_claims(parts["payload"])), parts["header"].get("kid"))


def verify_token(token: str, /, *, key: TokenKey, now: int) -> AccessToken:
    """Return what a token grants. `now` is in Unix seconds.

    Raises `AccessRefused` with `token_expired` if it was good and its time is over, else with
    `token_invalid`.
    """
    if unverified(token).kid != key.kid:
        raise _invalid("the access token names another key")
    verifier = key.secret if key.algorithm == "HS256" else Ed25519PublicKey.from_public_bytes(key.secret)
    try:
        payload = _jws.decode(token, verifier, algorithms=[key.algorithm])
    except PyJWTError as error:
        raise _invalid("the access token's signature does not verify") from error
    return _grant(_claims(payload), now, key)


def _invalid(detail: str) -> AccessRefused:
    return AccessRefused(ErrorCode.TOKEN_INVALID, detail)


def _check_header(header: dict[str, Any]) -> None:
    if not _HEADER_FIELDS.issuperset(header):
        raise _invalid("the access token's header may hold alg, typ and kid, nothing else")
    kind = header.get("typ", "JWT")
    if not isinstance(kind, str) or kind.lower() not in _TYPES:
        raise _invalid("the access token's typ is not JWT")
    if "kid" in header and not is_key_id(header["kid"]):
        raise _invalid("the access token's kid is not the id of a registered key")


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


def _grant(claims: dict[str, Any], now: int, key: TokenKey) -> AccessToken:
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
    return AccessToken(
        portal=_issuer(claims),
        user=user,
        expires=min(expires, key.until) if key.until else expires,
        token_id=token_id,
        issued=claims["iat"],
        key=key.name,
    )


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
