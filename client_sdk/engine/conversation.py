"""One conversation: the state machine that joins stream, group, outbox and vault. Nothing in it waits."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final

from client_sdk.content import Content, Receipt
from client_sdk.delivery import (
    Action,
    Comparison,
    ItemState,
    Receipts,
    Resume,
    SecurityAlarm,
    check_opened,
)
from client_sdk.engine import amending, answers, comparing, reading, repairing, sending
from client_sdk.engine.answers import Retry
from client_sdk.engine.context import Context
from client_sdk.engine.membership import Made
from client_sdk.engine.outofstep import is_away, missed
from client_sdk.engine.receiving import NewestBundles, take
from client_sdk.engine.records import CommitReason, Phase
from client_sdk.engine.rejoining import rejoin
from client_sdk.engine.situation import Situation
from client_sdk.engine.standing import IN_THE_GROUP, Work
from client_sdk.errors import RelayUnreachable
from client_sdk.transport import Environment, Link
from client_sdk.vault import Vault
from relay.wire import EntryKind
from relay.wire import frames as fr
from relay.wire.errors import ErrorCode
from relay.wire.ids import EngagementId

TAIL_SECONDS: Final = 20.0  # an honest relay begins to deliver what it has long before
NOTE_CURRENT_SECONDS: Final = 3600  # how exactly the time of our last look at the stream is kept

Later = Callable[[float, Callable[[], None]], None]
"""Calls something after so many seconds."""


class Conversation(Situation):
    """What one device does about one conversation. Every change is one vault transaction."""

    def __init__(
        self,
        engagement: EngagementId,
        *,
        context: Context,
        vault: Vault,
        link: Link,
        environment: Environment,
        later: Later,
        changed: Callable[[Conversation], None],
    ) -> None:
        super().__init__(engagement, context, vault, environment)
        self._link = link
        self.later = later
        self._changed = changed
        self._newest = NewestBundles()
        self._comparing: tuple[fr.Opened, Comparison] | None = None
        self._tried = 0
        self._heard_at = 0.0
        self._retry = Retry()
        self._receipts = Receipts(owed=self.standing.record.owes_receipt)
        self._reads = Receipts()
        self._timers: set[str] = set()
        self.stored: Callable[[Sequence[bytes], Sequence[bytes]], None] = lambda _placed, _said: None
        """Told the ids of our messages that got their position, and of others' that came."""
        self.key_packages_spent: Callable[[], None] = lambda: None
        """Told when this device was let in by one of its key packages."""
        self.relay_was_restored: Callable[[], None] = lambda: None
        """Told when the relay has gone back to an earlier state, or says so."""

    @property
    def caught_up(self) -> bool:
        """Whether everything is here that is needed: the whole stream, or what it takes to rejoin."""
        opened = self._opened
        rejoining = opened is not None and self.standing.record.phase is Phase.REJOINING
        if rejoining and opened is not None and 0 < opened.last_commit <= self._newest.seq:
            return True  # what came after the newest commit may be erased: it would be waited for in vain
        return super().caught_up

    # The connection

    def open(self) -> None:
        """Have the relay deliver the stream from where this device stands."""
        record = self.standing.record
        after = record.cursor
        if record.phase is Phase.REJOINING:
            after = max(record.last_commit - 1, 0)  # the newest commit once more, for its GroupInfo
        self._comparing = None
        self._newest, self._tried = NewestBundles(), 0
        self._read_after(after)

    def _read_after(self, after: int) -> None:
        self._opened = None
        self._open_request = self._link.next_request()
        self._link.send(fr.Open(self._open_request, self.id, after))

    def reopen(self) -> None:
        """Have the stream delivered anew, if there is a connection."""
        if self._link.online:
            self.open()
        self._changed(self)

    def disconnected(self) -> None:
        """The connection is gone: what was not answered is sent again on the next one."""
        self._opened = self._comparing = None
        self._open_request = 0
        self._needed_commit = 0
        self.stopped = ""
        self._retry.succeeded()
        self.standing = replace(self.standing, box=self.standing.box.disconnected())
        self._changed(self)

    def on_engagement(self, engagement: fr.Engagement) -> None:
        """The relay says how the engagement stands."""
        self.engagement = engagement
        if self.stopped == ErrorCode.NOT_MEMBER:
            self.stopped = ""
        self.go_on()

    def on_opened(self, opened: fr.Opened) -> None:
        """The relay begins to deliver the stream, if it is the one that we know."""
        if opened.request != self._open_request:
            return  # of a request that a later one has replaced
        incarnation = self.standing.record.incarnation
        if incarnation and opened.incarnation != incarnation:
            self._meet_incarnation(opened)
            return
        self._comparing = None
        was = self.standing.record.phase
        with self.work("open") as work:
            try:
                self._check_opened(work, opened)
            except SecurityAlarm as alarm:
                work.halt(alarm)
        if not work.halted:
            self._opened = opened
            self._heard_at = self._env.monotonic()
            if not self.caught_up:
                self._once_later("tail", TAIL_SECONDS)
            if was is Phase.MEMBER and self.standing.record.phase is Phase.REJOINING:
                self.open()
        self.go_on()

    def _meet_incarnation(self, opened: fr.Opened) -> None:
        """The relay was set back to an earlier state, or says so: see how far we still agree."""
        if self._comparing is not None and self._comparing[0].incarnation == opened.incarnation:
            self._comparing = opened, self._comparing[1]
            return  # what was asked for again comes now
        with self.work("compare") as work:
            try:
                comparison = comparing.meet(work, opened)
            except SecurityAlarm as alarm:
                work.halt(alarm)
                comparison = None
        if comparison is not None:
            self._comparing = opened, comparison
            self._read_after(comparison.base)
            self._changed(self)
        else:
            self._compared(halted=work.halted)

    def _compare(self, entries: tuple[fr.Entry, ...], opened: fr.Opened, comparison: Comparison) -> None:
        for entry in entries:
            comparison.feed(entry, None if entry.body is None else hashlib.sha256(entry.body).digest())
        self._link.send(fr.Ack(self.id, comparison.same_upto))
        if comparison.agreed is None:
            return
        with self.work("repair") as work:
            try:
                comparing.conclude(work, opened, comparison)
            except SecurityAlarm as alarm:
                work.halt(alarm)
        self._compared(halted=work.halted)

    def _compared(self, *, halted: bool) -> None:
        self._comparing = None
        if not halted:
            self.open()
            self.relay_was_restored()
        self.go_on()

    def on_error(self, error: fr.Error) -> None:
        """The relay refused a request; if it was to open the stream, it is not for us."""
        if error.request == self._open_request:
            self.stopped = error.code
            self._changed(self)

    def on_ephemeral(self, body: bytes) -> None:
        """An ephemeral message came."""
        self.whispers.open(body)

    def _check_opened(self, work: Work, opened: fr.Opened) -> None:
        record = work.record
        member = record.phase is Phase.MEMBER
        inside = record.phase in IN_THE_GROUP
        resume = check_opened(
            opened,
            seq=record.cursor if inside else 0,
            last_commit=record.last_commit if inside else 0,
        )
        if record.phase is not Phase.REJOINING:
            work.box.check_opened(opened.last_counter)
        if opened.incarnation != record.incarnation:
            work.change(incarnation=opened.incarnation)
        if record.starts_over:
            # Nobody has attested in this stream what it does not have.
            peers = tuple((device, user, min(seq, opened.head)) for device, user, seq in record.peers)
            work.change(peers=peers)
        if resume is Resume.WAIT and member:
            self.stopped = ErrorCode.NOT_MEMBER
        elif resume is Resume.REJOIN:
            missed(work, opened.first)
        elif member and opened.head == record.cursor and self._is_old(record.current_at):
            work.change(current_at=int(work.now))

    def _is_old(self, seconds: int) -> bool:
        return self._env.now() - seconds >= NOTE_CURRENT_SECONDS

    # Receiving

    def on_entries(self, entries: tuple[fr.Entry, ...]) -> None:
        """Store what these entries do, in one transaction; then acknowledge them."""
        if self._comparing is not None:
            self._compare(entries, *self._comparing)
            return
        if self._opened is None:
            return
        if self.standing.record.phase in IN_THE_GROUP:
            if not self._opened.member:
                # Another device let this one in again, or brought back the commit by which it is a member.
                head = max(self._opened.head, entries[-1].seq)
                self._opened = self._opened._replace(member=True, head=head)
            # Only members are handed entries: a refusal from before, late as it may come, does not count now.
            self.stopped = "" if self.stopped == ErrorCode.NOT_MEMBER else self.stopped
        self._heard_at = self._env.monotonic()
        was = self.standing.record.phase
        with self.work("receive") as work:
            for entry in entries:
                take(work, self.context, entry, self._newest, self._opened)
            if not work.halted and work.record.cursor >= self._opened.head:
                work.change(current_at=int(work.now))
        self._link.send(fr.Ack(self.id, self.standing.record.cursor))
        self._env.step("receive: acknowledged")
        if work.heard is not None:
            self._receipts = self._receipts.received(is_receipt=not work.heard)
        if work.halted:
            self._opened = None
        elif was in IN_THE_GROUP and self.standing.record.phase is Phase.REJOINING:
            self.open()
        if work.key_packages_spent:
            self.key_packages_spent()
        self.stored(work.placed, work.said)
        self.go_on()

    # What follows

    def go_on(self) -> None:
        """Do whatever can be done now."""
        self._give_up_tail()
        if self.caught_up and not self.standing.record.alarm:
            self._rejoin_if_due()
            self._offer_if_due()
            self._receipt_if_due()
            self._pump()
        self._changed(self)

    def _give_up_tail(self) -> None:
        """Rejoin if what came while this device was away is erased: nothing of it will ever come."""
        record, waited = self.standing.record, self._env.monotonic() - self._heard_at
        if self._opened is None or record.phase is not Phase.MEMBER or record.alarm or self.caught_up:
            return
        if waited < TAIL_SECONDS:
            self._once_later("tail", max(1.0, TAIL_SECONDS - waited))  # never for a rounding error's time
            return
        if is_away(record, self.standing.view, self._env.now()):
            with self.work("tail") as work:
                missed(work, self._opened.head + 1)
            self.open()

    def _rejoin_if_due(self) -> None:
        standing, newest, opened = self.standing, self._newest, self._opened
        due = standing.record.phase is Phase.REJOINING and newest.seq > self._tried
        unanswered = any(item.state is ItemState.SENT for item in standing.box.items)
        if not due or unanswered or opened is None:
            return
        self._tried = newest.seq
        with self.work("rejoin") as work:
            for group_info in newest.group_infos:
                if rejoin(work, self.context, group_info, opened.last_counter):
                    break

    def _offer_if_due(self) -> None:
        """Offer the relay the next commit that it lost, unless one is on its way."""
        opened, standing = self._opened, self.standing
        in_flight = any(item.kind is EntryKind.COMMIT and item.in_flight for item in standing.box.items)
        if standing.record.phase is not Phase.REPAIRING or in_flight or opened is None or not opened.member:
            return
        if standing.record.last_commit >= self._needed_commit:
            with self.work("offer") as work:
                repairing.offer_next(work)

    def _receipt_if_due(self) -> None:
        if self.standing.box.items or not self._may_encrypt():
            return
        now_ms = int(self._env.now() * 1000)
        record = self.standing.record
        untold = record.read > record.read_told
        self._reads = self._reads.received(is_receipt=False) if untold else self._reads.sent()
        due = {"receipt": self._receipts.due_ms(now_ms=now_ms), "read": self._reads.due_ms(now_ms=now_ms)}
        for name, at in due.items():
            if at is not None and at > now_ms:
                self._once_later(name, (at - now_ms) / 1000)
        if any(at is not None and at <= now_ms for at in due.values()):
            self._say_receipt(now_ms)

    def _say_receipt(self, now_ms: int) -> None:
        record = self.standing.record
        read = record.read if record.read > record.read_told else None
        self._receipts = self._receipts.receipt_sent(now_ms=now_ms)
        if read is not None:
            self._reads = self._reads.receipt_sent(now_ms=now_ms)
        with self.work("receipt") as work:
            work.change(read_told=max(record.read_told, record.read))
            message_id = self.context.new_id()
            sending.queue(work, self.context.account, Receipt(read), message_id=message_id, in_history=False)

    def read_receipts_changed(self) -> None:
        """The person's wish has changed: what was not told until now is not told any more."""
        record = self.standing.record
        if record.read > record.read_told:
            with self.work("read") as work:
                work.change(read_told=record.read)

    def take_back(self, message_id: bytes) -> bool:
        """Drop a message of ours that has never left this device; False if it may have."""
        with self.work("take back") as work:
            dropped = amending.take_back(work, message_id)
        self.go_on()
        return dropped

    def mark_read(self, seq: int) -> None:
        """The person has read everything up to this position."""
        if seq <= self.standing.record.read:
            return
        with self.work("read") as work:
            reading.mark(work, seq)
        self.go_on()

    def _once_later(self, name: str, seconds: float) -> None:
        """Go on after so many seconds, unless that is arranged already."""
        if name in self._timers:
            return
        self._timers.add(name)

        def wake() -> None:
            self._timers.discard(name)
            self.go_on()

        self.later(seconds, wake)

    # Sending

    def say(
        self,
        content: Content,
        *,
        message_id: bytes,
        blobs: tuple[str, ...] = (),
        in_history: bool = True,
    ) -> None:
        """Put something into the outbox; it is safe on this device when this returns."""
        with self.work("say") as work:
            sending.queue(
                work,
                self.context.account,
                content,
                message_id=message_id,
                blobs=blobs,
                in_history=in_history,
            )
            frames = self._fill(work) if self._goes_out() else []
        self._hand_over(frames)
        self.go_on()

    def _may_encrypt(self) -> bool:
        standing = self.standing
        return (
            standing.record.phase is Phase.MEMBER
            and standing.view is not None
            and not standing.record.alarm
            and standing.pending is None
            and standing.record.last_commit >= self._needed_commit
            and not standing.view.leaves_to_remove
            and self.list_is_known
            and not self.outdated_leaves
            and not self.below_floor
            and self.somebody_listens
            and self.is_supported
        )

    def _pump(self) -> None:
        box = self.standing.box
        encrypts = self._may_encrypt() and box.next_to_encrypt is not None
        if not (encrypts or box.to_send) or not self._goes_out():
            return
        with self.work("send") as work:
            frames = self._fill(work)
        self._hand_over(frames)

    def _goes_out(self) -> bool:
        """Whether the relay takes entries now; if it asked for patience, this is looked at again then."""
        if not self.caught_up or self.standing.record.alarm or self.stopped or self.is_ended:
            return False
        wait = self._retry.wait(self._env.monotonic())
        if wait > 0:
            self._once_later("retry", wait)
        return wait <= 0

    def _fill(self, work: Work) -> list[fr.Append]:
        """Encrypt what may be encrypted; the appends that are to go out when this work is durable."""
        if self._may_encrypt():
            while sending.encrypt_next(work, self.context.rng) is not None:
                self._env.step("send: encrypted")
        frames = [sending.append_frame(work, item) for item in work.box.to_send]
        work.box = work.box.sent()
        return frames

    def _hand_over(self, frames: list[fr.Append]) -> None:
        if not frames:
            return
        if any(frame.kind is EntryKind.MESSAGE for frame in frames):
            self._receipts = self._receipts.sent()
        try:
            self._link.send(*frames)
        except RelayUnreachable:
            # It is all in the outbox; the link says itself when there is a connection again.
            self.standing = replace(self.standing, box=self.standing.box.disconnected())
            self._retry.later(self._env.monotonic())
        self._env.step("send: handed over")

    def commit(self, made: Made, reason: CommitReason, *, after_commit: int) -> bool:
        """Send a commit of ours; False if the conversation has gone on since it was made."""
        standing = self.standing
        if not self.may_commit or standing.record.last_commit != after_commit:
            return False
        with self.work("commit") as work:
            sending.put_commit(work, made, reason, commit_id=self.context.new_id())
        self.go_on()
        return True

    # The relay's answers

    def on_appended(self, results: tuple[fr.AppendResult, ...]) -> None:
        """The relay has stored entries of ours."""
        box = self.standing.box
        try:
            for result in results:
                box = box.appended(result.counter, result.seq)
        except SecurityAlarm as alarm:
            self.raise_alarm(alarm)
            return
        self.standing = replace(self.standing, box=box)
        self._retry.succeeded()
        self._env.step("send: acknowledged")
        self.go_on()

    def on_refused(self, frame: fr.Refused) -> None:
        """The relay has not stored an entry of ours."""
        if frame.code == ErrorCode.BLOB_NOT_FOUND and self._goes_without_blobs(frame.counter):
            frame = frame._replace(code=ErrorCode.INTERNAL)
        try:
            repairs = self.standing.record.phase is Phase.REPAIRING
            box, action = answers.refused(self.standing.box, frame, repairs=repairs)
        except SecurityAlarm as alarm:
            self.raise_alarm(alarm)
            return
        if len(box.items) < len(self.standing.box.items):
            with self.work("refused") as work:
                answers.withdraw(work, box, frame.code, self.context)
        else:
            self.standing = replace(self.standing, box=box)
        if action in (Action.ENCRYPT_AFRESH, Action.DISCARD):
            self._needed_commit = max(self._needed_commit, frame.last_commit)
        elif action is Action.STOP:
            self.stopped = frame.code
        elif action in (Action.WAIT, Action.DISCARD_AND_WAIT):
            self._retry.later(self._env.monotonic())
        self.go_on()

    def _goes_without_blobs(self, counter: int) -> bool:
        """Whether the relay lost a message and its file too: the message counts without it."""
        lost = self.standing.record.reoffers
        item = next((i for i in self.standing.box.in_flight if i.counter == counter and i.id in lost), None)
        if item is None:
            return False
        with self.work("blobs") as work:
            work.put_waiting(replace(work.waiting(item.id), blobs=()))
        return True

    def raise_alarm(self, alarm: SecurityAlarm) -> None:
        """Stop sending until a person has looked."""
        with self.work("alarm") as work:
            work.raise_alarm(alarm)
        self._changed(self)
