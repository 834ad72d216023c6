"""The outbox against an honest relay (a state machine: no alarm, nothing lost or doubled) and a lying one."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from client_sdk.delivery import (
    MOST_IN_FLIGHT,
    Action,
    ClonedDevice,
    ItemState,
    Outbox,
    OutboxItem,
    RelayContradiction,
    StreamRolledBack,
)
from client_sdk.delivery.outbox import MOST_WAITING, REFUSALS, TRANSITIONS, Event
from client_sdk.errors import OutboxFull, RecordInvalid, UsageError
from relay.wire.errors import ErrorCode
from relay.wire.frames import EntryKind

MESSAGE, COMMIT = EntryKind.MESSAGE, EntryKind.COMMIT
HASH = hashlib.sha256(b"body").digest()


@dataclass
class Stored:
    seq: int
    kind: EntryKind
    after_commit: int
    counter: int
    body_hash: bytes
    message_counter: int
    item_id: bytes


@dataclass
class HonestRelay:
    """Section 4's append rules for one device among others."""

    entries: list[Stored] = field(default_factory=list)
    last_counter: int = 0
    last_commit: int = 1
    seq: int = 1
    busy: bool = False

    def others(self, kind: EntryKind) -> None:
        self.seq += 1
        self.entries.append(Stored(self.seq, kind, self.last_commit, 0, b"", 0, b""))
        if kind is COMMIT:
            self.last_commit = self.seq

    def append(self, item: OutboxItem, poisoned: bool) -> int | ErrorCode:
        if self.busy:
            self.busy = False
            return ErrorCode.RATE_LIMITED
        if poisoned:
            return ErrorCode.ENTRY_TOO_BIG
        if item.counter <= self.last_counter:
            (same,) = (e for e in self.entries if e.counter == item.counter)
            return same.seq if same.body_hash == item.body_hash else ErrorCode.CONFLICT
        if item.counter > self.last_counter + 1:
            return ErrorCode.COUNTER_GAP
        if item.after_commit != self.last_commit:
            return ErrorCode.STALE if item.after_commit < self.last_commit else ErrorCode.AHEAD
        self.seq += 1
        self.last_counter = item.counter
        fields = (item.after_commit, item.counter, item.body_hash, item.message_counter, item.id)
        self.entries.append(Stored(self.seq, item.kind, *fields))
        if item.kind is COMMIT:
            self.last_commit = self.seq
        return self.seq


