"""The negotiation of a call: each step in order, and then everything out of order."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from client_sdk.calls.errors import CallNotPossible, CallTampered
from client_sdk.calls.messages import (
    Accept,
    Answer,
    Candidate,
    Decline,
    Hangup,
    Message,
    Offer,
    Reveal,
    message_body,
)
from client_sdk.calls.negotiation import TABLE, step
from client_sdk.calls.states import (
    CONNECT_SECONDS,
    MAX_CANDIDATES,
    MAX_REPLIES,
    MAX_TRIES,
    RING_SECONDS,
    RING_SILENCE_SECONDS,
    Accepted,
    AddCandidate,
    CallFacts,
    Declined,
    EndedElsewhere,
    Event,
    HungUp,
    Invite,
    MediaLost,
    NetworkChanged,
    Outcome,
    PeerInvited,
    Phase,
    Received,
    Role,
)
from tests.client_sdk.calls.network import ANNA, BEN, CALL, CLARA, Device, Flying, World, description, nonce


def ringing(*callees: tuple[str, bytes], peer: bytes | None = BEN) -> World:
    world = World(*callees, peer=peer)
    world.invite()
    deliver_all(world)
    return world


def deliver_all(world: World) -> None:
    while world.flying:
        world.deliver(world.flying.pop(0))


def connected(*callees: tuple[str, bytes]) -> World:
    world = ringing(*callees)
    world.happen(world.callees[0], Accepted())
    world.settle(2)
    assert [world.caller.phase, world.callees[0].phase] == [Phase.CONNECTED] * 2
    return world


def outcomes(world: World) -> list[Outcome | None]:
    return [d.state.end.outcome if d.state.end else None for d in world.devices]


def from_device(device: Device, to: Device, message: Message, world: World) -> Flying:
    return Flying(device, to, message.kind, message_body(message, CALL), world.authenticator())


# In order


def test_a_device_rings_only_after_the_caller_has_said_that_it_still_rings() -> None:
    world = World()
    world.invite()
    (ben,) = world.callees
    assert (world.caller.phase, ben.phase) == (Phase.INVITING, Phase.INVITING)
    (probe,) = world.flying
    assert probe.kind == "call.probe"
    deliver_all(world)
    assert (world.caller.phase, ben.phase) == (Phase.RINGING, Phase.RINGING)


def test_an_accepted_call_connects_with_the_same_words_and_ends_alike() -> None:
    world = connected()
    (ben,) = world.callees
    assert world.caller.state.words == ben.state.words is not None
    world.now += 63.9
    world.happen(world.caller, HungUp())
    world.settle(10)
    assert outcomes(world) == [Outcome.ANSWERED] * 2
    assert world.caller.state.end is not None
    assert 63 <= world.caller.state.end.seconds <= 66
    assert world.caller.connection is None
    assert ben.connection is None


def test_the_callee_may_hang_up_too() -> None:
    world = connected()
    world.happen(world.callees[0], HungUp())
    world.settle(10)
    assert outcomes(world) == [Outcome.ANSWERED] * 2


@pytest.mark.parametrize("wish", [Declined(), HungUp()])
def test_declined(wish: Declined | HungUp) -> None:
    world = ringing()
    world.happen(world.callees[0], wish)
    world.settle(10)
    assert outcomes(world) == [Outcome.DECLINED] * 2


def test_cancelled() -> None:
    world = ringing()
    world.happen(world.caller, HungUp())
    world.settle(10)
    assert outcomes(world) == [Outcome.CANCELLED] * 2


def test_missed_after_45_seconds() -> None:
    world = ringing()
    begun = world.now
    world.settle(RING_SECONDS - 1)
    assert world.caller.phase is Phase.RINGING
    world.settle(2)
    assert outcomes(world) == [Outcome.MISSED] * 2
    assert world.now - begun < RING_SECONDS + 3


def test_missed_while_nobody_was_there() -> None:
    world = World()
    world.happen(world.caller, Invite())
    world.pass_time(RING_SECONDS)
    assert outcomes(world)[0] is Outcome.MISSED


def test_an_old_invitation_does_not_ring() -> None:
    world = World()
    world.invite()
    world.flying.clear()
    for _ in range(40):
        world.pass_time(RING_SECONDS / 20)
        world.flying.clear()
    assert outcomes(world)[1] is Outcome.MISSED
    assert Phase.RINGING not in {device.phase for device in world.callees}


@pytest.mark.parametrize("lost", ["call.probe", "call.ringing"])
def test_it_still_rings_when_messages_were_lost_for_most_of_the_time(lost: str) -> None:
    world = World()
    world.invite()
    (ben,) = world.callees
    until = world.now + RING_SECONDS - 10
    while world.now < until:
        while world.flying:
            message = world.flying.pop(0)
            if message.kind != lost:
                world.deliver(message)
        world.pass_time(0.5)
    phases = [ben.phase]
    world.settle(5)
    phases.append(ben.phase)
    assert phases == [Phase.INVITING, Phase.RINGING]
    world.happen(ben, Accepted())
    world.settle(2)
    assert (world.caller.phase, ben.phase) == (Phase.CONNECTED, Phase.CONNECTED)


def test_a_late_device_learns_at_once_that_it_is_over() -> None:
    world = World()
    world.invite()
    world.happen(world.caller, HungUp())
    world.flying = [f for f in world.flying if f.kind == "call.probe"]
    deliver_all(world)
    assert outcomes(world)[1] is Outcome.CANCELLED


def test_a_caller_that_vanishes_is_not_rung_for_long() -> None:
    world = ringing()
    until = world.now + RING_SILENCE_SECONDS + 1
    while world.now < until:
        world.pass_time(0.5)
        world.flying.clear()
    assert outcomes(world)[1] is Outcome.MISSED


def test_the_first_acceptance_wins_and_the_other_device_stops() -> None:
    world = ringing(("ben", BEN), ("ben2", BEN))
    first, second = world.callees
    world.happen(second, Accepted())
    world.happen(first, Accepted())
    world.settle(5)
    assert world.caller.state.peer_device == second.id
    assert (world.caller.phase, second.phase) == (Phase.CONNECTED, Phase.CONNECTED)
    assert first.state.end is not None
    assert (first.state.end.outcome, first.state.end.reason) == (Outcome.ANSWERED, "elsewhere")
    assert first.state.end.device == second.id
    world.happen(world.caller, HungUp())
    assert world.caller.state.end is not None
    assert world.caller.state.end.device == second.id


def test_a_device_that_accepts_too_late_hears_who_was_picked() -> None:
    world = ringing(("ben", BEN), ("ben2", BEN))
    first, second = world.callees
    world.happen(first, Accepted())
    world.flying = [f for f in world.flying if f.to is not second]
    for _ in range(40):
        world.flying = [f for f in world.flying if f.to is not second]
        deliver_all(world)
        world.flying = [f for f in world.flying if f.to is not second]
        for device in world.devices:
            world.do_work(device)
        world.media()
    assert first.phase is Phase.CONNECTED
    world.happen(second, Accepted())
    world.settle(5)
    assert second.state.end is not None
    assert second.state.end.reason == "elsewhere"
    assert (world.caller.phase, first.phase) == (Phase.CONNECTED, Phase.CONNECTED)


def test_one_of_the_devices_declining_declines_for_the_person() -> None:
    world = ringing(("ben", BEN), ("ben2", BEN))
    world.happen(world.callees[1], Declined())
    world.settle(5)
    assert outcomes(world) == [Outcome.DECLINED] * 3
    ends = [device.state.end for device in world.devices]
    assert [end.device for end in ends if end is not None] == [world.callees[1].id] * 3


def test_declined_on_another_device_stops_ringing_though_the_caller_is_gone() -> None:
    world = ringing(("ben", BEN), ("ben2", BEN), ("clara", CLARA), peer=None)
    ben, ben2, clara = world.callees
    decline = from_device(ben, ben2, Decline(), world)
    world.deliver(decline)
    world.deliver(from_device(ben, clara, Decline(), world))
    assert ben2.state.end is not None
    assert (ben2.state.end.outcome, ben2.state.end.reason) == (Outcome.DECLINED, "elsewhere")
    assert clara.phase is Phase.RINGING


def test_somebody_else_can_neither_take_nor_decline_the_call() -> None:
    world = ringing(("clara", CLARA))
    (clara,) = world.callees
    assert clara.phase is Phase.INVITING  # nobody told her that it rings
    for message in (Accept(clara.id), Hangup("declined")):
        world.deliver(from_device(clara, world.caller, message, world))
    assert world.caller.phase is Phase.INVITING


def test_a_call_for_anybody_is_not_declined_for_all() -> None:
    world = ringing(("ben", BEN), ("clara", CLARA), peer=None)
    ben, clara = world.callees
    world.happen(ben, Declined())
    world.settle(3)
    assert world.caller.phase is Phase.RINGING
    world.happen(clara, Accepted())
    world.settle(3)
    assert world.caller.state.peer_identity == CLARA
    assert world.caller.state.words == clara.state.words is not None


def test_glare_the_lower_seq_wins() -> None:
    lower, higher = World(), World()
    for world in (lower, higher):
        world.invite()  # at seq 7
        world.flying.clear()
    lower.happen(lower.caller, PeerInvited(8))
    higher.happen(higher.caller, PeerInvited(6))
    assert lower.caller.phase is Phase.INVITING
    assert higher.caller.state.end is not None
    assert (higher.caller.state.end.outcome, higher.caller.state.end.reason) == (Outcome.CANCELLED, "glare")


def test_glare_an_invitation_that_is_not_stored_yet_loses() -> None:
    world = World()
    world.happen(world.caller, Invite())
    world.happen(world.caller, PeerInvited(6))
    assert world.caller.phase is Phase.ENDED


def test_after_glare_the_loser_may_accept_before_it_rang() -> None:
    world = World()
    world.invite()
    world.happen(world.callees[0], Accepted())
    world.settle(3)
    assert [d.phase for d in world.devices] == [Phase.CONNECTED] * 2


@pytest.mark.parametrize("who", [0, 1])
def test_a_changed_network_is_a_new_attempt_with_new_words(who: int) -> None:
    world = connected()
    before = world.caller.state.words
    world.happen(world.devices[who], NetworkChanged())
    assert world.devices[who].phase is Phase.CONNECTING
    world.settle(5)
    for device in world.devices:
        assert device.phase is Phase.CONNECTED
        assert device.state.attempt is not None
        assert device.state.attempt.number == 2
    assert world.caller.state.words == world.callees[0].state.words != before


def test_a_connection_lost_on_both_sides_is_one_new_attempt() -> None:
    world = connected()
    for device in world.devices:
        world.happen(device, MediaLost(1))
    world.settle(5)
    assert [d.state.attempt.number for d in world.devices if d.state.attempt] == [2, 2]


def test_news_of_an_older_connection_is_no_news() -> None:
    world = connected()
    world.happen(world.caller, NetworkChanged())
    world.settle(5)
    for device in world.devices:
        world.happen(device, MediaLost(1))
        assert device.phase is Phase.CONNECTED


def test_a_call_that_never_connects_is_given_up() -> None:
    world = ringing()
    world.happen(world.callees[0], Accepted())
    for number in range(1, MAX_TRIES + 1):
        deliver_all(world)
        for device in world.devices:
            world.do_work(device)
        assert world.caller.state.attempt is not None
        assert world.caller.state.attempt.number == number
        world.happen(world.caller, MediaLost(number))
    world.settle(10)
    assert outcomes(world) == [Outcome.FAILED] * 2


def test_connecting_takes_bounded_time() -> None:
    world = ringing()
    world.happen(world.callees[0], Accepted())
    deliver_all(world)
    for _ in range(int(CONNECT_SECONDS) + 1):
        world.pass_time(1)
        world.flying.clear()
    assert outcomes(world) == [Outcome.FAILED] * 2


# Commit, then reveal


def answered_but_not_revealed() -> tuple[World, Flying]:
    world = ringing()
    world.happen(world.callees[0], Accepted())
    for _ in range(6):
        reveals = [f for f in world.flying if f.kind == Reveal.kind]
        if reveals:
            return world, reveals[0]
        deliver_all_but(world, Reveal.kind)
        for device in world.devices:
            world.do_work(device)
    raise AssertionError("no reveal")


def deliver_all_but(world: World, kind: str) -> None:
    for flying in [f for f in world.flying if f.kind != kind]:
        world.flying.remove(flying)
        world.deliver(flying)


def test_a_reveal_that_does_not_open_the_commitment_ends_the_call_with_an_alarm() -> None:
    world, reveal = answered_but_not_revealed()
    (ben,) = world.callees
    world.flying.clear()
    world.deliver(replace(reveal, body={**reveal.body, "nonce": nonce("another")}))
    assert ben.state.end is not None
    assert (ben.state.end.outcome, ben.state.end.reason) == (Outcome.FAILED, "tampered")
    assert isinstance(ben.state.end.alarm, CallTampered)
    assert ben.state.end.alarm.evidence == {"call": CALL.hex(), "device": world.caller.id.hex(), "attempt": 1}
    assert ben.state.words is None
    world.settle(5)
    assert world.caller.phase is Phase.ENDED


def test_the_callee_has_no_words_before_the_reveal_even_if_media_flows() -> None:
    world, reveal = answered_but_not_revealed()
    (ben,) = world.callees
    world.media()
    assert [ben.phase, ben.state.words] == [Phase.CONNECTING, None]
    world.deliver(reveal)
    assert [ben.phase] == [Phase.CONNECTED]


def test_a_second_answer_of_an_attempt_cannot_change_the_words() -> None:
    """Else somebody who had seen the reveal could choose a nonce that gives the words he wants."""
    world, _ = answered_but_not_revealed()
    words = world.caller.state.words
    (ben,) = world.callees
    world.flying.clear()
    other = Answer(attempt=1, sdp=description("mallory"), nonce=nonce("mallory"))
    world.deliver(from_device(ben, world.caller, other, world))
    assert world.caller.state.words == words
    assert world.flying == []


def test_a_second_offer_of_an_attempt_is_not_answered() -> None:
    world, _ = answered_but_not_revealed()
    (ben,) = world.callees
    world.flying.clear()
    other = Offer(to=ben.id, attempt=1, sdp=description("mallory"), commit=bytes(32))
    world.deliver(from_device(world.caller, ben, other, world))
    assert world.flying == []
    assert ben.work == []


def test_a_message_of_another_device_is_not_the_peers() -> None:
    world = connected(("ben", BEN), ("ben2", BEN))
    ben, second = world.callees
    sdp, over = description("x"), Hangup("hung_up")
    to_ben: list[Message] = [over, Offer(ben.id, 2, sdp, bytes(32)), Reveal(1, bytes(32))]
    to_caller: list[Message] = [over, Answer(1, sdp, bytes(32)), Accept(second.id, 1)]
    for message in to_ben:
        world.deliver(from_device(second, ben, message, world))
    for message in to_caller:
        world.deliver(from_device(second, world.caller, message, world))
    assert (world.caller.phase, ben.phase) == (Phase.CONNECTED, Phase.CONNECTED)


def test_an_acceptance_in_another_devices_name_is_nothing() -> None:
    world = ringing(("ben", BEN), ("ben2", BEN))
    first, second = world.callees
    world.deliver(from_device(first, world.caller, Accept(second.id), world))
    assert world.caller.phase is Phase.RINGING


def test_the_words_bind_the_offers_epoch() -> None:
    """An offer repeated in a later epoch is another attempt, so both sides know of one epoch alone."""
    world = ringing()
    (ben,) = world.callees
    world.happen(ben, Accepted())
    deliver_all(world)
    world.do_work(world.caller)
    world.flying.clear()  # the offer is lost
    world.epoch += 1
    world.settle(5)
    assert [d.phase for d in world.devices] == [Phase.CONNECTED] * 2
    assert world.caller.state.words == ben.state.words
    assert world.caller.state.attempt is not None
    assert world.caller.state.attempt.number == 2


@pytest.mark.parametrize(
    "sdp", ["", "v=0\r\n", description("a") + description("b"), description("a", ("audio", "application"))]
)
def test_a_description_that_is_refused_ends_the_call(sdp: str) -> None:
    world = ringing()
    (ben,) = world.callees
    world.happen(ben, Accepted())
    world.flying.clear()
    world.deliver(from_device(world.caller, ben, Offer(ben.id, 1, sdp, bytes(32)), world))
    assert ben.state.end is not None
    assert (ben.state.end.outcome, ben.state.end.reason) == (Outcome.FAILED, "description")

    world = ringing()
    (ben,) = world.callees
    world.happen(ben, Accepted())
    deliver_all(world)
    world.do_work(world.caller)
    world.deliver(from_device(ben, world.caller, Answer(1, sdp, bytes(32)), world))
    assert world.caller.state.end is not None
    assert world.caller.state.end.reason == "description"


def test_media_that_the_invitation_did_not_name_are_refused() -> None:
    world = ringing()
    (ben,) = world.callees
    ben.state = replace(ben.state, facts=replace(ben.state.facts, kinds=frozenset({"audio"})))
    world.happen(ben, Accepted())
    world.deliver(from_device(world.caller, ben, Offer(ben.id, 1, description("a"), bytes(32)), world))
    assert ben.phase is Phase.ENDED


# Trickled candidates


def test_candidates_wait_for_their_description_and_are_bounded() -> None:
    world = ringing()
    (ben,) = world.callees
    world.happen(ben, Accepted())
    for index in range(MAX_CANDIDATES + 5):
        world.deliver(from_device(world.caller, ben, Candidate(1, f"candidate:{index}", "0", 0), world))
    assert len(ben.state.candidates) == MAX_CANDIDATES
    offer = Offer(ben.id, 1, description("a"), bytes(32))
    event = Received(world.caller.id, ANNA, offer, world.authenticator())
    ben.state, actions = step(ben.state, event, world.now)
    assert sum(isinstance(a, AddCandidate) for a in actions) == MAX_CANDIDATES
    assert ben.state.candidates == ()
    late = Received(world.caller.id, ANNA, Candidate(1, "candidate:x", "0", 0), world.authenticator())
    assert step(ben.state, late, world.now) == (ben.state, ())


def test_candidates_that_come_after_the_description_are_used_and_bounded() -> None:
    world = ringing()
    (ben,) = world.callees
    world.happen(ben, Accepted())
    world.deliver(from_device(world.caller, ben, Offer(ben.id, 1, description("a"), bytes(32)), world))
    late = Received(world.caller.id, ANNA, Candidate(1, "candidate:x", "0", 0), world.authenticator())
    used = 0
    for _ in range(MAX_CANDIDATES + 5):
        ben.state, actions = step(ben.state, late, world.now)
        used += len(actions)
    assert used == MAX_CANDIDATES
    assert len(ben.state.candidates) == 0
    stale = replace(late, message=Candidate(0, "candidate:x", "0", 0))
    assert step(ben.state, stale, world.now) == (ben.state, ())
    stranger = replace(late, device=bytes(16), message=Candidate(2, "candidate:x", "0", 0))
    assert step(ben.state, stranger, world.now) == (ben.state, ())


# Persons, ends


def test_wishes_out_of_place_are_refused() -> None:
    world = connected()
    (ben,) = world.callees
    wishes: list[tuple[Device, Event]] = [
        (world.caller, Accepted()),
        (world.caller, Declined()),
        (world.caller, Invite()),
        (ben, Accepted()),
        (ben, Declined()),
    ]
    for device, event in wishes:
        with pytest.raises(CallNotPossible):
            world.happen(device, event)
    world.happen(ben, HungUp())
    world.happen(ben, HungUp())  # twice is no fault
    with pytest.raises(CallNotPossible):
        world.happen(ben, Accepted())


@pytest.mark.parametrize("outcome", list(Outcome))
def test_the_conversation_says_how_it_ended(outcome: Outcome) -> None:
    world = ringing()
    world.happen(world.callees[0], EndedElsewhere(outcome))
    assert outcomes(world)[1] is outcome


def test_talk_about_an_ended_call_is_answered_a_bounded_number_of_times() -> None:
    world = ringing()
    (ben,) = world.callees
    world.happen(world.caller, HungUp())
    world.flying.clear()
    for _ in range(MAX_REPLIES + 5):
        world.deliver(from_device(ben, world.caller, Accept(ben.id), world))
    assert len(world.flying) == MAX_REPLIES
    assert {f.kind for f in world.flying} == {"call.hangup"}


def test_an_ended_call_falls_silent() -> None:
    world = ringing()
    world.happen(world.caller, HungUp())
    said = 0
    for _ in range(100):
        said += sum(f.kind == Hangup.kind for f in world.flying)
        world.flying.clear()
        world.pass_time(1)
    assert said == 3
    assert world.caller.state.wake_at is None


def test_secrets_are_in_no_repr() -> None:
    world = connected()
    attempt = world.caller.state.attempt
    assert attempt is not None
    assert attempt.own_nonce is not None
    text = repr(world.caller.state)
    assert repr(attempt.own_nonce)[2:-1] not in text
    assert not any(word in text for word in attempt.words or ())


def test_every_row_of_the_table_belongs_to_a_role_and_a_phase() -> None:
    assert {role for role, _, _ in TABLE} == set(Role)
    assert {phase for _, phase, _ in TABLE} == set(Phase)


def test_facts_hide_identities() -> None:
    facts = CallFacts(
        call=CALL, role=Role.CALLER, group_id=b"g", own_device=b"d", own_identity=ANNA, kinds=frozenset()
    )
    assert repr(ANNA) not in repr(facts)


# Out of order


class Calls(RuleBasedStateMachine):
    """One caller, two devices of one callee, and a network that loses, repeats and reorders."""

    def __init__(self) -> None:
        super().__init__()
        self.world = World(("ben", BEN), ("ben2", BEN))
        self.world.invite()

    @rule(data=st.data(), keep=st.booleans())
    @precondition(lambda self: self.world.flying)
    def deliver(self, data: st.DataObject, keep: bool) -> None:
        index = data.draw(st.integers(0, len(self.world.flying) - 1))
        flying = self.world.flying[index]
        if not keep or len(self.world.flying) > 30:
            del self.world.flying[index]
        self.world.deliver(flying)

    @rule(data=st.data())
    @precondition(lambda self: self.world.flying)
    def lose(self, data: st.DataObject) -> None:
        del self.world.flying[data.draw(st.integers(0, len(self.world.flying) - 1))]

    @rule()
    def deliver_in_order(self) -> None:
        while self.world.flying:
            self.world.deliver(self.world.flying.pop(0))

    @rule(who=st.integers(0, 2))
    def work(self, who: int) -> None:
        self.world.do_work(self.world.devices[who])

    @rule()
    def media(self) -> None:
        self.world.media()

    @rule(seconds=st.sampled_from([0.3, 1.0, 5.0, 20.0]))
    def pass_time(self, seconds: float) -> None:
        self.world.pass_time(seconds)

    @rule(who=st.integers(1, 2))
    def accept(self, who: int) -> None:
        self.wish(self.world.devices[who], Accepted())

    @rule(who=st.integers(1, 2), really=st.integers(0, 4))
    def decline(self, who: int, really: int) -> None:
        if really == 0:
            self.wish(self.world.devices[who], Declined())

    @rule(who=st.integers(0, 2), really=st.integers(0, 4))
    def hang_up(self, who: int, really: int) -> None:
        if really == 0:
            self.wish(self.world.devices[who], HungUp())

    @rule(who=st.integers(0, 2))
    def change_network(self, who: int) -> None:
        self.world.happen(self.world.devices[who], NetworkChanged())

    @rule()
    def change_epoch(self) -> None:
        self.world.epoch += 1

    def wish(self, device: Device, event: Accepted | Declined | HungUp) -> None:
        try:
            self.world.happen(device, event)
        except CallNotPossible:
            assert device.phase not in (Phase.INVITING, Phase.RINGING)

    @invariant()
    def consistent(self) -> None:
        self.world.check()

    def teardown(self) -> None:
        self.world.settle()
        self.world.check()
        sent = self.world.sent
        self.world.settle(60)
        assert self.world.sent == sent, "when all is settled nobody talks any more"
        caller = self.world.caller
        taken = [c for c in self.world.callees if c.phase is Phase.CONNECTED]
        assert all(d.phase in (Phase.CONNECTED, Phase.ENDED) for d in self.world.devices)
        assert len(taken) == (1 if caller.phase is Phase.CONNECTED else 0)
        for callee in taken:
            assert callee.id == caller.state.peer_device
            assert callee.state.attempt is not None
            assert caller.state.attempt is not None
            assert callee.state.attempt.number == caller.state.attempt.number
            assert callee.state.words == caller.state.words


Calls.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestCalls = Calls.TestCase
