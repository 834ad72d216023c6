"""Devices that talk through whatever happens to the relay, and what they saw, to be compared."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from dataclasses import dataclass, field

from nacl.signing import SigningKey

from relay.wire import frames as fr
from relay.wire.frames import EntryKind
from relay.wire.ids import DeviceId, EngagementId, device_id
from tests.nodes.relays import Relays
from tests.support.wire_client import Gone, WireClient

IN_FLIGHT = 16
AGAIN_SECONDS = 0.1
PASSING = frozenset(("store_unavailable", "rate_limited", "counter_gap", "internal"))
_Said = tuple[str, int]


@dataclass(slots=True)
class Talker:
    """One device: says its lines, hears everybody's, remembers what it was told over all connections."""

    relays: Relays
    stream: EngagementId
    user: str
    lines: int
    pace: float
    first_counter: int = 1
    key: SigningKey = field(default_factory=SigningKey.generate, repr=False)
    told: dict[int, int] = field(default_factory=dict)
    history: dict[int, _Said] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)
    late: list[float] = field(default_factory=list)
    incarnations: list[bytes] = field(default_factory=list)
    connections: int = 0
    position: int = 0
    goes_on: asyncio.Event = field(default_factory=asyncio.Event)
    """Before, there is only a first line."""
    _ready: int = 0
    _wake: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def id(self) -> DeviceId:
        return device_id(bytes(self.key.verify_key))

    @property
    def last_counter(self) -> int:
        return self.first_counter + self.lines - 1

    def has_all(self, entries: int) -> bool:
        """Whether everything was said and heard."""
        return len(self.told) == self.lines and self.position == entries

    async def live(self, entries: int) -> None:
        """Until everything is said and heard."""
        saying = asyncio.create_task(self._get_ready())
        try:
            while not self.has_all(entries):
                try:
                    connecting = WireClient.connect(self.relays.url, self.relays.portal, self.user, self.key)
                    async with connecting as connection:
                        self.connections += 1
                        await self._talk(connection, entries)
                except (Gone, TimeoutError):
                    await asyncio.sleep(AGAIN_SECONDS)
        finally:
            saying.cancel()

    async def _get_ready(self) -> None:
        """Have the next line to say, at the pace of a person in a hurry."""
        for number in range(1, self.lines + 1):
            self._ready = number
            self._wake.set()
            await self.goes_on.wait()
            await asyncio.sleep(self.pace)

    async def _talk(self, connection: WireClient, entries: int) -> None:
        opened = await connection.open(self.stream, self.position)
        if isinstance(opened, fr.Error):
            raise Gone(opened.code)
        self.incarnations.append(opened.incarnation)
        if opened.head < self.position:
            self.faults.append(f"the stream went back from {self.position} to {opened.head}")
        if opened.last_counter < max(self.told, default=0):
            self.faults.append("a counter that was acknowledged is forgotten")
        writing = asyncio.create_task(self._write(connection))
        try:
            while not self.has_all(entries):
                for frame in await connection.receive():
                    await self._take(connection, frame)
        finally:
            writing.cancel()
            await asyncio.gather(writing, return_exceptions=True)

    async def _write(self, connection: WireClient) -> None:
        """Send what is ready and was not acknowledged, again now and then if it was refused."""
        sent = 0
        while True:
            untold = [
                c for c in range(self.first_counter, self.first_counter + self._ready) if c not in self.told
            ]
            fresh = [counter for counter in untold[:IN_FLIGHT] if counter > sent]
            if fresh:
                await connection.send(*(self._append(counter) for counter in fresh))
                sent = fresh[-1]
            self._wake.clear()
            try:
                async with asyncio.timeout(AGAIN_SECONDS * 3):
                    await self._wake.wait()
            except TimeoutError:
                sent = 0

    def _append(self, counter: int) -> fr.Append:
        body = f"{self.user} {counter} {time.monotonic()}".encode()
        return fr.Append(self.stream, counter, EntryKind.MESSAGE, 1, self._bodies.setdefault(counter, body))

    _bodies: dict[int, bytes] = field(default_factory=dict)

    async def _take(self, connection: WireClient, frame: object) -> None:
        if isinstance(frame, fr.Appended):
            for counter, seq in frame.results:
                if self.told.setdefault(counter, seq) != seq:
                    self.faults.append(f"{counter} was said to be at {self.told[counter]} and at {seq}")
            self._wake.set()
        elif isinstance(frame, fr.Refused):
            if frame.code not in PASSING:
                self.faults.append(f"refused: {frame.code}")
        elif isinstance(frame, fr.Entries):
            for entry in frame.entries:
                self._hear(entry)
            await connection.send(fr.Ack(self.stream, self.position))
        elif isinstance(frame, fr.Goodbye):
            raise Gone(frame.code)

    def _hear(self, entry: fr.Entry) -> None:
        if entry.seq != self.position + 1:
            self.faults.append(f"{entry.seq} came after {self.position}")
            return
        self.position = entry.seq
        if entry.body is None:
            self.history[entry.seq] = (self.user, entry.counter)
        elif entry.kind is EntryKind.MESSAGE:
            user, counter, said = entry.body.decode().split()
            self.history[entry.seq] = (user, int(counter))
            self.late.append(time.monotonic() - float(said))


