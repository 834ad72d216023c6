"""The public keys that verify a portal's access tokens (RFC 8037), named by their thumbprints (RFC 7638)."""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import re
from typing import Any, Final, NamedTuple

from nacl.bindings import crypto_core_ed25519_is_valid_point

from relay.errors import InvalidRequest

PUBLIC_KEY_BYTES: Final = 32
MAX_TOKEN_KEYS: Final = 4  # the one in use, the next one, and as many again for a second signer
_SPKI_PREFIX: Final = bytes.fromhex("302a300506032b6570032100")  # RFC 8410: Ed25519, then the key's 32 bytes
_match_key_id: Final = re.compile(r"[A-Za-z0-9_-]{43}").fullmatch
_match_pem: Final = re.compile(
    r"\s*-----BEGIN PUBLIC KEY-----\s+([A-Za-z0-9+/=\s]+?)\s+-----END PUBLIC KEY-----\s*"
).fullmatch
_WHAT: Final = "a token key is an Ed25519 public key, as PEM (BEGIN PUBLIC KEY) or as JWK"
_PRIVATE: Final = (
    "this is the private key, which stays with the portal; hand over the public one "
    "(openssl pkey -in private.pem -pubout)"
)


class TokenPublicKey(NamedTuple):
    """A registered key and since when (Unix seconds)."""

    public: bytes
    created: int

    @property
    def id(self) -> str:
        """The `kid` that tokens name it by."""
        return key_id(self.public)


def key_id(public: bytes) -> str:
    """The JWK thumbprint of an Ed25519 public key (RFC 7638, RFC 8037 appendix A.3): nobody chooses it."""
    jwk = f'{{"crv":"Ed25519","kty":"OKP","x":"{_base64url(public)}"}}'
    return _base64url(hashlib.sha256(jwk.encode("ascii")).digest())


def is_key_id(value: Any) -> bool:
    """Whether a token's `kid` has the form of one."""
    return isinstance(value, str) and _match_key_id(value) is not None


def parse_public_key(text: str) -> bytes:
    """The 32 bytes of a public key in PEM or JWK; raises `InvalidRequest` on anything else."""
    if "PRIVATE KEY" in text:
        raise InvalidRequest(_PRIVATE)
    public = _from_jwk(text) if text.lstrip().startswith("{") else _from_pem(text)
    return check_public_key(public)


def check_public_key(public: bytes) -> bytes:
    """The key; raises `InvalidRequest` unless it is a point of the prime-order group in canonical form."""
    if len(public) != PUBLIC_KEY_BYTES or not crypto_core_ed25519_is_valid_point(public):
        raise InvalidRequest(_WHAT)
    return public


def _from_pem(text: str) -> bytes:
    matched = _match_pem(text)
    if matched is None:
        raise InvalidRequest(_WHAT)
    try:
        der = base64.b64decode("".join(matched[1].split()), validate=True)
    except binascii.Error as error:
        raise InvalidRequest(_WHAT) from error
    if not der.startswith(_SPKI_PREFIX):
        raise InvalidRequest(_WHAT)
    return der.removeprefix(_SPKI_PREFIX)


def _from_jwk(text: str) -> bytes:
    try:
        jwk = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InvalidRequest(_WHAT) from error
    if "d" in jwk:
        raise InvalidRequest(_PRIVATE)
    x = jwk.get("x")
    if (jwk.get("kty"), jwk.get("crv")) != ("OKP", "Ed25519") or not isinstance(x, str):
        raise InvalidRequest(_WHAT)
    if not is_key_id(x):  # 32 bytes, as a thumbprint has
        raise InvalidRequest(_WHAT)
    return base64.urlsafe_b64decode(x + "=")


def _base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode("ascii")
