"""The relay is killed with SIGKILL under load: what it acknowledged it holds, once, and where it said."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import pytest
from nacl.signing import SigningKey

from relay.wire import frames as fr
from relay.wire.frames import EntryKind
from relay.wire.ids import DeviceId, EngagementId, device_id
from tests.support.real_relay import RealRelay
from tests.support.wire_client import Gone, WireClient, WirePortal

ENTRIES_EACH = 300
IN_FLIGHT = 32
ASKED_AGAIN = 10  # acknowledged entries that a writer sends once more after a crash
KILLS = 4
WRITERS = ("anna", "ben")


@dataclass(slots=True)
class Person:
    """A device of one user in one engagement, over all its connections."""

    relay: RealRelay
    stream: EngagementId
    user: str
    alive: asyncio.Event
    key: SigningKey = field(default_factory=SigningKey.generate, repr=False)

    @property
    def id(self) -> DeviceId:
        return device_id(bytes(self.key.verify_key))

    def connection(self) -> Any:
        return WireClient.connect(self.relay.url, WirePortal(self.relay.portal), self.user, self.key)


@dataclass(slots=True)
class Writer(Person):
    """Appends numbered entries, 32 at a time, through every crash; remembers what it was told."""

    bodies: list[bytes] = field(default_factory=list)
    """Those that come after the first counter, which the creator's bundle may have taken."""
    first_counter: int = 1
    told: dict[int, int] = field(default_factory=dict)
    """Counter -> the first position that was acknowledged."""
    told_again: int = 0
    contradictions: list[tuple[int, int, int]] = field(default_factory=list)

    @property
    def last_counter(self) -> int:
        return self.first_counter + len(self.bodies) - 1

    async def run(self, progress: asyncio.Queue[None]) -> None:
        while len(self.told) < len(self.bodies):
            await self.alive.wait()
            try:
                async with self.connection() as connection:
                    await self._write(connection, progress)
            except (Gone, TimeoutError):
                continue

    async def _write(self, connection: WireClient, progress: asyncio.Queue[None]) -> None:
        opened = await connection.open(self.stream)
        assert isinstance(opened, fr.Opened)
        known = max(self.told, default=self.first_counter - 1)
        assert opened.last_counter >= known, "the relay forgot a counter that it had acknowledged"
        acknowledged = max(self.first_counter, known + 1 - ASKED_AGAIN)
        sent = acknowledged - 1
        while known < self.last_counter or acknowledged <= known:
            upto = min(self.last_counter, acknowledged + IN_FLIGHT - 1)
            if upto > sent:
                await connection.send(*(self._append(counter) for counter in range(sent + 1, upto + 1)))
                sent = upto
            for frame in await connection.receive():
                assert not isinstance(frame, fr.Refused | fr.Error), frame
                for counter, seq in frame.results if isinstance(frame, fr.Appended) else ():
                    self._note(counter, seq)
                    progress.put_nowait(None)
                    acknowledged = max(acknowledged, counter + 1)
            known = max(known, acknowledged - 1)

    def _append(self, counter: int) -> fr.Append:
        body = self.bodies[counter - self.first_counter]
        return fr.Append(self.stream, counter, EntryKind.MESSAGE, 1, body)

    def _note(self, counter: int, seq: int) -> None:
        self.told_again += counter in self.told
        first = self.told.setdefault(counter, seq)
        if first != seq:
            self.contradictions.append((counter, first, seq))


@dataclass(slots=True)
class Listener(Person):
    """Reads along and acknowledges, through every crash; remembers what it was shown."""

    shown: list[tuple[int, bytes | None]] = field(default_factory=list)

    async def run(self) -> None:
        while True:
            await self.alive.wait()
            try:
                async with self.connection() as connection:
                    await self._listen(connection)
            except (Gone, TimeoutError):
                continue

    async def _listen(self, connection: WireClient) -> None:
        await connection.send(fr.Open(1, self.stream, self.shown[-1][0] if self.shown else 0))
        while True:
            entries = await connection.wait_for(fr.Entries)
            self.shown += [(entry.seq, entry.body) for entry in entries.entries]
            await connection.send(fr.Ack(self.stream, self.shown[-1][0]))


