"""What becomes of a message by edits, retractions and reactions: a function of a set, not of an order."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from client_sdk.content import (
    REACTIONS,
    Act,
    Amended,
    Amendment,
    BodyInvalid,
    Edit,
    Envelope,
    Reaction,
    Retract,
    Text,
    Unknown,
    amended,
    may_amend,
    that_count,
)
from client_sdk.content.envelope import Attest
from client_sdk.errors import ContentInvalid

ID = bytes(range(16))
WAITS = 2**63 - 1

whats = st.one_of(
    st.builds(Edit, st.just(ID), st.sampled_from(["one", "two", "three"])),
    st.just(Retract(ID)),
    st.builds(Reaction, st.just(ID), st.sampled_from(list(REACTIONS)[:3]), st.booleans()),
)


@st.composite
def acts_of_a_stream(draw: st.DrawFn) -> list[Act]:
    """Amendments of three users, each at a position of its own, the last ones not yet placed."""
    said = draw(st.lists(st.tuples(st.sampled_from(["anna", "ben", "carol"]), whats), max_size=14))
    waiting = draw(st.integers(0, 3))
    placed = len(said) - min(waiting, len(said))
    return [
        Act((number + 1, 0) if number < placed else (WAITS, number), user, what)
        for number, (user, what) in enumerate(said)
    ]


def view(acts: Iterable[Act]) -> Amended:
    return amended(acts, author="anna", kind="text")


def act(place: int, user: str, what: Amendment) -> Act:
    return Act((place, 0), user, what)


@given(acts_of_a_stream(), st.randoms())
def test_every_order_of_arrival_gives_the_same_view(acts: list[Act], random: Any) -> None:
    shuffled = [*acts, *acts[:3]]
    random.shuffle(shuffled)
    assert view(shuffled) == view(acts)


@given(acts_of_a_stream(), st.randoms())
def test_a_device_may_forget_at_once_what_does_not_count(acts: list[Act], random: Any) -> None:
    shuffled = list(acts)
    random.shuffle(shuffled)
    kept: frozenset[Act] = frozenset()
    for one in shuffled:
        kept = that_count({*kept, one})
        assert len(kept) <= 3 * (2 + len(REACTIONS))
    assert kept == that_count(acts)
    assert view(kept) == view(acts)


@given(acts_of_a_stream())
def test_nobody_else_changes_a_text_or_takes_it_back(acts: list[Act]) -> None:
    others = [one for one in acts if one.user != "anna"]
    shown = view(others)
    assert not shown.retracted
    assert shown.text is None
    assert view([*others, act(20, "anna", Edit(ID, "mine"))]).text == "mine"


@given(acts_of_a_stream())
def test_what_was_taken_back_stays_so(acts: list[Act]) -> None:
    assert view([*acts, act(7, "anna", Retract(ID))]) == Amended(retracted=True)


def test_the_newest_edit_in_the_streams_order_is_the_text() -> None:
    acts = [act(9, "anna", Edit(ID, "from the laptop")), act(4, "anna", Edit(ID, "from the phone"))]
    assert view(acts).text == "from the laptop"
    assert view([*acts, Act((WAITS, 1), "anna", Edit(ID, "still waiting"))]).text == "still waiting"


def test_reactions_one_of_each_kind_for_each_user() -> None:
    up, heart = list(REACTIONS)[:2]
    acts = [
        act(1, "ben", Reaction(ID, heart)),
        act(2, "ben", Reaction(ID, up)),
        act(3, "ben", Reaction(ID, up)),
        act(4, "anna", Reaction(ID, up)),
        act(5, "ben", Reaction(ID, heart, on=False)),
    ]
    assert view(acts).reactions == ((up, ("ben", "anna")),)
    assert view([*acts, act(6, "ben", Reaction(ID, heart))]).reactions == (
        (up, ("ben", "anna")),
        (heart, ("ben",)),
    )


@pytest.mark.parametrize("kind", ["edit", "reaction", "retract", "receipt", "profile", "call.ended"])
def test_what_reports_something_is_not_amended(kind: str) -> None:
    for what in (Edit(ID, "x"), Retract(ID), Reaction(ID, "👍")):
        assert not may_amend(act(1, "anna", what), author="anna", kind=kind)


def test_a_file_is_taken_back_and_not_edited() -> None:
    assert may_amend(act(1, "anna", Retract(ID)), author="anna", kind="file")
    assert not may_amend(act(1, "anna", Edit(ID, "x")), author="anna", kind="file")
    assert may_amend(act(1, "anna", Retract(ID)), author="anna", kind="a.later.kind")


@pytest.mark.parametrize("emoji", ["", "no", "👍👍", "👎", "❤", b"x", None])
def test_a_reaction_is_one_of_the_set(emoji: Any) -> None:
    with pytest.raises(ContentInvalid):
        Reaction(ID, emoji)


@pytest.mark.parametrize(
    "make",
    [
        lambda: Edit(ID[1:], "x"),
        lambda: Edit(ID, ""),
        lambda: Edit(ID, "x" * (32 * 1024 + 1)),
        lambda: Retract(b""),
        lambda: Reaction(ID, "👍", cast(bool, 1)),
        lambda: Text("x", reply_to=b"short"),
    ],
)
def test_malformed_amendments_are_not_made(make: Any) -> None:
    with pytest.raises(ContentInvalid):
        make()


def sent(content: Any) -> bytes:
    return Envelope(bytes(16), 1, Attest(0, 0, bytes(32)), (), 0, content).serialize()


def test_an_older_client_shows_what_was_said() -> None:
    assert Edit(ID, "At ten.").fallback == "I changed a message of mine to: At ten."
    assert "took back" in Retract(ID).fallback
    assert Reaction(ID, "👍").fallback == "👍"
    # A reply is a text: a client that does not know `reply_to` shows it whole, and keeps the key.
    assert Text("Yes.", reply_to=ID).to_body() == {"text": "Yes.", "reply_to": ID}
    assert Text("Yes.").to_body() == {"text": "Yes."}


def test_a_reaction_of_a_later_version_is_shown_by_its_fallback() -> None:
    data = sent(Reaction(ID, "👍")).replace("👍".encode(), "👎".encode())
    with pytest.raises(BodyInvalid) as caught:
        Envelope.parse(data)
    content = caught.value.envelope.content
    assert isinstance(content, Unknown)
    assert content.fallback == "👎"