class AgainstAnHonestRelay(RuleBasedStateMachine):
    """The engine's part is played here as its documentation asks."""

    def __init__(self) -> None:
        super().__init__()
        self.relay = HonestRelay()
        self.box = Outbox()
        self.made = 0
        self.read = 1
        self.last_commit = 1
        self.pipe: list[OutboxItem] = []
        self.answers: list[tuple[int, int | ErrorCode]] = []
        self.wanted: list[bytes] = []
        self.poisoned: set[bytes] = set()
        self.hold = False

    def fresh(self) -> bytes:
        self.made += 1
        return self.made.to_bytes(16, "big")

    @rule(poison=st.integers(0, 7))
    def write(self, poison: int) -> None:
        item_id = self.fresh()
        self.box = self.box.enqueue(item_id)
        self.wanted.append(item_id)
        if poison == 0:
            self.poisoned.add(item_id)

    @precondition(lambda self: all(i.kind is not COMMIT for i in self.box.items))
    @precondition(lambda self: not self.box.late and len(self.box.in_flight) < MOST_IN_FLIGHT)
    @rule()
    def make_commit(self) -> None:
        item_id = self.fresh()
        self.box = self.box.offer_commit(
            item_id, after_commit=self.last_commit, body_hash=hashlib.sha256(item_id).digest()
        )

    @precondition(lambda self: self.box.next_to_encrypt is not None)
    @rule()
    def encrypt(self) -> None:
        item = self.box.next_to_encrypt
        assert item is not None
        body = f"{item.id.hex()} {self.last_commit} {self.box.next_message_counter} {self.fresh().hex()}"
        body_hash = hashlib.sha256(body.encode()).digest()
        self.box = self.box.encrypted(item.id, after_commit=self.last_commit, body_hash=body_hash)

    @precondition(lambda self: not self.hold)
    @rule()
    def send(self) -> None:
        self.pipe += self.box.to_send
        self.box = self.box.sent()

    @rule()
    def wait_is_over(self) -> None:
        self.hold = False

    @precondition(lambda self: self.pipe)
    @rule()
    def relay_takes_one(self) -> None:
        item = self.pipe.pop(0)
        self.answers.append((item.counter, self.relay.append(item, item.id in self.poisoned)))

    @precondition(lambda self: self.answers)
    @rule()
    def answer_arrives(self) -> None:
        counter, answer = self.answers.pop(0)
        if not isinstance(answer, ErrorCode):
            self.box = self.box.appended(counter, answer)
            return
        poisoned = {i.id for i in self.box.items if i.counter == counter}
        self.box, action = self.box.refused(counter, answer)
        self.hold = self.hold or action is Action.WAIT
        if action is Action.GIVE_UP:
            assert poisoned <= self.poisoned
            self.wanted = [w for w in self.wanted if w not in poisoned]
        elif action is Action.ENCRYPT_AFRESH:
            while self.last_commit < self.relay.last_commit:
                self.entry_arrives()

    @precondition(lambda self: self.read < self.relay.seq)
    @rule()
    def entry_arrives(self) -> None:
        self.read += 1
        entry = self.relay.entries[self.read - 2]
        assert entry.seq == self.read
        if entry.counter:
            self.box, item = self.box.own_entry(
                seq=entry.seq, kind=entry.kind, after_commit=entry.after_commit, counter=entry.counter
            )
            assert (item.id, item.body_hash, item.seq) == (entry.item_id, entry.body_hash, entry.seq)
        if entry.kind is COMMIT:
            self.last_commit = entry.seq

    @rule(kind=st.sampled_from([MESSAGE, MESSAGE, COMMIT]))
    def somebody_else_appends(self, kind: EntryKind) -> None:
        self.relay.others(kind)

    @rule()
    def relay_is_busy(self) -> None:
        self.relay.busy = True

    @rule(arrived=st.integers(0, 3))
    def connection_is_lost(self, arrived: int) -> None:
        for item in self.pipe[:arrived]:
            self.relay.append(item, item.id in self.poisoned)
        self.pipe, self.answers = [], []
        self.box = self.box.disconnected()
        self.box.check_opened(self.relay.last_counter)

    @rule(arrived=st.integers(0, 3))
    def program_is_killed(self, arrived: int) -> None:
        self.box = Outbox.parse(self.box.serialize())
        self.connection_is_lost(arrived)

    @invariant()
    def what_is_in_flight_has_consecutive_counters(self) -> None:
        counters = [i.counter for i in self.box.in_flight]
        assert counters == list(range(counters[0], counters[0] + len(counters))) if counters else True
        assert len(counters) <= MOST_IN_FLIGHT

    @invariant()
    def no_commit_waits(self) -> None:
        assert all(i.in_flight for i in self.box.items if i.kind is COMMIT)

    def teardown(self) -> None:
        """Everything calms down: what was written stands in the stream, once, in order, without gaps."""
        for _ in range(2000):
            if not (self.box.items or self.answers or self.pipe or self.read < self.relay.seq):
                break
            self.relay.busy = self.hold = False
            while self.pipe:
                self.relay_takes_one()
            while self.answers:
                self.answer_arrives()
            while self.read < self.relay.seq:
                self.entry_arrives()
            if self.box.next_to_encrypt is not None:
                self.encrypt()
            self.send()
        stored = [e for e in self.relay.entries if e.counter and e.kind is MESSAGE]
        assert [e.item_id for e in stored] == self.wanted
        assert [e.message_counter for e in stored] == list(range(1, len(stored) + 1))
        assert not self.box.items


TestAgainstAnHonestRelay = AgainstAnHonestRelay.TestCase
TestAgainstAnHonestRelay.settings = settings(max_examples=400, stateful_step_count=60, deadline=None)


def box_with(*states: ItemState) -> Outbox:
    """One message in each state, numbered from 1."""
    box = Outbox()
    for number in range(len(states)):
        box = box.enqueue(bytes([number]) * 16)
    for state in states:
        item = box.next_to_encrypt
        if state is ItemState.QUEUED or item is None:
            break
        box = box.encrypted(item.id, after_commit=3, body_hash=HASH)
    box = box.sent()
    for number, state in enumerate(states, 1):
        if state is ItemState.ACKNOWLEDGED:
            box = box.appended(number, 10 + number)
    return box


