"""Every route, with every kind of credentials, about one's own objects, somebody else's, and none.

The table is held against the application: a route that is not in it fails the test.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest

from relay.wire.ids import EngagementId
from tests.relay.http.support import OTHER, PORTAL, Device, World, world_in

NOWHERE = "eng_" + "A" * 22
NO_BLOB = "A" * 22
NO_DEVICE = "0" * 32
TUS = {"Tus-Resumable": "1.0.0"}
PATCH = {**TUS, "Content-Type": "application/offset+octet-stream", "Upload-Offset": "0"}
ROSTER = {"participants": [{"user": "mallory", "role": "coach"}]}

PUBLIC, API, BLOB = "public", "api", "blob"


@dataclass(frozen=True, slots=True)
class Row:
    """A route: who may, and whether its path names an object of somebody's."""

    method: str
    path: str
    who: str
    named: bool = True


ROWS = [
    Row("GET", "/livez", PUBLIC, named=False),
    Row("HEAD", "/livez", PUBLIC, named=False),
    Row("GET", "/readyz", PUBLIC, named=False),
    Row("HEAD", "/readyz", PUBLIC, named=False),
    Row("GET", "/v1/openapi.json", PUBLIC, named=False),
    Row("GET", "/v1/connect", PUBLIC, named=False),  # what a device may there, its frames' own tests tell
    Row("OPTIONS", "/v1/blobs", PUBLIC, named=False),
    Row("OPTIONS", "/v1/blobs/{id}", PUBLIC, named=False),
    Row("POST", "/v1/engagements", API, named=False),
    Row("GET", "/v1/engagements", API, named=False),
    Row("GET", "/v1/engagements/{id}", API),
    Row("PUT", "/v1/engagements/{id}/participants", API),
    Row("POST", "/v1/engagements/{id}/end", API),
    Row("GET", "/v1/users/{user}/devices", API, named=False),
    Row("DELETE", "/v1/users/{user}/devices/{device}", API),
    Row("DELETE", "/v1/users/{user}/device-lists/{list}", API),
    Row("POST", "/v1/users/{user}/revoke-tokens", API, named=False),
    Row("POST", "/v1/blobs", BLOB, named=False),
    Row("HEAD", "/v1/blobs/{id}", BLOB),
    Row("GET", "/v1/blobs/{id}", BLOB),
    Row("PATCH", "/v1/blobs/{id}", BLOB),
    Row("POST", "/v1/blobs/{id}", BLOB),
    Row("DELETE", "/v1/blobs/{id}", BLOB),
]


@dataclass(slots=True)
class Scene:
    """A relay where anna and ben have an engagement with a file, and what everybody else can show."""

    world: World
    engagement: EngagementId
    blob: str
    anna: Device
    list: str
    hers: dict[str, str]
    strangers: dict[str, dict[str, str]]

    def address(self, row: Row, *, real: bool) -> str:
        is_blob = row.path.startswith("/v1/blobs")
        named = (self.blob if is_blob else self.engagement) if real else (NO_BLOB if is_blob else NOWHERE)
        device = self.anna.id.hex() if real else NO_DEVICE
        return row.path.format(id=named, user="anna", device=device, list=self.list if real else NO_DEVICE)

    async def ask(self, row: Row, credentials: dict[str, str], *, real: bool) -> tuple[int, str]:
        """What a route answers; every request is otherwise in order."""
        headers, options = dict(credentials), dict[str, Any]()
        if row.path.startswith("/v1/blobs"):
            headers |= PATCH if row.method in ("PATCH", "POST") else TUS
            if row.method == "POST":
                headers |= {"Upload-Length": "6", "X-HTTP-Method-Override": "PATCH"}
            options = {"data": BytesIO(b"stolen")} if row.method in ("PATCH", "POST") else {}
        elif row.method in ("POST", "PUT") and not row.path.endswith("/end"):
            options = {"json": {} if row.path.endswith("revoke-tokens") else ROSTER}
        address = self.address(row, real=real)
        async with self.world.http.request(row.method, address, headers=headers, **options) as answer:
            return answer.status, await answer.text()

    async def check_untouched(self) -> None:
        """Nothing that is anna's and ben's has changed."""
        path = f"/v1/engagements/{self.engagement}"
        async with self.world.http.get(path, headers=self.world.bearer()) as answer:
            found = await answer.json()
        users = [who["user"] for who in found["participants"]]
        assert (found["status"], users) == ("active", ["anna", "ben"])
        async with self.world.http.get(f"/v1/blobs/{self.blob}", headers=self.hers) as answer:
            assert await answer.read() == b"sealed"
        async with self.world.http.get("/v1/users/anna/devices", headers=self.world.bearer()) as answer:
            told = await answer.json()
        assert self.anna.id.hex() in {one["device"] for one in told["devices"]}
        assert told["device_list"] == self.list


