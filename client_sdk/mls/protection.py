"""Protecting and opening framed content (RFC 9420 section 6.1-6.3)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from .codec import Reader, u32
from .credentials import SignatureKeyPair
from .errors import CryptoError, UsageError, ValidationError
from .framing import (
    AuthData,
    AuthenticatedContent,
    Body,
    ContentType,
    FramedContent,
    PrivateMessage,
    PublicMessage,
    Sender,
    SenderType,
    WireFormat,
    parse_auth_data,
    parse_body,
    serialize_body,
)
from .hpke import Rng, draw
from .secret_tree import SecretTree
from .suites import CipherSuite

_LABEL = b"FramedContentTBS"
_GUARD_LENGTH = 4
_SENDER_DATA_LENGTH = 12

Padding = Callable[[int], int]
"""Maps the length of the content (application data, or an encoded handshake body) to what content and padding
together shall have; the signature and length headers come on top, of a size all messages share."""


def sign_content(
    suite: CipherSuite,
    signer: SignatureKeyPair,
    wire_format: WireFormat,
    content: FramedContent,
    context: bytes,
) -> bytes:
    """The signature over FramedContentTBS."""
    return signer.sign(suite, _LABEL, content.tbs(wire_format, context))


def verify_content(suite: CipherSuite, public: bytes, message: AuthenticatedContent, context: bytes) -> bytes:
    """Check the signature by the sender's key; returns the FramedContentTBS that was signed."""
    tbs = message.content.tbs(message.wire_format, context)
    suite.verify_with_label(public, _LABEL, tbs, message.auth.signature, "FRAME-SIGNATURE")
    return tbs


# ---- PublicMessage -----------------------------------------------------------------------------------


def _membership_tbm(content: FramedContent, auth: AuthData, context: bytes) -> bytes:
    return content.tbs(WireFormat.PUBLIC_MESSAGE, context) + auth.serialize()


def protect_public(
    suite: CipherSuite, membership_key: bytes, content: FramedContent, auth: AuthData, context: bytes
) -> PublicMessage:
    """A PublicMessage; a member's gets its membership tag."""
    tag = None
    if content.sender.type is SenderType.MEMBER:
        tag = suite.mac(membership_key, _membership_tbm(content, auth, context))
    return PublicMessage(content, auth, tag)


def open_public(
    suite: CipherSuite, membership_key: bytes, message: PublicMessage, context: bytes
) -> AuthenticatedContent:
    """Check the membership tag; the signature is still unverified. Application data is refused."""
    content = message.content
    if content.content_type is ContentType.APPLICATION:
        raise ValidationError("FRAME-APPLICATION-PRIVATE", "application data came in a PublicMessage")
    if content.sender.type is SenderType.MEMBER:
        tbm = _membership_tbm(content, message.auth, context)
        suite.verify_mac(membership_key, tbm, message.membership_tag or b"", "FRAME-MEMBERSHIP-TAG")
    return AuthenticatedContent(WireFormat.PUBLIC_MESSAGE, content, message.auth)


# ---- PrivateMessage ----------------------------------------------------------------------------------


def sender_data_key(suite: CipherSuite, sender_data_secret: bytes, ciphertext: bytes) -> tuple[bytes, bytes]:
    """Key and nonce of the sender data, from the ciphertext's first bytes (section 6.3.2)."""
    sample, aead = ciphertext[: suite.hash_length], suite.aead
    key = suite.expand_with_label(sender_data_secret, b"key", sample, aead.key_length)
    return key, suite.expand_with_label(sender_data_secret, b"nonce", sample, aead.nonce_length)


def _guarded(nonce: bytes, guard: bytes) -> bytes:
    head = int.from_bytes(nonce[:_GUARD_LENGTH]) ^ int.from_bytes(guard)
    return head.to_bytes(_GUARD_LENGTH) + nonce[_GUARD_LENGTH:]


