"""How calls connect, as the operator sees it: counted once a device, named never, if at all."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import aiohttp
import pytest
from prometheus_client.parser import text_string_to_metric_families

from client_sdk import Client
from client_sdk.calls import CallSettings
from tests.e2e.test_calls import PATIENCE, ring
from tests.support.ports import free_port
from tests.support.real_relay import RealRelay


@pytest.fixture
def metrics_port() -> int:
    return free_port()


@pytest.fixture
async def relay(tmp_path: Path, metrics_port: int) -> AsyncIterator[RealRelay]:
    made = RealRelay(tmp_path, options=("--metrics-listen", f"127.0.0.1:{metrics_port}"))
    await made.start()
    yield made
    await made.stop()


async def counted(port: int) -> dict[str, float]:
    async with aiohttp.ClientSession() as http, http.get(f"http://127.0.0.1:{port}/metrics") as answer:
        text = await answer.text()
    found = {family.name: family for family in text_string_to_metric_families(text)}
    samples = found["coach_relay_calls"].samples
    return {one.labels["path"]: one.value for one in samples if one.name.endswith("_total") and one.value}


@pytest.mark.parametrize(("anna", "ben", "expected"), [(True, True, 2), (True, False, 1), (False, False, 0)])
async def test_a_call_is_counted_by_its_path_where_its_people_let_it(
    relay: RealRelay, metrics_port: int, tmp_path: Path, anna: bool, ben: bool, expected: int
) -> None:
    def person(user: str, report: bool) -> AbstractAsyncContextManager[Client]:
        return Client.open(
            tmp_path / f"{user}.vault",
            key=user.encode().ljust(32, b"."),
            relay=relay.url,
            token=relay.token_for(user),
            name=user.capitalize(),
            call_settings=CallSettings(loopback=True, report_path=report),
        )

    engagement = await relay.create_engagement(anna="coach", ben="client")
    async with asyncio.timeout(PATIENCE), person("anna", anna) as coach, person("ben", ben) as client:
        room, theirs = await coach.engagement(engagement), await client.engagement(engagement)
        await asyncio.gather(room.wait_joined(), theirs.wait_joined())
        call = await room.call(video=False)
        taken = await (await ring(theirs)).accept()
        await asyncio.gather(call.wait_connected(), taken.wait_connected())
        assert (call.path, taken.path) == ("host", "host")
        assert await counted(metrics_port) == {}
        await call.hang_up()
        await asyncio.gather(call.ended(), taken.ended())
        # Whatever the two say after it comes after it: when that is there, it was counted.
        await asyncio.gather(room.send("That went well."), theirs.send("It did."))
        await asyncio.gather(room.wait_sent(), theirs.wait_sent())
    assert await counted(metrics_port) == ({"host": float(expected)} if expected else {})