@dataclass(slots=True)
class Room:
    """One engagement: two who write, one who listens, and one who reads everything in the end."""

    writers: list[Writer]
    listener: Listener
    auditor: Person

    @classmethod
    async def create(cls, relay: RealRelay, alive: asyncio.Event, rng: random.Random) -> Room:
        stream = EngagementId(
            await relay.create_engagement(anna="coach", ben="client", cara="supervisor", dora="supervisor")
        )
        writers = [Writer(relay, stream, user, alive) for user in WRITERS]
        for index, writer in enumerate(writers):
            writer.first_counter = 1 if index else 2
            writer.bodies = [
                b"%s %d %s" % (writer.user.encode(), n, rng.randbytes(rng.randrange(2000)))
                for n in range(ENTRIES_EACH)
            ]
        room = cls(writers, Listener(relay, stream, "cara", alive), Person(relay, stream, "dora", alive))
        others = (writers[1], room.listener, room.auditor)
        for person in others:
            async with person.connection():
                pass  # its device is known from now on
        async with writers[0].connection() as connection:
            await connection.create_group(stream, tuple(person.id for person in others))
        return room

    async def history(self) -> list[fr.Entry]:
        """Everything that the relay holds; nothing was erased, for this device had acknowledged nothing."""
        async with self.auditor.connection() as connection:
            opened = await connection.open(self.auditor.stream)
            assert isinstance(opened, fr.Opened)
            entries: list[fr.Entry] = []
            while len(entries) < opened.head:
                entries += (await connection.wait_for(fr.Entries)).entries
                await connection.send(fr.Ack(self.auditor.stream, entries[-1].seq))
            return entries


async def kill_again_and_again(
    relay: RealRelay, alive: asyncio.Event, progress: asyncio.Queue[None], moments: list[int]
) -> None:
    """Kill it whenever so many entries more were acknowledged."""
    for moment in moments:
        for _ in range(moment):
            await progress.get()
        alive.clear()
        await relay.kill()
        await relay.start()
        alive.set()


@pytest.mark.parametrize("seed", [1, 2])
async def test_no_acknowledged_entry_is_lost_and_no_position_used_twice(relay: RealRelay, seed: int) -> None:
    print("seed", seed)
    rng = random.Random(seed)
    alive, progress = asyncio.Event(), asyncio.Queue[None]()
    alive.set()
    rooms = [await Room.create(relay, alive, rng) for _ in range(2)]
    total = len(rooms) * len(WRITERS) * ENTRIES_EACH
    moments = [rng.randrange(20, total // (KILLS + 2)) for _ in range(KILLS)]
    listening = [asyncio.create_task(room.listener.run()) for room in rooms]
    async with asyncio.timeout(100), asyncio.TaskGroup() as group:
        group.create_task(kill_again_and_again(relay, alive, progress, moments))
        for room in rooms:
            for writer in room.writers:
                group.create_task(writer.run(progress))
    for room in rooms:
        check(room, await room.history())
    assert sum(writer.told_again for room in rooms for writer in room.writers) > 0
    for task in listening:
        task.cancel()
    await asyncio.gather(*listening, return_exceptions=True)


def check(room: Room, history: list[fr.Entry]) -> None:
    """The relay's history against what everybody was told and shown."""
    assert [entry.seq for entry in history] == list(range(1, len(history) + 1)), "positions are dense"
    bodies = {entry.seq: entry.body for entry in history}
    for writer in room.writers:
        assert writer.contradictions == [], "a retry gets its first position"
        assert len(writer.told) == ENTRIES_EACH
        for counter, seq in writer.told.items():
            assert bodies[seq] == writer.bodies[counter - writer.first_counter]
    said = Counter(entry.body for entry in history if entry.kind is EntryKind.MESSAGE)
    assert said == Counter(body for writer in room.writers for body in writer.bodies), (
        "everything is there once"
    )
    shown = room.listener.shown
    assert [seq for seq, _ in shown] == list(range(1, len(shown) + 1)), "in order, nothing twice"
    assert all(bodies[seq] == body for seq, body in shown), "what was pushed stays as it was pushed"
