"""Lists of engagements, page by page, and creations that may be repeated."""

from __future__ import annotations

import asyncio
import base64
from pathlib import Path
from typing import Any

import msgpack
import pytest

from relay.core import idempotency as rules
from relay.core.engagements import EngagementRecord
from relay.errors import StoreUnavailable
from relay.hub import Hub, idempotency
from relay.wire.ids import PortalId
from tests.relay.http.support import OTHER, PORTAL, World, world_in

PAIR = [{"user": "anna", "role": "coach"}, {"user": "ben", "role": "client"}]
BODY = {"participants": PAIR}
GROWTH = PortalId(PORTAL)


async def listed(world: World, *, portal: str = PORTAL, **query: Any) -> tuple[int, Any]:
    async with world.http.get("/v1/engagements", params=query, headers=world.bearer(portal)) as answer:
        return answer.status, await answer.json(content_type=None)


async def all_pages(world: World, *, portal: str = PORTAL, **query: Any) -> list[list[str]]:
    """The ids of every page until there is none."""
    pages: list[list[str]] = []
    while True:
        status, page = await listed(world, portal=portal, **query)
        assert status == 200, page
        pages.append([one["id"] for one in page["engagements"]])
        if page["next"] is None:
            return pages
        query["cursor"] = page["next"]


def flat(pages: list[list[str]]) -> list[str]:
    return [one for page in pages for one in page]


async def end(world: World, engagement: str) -> None:
    async with world.http.post(f"/v1/engagements/{engagement}/end", headers=world.bearer()) as answer:
        assert answer.status == 200


async def create(world: World, key: Any, body: Any = BODY, *, portal: str = PORTAL) -> tuple[int, Any]:
    headers = world.bearer(portal) | {"Idempotency-Key": key}
    async with world.http.post("/v1/engagements", json=body, headers=headers) as answer:
        return answer.status, await answer.json(content_type=None)


# -- lists -----------------------------------------------------------------------------------------


async def test_a_portal_lists_its_own_engagements_once_each(world: World) -> None:
    made = [await world.engagement("anna", f"u{number}") for number in range(7)]
    await world.engagement("anna", portal=OTHER)
    pages = await all_pages(world, limit=3)
    assert sorted(flat(pages)) == sorted(made)
    assert [len(page) for page in pages] == [3, 3, 1]
    assert flat(await all_pages(world)) == flat(pages)


async def test_an_empty_list_is_a_page(world: World) -> None:
    assert await listed(world) == (200, {"engagements": [], "next": None})


async def test_what_is_listed_is_what_is_read(world: World) -> None:
    engagement = await world.engagement("anna", "ben")
    page = (await listed(world))[1]
    async with world.http.get(f"/v1/engagements/{engagement}", headers=world.bearer()) as answer:
        assert page["engagements"] == [await answer.json()]


async def test_by_user_and_by_status(world: World) -> None:
    with_ben = [await world.engagement("anna", "ben") for _ in range(3)]
    with_cara = [await world.engagement("anna", "cara") for _ in range(2)]
    await end(world, with_ben[0])
    assert sorted(flat(await all_pages(world, user="ben", limit=2))) == sorted(with_ben)
    assert sorted(flat(await all_pages(world, user="cara", limit=1))) == sorted(with_cara)
    assert flat(await all_pages(world, status="ended")) == [with_ben[0]]
    assert sorted(flat(await all_pages(world, status="active", limit=1))) == sorted(with_ben[1:] + with_cara)
    assert flat(await all_pages(world, user="ben", status="ended")) == [with_ben[0]]
    assert flat(await all_pages(world, user="nobody")) == []
    roster = {"participants": PAIR[:1]}
    path = f"/v1/engagements/{with_ben[1]}/participants"
    async with world.http.put(path, json=roster, headers=world.bearer()) as answer:
        assert answer.status == 200
    assert sorted(flat(await all_pages(world, user="ben"))) == sorted([with_ben[0], with_ben[2]])


async def test_another_portals_list_shows_nothing_of_it(world: World) -> None:
    for _ in range(3):
        await world.engagement("anna")
    cursor = (await listed(world, limit=1))[1]["next"]
    for query in ({}, {"user": "anna"}, {"status": "active"}, {"cursor": cursor}):
        assert await listed(world, portal=OTHER, **query) == (200, {"engagements": [], "next": None})


