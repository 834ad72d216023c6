"""The extension 0xF0C1 and the group's id."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import Any

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from client_sdk.errors import ConversationInfoInvalid, UpdateRequired
from client_sdk.identity import EXTENSION_TYPE, ConversationInfo, Participant, group_id
from client_sdk.mls import Extension
from relay.wire.ids import Role, UserId

from .people import ENGAGEMENT, PORTAL, Person, info_of

INFO = info_of(Person("anna", Role.COACH), Person("ben"))


def values() -> list[Any]:
    decoded = msgpack.unpackb(INFO.to_extension().data)
    assert isinstance(decoded, list)
    return decoded


def parse(data: object) -> ConversationInfo:
    encoded = data if isinstance(data, bytes) else msgpack.packb(data)
    return ConversationInfo.from_extensions([Extension(1, b""), Extension(EXTENSION_TYPE, encoded)])


def test_the_encoding_is_the_documented_one() -> None:
    assert INFO.to_extension().type == EXTENSION_TYPE == 0xF0C1
    people = [
        ["anna", "coach", INFO.participants[0].identity_key],
        ["ben", "client", INFO.participants[1].identity_key],
    ]
    assert values() == [1, "harbor", ENGAGEMENT, 1, [], {}, people]
    packed = msgpack.packb(["harbor", ENGAGEMENT, 1])
    assert INFO.group_id == hashlib.sha256(b"coach-relay/1 group\0" + packed).digest()
    assert group_id(PORTAL, ENGAGEMENT, 2) != INFO.group_id


infos = st.builds(
    ConversationInfo,
    portal=st.just(PORTAL),
    engagement=st.just(ENGAGEMENT),
    generation=st.integers(1, 2**63 - 1),
    features=st.lists(st.text("abc", min_size=1, max_size=5), max_size=4, unique=True).map(tuple),
    policy=st.dictionaries(st.text("abc", min_size=1, max_size=5), st.integers(0, 99) | st.text(max_size=5)),
    participants=st.lists(
        st.builds(
            Participant,
            st.text("abc", min_size=1, max_size=9).map(UserId),
            st.sampled_from(list(Role)),
            st.binary(min_size=32, max_size=32),
        ),
        min_size=1,
        max_size=5,
        unique_by=lambda p: p.user,
    ).map(tuple),
)


@given(infos)
def test_what_is_encoded_is_decoded(info: ConversationInfo) -> None:
    assert ConversationInfo.from_extensions([info.to_extension()]) == info


@pytest.mark.parametrize(
    ("position", "value"),
    [
        (0, 2),
        (0, True),
        (0, 1.0),
        (1, "Harbor"),
        (2, "eng_short"),
        (3, 0),
        (3, True),
        (3, "1"),
        (3, 2**63),
        (4, "polls"),
        (4, [1]),
        (4, [""]),
        (4, ["polls", "polls"]),
        (4, ["x" * 65]),
        (4, [str(n) for n in range(33)]),
        (5, []),
        (5, {1: 2}),
        (5, {"k" * 65: 1}),
        (6, []),
        (6, {}),
        (6, [["anna", "coach"]]),
        (6, [["anna", "boss", bytes(32)]]),
        (6, [["an na", "coach", bytes(32)]]),
        (6, [["anna", "coach", bytes(31)]]),
        (6, [["anna", "coach", "x" * 32]]),
        (6, [["anna", "coach", bytes(32)]] * 2),
        (6, [[f"u{n}", "coach", bytes(32)] for n in range(33)]),
    ],
)
def test_a_malformed_one_is_refused(position: int, value: object) -> None:
    wrong = values()
    wrong[position] = value
    with pytest.raises(ConversationInfoInvalid):
        parse(wrong)


def test_another_shape_is_refused() -> None:
    data = INFO.to_extension().data
    wrongs: list[object] = [values()[:-1], [*values(), 1], {}, b"", b"\xc1", data + b"\0"]
    for wrong in wrongs:
        with pytest.raises(ConversationInfoInvalid):
            parse(wrong)
    with pytest.raises(ConversationInfoInvalid):
        ConversationInfo.from_extensions([])
    with pytest.raises(ConversationInfoInvalid):
        ConversationInfo.from_extensions([INFO.to_extension()] * 2)


def test_size_is_bounded() -> None:
    with pytest.raises(ConversationInfoInvalid):
        replace(INFO, policy={"note": "x" * 17_000}).to_extension()
    with pytest.raises(ConversationInfoInvalid):
        parse([*values()[:5], {"note": "x" * 17_000}, values()[6]])


def test_an_unknown_feature_stops_sending_and_says_which() -> None:
    INFO.check_features()
    info = replace(INFO, features=("polls", "whiteboard"))
    info.check_features(["polls", "whiteboard"])
    with pytest.raises(UpdateRequired, match="whiteboard") as caught:
        info.check_features(["polls"])
    assert caught.value.features == ("whiteboard",)


def test_identity_keys_stand_in_no_repr() -> None:
    assert INFO.participants[0].identity_key.hex()[:8] not in repr(INFO)
    assert repr(INFO.participants[0].identity_key)[2:10] not in repr(INFO)