def _pad(body: Body, encoded: bytes, padding: Padding | None) -> bytes:
    if padding is None:
        return b""
    length = len(body) if isinstance(body, bytes) else len(encoded)
    total = padding(length)
    if total < length:
        raise UsageError(None, "padding makes the content shorter")
    return bytes(total - length)


def protect_private(
    suite: CipherSuite,
    sender_data_secret: bytes,
    secret_tree: SecretTree,
    content: FramedContent,
    auth: AuthData,
    *,
    rng: Rng,
    padding: Padding | None,
) -> tuple[PrivateMessage, SecretTree]:
    """Encrypt signed content under the sender's next generation; returns the tree without that key."""
    leaf, kind, aead = content.sender.index, content.content_type, suite.aead
    pair, secret_tree = secret_tree.open_leaf(suite, leaf)
    ratchet = pair.of(kind)
    key, guard = ratchet.key(suite), draw(rng, _GUARD_LENGTH)
    head = PrivateMessage(content.group_id, content.epoch, kind, content.authenticated_data, b"", b"")
    body = serialize_body(content.body)
    encoded = body + auth.serialize() + _pad(content.body, body, padding)
    ciphertext = aead.seal(key.key, _guarded(key.nonce, guard), head.content_aad(), encoded)
    data_key, data_nonce = sender_data_key(suite, sender_data_secret, ciphertext)
    sender_data = u32(leaf) + u32(ratchet.generation) + guard
    sealed_data = aead.seal(data_key, data_nonce, head.sender_data_aad(), sender_data)
    message = PrivateMessage(
        content.group_id, content.epoch, kind, content.authenticated_data, sealed_data, ciphertext
    )
    return message, secret_tree.with_ratchet(leaf, kind, ratchet.step(suite))


@dataclass(frozen=True, slots=True)
class SenderData:
    """Who encrypted a PrivateMessage, and with which key."""

    leaf_index: int
    generation: int
    reuse_guard: bytes


def open_sender_data(suite: CipherSuite, sender_data_secret: bytes, message: PrivateMessage) -> SenderData:
    """Decrypt the sender data."""
    key, nonce = sender_data_key(suite, sender_data_secret, message.ciphertext)
    plain = suite.aead.open(key, nonce, message.sender_data_aad(), message.encrypted_sender_data)
    if len(plain) != _SENDER_DATA_LENGTH:
        raise CryptoError("FRAME-SENDER-DATA", "the sender data has the wrong length")
    reader = Reader(plain)
    return SenderData(reader.u32(), reader.u32(), reader.take(_GUARD_LENGTH))


def open_private(
    suite: CipherSuite, secret_tree: SecretTree, message: PrivateMessage, sender: SenderData
) -> tuple[AuthenticatedContent, SecretTree]:
    """Decrypt content; the signature is still unverified. Returns the tree without the key used."""
    pair, secret_tree = secret_tree.open_leaf(suite, sender.leaf_index)
    key, ratchet = pair.of(message.content_type).take(suite, sender.generation)
    nonce = _guarded(key.nonce, sender.reuse_guard)
    plain = suite.aead.open(key.key, nonce, message.content_aad(), message.ciphertext)
    body_reader = Reader(plain)
    body = parse_body(body_reader, message.content_type)
    auth = parse_auth_data(body_reader, message.content_type)
    if body_reader.rest().strip(b"\0"):
        raise ValidationError("FRAME-PADDING", "the padding is not all zero")
    content = FramedContent(
        group_id=message.group_id,
        epoch=message.epoch,
        sender=Sender(SenderType.MEMBER, sender.leaf_index),
        authenticated_data=message.authenticated_data,
        content_type=message.content_type,
        body=body,
    )
    opened = AuthenticatedContent(WireFormat.PRIVATE_MESSAGE, content, auth)
    return opened, secret_tree.with_ratchet(sender.leaf_index, message.content_type, ratchet)


def proposal_ref(suite: CipherSuite, message: AuthenticatedContent) -> bytes:
    """The ProposalRef of a proposal message (section 5.2)."""
    return suite.ref_hash(b"MLS 1.0 Proposal Reference", message.serialize())
