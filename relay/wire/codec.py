"""Frames to bytes and back: one websocket message holds one or more frames (PROTOCOL 2)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final, TypeVar

import msgpack

from relay.wire import fields as f
from relay.wire import frames as fr
from relay.wire import ids
from relay.wire import limits as lim
from relay.wire.errors import ErrorCode, WireError

_Schema = dict[int, tuple[Callable[..., Any], tuple[f.Field, ...]]]
_F = TypeVar("_F")

_request = f.positive
_entry = f.record(
    fr.Entry,
    f.positive,
    f.entry_kind,
    f.uint,
    f.uint,
    f.uint,
    f.optional(f.binary(lim.MAX_COMMIT_BODY_BYTES)),
)
_participant = f.record(fr.Participant, ids.parse_user_id, ids.parse_role)
_engagement_device = f.record(
    fr.EngagementDevice, ids.parse_user_id, ids.parse_device_id, f.boolean, f.boolean
)
_engagement = f.record(
    fr.Engagement,
    ids.parse_engagement_id,
    f.one_of("active", "ended"),
    f.uint,
    f.uint,
    f.many(_participant, most=lim.MAX_PARTICIPANTS),
    f.many(_engagement_device, most=lim.MAX_PARTICIPANTS * lim.MAX_DEVICES_PER_USER),
    f.uint,
)
_ice_text = f.text(lim.MAX_ICE_FIELD_CHARS)
_series = f.fixed(lim.ARCHIVE_SERIES_BYTES)
_archive_part = f.binary(lim.MAX_ARCHIVE_PART_BYTES)
_code = f.text(lim.MAX_CODE_CHARS)
_detail = f.text(lim.MAX_DETAIL_CHARS)

_DEVICE_FIELDS: Final[dict[type[fr.Frame], tuple[f.Field, ...]]] = {
    fr.Hello: (f.many(f.uint, least=1, most=lim.MAX_VERSIONS), f.fixed(lim.NONCE_BYTES)),
    fr.Authenticate: (
        f.text(lim.MAX_TOKEN_CHARS),
        f.fixed(lim.DEVICE_KEY_BYTES),
        f.fixed(lim.SIGNATURE_BYTES),
    ),
    fr.Renew: (_request, f.text(lim.MAX_TOKEN_CHARS)),
    fr.Append: (
        ids.parse_engagement_id,
        f.positive,
        f.entry_kind,
        f.uint,
        f.binary(lim.MAX_FRAME_BYTES),  # the bound of the kind is an append rule, with an answer of its own
        f.many(ids.parse_blob_id, most=lim.MAX_BLOBS_PER_ENTRY),
    ),
    fr.Open: (_request, ids.parse_engagement_id, f.uint),
    fr.Ack: (ids.parse_engagement_id, f.uint),
    fr.Ephemeral: (ids.parse_engagement_id, f.binary(lim.MAX_EPHEMERAL_BODY_BYTES)),
    fr.PublishKeyPackages: (
        _request,
        f.many(f.binary(lim.MAX_KEY_PACKAGE_BYTES), most=lim.MAX_KEY_PACKAGES),
        f.optional(f.binary(lim.MAX_KEY_PACKAGE_BYTES)),
    ),
    fr.ClaimKeyPackages: (
        _request,
        ids.parse_engagement_id,
        f.many(ids.parse_device_id, least=1, most=lim.MAX_CLAIMED_DEVICES),
    ),
    fr.ListEngagements: (_request,),
    fr.RequestBlobAccess: (_request, ids.parse_engagement_id),
    fr.RequestIceServers: (_request, ids.parse_engagement_id),
    fr.PutArchive: (_request, ids.parse_engagement_id, _series, f.positive, _archive_part),
    fr.ListArchive: (_request, ids.parse_engagement_id),
    fr.ReadArchive: (_request, ids.parse_engagement_id, _series, f.uint),
    fr.EraseArchive: (_request, ids.parse_engagement_id, f.optional(_series)),
    fr.CallOutcome: (f.text(lim.MAX_CALL_PATH_CHARS),),
    fr.Rendezvous: (_request, f.fixed(lim.CHANNEL_BYTES), f.binary(lim.MAX_RENDEZVOUS_BODY_BYTES)),
    fr.PutManifest: (_request, f.optional(f.binary(lim.MAX_MANIFEST_BYTES))),
}
_RELAY_FIELDS: Final[dict[type[fr.Frame], tuple[f.Field, ...]]] = {
    fr.Challenge: (f.uint, f.fixed(lim.NONCE_BYTES)),
    fr.Ready: (
        ids.parse_device_id,
        ids.parse_portal_id,
        ids.parse_user_id,
        f.uint,
        f.uint,
        f.positive,
        f.positive,
        f.uint,
    ),
    fr.Renewed: (_request, f.uint),
    fr.Error: (f.uint, _code, _detail),
    fr.Goodbye: (_code, _detail, f.uint),
    fr.Appended: (
        ids.parse_engagement_id,
        f.many(f.record(fr.AppendResult, f.positive, f.positive), least=1, most=lim.MAX_FRAMES_PER_MESSAGE),
    ),
    fr.Refused: (ids.parse_engagement_id, f.positive, _code, f.uint),
    fr.Opened: (
        _request,
        ids.parse_engagement_id,
        f.fixed(lim.INCARNATION_BYTES),
        f.uint,
        f.uint,
        f.uint,
        f.uint,
        f.uint,
        f.boolean,
    ),
    fr.Entries: (ids.parse_engagement_id, f.many(_entry, least=1, most=lim.WINDOW_ENTRIES)),
    fr.EphemeralFrom: (ids.parse_engagement_id, f.binary(lim.MAX_EPHEMERAL_BODY_BYTES)),
    fr.Published: (_request, f.uint),
    fr.KeyPackages: (
        _request,
        f.many(
            f.record(
                fr.ClaimedKeyPackage,
                ids.parse_device_id,
                f.optional(f.binary(lim.MAX_KEY_PACKAGE_BYTES)),
                f.boolean,
            ),
            most=lim.MAX_CLAIMED_DEVICES,
        ),
    ),
    fr.Engagements: (_request, f.many(_engagement, most=lim.MAX_ENGAGEMENTS_PER_USER)),
    fr.EngagementChanged: (_engagement,),
    fr.BlobAccess: (_request, f.text(lim.MAX_TOKEN_CHARS), f.uint),
    fr.IceServers: (
        _request,
        f.many(
            f.record(
                fr.IceServer,
                f.many(_ice_text, most=lim.MAX_URLS_PER_ICE_SERVER),
                f.optional(_ice_text),
                f.optional(_ice_text),
            ),
            most=lim.MAX_ICE_SERVERS,
        ),
        f.uint,
    ),
    fr.KeyPackagesLow: (f.uint,),
    fr.Met: (_request, f.boolean),
    fr.RendezvousFrom: (f.fixed(lim.CHANNEL_BYTES), f.binary(lim.MAX_RENDEZVOUS_BODY_BYTES)),
    fr.ArchiveStored: (_request, f.uint),
    fr.ArchiveListed: (
        _request,
        f.many(f.record(fr.ArchiveSeries, _series, f.positive), most=lim.MAX_ARCHIVE_SERIES),
    ),
    fr.ArchiveParts: (_request, f.many(_archive_part, most=lim.MAX_ARCHIVE_PARTS_READ)),
    fr.HeldManifest: (_request, f.optional(f.binary(lim.MAX_MANIFEST_BYTES))),
}
_FROM_DEVICE: Final[_Schema] = {
    fr.FRAME_TYPES[kind]: (kind, checks) for kind, checks in _DEVICE_FIELDS.items()
}
_FROM_RELAY: Final[_Schema] = {fr.FRAME_TYPES[kind]: (kind, spec) for kind, spec in _RELAY_FIELDS.items()}

# A list costs 60 times the byte that announces it. Only messages above the first bound can hold enough of
# them to matter, so only there they are counted while read. The second covers a full Engagements frame.
_COUNT_ARRAYS_ABOVE_BYTES: Final = 64 * lim.KIB
_MOST_ARRAYS: Final = 128 * lim.KIB

# Nil, which is no frame: read behind the last one it is itself, while a frame that was cut off swallows it.
_END: Final = b"\xc0"
_APPENDED: Final = fr.FRAME_TYPES[fr.Appended]
# For the two shortcuts below, where looking a name up in another module costs.
_MESSAGE: Final = fr.EntryKind.MESSAGE
_MAX_UINT: Final = lim.MAX_UINT
_MAX_FRAME_BYTES: Final = lim.MAX_FRAME_BYTES
_ID_CHARS: Final = ids.ENGAGEMENT_ID_CHARS
_is_engagement_id: Final = ids.is_engagement_id
_Append: Final = fr.Append
_packer: Final = msgpack.Packer()
_new: Final = tuple.__new__  # a named tuple's own constructor takes three times as long


def encode_frame(frame: fr.Frame) -> bytes:
    """One frame as bytes; frames are joined to a websocket message by concatenation."""
    packed: bytes = _packer.pack((fr.FRAME_TYPES[type(frame)], *frame))
    return packed


def encode_run(seq: int, kind: int, after_commit: int, time_ms: int, bodies: Sequence[bytes]) -> bytes:
    """Consecutive entries from `seq` on as bytes, as they go to other devices: the array's items alone."""
    packed: bytes = _packer.pack(
        [(number, kind, after_commit, time_ms, 0, body) for number, body in enumerate(bodies, seq)]
    )
    return packed[1 if len(bodies) < 16 else 3 :]


