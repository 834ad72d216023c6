"""An engagement as the application sees it: its people, what was said, and what can be said."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Final

from client_sdk.attachments import OnProgress
from client_sdk.calls import Call, Media
from client_sdk.content import (
    Act,
    Amendment,
    CheckIn,
    CheckInAnswer,
    Content,
    Edit,
    File,
    Reaction,
    Retract,
    Text,
    check_answers,
    may_amend,
)
from client_sdk.delivery import SecurityAlarm
from client_sdk.engine import (
    AnyItem,
    CallInviteItem,
    Changed,
    CheckInItem,
    Conversation,
    Engine,
    Item,
    People,
    Person,
    Protection,
    Retracted,
    Ring,
    Seen,
    Waiting,
    WaitReason,
    decisions,
    journal,
    reading,
    roster,
    trusting,
    waiting,
)
from client_sdk.engine.shelf import Shelf
from client_sdk.errors import EngagementUnavailable, UsageError
from client_sdk.identity import Compared
from client_sdk.vault import Transaction
from relay.wire.ids import EngagementId, UserId

_BATCH = 50
MOST_AHEAD = 256
"""Messages in the outbox beyond which `send` waits a little, if they go out."""
PATIENCE_SECONDS = 2.0
"""Long enough for a relay that works; one that does not answer must not keep a person from writing."""


_NOT_YOURS: Final = {
    Edit.KIND: "Only a text can be changed, and only by who said it.",
    Retract.KIND: "Only who said something can take it back, and a call cannot be taken back.",
    Reaction.KIND: "There are no reactions to this.",
}


class Engagement:
    """One coaching relationship. Made by `Client.engagement`."""

    def __init__(self, engine: Engine, conversation: Conversation) -> None:
        self._engine = engine
        self._conversation = conversation
        self._calls = engine.calls[conversation.id]

    def __repr__(self) -> str:
        return f"<Engagement {self.id}>"

    # What it is

    @property
    def id(self) -> EngagementId:
        """The engagement's id, as the portal knows it."""
        return self._conversation.id

    @property
    def ended(self) -> bool:
        """Whether the relay says that it has ended; the history stays."""
        return self._conversation.is_ended

    @property
    def protection(self) -> Protection:
        """What a quantum computer could read of it later, in a sentence to be shown."""
        return self._conversation.protection

    @property
    def people(self) -> People:
        """Everybody else; prints as `Ben (client), not yet verified`."""
        with self._engine.vault.transaction() as tx:
            return roster.people(self._conversation, tx, self._engine.admissible(self._conversation))

    @property
    def me(self) -> Person:
        """This user, whose `safety_number` the others see."""
        with self._engine.vault.transaction() as tx:
            return roster.person(self._conversation, tx, self._engine.account.user)

    # Saying something

    async def send(self, what: str | Content, *, reply_to: Item | bytes | None = None) -> AnyItem:
        """Say something; returns when it is safe on this device, and the SDK sends it when it can.

        A text may be the reply to an item, or to the item with this id. Raises `ContentError`, `OutboxFull`,
        `EngagementUnavailable` once it has ended, or the `SecurityAlarm` that has stopped sending: what is
        said then is not taken.
        """
        self._engine.check()
        self._check_may_say()
        content = Text(what) if isinstance(what, str) else what
        if isinstance(content, File):
            raise UsageError("A file is sent with send_file.")
        if isinstance(content, Edit | Retract | Reaction):
            raise UsageError("What was said is changed with edit, retract and react.")
        if reply_to is not None:
            if not isinstance(content, Text):
                raise UsageError("Only a text is a reply.")
            answered = reply_to.id if isinstance(reply_to, Item) else reply_to
            content = replace(content, reply_to=self._item(answered).id)
        return self._item(await self._say(content))

    async def _say(self, content: Content) -> bytes:
        await self._wait_for_room()
        message_id = self._conversation.context.new_id()
        self._conversation.say(content, message_id=message_id)
        await asyncio.sleep(0)  # whoever says much lets it go out in between
        return message_id

    async def edit(self, item: Item | bytes, text: str) -> AnyItem:
        """Say a text of this user anew; returns it as it is now. The earlier words are erased everywhere.

        Raises `UsageError` if it is no text of this user, or was taken back; else what `send` raises.
        """
        return await self._amend(item, lambda message: Edit(message, text))

    async def retract(self, item: Item | bytes) -> AnyItem:
        """Take back something that this user said: only a `Retracted` stays, on every device.

        What others have read, copied or saved before, they have. What has never left this device is gone
        without a trace. Raises `UsageError` if it is not this user's, or nothing that can be taken back; else
        what `send` raises.
        """
        self._engine.check()
        known = self._item(item.id if isinstance(item, Item) else item)
        if known.mine and known.seq is None and self._conversation.take_back(known.id):
            return Retracted(origin=known.origin)
        return await self._amend(known, Retract)

    async def react(self, item: Item | bytes, emoji: str, *, on: bool = True) -> AnyItem:
        """Give one of `REACTIONS` to an item, or take it back; returns the item as it is now.

        Raises `ContentInvalid` for another emoji, `UsageError` for an item that takes none; else what `send`
        raises.
        """
        return await self._amend(item, lambda message: Reaction(message, emoji, on))

    async def _amend(self, item: Item | bytes, make: Callable[[bytes], Amendment]) -> AnyItem:
        self._engine.check()
        self._check_may_say()
        message_id = item.id if isinstance(item, Item) else item
        amendment = make(message_id)
        with self._engine.vault.transaction() as tx:
            target = next(iter(tx.history(self.id, only=message_id, limit=1, amendments=False)), None)
        account = self._engine.account
        act = Act((0, 0), account.user, amendment)
        if target is None or not target.sender_user:
            raise UsageError("There is no such message in the history.")
        if target.kind == journal.RETRACTED:
            raise UsageError("This message was taken back: nothing more can be done with it.")
        if not may_amend(act, author=target.sender_user, kind=target.kind):
            raise UsageError(_NOT_YOURS[amendment.KIND])
        await self._say(amendment)
        return self._item(message_id)

    async def answer(self, checkin: CheckIn, answers: Mapping[str, int | str]) -> AnyItem:
        """Answer a check-in that came; `answers` are by the questions' ids. Raises `AnswerInvalid`."""
        if not isinstance(checkin, CheckInItem):
            raise UsageError("Only a check-in that came can be answered.")
        answer = CheckInAnswer(checkin.id, dict(answers))
        check_answers(checkin, answer)
        return await self.send(answer)

    async def _wait_for_room(self) -> None:
        """Back-pressure: while messages go out, only so many of them pile up here."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(PATIENCE_SECONDS):
                await self._engine.wait_until(self._has_room)

    def _has_room(self) -> bool:
        if len(self._conversation.standing.box.items) < MOST_AHEAD:
            return True
        online = self._engine.link.online
        return waiting.reason(self._conversation, online=online) is not WaitReason.ON_ITS_WAY

    def _check_may_say(self) -> None:
        alarm = self._conversation.alarm
        if alarm is not None:
            raise alarm
        if self._conversation.is_ended:
            raise EngagementUnavailable("The engagement has ended: nothing more can be said in it.")

    # What was said

    async def items(self) -> AsyncGenerator[AnyItem | Changed | Ring, None]:
        """What comes from others, in its order, from where the application stopped the last time; never ends.

        Each item comes at least once: it counts as dealt with when the next one is asked for. Its `id` is the
        same at every delivery. When somebody edits, takes back or reacts to something, a `Changed` comes.
        """
        while True:
            while self._calls.rings:
                yield self._ring(*self._calls.rings.popleft())
            seen = self._conversation.standing.record.next_inbox
            untaken = self._untaken()
            for key, item in untaken:
                if item is not None:
                    yield item
                with self._engine.vault.transaction() as tx:
                    journal.taken(tx, key)
            if not untaken:
                await self._engine.wait_until(partial(self._has_more, seen))

    def _has_more(self, seen: int) -> bool:
        return bool(self._calls.rings) or self._conversation.standing.record.next_inbox > seen

    def _ring(self, call: Call, message_id: bytes) -> Ring:
        invite = self._item(message_id)
        if not isinstance(invite, CallInviteItem):
            raise UsageError("A call rings without its invitation.")
        why = partial(self._calls.why_over, invite.sender.name)
        return Ring(origin=invite.origin, call=call, media=invite.media, why=why)

    def _untaken(self) -> list[tuple[bytes, AnyItem | Changed | None]]:
        with self._engine.vault.transaction() as tx:
            keys = journal.waiting(tx, self.id, None, _BATCH)
            return [(key, self._find(tx, item_id)) for key, item_id in keys]

    async def history(
        self, *, before: Item | bytes | None = None, limit: int = _BATCH, search: str | None = None
    ) -> list[AnyItem]:
        """What was said, also by this user: the newest first, `limit` (1 to 500) at a time.

        `before` is the last item of the page before; `search` keeps what contains it.
        """
        last = before.id if isinstance(before, Item) else before
        with self._engine.vault.transaction() as tx:
            found = tx.history(self.id, before=last, limit=limit, search=search, amendments=False)
            return Shelf(self._conversation, tx, self).items(found)

    async def item(self, item_id: bytes) -> AnyItem | None:
        """The item with this id, as what a reply answers (`text.reply_to`); None if it is not here."""
        with self._engine.vault.transaction() as tx:
            found = self._find(tx, item_id)
        return None if isinstance(found, Changed) else found

    def _find(self, tx: Transaction, item_id: bytes) -> AnyItem | Changed | None:
        found = tx.history(self.id, only=item_id, limit=1)
        shelf = Shelf(self._conversation, tx, self)
        if found and found[0].about is not None:
            return shelf.changed(found[0])
        return shelf.item(found[0]) if found else None

    def _item(self, item_id: bytes) -> AnyItem:
        with self._engine.vault.transaction() as tx:
            found = self._find(tx, item_id)
        if found is None or isinstance(found, Changed):
            raise UsageError("There is no such item in the history.")
        return found

    # Who has what

    async def mark_read(self, item: Item) -> None:
        """The person has read everything up to this item; the others are told, unless that is private.

        It is told in receipts, at most one in five seconds. `Client.set_read_receipts` keeps it private.
        """
        if item.seq is not None:
            self._conversation.mark_read(item.seq)

    @property
    def read_to(self) -> int:
        """The position (`item.seq`) up to which this user has read, on any of their devices."""
        return self._conversation.standing.record.read

    async def receipts(self) -> AsyncGenerator[Seen, None]:
        """How far each of the others is: first as it stands, then each time that it changes; never ends."""
        known: dict[str, tuple[int, int]] = {}
        while True:
            record = self._conversation.standing.record
            before = record.peers, record.reads
            now = self._seen()
            for user, (delivered, read) in now.items():
                if known.get(user, (0, 0)) != (delivered, read):
                    known[user] = delivered, read
                    yield Seen(self._person(user), delivered, read)
            await self._engine.wait_until(partial(self._is_elsewhere, *before))

    def _is_elsewhere(self, *before: object) -> bool:
        record = self._conversation.standing.record
        return (record.peers, record.reads) != before

    def _seen(self) -> dict[str, tuple[int, int]]:
        record = self._conversation.standing.record
        with self._engine.vault.transaction() as tx:
            read = reading.read_by(record, tx)
        delivered = reading.delivered_to(record, self._engine.account.user)
        users = sorted({*delivered, *read})
        return {user: (delivered.get(user, 0), read.get(user, 0)) for user in users}

    def _person(self, user: str) -> Person:
        with self._engine.vault.transaction() as tx:
            return roster.person(self._conversation, tx, user)

    # What waits

    @property
    def outbox(self) -> tuple[Waiting, ...]:
        """What is still on this device alone, and why."""
        uploads = self._engine.files.uploads(self._conversation)
        with self._engine.vault.transaction() as tx:
            return waiting.outbox(self._conversation, tx, online=self._engine.link.online, uploads=uploads)

    async def wait_sent(self) -> None:
        """Wait until the relay durably holds everything that was said here.

        Raises a `SecurityAlarm`, `EngagementUnavailable` if it has ended before, or `AccessRefused` when the
        relay does not let this device in; what was said is safe here all the same.
        """
        await self._engine.wait_for(self._is_sent)

    def _is_sent(self) -> bool:
        uploads = self._engine.files.uploads(self._conversation)
        sent = self._no_alarm() and waiting.nothing_waits(self._conversation, uploads)
        if not sent:
            self._check_may_say()
        return sent

    async def wait_caught_up(self) -> None:
        """Wait until everything is here that the relay has; raises a `SecurityAlarm`, or `AccessRefused`."""
        await self._engine.wait_for(lambda: self._no_alarm() and self._conversation.caught_up)

    async def wait_joined(self) -> People:
        """Wait until somebody else takes part; returns the people. Raises as `wait_caught_up` does."""
        await self._engine.wait_for(lambda: self._no_alarm() and self._conversation.somebody_listens)
        return self.people

    async def wait_until(self, holds: Callable[[], bool]) -> None:
        """Wait until something holds; it is asked whenever anything changed, so it should be quick.

        Raises `AccessRefused` when the relay does not let this device in, unless it holds then.
        """
        await self._engine.wait_for(holds)

    def _no_alarm(self) -> bool:
        alarm = self._conversation.alarm
        if alarm is not None:
            raise alarm
        return True

    @property
    def needs_acceptance(self) -> bool:
        """Whether this person was here before with other keys: the others have to let the new ones in."""
        return not self._conversation.is_member and waiting.starts_anew(self._conversation)

    # A person's decisions

    @property
    def repairing(self) -> bool:
        """Whether the relay lost the newest messages and this device is bringing them back; then new ones
        wait, with `WaitReason.REPAIRING`. Nothing has to be decided, and nothing is lost."""
        return self._conversation.repairing

    @property
    def alarm(self) -> SecurityAlarm | None:
        """The security alarm that has stopped sending, until a person decides."""
        return self._conversation.alarm

    async def resolve_alarm(self, alarm: SecurityAlarm) -> None:
        """A person has looked at this alarm and goes on; where that leaves a gap, the history shows it.

        Raises `UsageError` if it is not the alarm that is shown now.
        """
        decisions.resolve(self._conversation, alarm)
        if alarm.user:
            self._engine.decided(UserId(alarm.user))

    async def verify(self, person: Person) -> Person:
        """A person has compared this safety number and it is theirs; returns them as verified.

        Raises `UsageError` if their key is another one by now.
        """
        decisions.verify(self._conversation, person)
        self._engine.decided(person.user)
        return self.people.named(person.user)

    def verification_code(self, person: Person) -> str:
        """What the QR code says that this user shows to `person`, who scans it for `verify_scanned`."""
        return self._compared(person).code

    async def verify_scanned(self, person: Person, code: str) -> Person:
        """The code that `person` shows was scanned: if it says the same of both, they are verified.

        Raises `SafetyCodeInvalid`, or `SafetyNumberDiffers`: then nothing that matters should be written.
        """
        self._compared(person).check_scanned(code)
        return await self.verify(person)

    def _compared(self, person: Person) -> Compared:
        if person.identity_key is None:
            raise UsageError("This person has not joined yet: there is nothing to compare.")
        account = self._engine.account
        own = account.manifest.identity_key
        return Compared(account.portal, account.user, own, person.user, person.identity_key)

    async def accept_identity(self, person: Person) -> None:
        """A person lets somebody's new key in without having compared it; sending to them goes on.

        Raises `UsageError` if this person's key has not changed, or is another one by now.
        """
        decisions.accept_identity(self._conversation, person)
        self._engine.decided(person.user)

    def said(self, alarm: SecurityAlarm) -> str:
        """What the alarm says, with the name of whom it is about: to be shown to a person."""
        with self._engine.vault.transaction() as tx:
            return trusting.told(tx, alarm)

    async def admit(self, person: Person) -> None:
        """A person lets somebody further into the conversation, visibly to all."""
        decisions.admit(self._conversation, UserId(person.user))

    # Calls

    async def call(
        self,
        *,
        media: Media | str | Path | None = None,
        record: str | Path | None = None,
        video: bool = True,
    ) -> Call:
        """Call the others; `media` is what to send (a path is a file), `record` where to keep what comes.

        When both call at once, the invitation that stands first counts: the other call ends with the reason
        "glare", and a `Ring` comes. Needs the extra `[calls]`. Raises `CalledAlready` when they ring here at
        this moment, another `CallError`, or what `send` raises.
        """
        self._engine.check()
        self._check_may_say()
        return await self._calls.call(video=video, media=media, record=record)

    # Files

    async def send_file(
        self,
        path: str | Path,
        *,
        name: str | None = None,
        media_type: str | None = None,
        progress: OnProgress | None = None,
    ) -> bytes:
        """Send a file; returns the id of its message when the sealed copy is safe on this device.

        The upload goes on by itself, also after a restart; then its message appears. Raises
        `AttachmentError`, or what `send` raises.
        """
        self._engine.check()
        self._check_may_say()
        return await self._engine.files.send(
            self._conversation, Path(path), name=name, media_type=media_type, progress=progress
        )

    async def save_file(
        self, file: File, folder: Path, *, overwrite: bool, progress: OnProgress | None
    ) -> Path:
        """Download and open a file; `item.save()` calls it."""
        return await self._engine.files.save(
            self._conversation, file, folder, overwrite=overwrite, progress=progress
        )