SENT, ACKED, QUEUED = ItemState.SENT, ItemState.ACKNOWLEDGED, ItemState.QUEUED


def test_every_refusal_of_an_append_has_a_meaning() -> None:
    answers = {
        "stale",
        "ahead",
        "counter_gap",
        "duplicate",
        "conflict",
        "not_member",
        "not_on_roster",
        "too_many_devices",
        "ended",
        "entry_too_big",
        "bundle_invalid",
        "blob_not_found",
        "rate_limited",
        "store_full",
        "store_unavailable",
        "internal",
        "not_found",
    }
    assert {str(code) for code in REFUSALS} == answers


def test_the_table_is_closed() -> None:
    for (state, _), (then, action) in TRANSITIONS.items():
        assert state in ItemState
        assert then is None or then in ItemState
        assert (then is None) == (
            action in (Action.DONE, Action.DISCARD, Action.DISCARD_AND_WAIT, Action.GIVE_UP)
        )
    in_flight = {event for state, event in TRANSITIONS if state is SENT}
    assert in_flight == set(Event) - {Event.ENCRYPT, Event.SEND}


@pytest.mark.parametrize(
    ("code", "action", "state"),
    [
        (ErrorCode.COUNTER_GAP, Action.SEND_AGAIN, ItemState.ENCRYPTED),
        (ErrorCode.RATE_LIMITED, Action.WAIT, ItemState.ENCRYPTED),
        (ErrorCode.STORE_FULL, Action.WAIT, ItemState.ENCRYPTED),
        (ErrorCode.STORE_UNAVAILABLE, Action.WAIT, ItemState.ENCRYPTED),
        (ErrorCode.DUPLICATE, Action.READ_ON, ItemState.ACKNOWLEDGED),
        (ErrorCode.STALE, Action.ENCRYPT_AFRESH, ItemState.QUEUED),
        (ErrorCode.NOT_MEMBER, Action.STOP, ItemState.QUEUED),
        (ErrorCode.NOT_ON_ROSTER, Action.STOP, ItemState.QUEUED),
        (ErrorCode.ENDED, Action.STOP, ItemState.QUEUED),
        (ErrorCode.NOT_FOUND, Action.STOP, ItemState.QUEUED),
    ],
)
def test_refusals(code: ErrorCode, action: Action, state: ItemState) -> None:
    box, told = box_with(SENT).refused(1, code)
    assert told is action
    assert [i.state for i in box.items] == [state]
    if state is ItemState.ENCRYPTED:
        assert box.to_send[0].body_hash == HASH
        assert box.to_send[0].counter == 1


def test_a_stale_message_is_encrypted_afresh_under_the_same_counters() -> None:
    box, _ = box_with(SENT, SENT).refused(1, ErrorCode.STALE)
    assert box.next_to_encrypt is None  # the second one's answer is still to come
    box, action = box.refused(2, ErrorCode.COUNTER_GAP)
    assert action is Action.NONE
    box = box.encrypted(bytes(16), after_commit=7, body_hash=b"n" * 32)
    assert (box.items[0].counter, box.items[0].message_counter, box.items[0].after_commit) == (1, 1, 7)


def test_a_commit_that_lost_the_race_is_discarded_and_the_messages_stay() -> None:
    box = Outbox().enqueue(b"m" * 16).enqueue_commit(b"c" * 16)
    assert [i.kind for i in box.items] == [COMMIT, MESSAGE]
    box = box.encrypted(b"c" * 16, after_commit=3, body_hash=HASH).sent()
    assert box.next_to_encrypt is None
    box, action = box.refused(1, ErrorCode.STALE)
    assert action is Action.DISCARD
    assert [(i.id, i.state) for i in box.items] == [(b"m" * 16, QUEUED)]
    assert box.next_counter == 1


@pytest.mark.parametrize("code", [ErrorCode.NOT_ON_ROSTER, ErrorCode.TOO_MANY_DEVICES])
def test_a_commit_that_adds_whom_the_relay_does_not_take_is_discarded(code: ErrorCode) -> None:
    box = Outbox().enqueue(b"m" * 16).offer_commit(b"c" * 16, after_commit=3, body_hash=HASH).sent()
    box, action = box.refused(1, code)
    assert action is Action.DISCARD_AND_WAIT
    assert [(i.id, i.state) for i in box.items] == [(b"m" * 16, QUEUED)]


