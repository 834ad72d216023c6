"""The rules of a stream against a model that is written down plainly and keeps everything."""

from __future__ import annotations

from dataclasses import dataclass, field

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from relay.core import streams
from relay.core.operations import AppendEntries, Outcome
from relay.core.streams import StreamState
from relay.wire.errors import ErrorCode
from relay.wire.frames import EntryKind
from relay.wire.ids import DeviceId, EngagementId
from relay.wire.limits import COUNTER_WINDOW, COUNTER_WINDOW_SECONDS

STREAM = EngagementId("eng_" + "s" * 21 + "A")
DEVICES = [DeviceId(bytes([letter]) * 16) for letter in b"ABCD"]
NOW = 1_700_000_000_000

devices = st.sampled_from(DEVICES)
some_devices = st.lists(devices, max_size=3, unique=True).map(tuple)
bodies = st.sampled_from([b"one", b"two"])
refusals = st.sampled_from([None, None, None, ErrorCode.NOT_ON_ROSTER, ErrorCode.BLOB_NOT_FOUND])


@dataclass
class Model:
    """All that ever happened, asked again for every answer."""

    log: list[tuple[AppendEntries, int]] = field(default_factory=list)
    members: set[DeviceId] = field(default_factory=set)
    cursors: dict[DeviceId, int] = field(default_factory=dict)
    erased: int = 0

    @property
    def last_commit(self) -> int:
        commits = [n for n, (a, _) in enumerate(self.log, 1) if a.kind is EntryKind.COMMIT]
        return commits[-1] if commits else 0

    def of(self, device: DeviceId) -> list[tuple[int, AppendEntries, int]]:
        return [(n, a, t) for n, (a, t) in enumerate(self.log, 1) if a.device == device]

    def answer(self, append: AppendEntries) -> tuple[ErrorCode | None, int]:
        creates = append.kind is EntryKind.COMMIT and append.after_commit == 0
        if append.device not in self.members and not creates:
            return ErrorCode.NOT_MEMBER, 0
        mine = self.of(append.device)
        if append.counter > len(mine) + 1:
            return ErrorCode.COUNTER_GAP, 0
        if append.counter <= len(mine):
            return self.answer_again(append, mine)
        if append.after_commit != self.last_commit:
            return (ErrorCode.STALE if append.after_commit < self.last_commit else ErrorCode.AHEAD), 0
        return append.refusal, 0 if append.refusal else len(self.log) + 1

    def answer_again(
        self, append: AppendEntries, mine: list[tuple[int, AppendEntries, int]]
    ) -> tuple[ErrorCode | None, int]:
        seq, first, time_ms = mine[append.counter - 1]
        is_old = time_ms + COUNTER_WINDOW_SECONDS * 1000 <= append.now_ms
        if is_old or append.counter <= len(mine) - COUNTER_WINDOW:
            return ErrorCode.DUPLICATE, 0
        same = (first.kind, first.after_commit, first.bodies)
        if same != (append.kind, append.after_commit, append.bodies):
            return ErrorCode.CONFLICT, 0
        return None, seq

    def store(self, append: AppendEntries) -> None:
        creates = self.last_commit == 0
        seq = len(self.log) + 1
        time_ms = max([append.now_ms, *[t for _, t in self.log[-1:]]])
        self.log.append((append, time_ms))
        if append.kind is not EntryKind.COMMIT:
            return
        added = {*append.adds, *([append.device] if creates else [])}
        self.members = (self.members - set(append.removes)) | added
        for device in added:
            self.cursors[device] = max(self.cursors.get(device, 0), seq - 1)
        self.cursors = {d: c for d, c in self.cursors.items() if d in self.members}


def expanded(outcomes: list[Outcome]) -> list[tuple[ErrorCode | None, int, bool]]:
    """The outcomes entry by entry."""
    return [
        (outcome.code, outcome.seq + number if outcome.code is None else 0, outcome.fresh)
        for outcome in outcomes
        for number in range(outcome.entries)
    ]


