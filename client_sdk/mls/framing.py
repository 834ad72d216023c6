"""Message framing: the structures and their encodings (RFC 9420 section 6)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum

from .codec import MAX_INPUT_BYTES, Reader, opaque, parse_all, u8, u16, u32, u64
from .errors import DecodeError, UsageError, ValidationError
from .key_package import KeyPackage, parse_key_package
from .leaf_node import MLS_VERSION
from .proposals import Commit, Proposal, parse_commit, parse_proposal
from .welcome import GroupInfo, Welcome, parse_group_info, parse_welcome


class WireFormat(IntEnum):
    """What an MLSMessage holds."""

    PUBLIC_MESSAGE = 1
    PRIVATE_MESSAGE = 2
    WELCOME = 3
    GROUP_INFO = 4
    KEY_PACKAGE = 5


class ContentType(IntEnum):
    """What framed content is."""

    APPLICATION = 1
    PROPOSAL = 2
    COMMIT = 3


class SenderType(IntEnum):
    """Who may send framed content."""

    MEMBER = 1
    EXTERNAL = 2
    NEW_MEMBER_PROPOSAL = 3
    NEW_MEMBER_COMMIT = 4


@dataclass(frozen=True, slots=True)
class Sender:
    """A sender; ``index`` is a leaf index (member) or an index into external_senders (external)."""

    type: SenderType
    index: int = 0

    def serialize(self) -> bytes:
        """Encode the sender."""
        if self.type in (SenderType.MEMBER, SenderType.EXTERNAL):
            return u8(self.type) + u32(self.index)
        return u8(self.type)


def parse_sender(reader: Reader) -> Sender:
    """Decode a sender."""
    try:
        kind = SenderType(reader.u8())
    except ValueError:
        raise DecodeError("FRAME-SENDER-TYPE", "a sender is of an unknown type") from None
    indexed = kind in (SenderType.MEMBER, SenderType.EXTERNAL)
    return Sender(kind, reader.u32() if indexed else 0)


def parse_content_type(reader: Reader) -> ContentType:
    """Decode a content type."""
    try:
        return ContentType(reader.u8())
    except ValueError:
        raise DecodeError("FRAME-CONTENT-TYPE", "content is of an unknown type") from None


Body = bytes | Proposal | Commit


@dataclass(frozen=True, slots=True)
class FramedContent:
    """Content with its addressing; the body of application content is plain bytes."""

    group_id: bytes
    epoch: int
    sender: Sender
    authenticated_data: bytes
    content_type: ContentType
    body: Body

    def serialize(self) -> bytes:
        """Encode the FramedContent."""
        return b"".join(
            (
                opaque(self.group_id),
                u64(self.epoch),
                self.sender.serialize(),
                opaque(self.authenticated_data),
                u8(self.content_type),
                serialize_body(self.body),
            )
        )

    def tbs(self, wire_format: WireFormat, context: bytes) -> bytes:
        """FramedContentTBS; ``context`` is the encoded GroupContext, used only for (new) members."""
        within = self.sender.type in (SenderType.MEMBER, SenderType.NEW_MEMBER_COMMIT)
        return u16(MLS_VERSION) + u16(wire_format) + self.serialize() + (context if within else b"")


def serialize_body(body: Body) -> bytes:
    """Encode a content's body."""
    return opaque(body) if isinstance(body, bytes) else body.serialize()


def parse_body(reader: Reader, content_type: ContentType) -> Body:
    """Decode a content's body."""
    if content_type is ContentType.APPLICATION:
        return reader.opaque()
    return parse_proposal(reader) if content_type is ContentType.PROPOSAL else parse_commit(reader)


def parse_framed_content(reader: Reader) -> FramedContent:
    """Decode a FramedContent."""
    group_id, epoch = reader.opaque(), reader.u64()
    sender, authenticated_data = parse_sender(reader), reader.opaque()
    content_type = parse_content_type(reader)
    body = parse_body(reader, content_type)
    return FramedContent(group_id, epoch, sender, authenticated_data, content_type, body)


@dataclass(frozen=True, slots=True)
class AuthData:
    """Signature, and for a commit the confirmation tag."""

    signature: bytes
    confirmation_tag: bytes | None

    def serialize(self) -> bytes:
        """Encode the FramedContentAuthData."""
        return opaque(self.signature) + (
            b"" if self.confirmation_tag is None else opaque(self.confirmation_tag)
        )


def parse_auth_data(reader: Reader, content_type: ContentType) -> AuthData:
    """Decode a FramedContentAuthData."""
    signature = reader.opaque()
    return AuthData(signature, reader.opaque() if content_type is ContentType.COMMIT else None)


