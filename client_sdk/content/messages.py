"""The simple kinds of content (docs/PROTOCOL.md section 9). Each checks itself when it is made."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import ClassVar, Literal, Self, cast

from relay.wire.errors import WireError
from relay.wire.ids import parse_blob_id

from ..errors import ContentInvalid
from .checks import Extra, Fields, check_bytes, check_extra, check_int, check_name, check_text
from .packing import Value, unpack

TEXT_BYTES = 32 * 1024
"""One text: about fifteen printed pages, and half of what one entry of the stream holds."""

MEDIA_TYPE_BYTES = 127
"""RFC 6838 section 4.2 allows 127 characters for each half; real ones are far shorter."""

KEY_BYTES = 32
HASH_BYTES = 32
ID_BYTES = 16

_MEDIA_TYPE = re.compile(r"[A-Za-z0-9!#$&^_.+-]+/[A-Za-z0-9!#$&^_.+-]+")

Outcome = Literal["answered", "declined", "missed", "cancelled", "failed"]
Media = Literal["audio", "video"]
_OUTCOMES: frozenset[str] = frozenset({"answered", "declined", "missed", "cancelled", "failed"})
_MEDIA: frozenset[str] = frozenset({"audio", "video"})


@dataclass(frozen=True, slots=True)
class Text:
    """What somebody wrote: 1 byte to 32 KiB of UTF-8. ``reply_to`` is the id of what it answers, if given."""

    KIND: ClassVar[str] = "text"

    text: str = field(repr=False)
    reply_to: bytes | None = field(default=None, kw_only=True)
    extra: Extra = field(default_factory=dict, kw_only=True, repr=False, hash=False)

    def __post_init__(self) -> None:
        check_text("The text", self.text, most=TEXT_BYTES)
        if self.reply_to is not None:
            check_bytes("The id of the message replied to", self.reply_to, ID_BYTES)
        check_extra(self.extra, frozenset({"text", "reply_to"}))

    @property
    def fallback(self) -> str:
        """What a client shows that does not know this kind."""
        return "A text message."

    def to_body(self) -> dict[str, Value]:
        """The body as a map."""
        reply = {} if self.reply_to is None else {"reply_to": self.reply_to}
        return {"text": self.text, **reply, **self.extra}

    @classmethod
    def from_body(cls, body: object) -> Self:
        """Check a received body; raises ContentInvalid."""
        fields = Fields(body, "A text")
        return cls(
            cast(str, fields.take("text")),
            reply_to=cast("bytes | None", fields.take_or("reply_to", None)),
            extra=fields.rest(),
        )


@dataclass(frozen=True, slots=True)
class Profile:
    """The name a person wants to be called by."""

    KIND: ClassVar[str] = "profile"

    name: str = field(repr=False)
    extra: Extra = field(default_factory=dict, kw_only=True, repr=False, hash=False)

    def __post_init__(self) -> None:
        check_name("The name", self.name)
        check_extra(self.extra, frozenset({"name"}))

    @property
    def fallback(self) -> str:
        """What a client shows that does not know this kind."""
        return f"I am called {self.name}."

    def to_body(self) -> dict[str, Value]:
        """The body as a map."""
        return {"name": self.name, **self.extra}

    @classmethod
    def from_body(cls, body: object) -> Self:
        """Check a received body; raises ContentInvalid."""
        fields = Fields(body, "A profile")
        return cls(cast(str, fields.take("name")), extra=fields.rest())


@dataclass(frozen=True, slots=True)
class Receipt:
    """Says what every message says besides: its sender has everything up to the attested position.

    ``read``: the position up to which the sender's user has read; None says nothing about that.
    """

    KIND: ClassVar[str] = "receipt"

    read: int | None = None
    extra: Extra = field(default_factory=dict, kw_only=True, repr=False, hash=False)

    def __post_init__(self) -> None:
        if self.read is not None:
            check_int("The position read up to", self.read, low=1)
        check_extra(self.extra, frozenset({"read"}))

    @property
    def fallback(self) -> str:
        """What a client shows that does not know this kind."""
        return "The messages have arrived."

    def to_body(self) -> dict[str, Value]:
        """The body as a map."""
        return dict(self.extra) if self.read is None else {"read": self.read, **self.extra}

    @classmethod
    def from_body(cls, body: object) -> Self:
        """Check a received body; raises ContentInvalid."""
        fields = Fields(body, "A receipt")
        return cls(cast("int | None", fields.take_or("read", None)), extra=fields.rest())


@dataclass(frozen=True, slots=True)
class File:
    """A sealed file in the blob store and the key to it (docs/PROTOCOL.md section 11).

    ``size`` and ``sealed_size`` in bytes; ``sealed_hash`` is SHA-256 of the whole ciphertext. ``name``
    is what the sender calls it, not a path to be trusted.
    """

    KIND: ClassVar[str] = "file"

    name: str = field(repr=False)
    media_type: str
    size: int
    blob: str
    key: bytes = field(repr=False)
    sealed_size: int
    sealed_hash: bytes = field(repr=False)
    extra: Extra = field(default_factory=dict, kw_only=True, repr=False, hash=False)

    def __post_init__(self) -> None:
        check_name("The file's name", self.name)
        check_text("The media type", self.media_type, most=MEDIA_TYPE_BYTES)
        if not _MEDIA_TYPE.fullmatch(self.media_type):
            raise ContentInvalid('The media type has not the form "type/subtype" (RFC 6838).')
        check_int("The file's size", self.size)
        check_int("The sealed size", self.sealed_size, low=1)
        _check_blob(self.blob)
        check_bytes("The file's key", self.key, KEY_BYTES)
        check_bytes("The sealed hash", self.sealed_hash, HASH_BYTES)
        check_extra(self.extra, _FILE_KEYS)

    @property
    def fallback(self) -> str:
        """What a client shows that does not know this kind."""
        return f"I sent the file “{self.name}”. Update the app to open it."

    def to_body(self) -> dict[str, Value]:
        """The body as a map."""
        return {
            "name": self.name,
            "media_type": self.media_type,
            "size": self.size,
            "blob": self.blob,
            "key": self.key,
            "sealed_size": self.sealed_size,
            "sealed_hash": self.sealed_hash,
            **self.extra,
        }

    @classmethod
    def from_body(cls, body: object) -> Self:
        """Check a received body; raises ContentInvalid."""
        fields = Fields(body, "A file")
        return cls(
            name=cast(str, fields.take("name")),
            media_type=cast(str, fields.take("media_type")),
            size=cast(int, fields.take("size")),
            blob=cast(str, fields.take("blob")),
            key=cast(bytes, fields.take("key")),
            sealed_size=cast(int, fields.take("sealed_size")),
            sealed_hash=cast(bytes, fields.take("sealed_hash")),
            extra=fields.rest(),
        )


def _check_blob(value: object) -> None:
    try:
        parse_blob_id(value)
    except WireError as error:
        raise ContentInvalid("The blob id is not 22 characters of base64url.") from error


_FILE_KEYS = frozenset({"name", "media_type", "size", "blob", "key", "sealed_size", "sealed_hash"})


@dataclass(frozen=True, slots=True)
class CallInvite:
    """An invitation to a call; a device rings only after it asked the caller whether it still rings."""

    KIND: ClassVar[str] = "call.invite"

    call: bytes
    media: tuple[Media, ...] = ("audio", "video")
    extra: Extra = field(default_factory=dict, kw_only=True, repr=False, hash=False)

    def __post_init__(self) -> None:
        check_bytes("The call's id", self.call, ID_BYTES)
        known = isinstance(self.media, tuple) and all(m in _MEDIA for m in self.media)
        if not known or not 1 <= len(self.media) == len(set(self.media)):
            raise ContentInvalid('The media of a call are "audio", "video" or both.')
        check_extra(self.extra, frozenset({"call", "media"}))

    @property
    def fallback(self) -> str:
        """What a client shows that does not know this kind."""
        return "I am calling you. Update the app to take calls."

    def to_body(self) -> dict[str, Value]:
        """The body as a map."""
        return {"call": self.call, "media": list(self.media), **self.extra}

    @classmethod
    def from_body(cls, body: object) -> Self:
        """Check a received body; raises ContentInvalid."""
        fields = Fields(body, "A call's invitation")
        call, media = fields.take("call"), fields.take_tuple("media")
        if not all(isinstance(m, str) for m in media):
            raise ContentInvalid("The media of a call are strings.")
        return cls(cast(bytes, call), cast(tuple[Media, ...], media), extra=fields.rest())


@dataclass(frozen=True, slots=True)
class CallEnded:
    """How a call went; ``answered_by`` is the user who took it, ``seconds`` how long they spoke.

    ``device`` is the id of the device that took or declined it, if that is known.
    """

    KIND: ClassVar[str] = "call.ended"

    call: bytes
    outcome: Outcome
    answered_by: str | None = None
    seconds: int = 0
    device: bytes | None = field(default=None, kw_only=True)
    extra: Extra = field(default_factory=dict, kw_only=True, repr=False, hash=False)

    def __post_init__(self) -> None:
        check_bytes("The call's id", self.call, ID_BYTES)
        if not isinstance(self.outcome, str) or self.outcome not in _OUTCOMES:
            raise ContentInvalid(f"The outcome of a call is one of {', '.join(sorted(_OUTCOMES))}.")
        if self.answered_by is not None:
            check_name("The user who answered", self.answered_by)
        check_int("The call's length", self.seconds)
        if self.device is not None:
            check_bytes("The id of the device", self.device, ID_BYTES)
        check_extra(self.extra, frozenset({"call", "outcome", "answered_by", "seconds", "device"}))

    @property
    def fallback(self) -> str:
        """What a client shows that does not know this kind."""
        return {
            "answered": "We had a call.",
            "declined": "The call was declined.",
            "missed": "The call was missed.",
            "cancelled": "The call was cancelled.",
            "failed": "The call could not be connected.",
        }[self.outcome]

    def to_body(self) -> dict[str, Value]:
        """The body as a map."""
        return {
            "call": self.call,
            "outcome": self.outcome,
            "answered_by": self.answered_by,
            "seconds": self.seconds,
            **({} if self.device is None else {"device": self.device}),
            **self.extra,
        }

    @classmethod
    def from_body(cls, body: object) -> Self:
        """Check a received body; raises ContentInvalid."""
        fields = Fields(body, "A call's end")
        return cls(
            call=cast(bytes, fields.take("call")),
            outcome=cast(Outcome, fields.take("outcome")),
            answered_by=cast("str | None", fields.take("answered_by")),
            seconds=cast(int, fields.take("seconds")),
            device=cast("bytes | None", fields.take_or("device", None)),
            extra=fields.rest(),
        )


@dataclass(frozen=True, slots=True)
class Unknown:
    """Content of a kind, or a version of a kind, that this SDK does not know, kept byte for byte.

    ``critical`` means: who does not understand this must be updated to take part. Show ``fallback``
    in its place.
    """

    kind: str
    kind_version: int
    critical: bool
    fallback: str = field(repr=False)
    body: bytes = field(repr=False)
    """One MessagePack map, as it was received."""

    @property
    def values(self) -> dict[str, Value]:
        """The body decoded (checked when it was parsed)."""
        return cast(dict[str, Value], unpack(self.body))