class StreamRules(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.state = StreamState(b"i" * 16)
        self.model = Model()
        self.now = NOW

    def append(self, append: AppendEntries) -> None:
        """What becomes of entries that come together is what becomes of them one by one."""
        expected = []
        for number, body in enumerate(append.bodies):
            alone = append._replace(counter=append.counter + number, bodies=(body,))
            code, seq = self.model.answer(alone)
            is_new = code is None and seq == len(self.model.log) + 1
            if is_new:
                self.model.store(alone)
            expected.append((code, seq, is_new))
        before, head = self.state.view(), self.state.head
        outcomes = streams.append(self.state, append)
        assert expanded(outcomes) == expected
        assert outcomes[-1].last_commit == self.model.last_commit
        if self.state.head == head:
            assert self.state.view() == before  # a refusal changes nothing

    def make(
        self,
        kind: EntryKind,
        device: DeviceId,
        counter: int,
        after_commit: int,
        body: bytes,
        adds: tuple[DeviceId, ...] = (),
        removes: tuple[DeviceId, ...] = (),
        refusal: ErrorCode | None = None,
    ) -> AppendEntries:
        return AppendEntries(
            STREAM, device, counter, kind, after_commit, (body,), self.now, adds, removes, refusal
        )

    @rule(device=devices, body=bodies, off=st.sampled_from([0, 0, 0, -1, 1]), refusal=refusals)
    def message(self, device: DeviceId, body: bytes, off: int, refusal: ErrorCode | None) -> None:
        counter = len(self.model.of(device)) + 1
        after_commit = max(0, self.model.last_commit + off)
        self.append(self.make(EntryKind.MESSAGE, device, counter, after_commit, body, refusal=refusal))

    @rule(device=devices, adds=some_devices, removes=some_devices, off=st.sampled_from([0, 0, 0, -1, 1]))
    def commit(
        self,
        device: DeviceId,
        adds: tuple[DeviceId, ...],
        removes: tuple[DeviceId, ...],
        off: int,
    ) -> None:
        counter = len(self.model.of(device)) + 1
        after_commit = max(0, self.model.last_commit + off)
        self.append(self.make(EntryKind.COMMIT, device, counter, after_commit, b"bundle", adds, removes))

    @rule(device=devices, count=st.integers(1, 70))
    def many(self, device: DeviceId, count: int) -> None:
        for _ in range(count):
            counter = len(self.model.of(device)) + 1
            self.append(self.make(EntryKind.MESSAGE, device, counter, self.model.last_commit, b"one"))

    @rule(
        device=devices,
        off=st.sampled_from([0, 0, 0, -70, -9, -1, 1]),
        run=st.lists(bodies, min_size=1, max_size=90),
        stale=st.sampled_from([0, 0, 0, -1, 1]),
        refusal=refusals,
    )
    def run(
        self, device: DeviceId, off: int, run: list[bytes], stale: int, refusal: ErrorCode | None
    ) -> None:
        counter = max(1, len(self.model.of(device)) + 1 + off)
        after_commit = max(0, self.model.last_commit + stale)
        first = self.make(EntryKind.MESSAGE, device, counter, after_commit, b"", refusal=refusal)
        self.append(first._replace(bodies=run))

    @rule(device=devices, back=st.integers(-3, 70), data=st.data(), same=st.booleans())
    def again(self, device: DeviceId, back: int, data: st.DataObject, same: bool) -> None:
        mine = self.model.of(device)
        counter = max(1, len(mine) - back)
        if same and counter <= len(mine):
            self.append(mine[counter - 1][1]._replace(now_ms=self.now))
        else:
            body = data.draw(bodies)
            self.append(self.make(EntryKind.MESSAGE, device, counter, self.model.last_commit, body))

    @rule(device=devices, seq=st.integers(0, 300))
    def acknowledge(self, device: DeviceId, seq: int) -> None:
        cursor = self.model.cursors.get(device)
        moves = cursor is not None and cursor < seq <= len(self.model.log)
        assert streams.apply_acknowledgement(self.state, device, seq) is moves
        if moves:
            self.model.cursors[device] = seq
        self.state.floor = streams.acknowledged_floor(self.state)

    @rule(hours=st.integers(-1, 30))
    def time_passes(self, hours: int) -> None:
        self.now += hours * 3_600_000

    @invariant()
    def state_is_the_models(self) -> None:
        view = self.state.view()
        assert view.head == len(self.model.log)
        assert view.last_commit == self.model.last_commit
        assert view.members == self.model.cursors
        assert {d: c for d, c in view.last_counters.items() if c} == {
            device: len(self.model.of(device)) for device in DEVICES if self.model.of(device)
        }
        assert view.floor <= view.head
        assert all(view.floor <= cursor for cursor in view.members.values())
        assert 1 <= view.first <= view.head + 1
        assert len({a.device for a, _ in self.model.log}) == len(view.last_counters)

    @invariant()
    def the_floor_never_falls(self) -> None:
        assert self.state.floor >= self.model.erased
        self.model.erased = self.state.floor


TestStreamRules = StreamRules.TestCase
TestStreamRules.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
