"""Every route for every role against everybody's objects: not yours looks exactly like not there."""

from __future__ import annotations

import secrets
import time
from dataclasses import dataclass
from typing import Any

import pytest

from relay.core.blob_access import BlobGrant, mint_blob_token
from relay.wire import frames as fr
from relay.wire.ids import BlobId, DeviceId, EngagementId
from tests.relay.http.support import OTHER, PORTAL, World

TUS = {"Tus-Resumable": "1.0.0"}
ROSTER = {"participants": [{"user": "eve", "role": "coach"}]}
NO_ENGAGEMENT = f"eng_{'A' * 22}"
NO_BLOB = "A" * 22

ENGAGEMENT_ROUTES: list[tuple[str, str, Any]] = [
    ("GET", "/v1/engagements/{}", None),
    ("PUT", "/v1/engagements/{}/participants", ROSTER),
    ("POST", "/v1/engagements/{}/end", None),
]
BLOB_ROUTES: list[tuple[str, dict[str, str], bytes | None]] = [
    ("GET", {}, None),
    ("GET", {"Range": "bytes=0-0"}, None),
    ("HEAD", TUS, None),
    ("PATCH", {**TUS, "Content-Type": "application/offset+octet-stream", "Upload-Offset": "0"}, b"x"),
    (
        "POST",
        {
            **TUS,
            "X-HTTP-Method-Override": "PATCH",
            "Content-Type": "application/offset+octet-stream",
            "Upload-Offset": "0",
        },
        b"x",
    ),
]


@dataclass(frozen=True, slots=True)
class Objects:
    """Two portals, and in the first two engagements with a blob each."""

    mine: EngagementId
    foreign: EngagementId
    my_access: dict[str, str]
    foreign_blob: BlobId
    other_portal_access: dict[str, str]
    finished_blob: BlobId


@pytest.fixture
async def objects(world: World) -> Objects:
    mine, foreign = await world.engagement("anna", "ben"), await world.engagement("carla", "dora")
    elsewhere = await world.engagement("anna", "ben", portal=OTHER)
    relay = world.running.relay
    blobs = []
    for engagement in (foreign, mine):
        record = await relay.hub.uploads.begin(engagement, 5)
        await relay.blobs.append(record.blob, b"12345", offset=0)
        await relay.hub.uploads.finish(engagement, record.blob)
        blobs.append(record.blob)
    return Objects(
        mine=mine,
        foreign=foreign,
        my_access=await world.blob_access(mine, "anna"),
        foreign_blob=blobs[0],
        other_portal_access=await world.blob_access(elsewhere, "anna", portal=OTHER),
        finished_blob=blobs[1],
    )


async def answer(
    world: World, method: str, path: str, headers: dict[str, str], **options: Any
) -> tuple[int, str, set[str]]:
    """Everything that a peer sees of an answer, but for the time."""
    async with world.http.request(method, path, headers=headers, **options) as got:
        return got.status, await got.text(), {f"{k}: {v}" for k, v in got.headers.items() if k != "Date"}


# -- the portal API ------------------------------------------------------------------------------------


@pytest.mark.parametrize(("method", "path", "body"), ENGAGEMENT_ROUTES)
async def test_another_portals_engagement_looks_like_none(
    world: World, objects: Objects, method: str, path: str, body: Any
) -> None:
    key = world.bearer(OTHER)
    foreign = await answer(world, method, path.format(objects.mine), key, json=body)
    missing = await answer(world, method, path.format(NO_ENGAGEMENT), key, json=body)
    nonsense = await answer(world, method, path.format("x"), key, json=body)
    assert foreign[0] == 404
    assert foreign == missing == nonsense
    async with world.http.get(f"/v1/engagements/{objects.mine}", headers=world.bearer()) as read:
        unchanged = await read.json()
    assert unchanged["status"] == "active"
    assert [one["user"] for one in unchanged["participants"]] == ["anna", "ben"]


@pytest.mark.parametrize(
    ("method", "path", "body"), [*ENGAGEMENT_ROUTES, ("POST", "/v1/engagements", ROSTER)]
)
async def test_only_portals_use_the_portal_api(
    world: World, objects: Objects, method: str, path: str, body: Any
) -> None:
    user_token = {"Authorization": f"Bearer {world.token('anna')}"}
    for headers in ({}, objects.my_access, user_token):
        for engagement in (objects.mine, NO_ENGAGEMENT):
            status, _text, _headers = await answer(world, method, path.format(engagement), headers, json=body)
            assert status == 401


# -- blobs ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("method", "headers", "body"), BLOB_ROUTES)
async def test_another_engagements_blob_looks_like_none(
    world: World, objects: Objects, method: str, headers: dict[str, str], body: bytes | None
) -> None:
    for access, theirs in (
        (objects.my_access, objects.foreign_blob),
        (objects.other_portal_access, objects.foreign_blob),
        (objects.other_portal_access, objects.finished_blob),
    ):
        foreign = await answer(world, method, f"/v1/blobs/{theirs}", headers | access, data=body)
        missing = await answer(world, method, f"/v1/blobs/{NO_BLOB}", headers | access, data=body)
        nonsense = await answer(world, method, "/v1/blobs/x", headers | access, data=body)
        assert foreign[0] == 404
        assert foreign == missing == nonsense
    assert await world.running.relay.blobs.size(objects.foreign_blob) == 5


