"""MLS: what it costs the client to encrypt and to decrypt one message, beside the bare cryptography in it."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Final

from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305
from nacl.signing import SigningKey

from client_sdk.content.padding import padded_length
from client_sdk.mls import (
    SUITE_1,
    SUITE_3,
    Add,
    ApplicationReceived,
    BasicCredential,
    CipherSuite,
    Credential,
    GroupState,
    LeafNode,
    Lifetime,
    SignatureKeyPair,
    create_commit,
    create_group,
    encrypt,
    generate_key_package,
    generate_signature_key,
    join_from_welcome,
    process_message,
    verify_key_package,
)
from tests.bench.context import Context
from tests.bench.errors import UnexpectedError
from tests.bench.figures import MICROSECONDS, Bound, Figure, Target
from tests.bench.traffic import no_garbage_collection

_MUST_REACH: Final = Target(Bound.VALUE_AT_MOST, 400.0)
_NOW: Final = 1_750_000_000
_LIFETIME: Final = Lifetime(_NOW - 3600, _NOW + 3600)
_PAYLOAD: Final = os.urandom(512)


class _Everyone:
    """Accepts every credential: what is measured is MLS, not who is who."""

    def verify_credential(self, credential: Credential, signature_key: bytes) -> None:
        """Accept."""

    def verify_successor(self, old: LeafNode, new: LeafNode) -> None:
        """Accept."""


def measure_mls(context: Context) -> list[Figure]:
    """Encrypt and decrypt in both suites, alternating with a bare signature and AEAD; nothing is stored."""
    figures: list[Figure] = []
    for number, suite, aead in (
        (1, SUITE_1, AESGCM(os.urandom(16)).encrypt),
        (3, SUITE_3, ChaCha20Poly1305(os.urandom(32)).encrypt),
    ):
        context.progress.say(
            f"mls: suite {number}, {context.plan.rounds} x {context.plan.mls_messages} messages"
        )
        figures += _suite(context, number, suite, aead)
    return figures


def _suite(
    context: Context, number: int, suite: CipherSuite, aead: Callable[[bytes, bytes, bytes], bytes]
) -> list[Figure]:
    count = context.plan.mls_messages
    taken: dict[str, list[float]] = {"encrypt": [], "decrypt": [], "sign and seal": [], "verify and open": []}
    for _ in range(context.plan.rounds):
        sender, receiver = two_members(suite)
        with no_garbage_collection():
            seconds, messages = _encrypt_all(sender, count)
            taken["encrypt"].append(seconds / count * MICROSECONDS)
            taken["sign and seal"].append(_bare(_signer(aead), count) / count * MICROSECONDS)
            taken["decrypt"].append(_decrypt_all(receiver, messages) / count * MICROSECONDS)
            taken["verify and open"].append(_bare(_verifier(aead), count) / count * MICROSECONDS)
    return [
        Figure(
            name=f"MLS {ours}, {len(_PAYLOAD)} bytes, suite {number}",
            unit="us",
            rounds=tuple(taken[ours]),
            baseline_name=f"bare {bare}",
            baseline_rounds=tuple(taken[bare]),
            target=target,
        )
        for ours, bare, target in (
            ("encrypt", "sign and seal", _MUST_REACH),
            ("decrypt", "verify and open", None),
        )
    ]


def two_members(suite: CipherSuite) -> tuple[GroupState, GroupState]:
    """A coach's and a client's state of their new group."""
    auth = _Everyone()

    def person(name: str) -> tuple[SignatureKeyPair, BasicCredential]:
        return generate_signature_key(suite, os.urandom), BasicCredential(name.encode())

    coach, coach_name = person("coach")
    client, client_name = person("client")
    bundle = generate_key_package(suite, client, client_name, lifetime=_LIFETIME, rng=os.urandom)
    group = create_group(suite, b"bench", coach, coach_name, lifetime=_LIFETIME, rng=os.urandom)
    package = verify_key_package(bundle.key_package, suite=suite, auth=auth, now=_NOW)
    made = create_commit(group, (Add(package),), auth=auth, now=_NOW, rng=os.urandom)
    if made.welcome is None:
        raise UnexpectedError("a commit with an Add made no Welcome")
    return made.state, join_from_welcome(made.welcome, bundle, client, auth=auth, now=_NOW)


def _encrypt_all(state: GroupState, count: int) -> tuple[float, list[bytes]]:
    messages: list[bytes] = []
    start = time.perf_counter()
    for _ in range(count):
        made = encrypt(state, _PAYLOAD, rng=os.urandom, padding=padded_length)
        state = made.state
        messages.append(made.message)
    return time.perf_counter() - start, messages


def _decrypt_all(state: GroupState, messages: list[bytes]) -> float:
    auth = _Everyone()
    start = time.perf_counter()
    for message in messages:
        received = process_message(state, message, auth=auth, now=_NOW)
        if not isinstance(received, ApplicationReceived) or received.plaintext != _PAYLOAD:
            raise UnexpectedError("a message was not what was sent")
        state = received.state
    return time.perf_counter() - start


def _signer(aead: Callable[[bytes, bytes, bytes], bytes]) -> Callable[[], object]:
    key, nonce = SigningKey.generate(), os.urandom(12)
    return lambda: aead(nonce, _PAYLOAD + key.sign(_PAYLOAD).signature, b"")


def _verifier(aead: Callable[[bytes, bytes, bytes], bytes]) -> Callable[[], object]:
    key, nonce = SigningKey.generate(), os.urandom(12)
    signature, public = key.sign(_PAYLOAD).signature, key.verify_key
    # Opening costs what sealing does.
    return lambda: (aead(nonce, _PAYLOAD, b""), public.verify(_PAYLOAD, signature))


def _bare(work: Callable[[], object], count: int) -> float:
    start = time.perf_counter()
    for _ in range(count):
        work()
    return time.perf_counter() - start