def encode_own_run(seq: int, kind: int, after_commit: int, time_ms: int, counter: int, entries: int) -> bytes:
    """`encode_run` for the device whose they are: with its counters, without the bodies it has already."""
    packed: bytes = _packer.pack(
        [(seq + number, kind, after_commit, time_ms, counter + number, None) for number in range(entries)]
    )
    return packed[1 if entries < 16 else 3 :]


def encode_appended(stream: ids.EngagementId, results: list[tuple[int, int]]) -> bytes:
    """An `Appended` frame of pairs of counter and seq."""
    packed: bytes = _packer.pack((_APPENDED, stream, results))
    return packed


def entries_prefix(stream: ids.EngagementId) -> bytes:
    """What every `Entries` frame of a stream begins with."""
    packed: bytes = _packer.pack((fr.FRAME_TYPES[fr.Entries], stream))
    return b"\x93" + packed[1:]


def encode_entries(prefix: bytes, entries: int, packed: Sequence[bytes]) -> bytes:
    """An `Entries` frame of `entries_prefix` and so many packed entries, 1 to 256."""
    header = bytes((0x90 | entries,)) if entries < 16 else b"\xdc" + entries.to_bytes(2, "big")
    return b"".join((prefix, header, *packed))


def encode(frames: Iterable[fr.Frame]) -> bytes:
    """One websocket message holding these frames; raises `WireError` if they do not fit into one."""
    packed = [encode_frame(frame) for frame in frames]
    message = b"".join(packed)
    if not packed or len(packed) > lim.MAX_FRAMES_PER_MESSAGE or len(message) > lim.MAX_MESSAGE_BYTES:
        raise WireError(ErrorCode.TOO_BIG, "these frames do not fit into one message")
    if max(map(len, packed)) > lim.MAX_FRAME_BYTES:
        raise WireError(ErrorCode.TOO_BIG, "a frame beyond its bound")
    return message