def test_a_commit_behind_a_stale_message_is_dropped_with_it() -> None:
    box = box_with(SENT, SENT).offer_commit(b"c" * 16, after_commit=7, body_hash=HASH).sent()
    box, action = box.refused(1, ErrorCode.STALE)
    assert action is Action.ENCRYPT_AFRESH
    assert [(i.kind, i.state) for i in box.items] == [(MESSAGE, QUEUED), (MESSAGE, QUEUED)]
    for counter in (2, 3):
        assert box.next_to_encrypt is None
        box, action = box.refused(counter, ErrorCode.COUNTER_GAP)
        assert action is Action.NONE
    assert box.next_to_encrypt is box.items[0]
    assert box.offer_commit(b"d" * 16, after_commit=7, body_hash=HASH).next_counter == 2


def test_only_one_commit_waits() -> None:
    with pytest.raises(UsageError):
        Outbox().enqueue_commit(b"c" * 16).enqueue_commit(b"d" * 16)


def test_a_message_that_can_never_be_sent_is_given_up_and_the_next_takes_its_number() -> None:
    box, action = box_with(SENT, SENT).refused(1, ErrorCode.BLOB_NOT_FOUND)
    assert action is Action.GIVE_UP
    box, _ = box.refused(2, ErrorCode.COUNTER_GAP)
    assert [(i.id[0], i.state) for i in box.items] == [(1, QUEUED)]
    assert (box.next_counter, box.next_message_counter) == (1, 1)


def test_ahead_means_that_the_stream_was_rolled_back() -> None:
    with pytest.raises(StreamRolledBack):
        box_with(SENT).refused(1, ErrorCode.AHEAD)


def test_conflict_means_that_a_second_device_uses_the_key() -> None:
    with pytest.raises(ClonedDevice):
        box_with(SENT).refused(1, ErrorCode.CONFLICT)


def test_an_own_entry_with_an_unknown_counter_means_a_clone() -> None:
    with pytest.raises(ClonedDevice) as caught:
        box_with(SENT).own_entry(seq=9, kind=MESSAGE, after_commit=3, counter=2)
    assert caught.value.evidence == {"counter": 2, "seq": 9, "own_counter": 1}
    with pytest.raises(ClonedDevice):
        Outbox().appended(1, 1)


def test_an_entry_stored_although_it_was_refused_as_stale_is_found() -> None:
    box, _ = box_with(SENT).refused(1, ErrorCode.STALE)
    with pytest.raises(RelayContradiction):
        box.own_entry(seq=9, kind=MESSAGE, after_commit=3, counter=1)
    with pytest.raises(RelayContradiction):
        box.appended(1, 9)
    box = box.encrypted(bytes(16), after_commit=7, body_hash=b"n" * 32).sent()
    with pytest.raises(RelayContradiction):
        box.own_entry(seq=9, kind=MESSAGE, after_commit=3, counter=1)


def test_a_counter_that_was_used_once_is_remembered() -> None:
    box, _ = box_with(SENT, SENT).refused(1, ErrorCode.STALE)
    box, _ = box.refused(2, ErrorCode.COUNTER_GAP)
    box = box.encrypted(bytes(16), after_commit=7, body_hash=b"n" * 32).sent()
    with pytest.raises(RelayContradiction):
        box.own_entry(seq=9, kind=MESSAGE, after_commit=3, counter=2)
    with pytest.raises(ClonedDevice):
        box.own_entry(seq=9, kind=MESSAGE, after_commit=3, counter=3)


def test_what_was_stored_long_ago_counts_as_stored() -> None:
    box, _ = box_with(SENT).refused(1, ErrorCode.DUPLICATE)
    with pytest.raises(StreamRolledBack):
        box.check_opened(0)
    _, item = box.own_entry(seq=9, kind=MESSAGE, after_commit=3, counter=1)
    assert item.seq == 9


