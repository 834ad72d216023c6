"""The application data of an MLS message: what is said, and who has seen what (docs/PROTOCOL.md 9)."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Self, cast, get_args

import msgpack

from ..errors import ContentInvalid, ContentMalformed, ContentTooBig, Fault
from .amendments import Edit, Reaction, Retract
from .checkin import CheckIn, CheckInAnswer
from .messages import ID_BYTES, CallEnded, CallInvite, File, Profile, Receipt, Text, Unknown
from .packing import MAX_COUNT, PackingError, pack, unpack, unpacker

VERSION = 1
KIND_VERSION = 1
"""All kinds of this protocol version are at their first version."""

CONTENT_BYTES = 60 * 1024
"""The whole content: padded and framed by MLS it stays under the 64 KiB of an entry."""

FALLBACK_BYTES = 1024
KIND_BYTES = 64
HASH_BYTES = 32

MOST_CLOSINGS = 8
"""Closing values of epochs since the sender's last message: more commits without a word are rare."""

_HEADER_FIELDS = 10
_FIELDS = _HEADER_FIELDS + 1

Known = (
    Text
    | CheckIn
    | CheckInAnswer
    | Profile
    | File
    | Receipt
    | CallInvite
    | CallEnded
    | Edit
    | Retract
    | Reaction
)
Content = Known | Unknown

_KINDS: dict[str, type[Known]] = {kind.KIND: kind for kind in get_args(Known)}


class BodyInvalid(ContentInvalid):
    """A received message of a known kind whose body breaks that kind's rules.

    ``envelope`` is the whole message with its content as ``Unknown``: it is authentic and counted, its
    position and attestation hold, and its fallback can be shown. Only its body is not to be used.
    """

    code = "body_invalid"
    fault = Fault.REMOTE

    def __init__(self, message: str, envelope: Envelope) -> None:
        super().__init__(message)
        self.envelope = envelope


@dataclass(frozen=True, slots=True)
class Attest:
    """What a member has seen: at position ``seq``, in ``epoch``, its stream hash was ``hash`` (32 bytes)."""

    epoch: int
    seq: int
    hash: bytes = field(repr=False)

    def __post_init__(self) -> None:
        for value in (self.epoch, self.seq):
            _check_uint(value)
        if not isinstance(self.hash, bytes) or len(self.hash) != HASH_BYTES:
            raise ContentMalformed("An attested stream hash is not 32 bytes.")