def decode_from_device(message: bytes) -> list[fr.DeviceFrame | fr.Unknown]:
    """All frames of a message that a device sent; raises `WireError` and then none of them counts."""
    return _decode(message, _FROM_DEVICE, _FROM_RELAY)


def decode_from_relay(message: bytes) -> list[fr.RelayFrame | fr.Unknown]:
    """All frames of a message that a relay sent; raises `WireError` and then none of them counts."""
    return _decode(message, _FROM_RELAY, _FROM_DEVICE)


def _decode(message: bytes, schema: _Schema, reverse: _Schema) -> list[Any]:
    if len(message) > lim.MAX_MESSAGE_BYTES:
        raise WireError(ErrorCode.TOO_BIG, "a message beyond its bound")
    unpacker = _unpacker(message)
    frames: list[Any] = []
    try:
        for values in unpacker:
            if len(frames) == lim.MAX_FRAMES_PER_MESSAGE:
                raise WireError(ErrorCode.TOO_BIG, "too many frames in a message")
            frames.append(_read_frame(values, schema, reverse))
        unpacker.feed(_END)
        is_whole = next(unpacker, _END) is None
    except WireError:
        raise
    except msgpack.StackError as error:
        raise WireError(ErrorCode.TOO_DEEP, "nested too deeply") from error
    except (ValueError, msgpack.UnpackException) as error:
        raise WireError(ErrorCode.MALFORMED, "not MessagePack") from error
    if not frames or not is_whole:
        raise WireError(ErrorCode.MALFORMED, "not a whole number of frames")
    if len(message) > lim.MAX_FRAME_BYTES:
        _check_frame_sizes(message)
    return frames


