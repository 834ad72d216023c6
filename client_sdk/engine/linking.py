"""Linking another device: the part of the device that the person has already.

What is decided is kept in the vault: when either device is interrupted, both go on where they were as soon
as they meet again, for a day.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

from client_sdk.attachments import AttachmentError, BlobGone, OnProgress, SpoolMissing
from client_sdk.content.packing import Value
from client_sdk.engine import reading, spaces
from client_sdk.engine.conversation import Conversation
from client_sdk.engine.exports import Export, Exports
from client_sdk.engine.linkline import HERE, TOO_MANY, Line
from client_sdk.engine.records import ConversationRecord, Phase, Record
from client_sdk.engine.situation import Situation
from client_sdk.errors import AccessRefused, LinkFailed, LinkTampered, RelayError, RelayRefused
from client_sdk.identity.linking import Greeting, Hello, LinkSecret, LinkSession, Side, is_hello
from client_sdk.vault import Transaction
from relay.wire import encode
from relay.wire import frames as fr
from relay.wire.errors import ErrorCode
from relay.wire.ids import DeviceId, device_id
from relay.wire.limits import MAX_DEVICES_PER_USER, MAX_MEMBER_DEVICES

if TYPE_CHECKING:
    from client_sdk.engine.engine import Engine
    from client_sdk.engine.ownlist import OwnList

_log = logging.getLogger(__name__)

JOB_SECONDS: Final = 24 * 3600  # as long as the relay keeps a sealed history
RETRY_SECONDS: Final = 2.0
ADDED_SECONDS: Final = 30.0  # for a conversation to let the new device in, before the next one has its turn
MOST_TAMPERED: Final = 16  # bodies that do not open in one meeting; then it is not the line
_REFUSALS: Final[dict[str, str]] = {
    ErrorCode.RATE_LIMITED: TOO_MANY,
    ErrorCode.TOO_MANY_DEVICES: "Two devices have met by these words already. If one of them is not yours, "
    "do not go on with the other. Begin again on the new device: it shows new words.",
}
NOT_TO_THE_END: Final = (
    "The new device was not linked to the end: it, or this one, was removed from your devices, or the two "
    "did not meet for a day. Remove it from your devices, if it is still there, and link it anew."
)
_PEOPLE_PER_MESSAGE: Final = 12  # trust records of at most 2.2 KiB each stay below a message's bound
LOOK_SECONDS: Final = 1.0
_SCAN: Final = 1000


@dataclass(frozen=True, slots=True)
class Newcomer:
    """The device that waits to be linked, by the name that it gave itself."""

    device_key: bytes
    name: str = field(repr=False)

    @property
    def id(self) -> DeviceId:
        return device_id(self.device_key)


@dataclass(frozen=True, slots=True)
class LinkJob(Record):
    """What a link that was decided still owes to the new device; `until` is in Unix seconds."""

    secret: bytes = field(repr=False)
    device_key: bytes
    until: int
    may_link: bool = False
    told: bool = False
    """It has keys, list, trust and floors, durably."""
    sent: tuple[str, ...] = ()
    """The engagements whose history it has, or fetches."""
    exported: bytes = field(default=b"", repr=False)
    """The `Export` that is on its way; empty: none."""

    @property
    def device(self) -> DeviceId:
        return device_id(self.device_key)

    @property
    def export(self) -> Export | None:
        """The sealed history that is on its way."""
        return Export.parse(self.exported) if self.exported else None


class BeginAgain(Exception):
    """The other device is there anew: a new meeting begins."""


class Linking:
    """Links other devices."""

    def __init__(self, engine: Engine, own: OwnList) -> None:
        self._engine = engine
        self._own = own
        self._exports = Exports(engine)
        self._met: dict[Newcomer, tuple[LinkSecret, Line, LinkSession]] = {}
        self._ended: dict[DeviceId, bool] = {}
        self.progress: OnProgress | None = None
        self.failure: str = ""
        """The code of what last interrupted it."""

    # By a person

    async def find(self, secret: LinkSecret) -> Newcomer:
        """Wait for the device that shows this secret."""
        self._own.check_may_change()
        await self._online()
        await self._own.check_held()
        line = self._engine.open_line(secret.channel)
        try:
            hello, session = await self._meet(secret, line)
        except RelayRefused as error:
            if error.code in _REFUSALS:
                raise LinkFailed(_REFUSALS[error.code]) from error
            raise
        newcomer = Newcomer(hello.device_key, hello.name)
        self._met[newcomer] = (secret, line, session)
        return newcomer

    async def refuse(self, newcomer: Newcomer) -> None:
        """The person does not want this device: it is told so."""
        met = self._met.pop(newcomer, None)
        if met is not None:
            _, line, session = met
            self._engine.close_line(line)
            await line.say(session.seal("refused"))

    async def link(self, newcomer: Newcomer, *, may_link: bool) -> None:
        """List the device and tell it everything; returns when it has all but what it fetches by itself.

        Cut off in between, it goes on by itself when both devices are connected, also after a restart.
        """
        met = self._met.pop(newcomer, None)
        if met is None:
            raise LinkFailed("This device was not found just now. Type the words that it shows once more.")
        secret, line, session = met
        await self._own.add(newcomer.device_key, newcomer.name, may_link=may_link)
        until = int(self._engine.environment.now()) + JOB_SECONDS
        job = LinkJob(secret.value, newcomer.device_key, until, may_link)
        self._keep(job)
        if not await self._run(job, line, session):
            raise LinkFailed(NOT_TO_THE_END)

    # The job

    @property
    def unfinished(self) -> tuple[DeviceId, ...]:
        """The devices that were confirmed and do not have everything yet."""
        return tuple(job.device for job in self._jobs())

    def was_done(self, device: DeviceId) -> bool:
        """Whether a link that has ended, in this run of the program, came to its end."""
        return self._ended.get(device, False)

    def _jobs(self) -> list[LinkJob]:
        with self._engine.vault.transaction() as tx:
            return [LinkJob.parse(job) for _, job in tx.scan(spaces.LINKING, limit=MAX_DEVICES_PER_USER)]

    def resume(self) -> None:
        """Go on with what an earlier run of the program did not finish."""
        jobs = self._jobs()
        self._exports.tidy([job.export for job in jobs if job.export is not None])
        for job in jobs:
            self._engine.spawn(self._go_on(job))

    async def _go_on(self, job: LinkJob) -> None:
        await self._run(job, self._engine.open_line(LinkSecret(job.secret).channel), None)

    def _keep(self, job: LinkJob) -> None:
        with self._engine.vault.transaction() as tx:
            tx.put(spaces.LINKING, job.device, job.serialize())

    def _drop(self, job: LinkJob) -> None:
        with self._engine.vault.transaction() as tx:
            tx.delete(spaces.LINKING, job.device)

    async def _run(self, job: LinkJob, line: Line, session: LinkSession | None) -> bool:
        """Work until the other device has all; False if one of the two is removed before, or time is over."""
        secret, done = LinkSecret(job.secret), False
        while job.until > self._engine.environment.now() and self._is_listed(job):
            try:
                if session is None:
                    hello, session = await self._meet(secret, line)
                    if hello.device_key != job.device_key:
                        raise LinkTampered("Another device than the one that was linked answers.")
                job = await self._tell(job, line, session)
                if await self._send_histories(job, line, session):
                    await line.say(session.seal("done"))
                    done = True
                    break
            except AccessRefused as error:
                if error.code == ErrorCode.DEVICE_REVOKED:
                    break
            except (BeginAgain, RelayError, LinkTampered, AttachmentError) as error:
                self.failure = getattr(error, "code", "")
                _log.info("linking a device is interrupted: %s", self.failure)
                if isinstance(error, BlobGone | SpoolMissing):
                    self._begin_export_anew(self._stored(job))
            session = None
            job = self._stored(job)
            await self._engine.environment.sleep(RETRY_SECONDS)
        self._begin_export_anew(self._stored(job))
        self._drop(job)
        self._engine.close_line(line)
        self._ended[job.device] = done
        self._engine.notify()
        return done

    def _stored(self, job: LinkJob) -> LinkJob:
        with self._engine.vault.transaction() as tx:
            data = tx.get(spaces.LINKING, job.device)
        return job if data is None else LinkJob.parse(data)

    def _is_listed(self, job: LinkJob) -> bool:
        return self._engine.account.manifest.lists(job.device_key)

    async def _meet(self, secret: LinkSecret, line: Line) -> tuple[Hello, LinkSession]:
        """Greet until the other device answers."""
        account, refused = self._engine.account, 0
        while True:
            await self._online()
            line.begin()
            greeting = Greeting(
                secret,
                Side.KNOWN,
                portal=account.portal,
                user=account.user,
                device_key=account.device_key.public,
                name=self._own_name(),
                rng=self._engine.environment.rng,
            )
            try:
                await line.say(greeting.body)
                return await self._answer(line, greeting)
            except BeginAgain:
                continue
            except LinkTampered:
                refused += 1
                if refused >= MOST_TAMPERED:
                    raise

    async def _online(self) -> None:
        """Wait for a connection; raises `AccessRefused` if there will be none."""
        link = self._engine.link
        while not link.online:
            if isinstance(link.status.error, AccessRefused):
                raise link.status.error
            await self._engine.wait_within(LOOK_SECONDS, lambda: link.online)

    async def _answer(self, line: Line, greeting: Greeting) -> tuple[Hello, LinkSession]:
        body = await line.hear()
        while body != HERE and not is_hello(body):
            body = await line.hear()  # of a meeting before
        if body == HERE:
            raise BeginAgain
        hello, session = greeting.meet(body)
        await _hear(line, session, "ready")  # so a greeting of an earlier meeting, sent again, is none
        return hello, session

    def _own_name(self) -> str:
        return next((d.name for d in self._own.devices if d.is_this and d.name), "your other device")

    # What it is told

    async def _tell(self, job: LinkJob, line: Line, session: LinkSession) -> LinkJob:
        if job.told:
            return job
        account = self._engine.account
        identity = account.record.identity if job.may_link else b""
        names = [[bytes(device), name] for device, name in self._own.names.items()]
        await line.say(session.seal("grant", account.manifest.raw, identity, account.name, names))
        with self._engine.vault.transaction() as tx:
            people, shares = _people(tx), reading.shares(tx)
        for start in range(0, len(people), _PEOPLE_PER_MESSAGE):
            await line.say(session.seal("people", people[start : start + _PEOPLE_PER_MESSAGE]))
        for conversation in self._engine.conversations.values():
            await line.say(session.seal("floor", conversation.id, *_floor(conversation, shares)))
        floors = len(self._engine.conversations)
        unsaid = () if shares or floors else (shares,)  # no floor has said it
        await line.say(session.seal("floors", len(people), floors, *unsaid))
        await _hear(line, session, "stored")
        told = replace(job, told=True)
        self._keep(told)
        return told

    async def _send_histories(self, job: LinkJob, line: Line, session: LinkSession) -> bool:
        """Send what is not sent yet; False if a conversation has not let the device in so far."""
        waiting = False
        for conversation in list(self._engine.conversations.values()):
            if conversation.id in job.sent:
                continue
            if not await self._let_in(conversation, job.device):
                waiting = True
                continue
            await self._send_history(job, conversation, line, session)
            job = replace(self._stored(job), sent=(*job.sent, conversation.id))
            self._keep(job)
            job = self._begin_export_anew(job)
        return not waiting

    async def _let_in(self, conversation: Conversation, device: DeviceId) -> bool:
        """Whether all that the device will not get from the stream itself is here by now."""
        return await self._engine.wait_within(ADDED_SECONDS, lambda: _is_settled(conversation, device))

    async def _send_history(
        self, job: LinkJob, conversation: Conversation, line: Line, session: LinkSession
    ) -> None:
        def keep(export: Export) -> None:
            self._keep(replace(job, exported=export.serialize()))

        export = self._exports.prepare(conversation, job.device, job.export, keep)
        if export is None:
            await line.say(session.seal("history", conversation.id, "", "", b"", 0))
        else:
            blob = await self._exports.upload(export, keep, self.progress)
            await line.say(
                session.seal("history", conversation.id, export.via, blob, export.key, export.size)
            )
        answer = await _hear(line, session, "have")
        if answer != [conversation.id]:
            raise LinkTampered("The other device answers something else than what was said to it.")

    def _begin_export_anew(self, job: LinkJob) -> LinkJob:
        """Forget the sealed history that was on its way; the next one is made when it is needed."""
        if job.export is None:
            return job
        self._exports.drop(job.export)
        without = replace(job, exported=b"")
        self._keep(without)
        return without


async def _hear(line: Line, session: LinkSession, kind: str) -> list[Value]:
    """The fields of the next message, which is of this kind; raises `BeginAgain` or `LinkTampered`."""
    body = await line.hear()
    if body == HERE or is_hello(body):
        raise BeginAgain
    got, *values = session.open(body)
    if got != kind:
        raise LinkTampered("The other device answers something else than what was said to it.")
    return values


def _people(tx: Transaction) -> list[list[object]]:
    """What is known of everybody: who is verified, everybody's newest list, the names they chose."""
    names = dict(tx.scan(spaces.NAME, limit=_SCAN))
    return [[key, record, names.get(key, b"")] for key, record in tx.scan(spaces.TRUST, limit=_SCAN)]


def _floor(conversation: Situation, shares: bool) -> list[object]:
    """Below what the new device is never to go in this conversation."""
    record, engagement = conversation.standing.record, conversation.engagement
    shown = b"" if engagement is None else encode([fr.EngagementChanged(engagement)])
    return [
        shown,
        shares,
        record.incarnation,
        _epochs(record),
        record.transcript,
        record.suite,
        record.last_commit,
        list(record.met),
        list(record.admitted),
        [list(peer) for peer in record.peers],
        record.read,
        [list(read) for read in record.reads],
    ]


def _epochs(record: ConversationRecord) -> int:
    """How many epochs it is not to go below; what the relay lost may take another course."""
    unsettled = record.overtaken or record.phase is Phase.REPAIRING
    return (record.branch if unsettled else record.highest_epoch) + 1


def _is_settled(conversation: Conversation, device: DeviceId) -> bool:
    """Whether the device is in, or nothing will bring it in while it is linked."""
    view = conversation.standing.view
    if conversation.is_ended or (view is None and conversation.is_open and not conversation.must_create):
        return True
    return view is not None and (device in view.devices or len(view.leaves) >= MAX_MEMBER_DEVICES)