def compare(talkers: list[Talker]) -> None:
    """Nothing acknowledged is lost, nothing is there twice, everybody saw one order."""
    assert [fault for talker in talkers for fault in talker.faults] == []
    by_stream: dict[EngagementId, list[Talker]] = {}
    for talker in talkers:
        by_stream.setdefault(talker.stream, []).append(talker)
    for members in by_stream.values():
        messages = [{s: w for s, w in talker.history.items() if s > 1} for talker in members]
        assert all(seen == messages[0] for seen in messages)
        assert max(Counter(messages[0].values()).values()) == 1
        for talker in members:
            for counter, seq in talker.told.items():
                assert messages[0][seq] == (talker.user, counter)


async def conversations(relays: Relays, count: int, *, lines: int, pace: float) -> list[Talker]:
    """Pairs of people in groups of two, nobody connected yet."""
    talkers = []
    for number in range(count):
        coach, client = f"coach{number}", f"client{number}"
        stream = EngagementId(await relays.engagement(**{coach: "coach", client: "client"}))
        one = Talker(relays, stream, coach, lines, pace, first_counter=2)
        other = Talker(relays, stream, client, lines, pace)
        async with (
            WireClient.connect(relays.url, relays.portal, client, other.key),
            WireClient.connect(relays.url, relays.portal, coach, one.key) as connection,
        ):
            await connection.create_group(stream, (other.id,))
        talkers += [one, other]
    return talkers


async def all_said(talkers: list[Talker], *, within: float) -> None:
    """Let everybody talk until everything is said and heard."""
    entries = 1 + 2 * talkers[0].lines
    async with asyncio.timeout(within), asyncio.TaskGroup() as group:
        group.create_task(_begin(talkers))
        for talker in talkers:
            group.create_task(talker.live(entries))


async def _begin(talkers: list[Talker]) -> None:
    """Who is in first goes on when everybody is: nobody is done while others have yet to come."""
    while not all(talker.told for talker in talkers):  # noqa: ASYNC110  eight conditions, no event
        await asyncio.sleep(AGAIN_SECONDS)
    for talker in talkers:
        talker.goes_on.set()


async def in_the_middle(talkers: list[Talker], talking: asyncio.Task[None]) -> None:
    """Until everybody is in, has said a first line and goes on; raises what ended the talk before."""
    while not all(talker.goes_on.is_set() for talker in talkers):
        if talking.done():
            talking.result()
        await asyncio.sleep(AGAIN_SECONDS)