@pytest.mark.parametrize(
    "entry",
    [
        {"seq": 12, "kind": MESSAGE, "after_commit": 3, "counter": 1},
        {"seq": 11, "kind": COMMIT, "after_commit": 3, "counter": 1},
        {"seq": 11, "kind": MESSAGE, "after_commit": 2, "counter": 1},
        {"seq": 12, "kind": MESSAGE, "after_commit": 3, "counter": 2},
    ],
    ids=["elsewhere", "other kind", "other epoch", "skipping one"],
)
def test_an_entry_that_came_back_differently_is_found(entry: dict[str, int]) -> None:
    with pytest.raises(RelayContradiction):
        box_with(ACKED, ACKED).own_entry(**entry)  # type: ignore[arg-type]  # one dict for all parameters


def test_an_answer_that_contradicts_an_earlier_one_is_found() -> None:
    with pytest.raises(RelayContradiction):
        box_with(ACKED).appended(1, 99)
    for code in (ErrorCode.STALE, ErrorCode.COUNTER_GAP, ErrorCode.ENTRY_TOO_BIG):
        with pytest.raises(RelayContradiction):
            box_with(ACKED).refused(1, code)


def test_an_entry_twice_in_the_stream_is_found() -> None:
    box, _ = box_with(ACKED).own_entry(seq=11, kind=MESSAGE, after_commit=3, counter=1)
    assert not box.items
    with pytest.raises(RelayContradiction):
        box.own_entry(seq=12, kind=MESSAGE, after_commit=3, counter=1)


def test_the_answer_may_come_behind_the_entry() -> None:
    box, item = box_with(SENT).own_entry(seq=11, kind=MESSAGE, after_commit=3, counter=1)
    assert item.seq == 11
    assert box.appended(1, 11) == box


def test_the_relays_last_counter_is_checked_when_a_stream_is_opened() -> None:
    box = box_with(ACKED, SENT)
    box.check_opened(1)
    box.check_opened(2)
    with pytest.raises(ClonedDevice):
        box.check_opened(3)
    with pytest.raises(StreamRolledBack):
        box.check_opened(0)


def test_rejoining_settles_what_is_stored_and_queues_the_rest() -> None:
    box, done = box_with(ACKED, SENT, SENT, QUEUED).rejoining(2)
    assert [i.id[0] for i in done] == [0, 1]
    assert [(i.id[0], i.state) for i in box.items] == [(2, QUEUED), (3, QUEUED)]
    assert (box.next_counter, box.next_message_counter) == (3, 3)
    box = Outbox().enqueue_commit(b"c" * 16).encrypted(b"c" * 16, after_commit=3, body_hash=HASH)
    box, done = box.rejoining(0)
    assert (box.items, done) == ((), ())


def test_set_back_gives_what_was_lost_unread_the_number_it_has_inside() -> None:
    """Acknowledged and lost, it goes again as it was; refused, it is encrypted afresh under that number."""
    box = box_with(ACKED, ACKED).set_back(0)
    assert [(i.state, i.counter) for i in box.items] == [(ItemState.ENCRYPTED, n) for n in (1, 2)]
    assert (box.last_counter, box.last_message_counter) == (0, 0)
    box, action = box.sent().refused(1, ErrorCode.STALE)
    assert action is Action.ENCRYPT_AFRESH
    box, _ = box.refused(2, ErrorCode.COUNTER_GAP)
    assert (box.next_counter, box.next_message_counter) == (1, 1)


def test_the_outbox_is_bounded() -> None:
    box = Outbox(items=tuple(OutboxItem(n.to_bytes(16, "big"), MESSAGE) for n in range(MOST_WAITING)))
    with pytest.raises(OutboxFull):
        box.enqueue(b"x" * 16)
    for _ in range(MOST_IN_FLIGHT):
        item = box.next_to_encrypt
        assert item is not None
        box = box.encrypted(item.id, after_commit=3, body_hash=HASH)
    assert box.next_to_encrypt is None


def test_items_are_encrypted_in_order() -> None:
    box = Outbox().enqueue(b"a" * 16).enqueue(b"b" * 16)
    with pytest.raises(UsageError):
        box.encrypted(b"b" * 16, after_commit=3, body_hash=HASH)


def test_a_damaged_record_is_refused() -> None:
    data = box_with(ACKED, SENT).serialize()
    assert Outbox.parse(data).serialize() == data
    for wrong in (b"", data[:-1], b"\x95\x02" + data[2:], b"\x90", b"\x95\x01\x01\x01\x01\x91\x90"):
        with pytest.raises(RecordInvalid):
            Outbox.parse(wrong)