@pytest.mark.parametrize(
    ("method", "headers", "body"), [*BLOB_ROUTES, ("CREATE", {**TUS, "Upload-Length": "5"}, None)]
)
async def test_only_blob_tokens_open_blobs(
    world: World, objects: Objects, method: str, headers: dict[str, str], body: bytes | None
) -> None:
    path = "/v1/blobs" if method == "CREATE" else f"/v1/blobs/{objects.finished_blob}"
    method = "POST" if method == "CREATE" else method
    good = objects.my_access["Authorization"]
    for authorization in (
        None,
        "",
        f"Bearer {world.keys[PORTAL].api_key}",
        f"Bearer {world.token('anna')}",
        good.replace("Bearer", "Basic"),
        good[:-9] + ("A" if good[-9] != "A" else "B") + good[-8:],
        good + "A",
        "Bearer " + "A" * 200,
        "Bearer é",
    ):
        sent = headers | ({} if authorization is None else {"Authorization": authorization})
        status, _text, seen = await answer(world, method, path, sent, data=body)
        assert status == 401
        assert any(header.startswith("WWW-Authenticate: Bearer") for header in seen)


async def test_a_token_of_our_form_under_another_secret_is_refused(world: World, objects: Objects) -> None:
    granted = BlobGrant(
        world.keys[PORTAL].record.id, objects.mine, DeviceId(bytes(16)), int(time.time()) + 60
    )
    forged = mint_blob_token(secrets.token_bytes(32), granted)
    headers = {"Authorization": f"Bearer {forged}"}
    assert (await answer(world, "GET", f"/v1/blobs/{objects.finished_blob}", headers))[0] == 401


async def test_an_expired_token_is_refused_by_name(
    world: World, objects: Objects, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("relay.hub.blob_access.BLOB_TOKEN_SECONDS", -1)
    expired = await world.blob_access(objects.mine, "anna")
    status, text, _headers = await answer(world, "GET", f"/v1/blobs/{objects.finished_blob}", expired)
    assert status == 401
    assert "token_expired" in text


async def test_a_device_that_never_connected_has_no_access(world: World, objects: Objects) -> None:
    unknown = DeviceId(b"\x01" * 16)
    access = world.running.relay.hub.blob_access
    token, _expires = access.mint(world.keys[PORTAL].record.id, objects.mine, unknown)
    headers = {"Authorization": f"Bearer {token}"}
    assert (await answer(world, "GET", f"/v1/blobs/{objects.finished_blob}", headers))[0] == 401


async def test_who_left_the_roster_is_out_at_once(world: World, objects: Objects) -> None:
    path = f"/v1/blobs/{objects.finished_blob}"
    assert (await answer(world, "GET", path, objects.my_access))[0] == 200
    roster = {"participants": [{"user": "ben", "role": "client"}]}
    changed = f"/v1/engagements/{objects.mine}/participants"
    assert (await answer(world, "PUT", changed, world.bearer(), json=roster))[0] == 200
    assert (await answer(world, "GET", path, objects.my_access))[0] == 404
    headers = objects.my_access | {**TUS, "Upload-Length": "5"}
    assert (await answer(world, "POST", "/v1/blobs", headers))[0] == 404


async def test_the_end_of_an_engagement_closes_its_blobs(world: World, objects: Objects) -> None:
    path = f"/v1/blobs/{objects.finished_blob}"
    assert (await answer(world, "POST", f"/v1/engagements/{objects.mine}/end", world.bearer()))[0] == 200
    assert (await answer(world, "GET", path, objects.my_access))[0] == 404
    await world.running.relay.hub.settle()
    assert objects.finished_blob not in [blob async for blob in world.running.relay.blobs.list()]
    assert await world.running.relay.blobs.size(objects.foreign_blob) == 5


# -- the websocket -------------------------------------------------------------------------------------


@pytest.mark.parametrize("portal", [PORTAL, OTHER])
async def test_a_stranger_gets_nothing_of_an_engagement(world: World, objects: Objects, portal: str) -> None:
    """eve of the same portal, and anna's namesake of another portal."""
    user = "eve" if portal == PORTAL else "anna"
    async with world.device(user, portal=portal) as device:
        seen = []
        for engagement in (objects.foreign, EngagementId(NO_ENGAGEMENT)):
            await device.send(
                fr.Open(1, engagement, 0),
                fr.ClaimKeyPackages(2, engagement, (DeviceId(b"d" * 16),)),
                fr.RequestBlobAccess(3, engagement),
                fr.RequestIceServers(4, engagement),
                fr.Append(engagement, 1, fr.EntryKind.MESSAGE, 0, b"x", ()),
            )
            refusals = [await device.wait_for_any(fr.Error, fr.Refused) for _ in range(5)]
            seen.append({(one[0] if isinstance(one, fr.Error) else 0, one.code) for one in refusals})
        assert {code for _request, code in seen[0]} == {"not_found"}
        assert seen[0] == seen[1]
        await device.send(fr.ListEngagements(9))
        assert objects.foreign not in [one.id for one in (await device.wait_for(fr.Engagements)).engagements]