async def test_what_is_new_meanwhile_moves_nothing(world: World) -> None:
    made = [await world.engagement("anna") for _ in range(4)]
    page = (await listed(world, limit=2))[1]
    for _ in range(3):
        await world.engagement("anna")
    rest = await all_pages(world, cursor=page["next"])
    assert not {one["id"] for one in page["engagements"]} & set(flat(rest))
    assert set(made) <= {one["id"] for one in page["engagements"]} | set(flat(rest))


async def test_a_rare_filter_gives_short_pages_not_long_waits(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("relay.hub.engagement_lists.MAX_LOOKED_AT", 4)
    made = [await world.engagement("anna") for _ in range(6)]
    await end(world, made[0])
    pages = await all_pages(world, status="ended", limit=2)
    assert len(pages) >= 2
    assert flat(pages) == [made[0]]


def cursor(text: str) -> str:
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


@pytest.mark.parametrize(
    "query",
    [
        {"limit": "0"},
        {"limit": "101"},
        {"limit": "-1"},
        {"limit": "x"},
        {"limit": "1.0"},
        {"limit": ""},
        {"limit": "١"},
        {"limit": "9" * 5000},
        {"status": "gone"},
        {"status": ""},
        {"user": ""},
        {"user": "a b"},
        {"user": "growth/anna"},
        {"page": "2"},
        {"cursor": ""},
        {"cursor": "x"},
        {"cursor": "ä"},
        {"cursor": "A" * 200},
        {"cursor": cursor("a")},
        {"cursor": cursor("a../../portals/growth")},
        {"cursor": cursor("a00000000001/eng_x")},
        {"cursor": cursor(f"a0000000000\n/eng_{'A' * 22}")},
        {"cursor": cursor(f"ueng_{'A' * 22}")},
        {"cursor": cursor(f"a00000000001/eng_{'A' * 22}"), "user": "anna"},
    ],
    ids=lambda query: repr(query)[:50],
)
async def test_a_query_of_another_form_is_refused(world: World, query: dict[str, str]) -> None:
    assert (await listed(world, **query))[0] == 400


async def test_a_parameter_stands_once(world: World) -> None:
    async with world.http.get("/v1/engagements?limit=1&limit=2", headers=world.bearer()) as answer:
        assert answer.status == 400


async def test_without_a_key_nothing_is_listed(world: World) -> None:
    async with world.http.get("/v1/engagements") as answer:
        assert answer.status == 401


async def test_engagements_from_before_there_were_lists_are_listed(tmp_path: Path) -> None:
    async with world_in(tmp_path) as world:
        made = [await world.engagement("anna") for _ in range(3)]
        await end(world, made[0])
        directory = world.running.relay.hub.directory
        for space in ("lists", "active", "marks"):
            for key, _ in await directory.scan(space, "", limit=99):
                await directory.delete(space, key)
        assert await all_pages(world) == [[]]
        await world.running.relay.hub.engagements.start()
        assert sorted(flat(await all_pages(world))) == sorted(made)
        assert await directory.count("active", "growth/") == 2


# -- creations that are repeated ---------------------------------------------------------------------


async def test_the_same_request_gets_the_same_answer(world: World) -> None:
    status, made = await create(world, "k1")
    assert status == 201
    assert await create(world, "k1") == (201, made)
    assert await create(world, "k1", {"participants": PAIR, "retention_days": 30}) == (201, made)
    assert flat(await all_pages(world)) == [made["id"]]
    assert (await create(world, "k2"))[1]["id"] != made["id"]


async def test_the_answer_stays_what_it_was(world: World) -> None:
    _, made = await create(world, "k1")
    await end(world, made["id"])
    assert await create(world, "k1") == (201, made)


@pytest.mark.parametrize(
    "body", [{"participants": PAIR[:1]}, {"participants": PAIR, "retention_days": 7}], ids=repr
)
async def test_another_request_under_the_same_key_is_refused(world: World, body: Any) -> None:
    _, made = await create(world, "k1")
    status, told = await create(world, "k1", body)
    assert (status, told["code"]) == (422, "idempotency_key_reused")
    assert flat(await all_pages(world)) == [made["id"]]


async def test_keys_of_two_portals_are_two_keys(world: World) -> None:
    _, made = await create(world, "k1")
    status, other = await create(world, "k1", portal=OTHER)
    assert (status, other["id"] != made["id"]) == (201, True)


async def test_requests_at_once_make_one(world: World) -> None:
    answers = await asyncio.gather(*[create(world, "k1") for _ in range(8)])
    assert {status for status, _ in answers} == {201}
    assert len({made["id"] for _, made in answers}) == 1
    assert len(flat(await all_pages(world))) == 1


async def test_a_refused_request_leaves_its_key_free(world: World) -> None:
    assert (await create(world, "k1", {"participants": []}))[0] == 400
    portals = world.running.relay.hub.portals
    await portals.set_quotas(GROWTH, lambda quotas: quotas._replace(engagements=1))
    await world.engagement("zoe")
    assert (await create(world, "k1"))[0] == 403
    await portals.set_quotas(GROWTH, lambda quotas: quotas._replace(engagements=2))
    assert (await create(world, "k1"))[0] == 201


@pytest.mark.parametrize("key", ["", "a b", "x" * 256, "ä"])
async def test_a_key_has_its_form(world: World, key: str) -> None:
    assert (await create(world, key))[0] == 400
    assert await all_pages(world) == [[]]


async def test_a_key_stands_once(world: World) -> None:
    headers = [*world.bearer().items(), ("Idempotency-Key", "a"), ("Idempotency-Key", "b")]
    async with world.http.post("/v1/engagements", json=BODY, headers=headers) as answer:
        assert answer.status == 400


@pytest.mark.parametrize("space", ["rosters", "lists", "engagements", "active"])
async def test_a_creation_that_broke_off_is_finished_by_its_repetition(
    world: World, monkeypatch: pytest.MonkeyPatch, space: str
) -> None:
    hub: Hub = world.running.relay.hub
    whole = type(hub.directory).put
    whole_many = type(hub.directory).put_many

    async def put(self: Any, place: str, *args: Any, **options: Any) -> Any:
        if place == space:
            raise StoreUnavailable("the power went")
        return await whole(self, place, *args, **options)

    async def put_many(self: Any, place: str, *args: Any) -> Any:
        if place == space:
            raise StoreUnavailable("the power went")
        return await whole_many(self, place, *args)

    with monkeypatch.context() as broken:
        broken.setattr(type(hub.directory), "put", put)
        broken.setattr(type(hub.directory), "put_many", put_many)
        assert (await create(world, "k1"))[0] == 503
    status, made = await create(world, "k1")
    assert status == 201
    assert flat(await all_pages(world)) == flat(await all_pages(world, user="ben")) == [made["id"]]
    async with world.device("anna") as device:
        assert await device.blob_access(made["id"])


async def test_keys_are_kept_a_day(world: World) -> None:
    hub = world.running.relay.hub
    _, made = await create(world, "k1")
    now = int(hub.clock())
    await hub.engagements.idempotency.sweep(now + rules.KEEP_SECONDS - 60)
    assert await create(world, "k1") == (201, made)
    await hub.engagements.idempotency.sweep(now + rules.KEEP_SECONDS + 60)
    assert await hub.directory.count("idempotency", "") == 0
    assert (await create(world, "k1"))[1]["id"] != made["id"]


async def test_a_key_whose_time_is_over_is_free_before_it_is_swept(world: World) -> None:
    hub = world.running.relay.hub
    _, made = await create(world, "k1")
    ((key, value),) = await hub.directory.scan("idempotency", "", limit=2)
    version, fingerprint, at, engagement = msgpack.unpackb(value)
    old = msgpack.packb([version, fingerprint, at - rules.KEEP_SECONDS, engagement])
    await hub.directory.put("idempotency", key, old)
    status, again = await create(world, "k1", {"participants": PAIR[:1]})
    assert (status, again["id"] != made["id"]) == (201, True)


async def test_there_are_only_so_many_keys(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(idempotency, "MAX_KEYS", 2)
    _, made = await create(world, "k1")
    await create(world, "k2")
    assert (await create(world, "k3"))[0] == 429
    assert await create(world, "k1") == (201, made)
    assert (await create(world, "k1", portal=OTHER))[0] == 201


async def test_a_key_is_not_kept_as_it_is(world: World) -> None:
    await create(world, "anna@example.org")
    ((key, value),) = await world.running.relay.hub.directory.scan("idempotency", "", limit=2)
    assert "anna@example" not in key
    assert b"anna@example" not in value


def test_a_kept_answer_comes_back() -> None:
    record = EngagementRecord.parse(
        msgpack.packb([1, f"eng_{'A' * 22}", "growth", 7, 0, 720, [["anna", "coach"]]])
    )
    kept = rules.KeptAnswer(fingerprint=b"f" * 32, at=9, engagement=record)
    assert rules.KeptAnswer.parse(kept.serialize()) == kept
