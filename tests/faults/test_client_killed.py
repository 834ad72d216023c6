"""Two people's programs are killed with SIGKILL at random moments, until everything was said and heard.

The crash points between any two steps are enumerated in tests/client_sdk/engine; here the processes, the
vault on the disk, the network and the relay are real.
"""

from __future__ import annotations

import asyncio
import json
import random
import sys
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.support.real_relay import RealRelay

ROOT = Path(__file__).resolve().parents[2]
LINES_EACH = 100
KILLS_EACH = 3


@dataclass(slots=True)
class Person:
    """Somebody whose program dies again and again."""

    relay: RealRelay
    engagement: str
    user: str
    folder: Path
    kills_left: int = KILLS_EACH
    heard: list[str] = field(default_factory=list)
    fine: bool = False
    died_after: Counter[str] = field(default_factory=Counter)

    async def live(self, rng: random.Random) -> None:
        """Start the program over and over; the last life goes to its end."""
        while not self.fine:
            async with self._program() as program:
                assert program.stdout is not None
                # More moments than one life has would never come.
                moment = rng.randrange(1, 2 * LINES_EACH // KILLS_EACH) if self.kills_left else 0
                while line := (await program.stdout.readline()).decode().strip():
                    if line.startswith("{"):
                        end = json.loads(line)
                        self.heard, self.fine = end["texts"], end["fine"]
                        assert self.fine, "an alarm, or something waits for ever"
                    moment -= 1
                    if moment == 0:
                        program.kill()
                        self.kills_left -= 1
                        self.died_after[line] += 1
                code = await program.wait()
                assert code in ((0, -9) if moment <= 0 else (0,)), self.errors()

    @asynccontextmanager
    async def _program(self) -> AsyncIterator[asyncio.subprocess.Process]:
        order = {
            "user": self.user,
            "count": LINES_EACH,
            "portal": json.dumps(dict(self.relay.portal)),
            "url": self.relay.url,
            "engagement": self.engagement,
            "vault": str(self.folder / f"{self.user}.vault"),
        }
        with (self.folder / f"{self.user}.errors").open("ab") as errors:
            program = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "tests.faults.talker", json.dumps(order)),
                stdout=asyncio.subprocess.PIPE,
                stderr=errors,
                cwd=ROOT,
            )
        try:
            yield program
        finally:
            if program.returncode is None:
                program.kill()
            await program.communicate()

    def errors(self) -> str:
        return (self.folder / f"{self.user}.errors").read_text()


@pytest.mark.timeout(300)  # a dozen processes start one after the other, on whatever machine this is
@pytest.mark.parametrize("seed", [1])
async def test_nothing_is_lost_and_nothing_comes_twice(relay: RealRelay, tmp_path: Path, seed: int) -> None:
    print("seed", seed)
    engagement = await relay.create_engagement(anna="coach", ben="client")
    people = [Person(relay, engagement, user, tmp_path) for user in ("anna", "ben")]
    async with asyncio.timeout(240), asyncio.TaskGroup() as group:
        for person in people:
            group.create_task(person.live(random.Random(f"{seed} {person.user}")))
    anna, ben = people
    print("killed after", anna.died_after, ben.died_after)
    assert anna.heard == ben.heard, "both have the same history, in the same order"
    for person in people:
        lines = [line for line in anna.heard if line.startswith(person.user)]
        assert lines == [f"{person.user} {number}" for number in range(LINES_EACH)], (
            "everything once, in order"
        )
    assert sum(person.kills_left for person in people) < 2 * KILLS_EACH, "somebody was killed"