def _read_frame(values: object, schema: _Schema, reverse: _Schema) -> object:
    if type(values) is not list or not values:
        raise WireError(ErrorCode.MALFORMED, "a frame is an array that begins with its type")
    frame_type = values[0]
    known = schema.get(frame_type) if type(frame_type) is int else None
    if known is None:
        return _read_unknown(values, reverse)
    kind, checks = known
    del values[0]
    shortcut = _SHORTCUTS.get(frame_type)
    if shortcut is not None and (frame := shortcut(values)) is not None:
        return frame
    try:
        return f.read_record(kind, checks, values)
    except WireError:
        _check_depth(values)  # the more telling refusal
        raise


def _read_append(values: list[Any]) -> fr.Append | None:
    if len(values) != 6:
        return None
    stream, counter, kind, after_commit, body, blobs = values
    if (
        type(stream) is str
        and len(stream) == _ID_CHARS
        and _is_engagement_id(stream)
        and type(counter) is int
        and 0 < counter <= _MAX_UINT
        and type(kind) is int
        and kind == 0
        and type(after_commit) is int
        and 0 <= after_commit <= _MAX_UINT
        and type(body) is bytes
        and len(body) <= _MAX_FRAME_BYTES
        and blobs == []
    ):
        return _new(_Append, (stream, counter, _MESSAGE, after_commit, body, ()))
    return None


def _read_ack(values: list[Any]) -> fr.Ack | None:
    if len(values) != 2:
        return None
    stream, seq = values
    if (
        type(stream) is str
        and len(stream) == _ID_CHARS
        and _is_engagement_id(stream)
        and type(seq) is int
        and 0 <= seq <= _MAX_UINT
    ):
        return _new(fr.Ack, (stream, seq))
    return None


# Nearly all frames are one of these two, and nearly all of those are plain: reading them in one expression
# takes a third of the time of the table. What is not plain gets None here, and the table's verdict.
_SHORTCUTS: Final[dict[int, Callable[[list[Any]], fr.Frame | None]]] = {
    fr.FRAME_TYPES[fr.Append]: _read_append,
    fr.FRAME_TYPES[fr.Ack]: _read_ack,
}


def _read_unknown(values: list[Any], reverse: _Schema) -> fr.Unknown:
    _check_depth(values[1:])
    frame_type = f.uint(values[0])
    if frame_type in reverse:
        raise WireError(ErrorCode.OUT_OF_ORDER, "a frame of the other direction")
    return fr.Unknown(frame_type)


def _check_depth(values: list[Any]) -> None:
    """Raise `too_deep` if the frame with these fields nests beyond the bound; one level a round."""
    level = [values]
    for _ in range(lim.MAX_NESTING):
        level = [value for array in level for value in array if type(value) is list]
        if not level:
            return
    raise WireError(ErrorCode.TOO_DEEP, "nested too deeply")


def _unpacker(message: bytes) -> Any:
    size = len(message)
    unpacker = msgpack.Unpacker(
        read_size=1,
        max_buffer_size=lim.MAX_MESSAGE_BYTES + len(_END),
        max_str_len=lim.MAX_FRAME_BYTES,
        max_bin_len=lim.MAX_MESSAGE_BYTES,
        max_array_len=lim.MAX_FRAMES_PER_MESSAGE,
        max_map_len=0,
        max_ext_len=0,
        list_hook=_array_counter() if size > _COUNT_ARRAYS_ABOVE_BYTES else None,
    )
    unpacker.feed(message)
    return unpacker


def _array_counter() -> Callable[[list[Any]], list[Any]]:
    left = _MOST_ARRAYS

    def count(array: list[Any]) -> list[Any]:
        nonlocal left
        left -= 1
        if left < 0:
            raise WireError(ErrorCode.TOO_BIG, "too many arrays in a message")
        return array

    return count


def _check_frame_sizes(message: bytes) -> None:
    unpacker = _unpacker(message)
    start = 0
    while start < len(message):
        unpacker.skip()
        end = unpacker.tell()
        if end - start > lim.MAX_FRAME_BYTES:
            raise WireError(ErrorCode.TOO_BIG, "a frame beyond its bound")
        start = end
