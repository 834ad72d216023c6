"""Quotas of a portal: what is over them is refused and said why; other portals do not notice."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from relay.core.quotas import Quotas
from relay.wire import frames as fr
from relay.wire.ids import EngagementId, PortalId, parse_blob_id
from tests.relay.http.support import OTHER, PORTAL, Device, World

GROWTH = PortalId(PORTAL)
TUS = {"Tus-Resumable": "1.0.0"}


async def give(world: World, **quotas: int) -> None:
    await world.running.relay.hub.portals.set_quotas(GROWTH, lambda _: Quotas(**quotas))


async def create(world: World, user: str = "anna", *, portal: str = PORTAL) -> tuple[int, Any]:
    body = {"participants": [{"user": user, "role": "coach"}]}
    async with world.http.post("/v1/engagements", json=body, headers=world.bearer(portal)) as answer:
        return answer.status, await answer.json(content_type=None)


async def begin(world: World, access: dict[str, str], size: int) -> tuple[int, Any]:
    headers = {**TUS, **access, "Upload-Length": str(size)}
    async with world.http.post("/v1/blobs", headers=headers) as answer:
        if answer.status == 201:
            return 201, answer.headers["Location"]
        return answer.status, await answer.json(content_type=None)


async def test_so_many_engagements_are_active(world: World) -> None:
    await give(world, engagements=2)
    made = [(await create(world))[1]["id"] for _ in range(2)]
    status, told = await create(world)
    assert (status, told["type"]) == (403, "urn:coach-relay:problem:quota_exceeded")
    assert (told["code"], told["quota"], told["limit"]) == ("quota_exceeded", "engagements", 2)
    assert (await create(world, portal=OTHER))[0] == 201
    async with world.http.post(f"/v1/engagements/{made[0]}/end", headers=world.bearer()) as answer:
        assert answer.status == 200
    assert (await create(world))[0] == 201
    assert (await create(world))[0] == 403


async def test_engagements_at_once_do_not_outrun_it(world: World) -> None:
    await give(world, engagements=3)
    answers = await asyncio.gather(*[create(world, f"u{n}") for n in range(10)])
    assert sorted(status for status, _ in answers) == [201] * 3 + [403] * 7


async def test_so_many_bytes_are_stored(world: World) -> None:
    first, second = await world.engagement("anna"), await world.engagement("ben")
    hers, his = await world.blob_access(first, "anna"), await world.blob_access(second, "ben")
    assert (await begin(world, hers, 30))[0] == 201, "what was there before counts too"
    await give(world, stored_bytes=100)
    assert (await begin(world, hers, 40))[0] == 201
    status, told = await begin(world, his, 31)
    assert (status, told["quota"], told["limit"]) == (403, "stored_bytes", 100)
    status, place = await begin(world, his, 30)
    assert status == 201
    assert (await begin(world, his, 1))[0] == 403
    theirs = await world.engagement("anna", portal=OTHER)
    assert (await begin(world, await world.blob_access(theirs, "anna", portal=OTHER), 500))[0] == 201
    async with world.http.delete(place, headers={**TUS, **his}) as answer:
        assert answer.status == 204
    assert (await begin(world, hers, 30))[0] == 201, "what is gone makes room"


async def test_uploads_at_once_do_not_outrun_it(world: World) -> None:
    await give(world, stored_bytes=100)
    access = await world.blob_access(await world.engagement("anna"), "anna")
    answers = await asyncio.gather(*[begin(world, access, 30) for _ in range(8)])
    assert sorted(status for status, _ in answers) == [201] * 3 + [403] * 5


async def test_what_the_sweep_erases_makes_room(world: World) -> None:
    hub = world.running.relay.hub
    await give(world, stored_bytes=10)
    engagement = await world.engagement("anna")
    access = await world.blob_access(engagement, "anna")
    status, place = await begin(world, access, 10)
    assert status == 201
    assert (await begin(world, access, 1))[0] == 403
    await hub.uploads.forget(EngagementId(engagement), parse_blob_id(place.rpartition("/")[2]))
    assert (await begin(world, access, 10))[0] == 201


async def test_so_many_devices_are_connected(world: World) -> None:
    await give(world, connections=2)
    async with world.device("anna") as anna, world.device("ben"):
        async with Device.connect(world) as third:
            goodbye = await third.prove(world.token("cara"))
            assert isinstance(goodbye, fr.Goodbye)
            assert goodbye.code == "quota_exceeded"
            assert goodbye.reconnect_after_ms >= 60_000
            assert "no connection left" in goodbye.detail
        async with world.device("cara", portal=OTHER):
            pass
        async with Device.connect(world) as again:
            again.key = anna.key
            assert isinstance(await again.prove(world.token("anna")), fr.Ready), "one in place of another"
            await again.send(fr.Renew(1, world.token("anna")))
            await again.wait_for(fr.Renewed)
    async with asyncio.timeout(30):
        while world.running.relay.hub.access.connections[GROWTH]:  # noqa: ASYNC110 - their sockets close
            await asyncio.sleep(0)
    async with world.device("cara"), world.device("dora"):
        assert world.running.relay.hub.access.connections[GROWTH] == 2
    assert world.running.relay.hub.access.refused_connections == 1


async def test_who_is_refused_holds_no_place(world: World) -> None:
    await give(world, connections=1)
    for _ in range(3):
        async with Device.connect(world) as device:
            assert isinstance(await device.prove(world.token("anna", exp=1)), fr.Goodbye)
    async with world.device("anna"):
        pass


@pytest.mark.parametrize("quota", ["engagements", "stored_bytes", "connections"])
async def test_zero_is_without_bound(world: World, quota: str) -> None:
    await give(world, **{quota: 0})
    engagement = await world.engagement("anna", "ben")
    async with world.device("anna") as device, world.device("ben"):
        assert (await begin(world, await device.blob_access(engagement), 2**31))[0] == 201