@pytest.fixture
async def scene(tmp_path: Path) -> AsyncIterator[Scene]:
    async with world_in(tmp_path) as world, world.device("anna") as anna:
        engagement = await world.engagement("anna", "ben")
        hers = await anna.blob_access(engagement)
        headers = {**TUS, **hers, "Upload-Length": "6"}
        async with world.http.post("/v1/blobs", headers=headers) as answer:
            path = answer.headers["Location"]
        async with world.http.patch(path, data=BytesIO(b"sealed"), headers=PATCH | hers) as answer:
            assert answer.status == 204
        own = await world.engagement("mallory")
        elsewhere = await world.engagement("anna", portal=OTHER)
        strangers = {
            "nobody": {},
            "a guess": {"Authorization": "Bearer x"},
            "basic": {"Authorization": "Basic Z3Jvd3RoOng="},
            "a user's token": {"Authorization": f"Bearer {world.token('anna')}"},
            "the other portal": world.bearer(OTHER),
            "the other portal's user": await world.blob_access(elsewhere, "anna", portal=OTHER),
            "another engagement": await world.blob_access(own, "mallory"),
        }
        await anna.put_list("anna")
        async with world.http.get("/v1/users/anna/devices", headers=world.bearer()) as answer:
            listed = (await answer.json())["device_list"]
        yield Scene(world, engagement, path.rpartition("/")[2], anna, listed, hers, strangers)


async def test_every_route_is_in_the_table(scene: Scene) -> None:
    real = [
        (route.method, route.resource.canonical)
        for route in scene.world.running.app.app.router.routes()
        if route.resource is not None
    ]
    assert sorted(real) == sorted((row.method, row.path) for row in ROWS)


GOOD = {API: {"the other portal"}, BLOB: {"the other portal's user", "another engagement"}}


@pytest.mark.parametrize(
    "row", [row for row in ROWS if row.who != PUBLIC], ids=lambda row: f"{row.method} {row.path}"
)
async def test_nobody_does_or_learns_anything_about_what_is_not_theirs(scene: Scene, row: Row) -> None:
    """Who is nobody here is refused before anything is looked for; to who is somebody it does not exist."""
    for name, credentials in scene.strangers.items():
        about_theirs = await scene.ask(row, credentials, real=True)
        assert about_theirs == await scene.ask(row, credentials, real=False) or not row.named, name
        if name not in GOOD[row.who]:
            assert about_theirs[0] == 401, name
        elif row.named:
            assert about_theirs[0] == 404, name
        for secret in (scene.engagement, scene.blob, scene.anna.id.hex(), scene.list, PORTAL):
            assert secret not in about_theirs[1], name
    await scene.check_untouched()


@pytest.mark.parametrize("row", [row for row in ROWS if row.who == API], ids=lambda row: row.path)
async def test_a_devices_blob_token_is_no_api_key(scene: Scene, row: Row) -> None:
    assert (await scene.ask(row, scene.hers, real=True))[0] == 401
    await scene.check_untouched()


@pytest.mark.parametrize("row", [row for row in ROWS if row.who == BLOB], ids=lambda row: row.path)
async def test_an_api_key_is_no_blob_token(scene: Scene, row: Row) -> None:
    """The portal invites; what is in the files is not for it."""
    assert (await scene.ask(row, scene.world.bearer(), real=True))[0] == 401
    await scene.check_untouched()


async def test_who_may_may(scene: Scene) -> None:
    """The same requests, by who they belong to: so that a refusal above is not for another reason."""
    told = {}
    for row in sorted(ROWS, key=lambda row: row.method == "PUT"):  # which takes her off the roster
        if row.who != PUBLIC and row.method != "DELETE" and not row.path.endswith(("/end", "revoke-tokens")):
            credentials = scene.world.bearer() if row.who == API else scene.hers
            told[row.method, row.path] = (await scene.ask(row, credentials, real=True))[0]
    blob = ("POST", "/v1/blobs/{id}"), ("PATCH", "/v1/blobs/{id}")
    assert {told.pop(one) for one in blob} == {409}, "all of it is there: another offset"
    assert set(told.values()) <= {200, 201, 204}, told