@dataclass(frozen=True, slots=True)
class AuthenticatedContent:
    """Content with its wire format and authentication."""

    wire_format: WireFormat
    content: FramedContent
    auth: AuthData

    def serialize(self) -> bytes:
        """Encode the AuthenticatedContent."""
        return u16(self.wire_format) + self.content.serialize() + self.auth.serialize()

    def transcript_input(self) -> bytes:
        """ConfirmedTranscriptHashInput (section 8.2)."""
        return u16(self.wire_format) + self.content.serialize() + opaque(self.auth.signature)


def parse_authenticated_content(reader: Reader) -> AuthenticatedContent:
    """Decode an AuthenticatedContent."""
    wire_format = _parse_wire_format(reader)
    content = parse_framed_content(reader)
    return AuthenticatedContent(wire_format, content, parse_auth_data(reader, content.content_type))


@dataclass(frozen=True, slots=True)
class PublicMessage:
    """Signed, unencrypted content; a member's carries a membership tag."""

    content: FramedContent
    auth: AuthData
    membership_tag: bytes | None

    def serialize(self) -> bytes:
        """Encode the PublicMessage."""
        tag = b"" if self.membership_tag is None else opaque(self.membership_tag)
        return self.content.serialize() + self.auth.serialize() + tag


def _parse_public_message(reader: Reader) -> PublicMessage:
    content = parse_framed_content(reader)
    auth = parse_auth_data(reader, content.content_type)
    tag = reader.opaque() if content.sender.type is SenderType.MEMBER else None
    return PublicMessage(content, auth, tag)


@dataclass(frozen=True, slots=True)
class PrivateMessage:
    """Encrypted content."""

    group_id: bytes
    epoch: int
    content_type: ContentType
    authenticated_data: bytes
    encrypted_sender_data: bytes
    ciphertext: bytes

    def serialize(self) -> bytes:
        """Encode the PrivateMessage."""
        return self.content_aad() + opaque(self.encrypted_sender_data) + opaque(self.ciphertext)

    def content_aad(self) -> bytes:
        """PrivateContentAAD, which is also how the message begins."""
        return self.sender_data_aad() + opaque(self.authenticated_data)

    def sender_data_aad(self) -> bytes:
        """SenderDataAAD."""
        return opaque(self.group_id) + u64(self.epoch) + u8(self.content_type)


def _parse_private_message(reader: Reader) -> PrivateMessage:
    return PrivateMessage(
        group_id=reader.opaque(),
        epoch=reader.u64(),
        content_type=parse_content_type(reader),
        authenticated_data=reader.opaque(),
        encrypted_sender_data=reader.opaque(),
        ciphertext=reader.opaque(),
    )


MessageBody = PublicMessage | PrivateMessage | Welcome | GroupInfo | KeyPackage

_FORMATS: dict[type[MessageBody], WireFormat] = {
    PublicMessage: WireFormat.PUBLIC_MESSAGE,
    PrivateMessage: WireFormat.PRIVATE_MESSAGE,
    Welcome: WireFormat.WELCOME,
    GroupInfo: WireFormat.GROUP_INFO,
    KeyPackage: WireFormat.KEY_PACKAGE,
}

_PARSERS: dict[WireFormat, Callable[[Reader], MessageBody]] = {
    WireFormat.PUBLIC_MESSAGE: _parse_public_message,
    WireFormat.PRIVATE_MESSAGE: _parse_private_message,
    WireFormat.WELCOME: parse_welcome,
    WireFormat.GROUP_INFO: parse_group_info,
    WireFormat.KEY_PACKAGE: parse_key_package,
}


@dataclass(frozen=True, slots=True)
class MLSMessage:
    """The outermost structure of everything on the wire; parsing verifies nothing but form."""

    body: MessageBody

    @property
    def wire_format(self) -> WireFormat:
        """What the message holds."""
        return _FORMATS[type(self.body)]

    def serialize(self) -> bytes:
        """Encode the MLSMessage; `UsageError` if it is larger than any receiver takes."""
        encoded = u16(MLS_VERSION) + u16(self.wire_format) + self.body.serialize()
        if len(encoded) > MAX_INPUT_BYTES:
            raise UsageError(None, "the message is larger than any receiver takes")
        return encoded

    @staticmethod
    def parse(data: bytes) -> MLSMessage:
        """Decode an MLSMessage that fills ``data``."""
        return parse_all(data, _parse_message)


def _parse_wire_format(reader: Reader) -> WireFormat:
    try:
        return WireFormat(reader.u16())
    except ValueError:
        raise DecodeError("FRAME-WIRE-FORMAT", "a message has an unknown wire format") from None


def _parse_message(reader: Reader) -> MLSMessage:
    if reader.u16() != MLS_VERSION:
        raise ValidationError("FRAME-VERSION", "a message is of another protocol version")
    return MLSMessage(_PARSERS[_parse_wire_format(reader)](reader))
