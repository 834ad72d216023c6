"""Call words: five words that both people read aloud (docs/PROTOCOL.md section 12).

The caller commits to its nonce before it sees the callee's, so that somebody between the two cannot
search for nonces that give both sides the same words: an impostor has one try in 2^55.
"""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass
from functools import cache

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from mnemonic import Mnemonic

from relay.wire.ids import label

from ..content.packing import pack
from ..errors import CallRevealFailed, UsageError

NONCE_BYTES = 32
FINGERPRINT_BYTES = 32
WORDS = 5

_BITS_PER_WORD = 11
_OUTPUT_BYTES = 7


@cache
def english() -> tuple[str, ...]:
    """The 2,048 words of BIP-39 in English."""
    return tuple(Mnemonic("english").wordlist)


def words_in(typed: str) -> list[str]:
    """The runs of letters, in lower case: numbers, commas and line breaks between words do not matter."""
    return "".join(letter if letter.isalpha() else " " for letter in typed.lower()).split()


def call_commit(nonce: bytes) -> bytes:
    """The caller's commitment to its nonce (32 bytes) in the offer."""
    _check("A call's nonce", nonce, NONCE_BYTES)
    return hashlib.sha256(label("call commit") + nonce).digest()


def check_reveal(commit: bytes, nonce: bytes) -> None:
    """Whether the revealed nonce is the committed one; raises CallRevealFailed, and the call must end."""
    if len(nonce) != NONCE_BYTES or not hmac.compare_digest(call_commit(nonce), commit):
        raise CallRevealFailed(
            "The other device did not keep to what it had committed itself to. Somebody may stand between "
            "you two: the call is ended. Try again, and compare your safety numbers if it happens again."
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class CallBinding:
    """What the call words bind together; a fingerprint is the 32 bytes of ``a=fingerprint:sha-256``."""

    caller_identity: bytes
    callee_identity: bytes
    group_id: bytes
    call: bytes
    epoch_authenticator: bytes
    """Of the epoch that the offer's ephemeral header names."""
    caller_fingerprint: bytes
    callee_fingerprint: bytes


def call_words(binding: CallBinding, *, caller_nonce: bytes, callee_nonce: bytes) -> tuple[str, ...]:
    """The five words; both sides have the same if nobody stands between them."""
    _check("A call's nonce", caller_nonce, NONCE_BYTES)
    _check("A call's nonce", callee_nonce, NONCE_BYTES)
    _check("A fingerprint", binding.caller_fingerprint, FINGERPRINT_BYTES)
    _check("A fingerprint", binding.callee_fingerprint, FINGERPRINT_BYTES)
    info = pack(
        [
            binding.caller_identity,
            binding.callee_identity,
            binding.group_id,
            binding.call,
            binding.epoch_authenticator,
            binding.caller_fingerprint,
            binding.callee_fingerprint,
        ]
    )
    hkdf = HKDF(algorithm=SHA256(), length=_OUTPUT_BYTES, salt=label("call words"), info=info)
    bits = int.from_bytes(hkdf.derive(caller_nonce + callee_nonce), "big") >> 1
    indexes = (bits >> (_BITS_PER_WORD * place) & 0x7FF for place in reversed(range(WORDS)))
    return tuple(english()[index] for index in indexes)


def _check(what: str, value: bytes, length: int) -> None:
    if len(value) != length:
        raise UsageError(f"{what} is {length} bytes.")