@dataclass(frozen=True, slots=True)
class Envelope:
    """One message: id (16 random bytes, its name for ever), sender's counter, attestations, content."""

    id: bytes
    counter: int
    attest: Attest
    closings: tuple[Attest, ...]
    sent_ms: int
    content: Content

    def __post_init__(self) -> None:
        if not isinstance(self.id, bytes) or len(self.id) != ID_BYTES:
            raise ContentMalformed("A message's id is not 16 bytes.")
        _check_uint(self.counter)
        _check_uint(self.sent_ms)
        if self.counter < 1:
            raise ContentMalformed("A message's counter is below 1.")
        if len(self.closings) > MOST_CLOSINGS:
            raise ContentMalformed(f"A message carries more than {MOST_CLOSINGS} closings.")

    @property
    def kind(self) -> str:
        """The kind's name."""
        return self.content.kind if isinstance(self.content, Unknown) else self.content.KIND

    def serialize(self) -> bytes:
        """Encode the message; raises ContentTooBig when it is over 60 KiB."""
        content = self.content
        if isinstance(content, Unknown):
            last = (content.kind, content.kind_version, content.critical, content.fallback)
            body = content.body
        else:
            last = (content.KIND, KIND_VERSION, False, _shortened(content.fallback))
            body = pack(content.to_body())
        header = (VERSION, self.id, self.counter, _triple(self.attest), [_triple(c) for c in self.closings])
        parts = b"".join(pack(value) for value in (*header, self.sent_ms, *last))
        data = bytes([0x90 | _FIELDS]) + parts + body
        if len(data) > CONTENT_BYTES:
            raise ContentTooBig(
                f"The message has {len(data)} bytes, at most {CONTENT_BYTES} fit. "
                "Shorten it, or send it as a file."
            )
        return data

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """Decode a message.

        Raises ContentTooBig over 60 KiB; ContentMalformed when the structure is not that of section 9;
        BodyInvalid (with the message kept whole) when only the body of a known kind breaks its rules.
        """
        if len(data) > CONTENT_BYTES:
            raise ContentTooBig(f"A message of {len(data)} bytes came, at most {CONTENT_BYTES} are allowed.")
        try:
            header, body = _split(data)
            value = unpack(body)
        except PackingError as error:
            raise ContentMalformed(f"A message is no content: {error}.") from error
        if not isinstance(value, dict):
            raise ContentMalformed("A message's body is not a map.")
        envelope = cls._from_header(header, body)
        unknown = cast(Unknown, envelope.content)
        known = _KINDS.get(unknown.kind)
        if known is None or unknown.kind_version != KIND_VERSION:
            return envelope
        try:
            return replace(envelope, content=known.from_body(value))
        except ContentInvalid as error:
            raise BodyInvalid(
                f"A message of kind {unknown.kind!r} is not usable: {error}", envelope
            ) from error

    @classmethod
    def _from_header(cls, header: list[object], body: bytes) -> Self:
        version, message_id, counter, attest, closings, sent_ms, kind, kind_version, critical, fallback = (
            header
        )
        if type(version) is not int or version != VERSION:
            raise ContentMalformed("A message has another content version than 1.")
        if not isinstance(closings, list):
            raise ContentMalformed("A message's closings are not a list.")
        _check_str(kind, KIND_BYTES)
        _check_str(fallback, FALLBACK_BYTES, empty=True)
        _check_uint(kind_version)
        if kind_version == 0 or not isinstance(critical, bool):
            raise ContentMalformed("A message's kind version or critical flag is malformed.")
        return cls(
            id=cast(bytes, message_id),
            counter=cast(int, counter),
            attest=_attest(attest),
            closings=tuple(_attest(c) for c in closings[: MOST_CLOSINGS + 1]),
            sent_ms=cast(int, sent_ms),
            content=Unknown(cast(str, kind), cast(int, kind_version), critical, cast(str, fallback), body),
        )


def _split(data: bytes) -> tuple[list[object], bytes]:
    """The ten header values, and the bytes of the body that follows them."""
    try:
        reader = unpacker(data)
        if reader.read_array_header() != _FIELDS:
            raise PackingError(f"it has not {_FIELDS} fields")
        header = [reader.unpack() for _ in range(_HEADER_FIELDS)]
        return header, data[reader.tell() :]
    except PackingError:
        raise
    except (ValueError, msgpack.UnpackException) as error:
        raise PackingError("not well-formed MessagePack") from error


def _triple(attest: Attest) -> list[object]:
    return [attest.epoch, attest.seq, attest.hash]


def _attest(value: object) -> Attest:
    if not isinstance(value, list) or len(value) != 3:
        raise ContentMalformed("An attestation is not [epoch, seq, hash].")
    return Attest(*value)


def _check_uint(value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= MAX_COUNT:
        raise ContentMalformed("A number of a message is not a whole number from 0 to 2^53 - 1.")


def _check_str(value: object, most: int, *, empty: bool = False) -> None:
    if not isinstance(value, str) or len(value.encode()) > most or not (value or empty):
        raise ContentMalformed(f"A message's kind or fallback is not text of at most {most} bytes.")


def _shortened(text: str) -> str:
    """At most ``FALLBACK_BYTES``, cut between characters and marked as cut."""
    data = text.encode()
    if len(data) <= FALLBACK_BYTES:
        return text
    return data[: FALLBACK_BYTES - len("…".encode())].decode(errors="ignore") + "…"
