"""Ids, bundles, proofs, error codes, and the automaton of a connection."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.wire import Bundle, Connection, ErrorCode, Side, State, WireError, connect_proof_bytes
from relay.wire import frames as fr
from relay.wire.connection import TABLE
from relay.wire.ids import (
    BlobId,
    DeviceId,
    EngagementId,
    PortalId,
    UserId,
    device_id,
    label,
    parse_blob_id,
    parse_device_id,
    parse_engagement_id,
    parse_portal_id,
    parse_role,
    parse_user_id,
)
from relay.wire.limits import MAX_HANDSHAKE_MESSAGE_BYTES, MAX_MESSAGE_BYTES

STREAM = EngagementId("eng_" + "s" * 21 + "A")
HELLO: Any = fr.Hello((1,), b"n" * 32)
CHALLENGE: Any = fr.Challenge(1, b"n" * 32)
PROOF: Any = fr.Authenticate("token", b"k" * 32, b"s" * 64)
READY: Any = fr.Ready(DeviceId(b"d" * 16), PortalId("p"), UserId("u"), 1, 0, 1, 1, 1)
GOODBYE: Any = fr.Goodbye("draining", "", 5)
ACK: Any = fr.Ack(STREAM, 1)
APPENDED: Any = fr.Appended(STREAM, (fr.AppendResult(1, 1),))


# Ids


@pytest.mark.parametrize(
    ("parse", "good", "bad"),
    [
        (parse_portal_id, ["a", "north-1", "n" * 32], ["", "-a", "1a", "A", "n" * 33, "a_b", "a\n", "ä"]),
        (
            parse_user_id,
            ["a", "7", "A.b_c:d@e~f-g", "u" * 64],
            ["", ".a", "-a", "u" * 65, "a b", "a/b", "a\n"],
        ),
        (parse_engagement_id, [STREAM], ["eng_", STREAM[:-1], STREAM + "A", "ENG_" + STREAM[4:], STREAM[4:]]),
        (parse_blob_id, ["b" * 21 + "A", "-_" * 10 + "AQ"], ["", "b" * 22, "b" * 21, "b" * 20 + "+A"]),
        (parse_role, ["coach", "client", "team-member", "supervisor"], ["", "Coach", "sponsor"]),
        (parse_device_id, [b"d" * 16], [b"", b"d" * 15, b"d" * 17, "d" * 16]),
    ],
)
def test_ids_have_their_form(parse: Callable[[object], object], good: list[Any], bad: list[Any]) -> None:
    for value in good:
        assert parse(value) == value
    for value in [*bad, None, 7, 1.5, [], b"x"]:
        with pytest.raises(WireError) as refused:
            parse(value)
        assert refused.value.code is ErrorCode.MALFORMED


def test_a_device_id_is_the_hash_of_its_key() -> None:
    # SHA-256 of "coach-relay/1 device", a zero byte and 32 times k, cut to 16 bytes.
    assert device_id(b"k" * 32).hex() == "9cd4298a8b4264fdb1661f7c8103a6d5"
    assert device_id(b"k" * 32) != device_id(b"l" * 32)
    for length in (0, 31, 33):
        with pytest.raises(WireError):
            device_id(bytes(length))


def test_labels_are_as_documented() -> None:
    assert label("connect") == b"coach-relay/1 connect\x00"


def test_a_proof_signs_everything_that_binds_it() -> None:
    fields: list[Any] = ["https://r.example", PortalId("p"), DeviceId(b"d" * 16), b"r" * 32, b"c" * 32]
    proof = connect_proof_bytes(*fields)
    assert proof == label("connect") + msgpack.packb(fields)
    others: list[Any] = ["https://s.example", PortalId("q"), DeviceId(b"e" * 16), b"s" * 32, b"d" * 32]
    for index, other in enumerate(others):
        changed = list(fields)
        changed[index] = other
        assert connect_proof_bytes(*changed) != proof


# Error codes


def test_codes_know_what_becomes_of_the_connection() -> None:
    ending = {code.value for code in ErrorCode if code.ends_connection}
    assert ending == {
        "unsupported_version",
        "malformed",
        "too_big",
        "too_deep",
        "out_of_order",
        "token_invalid",
        "token_expired",
        "token_revoked",
        "signature_invalid",
        "device_limit",
        "device_foreign",
        "device_revoked",
        "quota_exceeded",
        "handshake_timeout",
        "idle_timeout",
        "slow_reader",
        "replaced",
        "draining",
    }
    assert {"unknown_frame", "rate_limited", "not_found", "stale", "store_full"} <= set(ErrorCode) - ending


# Bundles

devices = st.binary(min_size=16, max_size=16).map(DeviceId)
bundles = st.builds(
    Bundle,
    adds=st.lists(devices, max_size=32, unique=True).map(tuple),
    removes=st.lists(devices, max_size=32, unique=True).map(tuple),
    commit=st.binary(max_size=50),
    welcome=st.none() | st.binary(max_size=50),
    group_info=st.binary(max_size=50),
)


@given(bundles)
def test_a_bundle_arrives(bundle: Bundle) -> None:
    assert Bundle.parse(bundle.serialize()) == bundle


@given(st.binary(max_size=200))
def test_random_bytes_are_no_bundle(body: bytes) -> None:
    with pytest.raises(WireError) as refused:
        Bundle.parse(body)
    assert refused.value.code is ErrorCode.BUNDLE_INVALID


@given(bundles, st.data())
def test_a_mutated_bundle_is_one_or_refused(bundle: Bundle, data: st.DataObject) -> None:
    body = bytearray(bundle.serialize())
    body[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(WireError):
        parsed = Bundle.parse(bytes(body))
        assert Bundle.parse(parsed.serialize()) == parsed


D = b"d" * 16


@pytest.mark.parametrize(
    "values",
    [
        [2, [], [], b"c", None, b"g"],
        [True, [], [], b"c", None, b"g"],
        [1, [], [], b"c", None],
        [1, [], [], b"c", None, b"g", 0],
        [1, [D, D], [], b"c", None, b"g"],
        [1, [], [D, D], b"c", None, b"g"],
        [1, [D[:-1]], [], b"c", None, b"g"],
        [1, [bytes([n]) * 16 for n in range(33)], [], b"c", None, b"g"],
        [1, [], [], None, None, b"g"],
        [1, [], [], "c", None, b"g"],
        [1, [], [], b"c", None, None],
        [1, None, [], b"c", None, b"g"],
        [1, {}, [], b"c", None, b"g"],
    ],
)
def test_what_is_no_bundle(values: list[Any]) -> None:
    with pytest.raises(WireError) as refused:
        Bundle.parse(msgpack.packb(values))
    assert refused.value.code is ErrorCode.BUNDLE_INVALID


def test_a_bundle_is_the_whole_body() -> None:
    with pytest.raises(WireError):
        Bundle.parse(Bundle(commit=b"c", group_info=b"g").serialize() + b"\x00")


def test_a_bundle_has_its_most() -> None:
    most = Bundle(commit=bytes(1024 * 1024 - 17), group_info=b"g")
    assert len(most.serialize()) <= 1024 * 1024
    with pytest.raises(WireError) as refused:
        Bundle(commit=bytes(1024 * 1024), group_info=b"g").serialize()
    assert refused.value.code is ErrorCode.ENTRY_TOO_BIG
    with pytest.raises(WireError) as refused:
        Bundle.parse(bytes(1024 * 1024 + 1))
    assert refused.value.code is ErrorCode.ENTRY_TOO_BIG


# The automaton


def ready_pair() -> tuple[Connection, Connection]:
    """Relay and device, both ready."""
    relay, device = Connection(Side.RELAY), Connection(Side.DEVICE)
    device.sent(HELLO)
    relay.received(HELLO)
    relay.sent(CHALLENGE)
    device.received(CHALLENGE)
    device.sent(PROOF)
    relay.received(PROOF)
    relay.sent(READY)
    device.received(READY)
    return relay, device


def states(*connections: Connection) -> set[State]:
    return {connection.state for connection in connections}


def test_both_sides_go_through_the_states_together() -> None:
    relay, device = Connection(Side.RELAY), Connection(Side.DEVICE)
    assert states(relay, device) == {State.GREETING}
    device.sent(HELLO)
    assert relay.received(HELLO)
    relay.sent(CHALLENGE)
    device.received(CHALLENGE)
    assert states(relay, device) == {State.AUTHENTICATING}
    device.sent(PROOF)
    assert relay.received(PROOF)
    relay.sent(READY)
    device.received(READY)
    assert states(relay, device) == {State.READY}
    relay.sent(GOODBYE)
    device.received(GOODBYE)
    assert states(relay, device) == {State.DRAINING}


@pytest.mark.parametrize("state", list(State))
@pytest.mark.parametrize("kind", [*fr.FRAME_TYPES, fr.Unknown])
def test_only_what_the_table_lists_passes(state: State, kind: type) -> None:
    relay = Connection(Side.RELAY)
    relay._enter(state)
    fields: Any = getattr(kind, "_fields", ())
    frame: Any = kind(*fields)
    row = TABLE[state]
    if kind in row.from_device:
        assert relay.received(frame)
    elif row.ignores_device:
        assert not relay.received(frame)
    else:
        with pytest.raises(WireError) as refused:
            relay.received(frame)
        assert refused.value.code is ErrorCode.OUT_OF_ORDER


def test_every_frame_has_its_state() -> None:
    passing = {kind for row in TABLE.values() for kind in row.from_device | row.from_relay}
    assert passing == {*fr.FRAME_TYPES, fr.Unknown}
    for row in TABLE.values():
        assert set(row.next) <= row.from_relay


def test_neither_side_says_what_it_may_not() -> None:
    relay, device = Connection(Side.RELAY), Connection(Side.DEVICE)
    for connection, frame in ((relay, READY), (relay, APPENDED), (device, ACK), (device, PROOF)):
        with pytest.raises(WireError):
            connection.sent(frame)
    relay, device = ready_pair()
    for connection, frame in ((relay, CHALLENGE), (relay, READY), (device, HELLO), (device, PROOF)):
        with pytest.raises(WireError):
            connection.sent(frame)


def test_a_relay_that_skips_the_proof_is_refused() -> None:
    device = Connection(Side.DEVICE)
    device.sent(HELLO)
    with pytest.raises(WireError):
        device.received(READY)


def test_draining_ignores_the_device_and_answers() -> None:
    relay, device = ready_pair()
    relay.sent(GOODBYE)
    device.received(GOODBYE)
    assert not relay.received(ACK)
    assert relay.received_all([ACK, HELLO]) == []
    relay.sent(APPENDED)
    device.received(APPENDED)
    with pytest.raises(WireError):
        device.sent(ACK)
    with pytest.raises(WireError):
        relay.sent(GOODBYE)


def test_nothing_passes_when_closed() -> None:
    relay, _ = ready_pair()
    relay.closed()
    with pytest.raises(WireError):
        relay.received(ACK)
    with pytest.raises(WireError):
        relay.sent(APPENDED)


def test_a_run_of_frames_passes_as_each_of_them() -> None:
    relay, device = ready_pair()
    assert relay.received_all([ACK, ACK, fr.Unknown(99)]) == [ACK, ACK, fr.Unknown(99)]
    with pytest.raises(WireError):
        relay.received_all([ACK, HELLO])
    assert device.received_all([APPENDED, GOODBYE]) == [APPENDED, GOODBYE]
    assert device.state is State.DRAINING
    fresh = Connection(Side.RELAY)
    with pytest.raises(WireError):
        fresh.received_all([HELLO, ACK])


def test_a_handshake_needs_no_large_message() -> None:
    relay = Connection(Side.RELAY)
    assert relay.max_message_bytes == MAX_HANDSHAKE_MESSAGE_BYTES
    with pytest.raises(WireError) as refused:
        relay.check_size(bytes(MAX_HANDSHAKE_MESSAGE_BYTES + 1))
    assert refused.value.code is ErrorCode.TOO_BIG
    relay, _ = ready_pair()
    relay.check_size(bytes(MAX_MESSAGE_BYTES))
    with pytest.raises(WireError):
        relay.check_size(bytes(MAX_MESSAGE_BYTES + 1))


def test_blob_ids_are_strings() -> None:
    assert BlobId("b" * 21 + "A") == parse_blob_id("b" * 21 + "A")
