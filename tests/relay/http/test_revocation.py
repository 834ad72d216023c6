"""Access taken back by the portal or the operator: at once, for whom it is meant, and for nobody else."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from io import BytesIO
from typing import Any

import aiohttp
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from nacl.signing import SigningKey

from relay.core.blob_access import BlobGrant
from relay.core.portals import secret_text
from relay.core.token_keys import key_id
from relay.core.uploads import UploadRecord
from relay.http.blob_requests import BlobRequests
from relay.http.tokens import NO_KEY
from relay.hub import Portals
from relay.hub.access import Access
from relay.store.sqlite import SqliteDirectory
from relay.wire import frames as fr
from relay.wire.ids import BlobId, DeviceId, PortalId, UserId
from tests.relay.http.support import OTHER, PORTAL, Device, World

GROWTH = PortalId(PORTAL)
TUS = {"Tus-Resumable": "1.0.0"}


async def ask(
    world: World, method: str, path: str, *, portal: str = PORTAL, **options: Any
) -> tuple[int, str]:
    async with world.http.request(method, path, headers=world.bearer(portal), **options) as answer:
        return answer.status, await answer.text()


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not condition():  # noqa: ASYNC110 - the relay tells nobody but itself
            await asyncio.sleep(0)


async def revoke(world: World, user: str, /, **body: Any) -> int:
    return (await ask(world, "POST", f"/v1/users/{user}/revoke-tokens", json=body))[0]


async def farewell(device: Device) -> str:
    """The code of the goodbye; nothing comes after it."""
    last = (await device.rest())[-1]
    assert isinstance(last, fr.Goodbye)
    return last.code


async def answer_to(world: World, token: str, key: SigningKey | None = None) -> str:
    async with Device.connect(world) as device:
        device.key = key or device.key
        answer = await device.prove(token)
        return "let in" if isinstance(answer, fr.Ready) else str(answer.code)


def later(seconds: int = 2) -> dict[str, Any]:
    """The times of a token that is made after a revocation."""
    now = int(time.time()) + seconds
    return {"iat": now, "nbf": now, "exp": now + 600}


# -- by the portal ---------------------------------------------------------------------------------


async def test_a_users_connections_end_at_once_and_their_tokens_are_refused(world: World) -> None:
    before = world.token("anna")
    async with world.device("anna") as phone, world.device("anna") as laptop, world.device("ben") as ben:
        assert await revoke(world, "anna") == 204
        assert [await farewell(phone), await farewell(laptop)] == ["token_revoked"] * 2
        assert await answer_to(world, before) == "token_revoked"
        assert await answer_to(world, world.token("anna", **later())) == "let in"
        await ben.send(fr.ListEngagements(1))
        await ben.wait_for(fr.Engagements)


async def test_one_token_is_revoked_by_its_jti(world: World) -> None:
    stolen, other = world.token("anna", jti="stolen"), world.token("anna", jti="other")
    async with Device.connect(world) as thief, Device.connect(world) as owner:
        await thief.prove(stolen)
        await owner.prove(other)
        assert await revoke(world, "anna", jti="stolen") == 204
        assert await farewell(thief) == "token_revoked"
        assert await answer_to(world, stolen) == "token_revoked"
        await owner.send(fr.ListEngagements(1))
        await owner.wait_for(fr.Engagements)


async def test_a_revoked_token_does_not_renew(world: World) -> None:
    stolen = world.token("anna", jti="stolen")
    assert await revoke(world, "anna", jti="stolen") == 204
    async with world.device("anna") as device:
        await device.send(fr.Renew(1, stolen))
        assert await farewell(device) == "token_revoked"


async def test_what_counts_is_the_token_a_connection_has_now(world: World) -> None:
    async with Device.connect(world) as device:
        await device.prove(world.token("anna", jti="first"))
        await device.send(fr.Renew(1, world.token("anna", jti="second")))
        await device.wait_for(fr.Renewed)
        assert await revoke(world, "anna", jti="first") == 204
        await device.send(fr.ListEngagements(2))
        await device.wait_for(fr.Engagements)
        assert await revoke(world, "anna", jti="second") == 204
        assert await farewell(device) == "token_revoked"


async def test_a_device_is_shut_out_for_good_and_makes_room(world: World) -> None:
    engagement = await world.engagement("anna", "ben")
    async with world.device("anna") as lost, world.device("anna") as kept, world.device("ben") as ben:
        status, told = await ask(world, "GET", "/v1/users/anna/devices")
        assert status == 200
        assert {lost.id.hex(), kept.id.hex()} == {one["device"] for one in json.loads(told)["devices"]}
        assert (await ask(world, "DELETE", f"/v1/users/anna/devices/{lost.id.hex()}")) == (204, "")
        assert await farewell(lost) == "device_revoked"
        assert await answer_to(world, world.token("anna", **later()), lost.key) == "device_revoked"
        devices = {lost.id}
        while lost.id in devices:
            devices = {d.device for d in (await ben.wait_for(fr.EngagementChanged)).engagement.devices}
        await kept.send(fr.Open(1, engagement, 0))
        await kept.wait_for(fr.Opened)
    told = (await ask(world, "GET", "/v1/users/anna/devices"))[1]
    assert [one["device"] for one in json.loads(told)["devices"]] == [kept.id.hex()]


async def list_of(world: World, user: str, *, portal: str = PORTAL) -> str | None:
    told = (await ask(world, "GET", f"/v1/users/{user}/devices", portal=portal))[1]
    found: str | None = json.loads(told)["device_list"]
    return found


async def test_a_list_is_ended_and_the_next_one_is_a_first_one(world: World) -> None:
    """The user has lost everything, and comes with another identity."""
    assert await list_of(world, "anna") is None
    async with world.device("anna") as lost, world.device("anna") as anew:
        assert await lost.put_list("anna") is not None
        name = await list_of(world, "anna")
        before = await anew.put_list("anna")
        assert await list_of(world, "anna") == name, "another identity changes nothing"
        assert await ask(world, "DELETE", f"/v1/users/anna/device-lists/{name}") == (204, "")
        assert [await farewell(lost), await farewell(anew)] == ["device_revoked", "token_revoked"]
        assert await list_of(world, "anna") is None
        assert await answer_to(world, world.token("anna", **later()), lost.key) == "device_revoked"
        async with Device.connect(world) as again:
            again.key = anew.key
            await again.prove(world.token("anna", **later()))
            held = await again.put_list("anna")
            assert held != before
            assert await list_of(world, "anna") not in (None, name)
            # The portal asks again, as it does when an answer was lost: it ends nothing more.
            assert (await ask(world, "DELETE", f"/v1/users/anna/device-lists/{name}"))[0] == 404
            await again.send(fr.ListEngagements(1))
            await again.wait_for(fr.Engagements)


async def test_another_portals_users_and_devices_are_out_of_reach(world: World) -> None:
    async with world.device("anna") as anna, world.device("anna", portal=OTHER) as namesake:
        nobody = "00" * 16
        for device in (anna.id.hex(), nobody):
            for user in ("anna", "ben"):
                told = await ask(world, "DELETE", f"/v1/users/{user}/devices/{device}", portal=OTHER)
                assert told == await ask(world, "DELETE", f"/v1/users/{user}/devices/{nobody}", portal=OTHER)
                assert told[0] == 404
        assert await ask(world, "DELETE", f"/v1/users/ben/devices/{anna.id.hex()}") == (404, told[1])
        told = await ask(world, "GET", "/v1/users/anna/devices", portal=OTHER)
        assert [one["device"] for one in json.loads(told[1])["devices"]] == [namesake.id.hex()]
        assert await ask(world, "POST", "/v1/users/anna/revoke-tokens", portal=OTHER, json={}) == (204, "")
        assert await farewell(namesake) == "token_revoked"
        await anna.send(fr.ListEngagements(1))
        await anna.wait_for(fr.Engagements)


@pytest.mark.parametrize(
    "body",
    [
        {"jti": ""},
        {"jti": "x" * 129},
        {"jti": 1},
        {"jti": None},
        {"issued_before": -1},
        {"issued_before": 2**40},
        {"issued_before": "now"},
        {"issued_before": True},
        {"issued_before": 1, "jti": "x"},
        {"user": "ben"},
    ],
    ids=repr,
)
async def test_a_body_of_another_form_revokes_nothing(world: World, body: Any) -> None:
    async with world.device("anna") as device:
        assert await revoke(world, "anna", **body) == 400
        await device.send(fr.ListEngagements(1))
        await device.wait_for(fr.Engagements)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v1/users/a%20b/devices"),
        ("GET", f"/v1/users/{'a' * 65}/devices"),
        ("DELETE", "/v1/users/anna/devices/x"),
        ("DELETE", "/v1/users/anna/devices/" + "0" * 31),
        ("DELETE", "/v1/users/anna/devices/" + "AB" * 16),
        ("DELETE", "/v1/users/anna/devices/%20" + "0" * 31),
        ("DELETE", "/v1/users/anna/device-lists/x"),
        ("DELETE", "/v1/users/anna/device-lists/" + "AB" * 16),
        ("DELETE", "/v1/users/anna/device-lists/%20" + "0" * 31),
        ("DELETE", "/v1/users/-/device-lists/" + "0" * 32),
        ("POST", "/v1/users/-/revoke-tokens"),
    ],
)
async def test_what_is_no_name_is_not_found(world: World, method: str, path: str) -> None:
    assert (await ask(world, method, path, json={}))[0] == 404


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v1/users/anna/devices"),
        ("DELETE", f"/v1/users/anna/devices/{'0' * 32}"),
        ("DELETE", f"/v1/users/anna/device-lists/{'0' * 32}"),
        ("POST", "/v1/users/anna/revoke-tokens"),
    ],
)
async def test_only_a_portal_may(world: World, method: str, path: str) -> None:
    async with world.device("anna") as device:
        for key in ("", "Bearer x", f"Bearer {world.token('anna')}"):
            async with world.http.request(method, path, headers={"Authorization": key}, json={}) as answer:
                assert answer.status == 401
        await device.send(fr.ListEngagements(1))
        await device.wait_for(fr.Engagements)


# -- files -----------------------------------------------------------------------------------------


async def upload(world: World, access: dict[str, str], data: bytes) -> str:
    async with world.http.post(
        "/v1/blobs", headers={**TUS, **access, "Upload-Length": str(len(data))}
    ) as answer:
        path = answer.headers["Location"]
    headers = {**TUS, **access, "Upload-Offset": "0", "Content-Type": "application/offset+octet-stream"}
    async with world.http.patch(path, data=BytesIO(data), headers=headers) as answer:
        assert answer.status == 204
    return path


async def fetched(world: World, path: str, access: dict[str, str]) -> int:
    async with world.http.get(path, headers=access) as answer:
        await answer.read()
        return answer.status


async def test_blob_tokens_end_with_the_tokens_and_the_device(world: World) -> None:
    engagement = await world.engagement("anna", "ben")
    async with world.device("anna") as anna, world.device("ben") as ben:
        hers, his = await anna.blob_access(engagement), await ben.blob_access(engagement)
        path = await upload(world, his, b"sealed")
        assert await fetched(world, path, hers) == 200
        assert await revoke(world, "anna") == 204
        assert await fetched(world, path, hers) == 401
        assert await fetched(world, path, his) == 200
        assert (await ask(world, "DELETE", f"/v1/users/ben/devices/{ben.id.hex()}"))[0] == 204
        assert await fetched(world, path, his) == 401


async def test_an_upload_under_way_is_cut(world: World) -> None:
    engagement = await world.engagement("anna")
    started, never = asyncio.Event(), asyncio.Event()

    async def slow() -> Any:
        yield b"1234"
        started.set()
        await never.wait()

    async with world.device("anna") as device:
        access = await device.blob_access(engagement)
        async with world.http.post("/v1/blobs", headers={**TUS, **access, "Upload-Length": "9"}) as answer:
            path = answer.headers["Location"]
        headers = {**TUS, **access, "Upload-Offset": "0", "Content-Type": "application/offset+octet-stream"}

        async def patch() -> None:
            async with world.http.patch(path, data=slow(), headers=headers):
                raise AssertionError("it went on")

        patching = asyncio.create_task(patch())
        await started.wait()
        await until(lambda: bool(_transfers(world.running.relay.hub.access)))
        assert await revoke(world, "anna") == 204
        with pytest.raises((aiohttp.ClientError, ConnectionError)):
            await patching


@pytest.mark.parametrize("taken_back", ["tokens", "device", "portal"])
async def test_what_is_taken_back_just_before_a_transfer_is_noted_stops_it_too(
    world: World, monkeypatch: pytest.MonkeyPatch, taken_back: str
) -> None:
    """Its token was looked at already, and it was not yet among those that are cut."""
    engagement = await world.engagement("anna")
    async with world.device("anna") as device:
        access = await device.blob_access(engagement)
        path = await upload(world, access, b"sealed")
        read = BlobRequests.record

        async def record(requests: BlobRequests, grant: BlobGrant, blob: BlobId) -> UploadRecord:
            found = await read(requests, grant, blob)
            if taken_back == "portal":
                await world.running.relay.hub.portals.remove(GROWTH)
            elif taken_back == "tokens":
                assert await revoke(world, "anna") == 204
            else:
                assert (await ask(world, "DELETE", f"/v1/users/anna/devices/{device.id.hex()}"))[0] == 204
            return found

        monkeypatch.setattr(BlobRequests, "record", record)
        assert await fetched(world, path, access) == (404 if taken_back == "portal" else 401)
        assert not _transfers(world.running.relay.hub.access)


def _transfers(access: Access) -> int:
    return len(access._transfers)


# -- by the operator, from another process -----------------------------------------------------------


class Operator:
    """The CLI's view of the portals: the same files, not the relay's objects."""

    def __init__(self, world: World) -> None:
        self._directory = SqliteDirectory.open(world.running.relay.settings.data_dir)
        self.portals = Portals(self._directory, clock=time.time, rng=lambda n: b"n" * n)

    async def close(self) -> None:
        await self._directory.close()


@pytest.fixture
async def operator(world: World) -> Any:
    made = Operator(world)
    yield made
    await made.close()


async def test_a_removed_portals_devices_are_sent_away(world: World, operator: Operator) -> None:
    engagement = await world.engagement("anna")
    async with world.device("anna") as anna, world.device("anna", portal=OTHER) as other:
        access = await anna.blob_access(engagement)
        path = await upload(world, access, b"sealed")
        await operator.portals.remove(GROWTH)
        assert await farewell(anna) == "token_invalid"
        assert await answer_to(world, world.token("anna")) == "token_invalid"
        assert await fetched(world, path, access) in (401, 404)
        await other.send(fr.ListEngagements(1))
        await other.wait_for(fr.Engagements)


async def test_a_rotation_ends_what_the_former_secret_let_in(world: World, operator: Operator) -> None:
    before = world.token("anna")
    async with world.device("anna") as anna:
        world.keys[PORTAL] = await operator.portals.rotate(GROWTH)
        assert await farewell(anna) == "token_invalid"
    assert await answer_to(world, before) == "token_invalid"
    assert await answer_to(world, world.token("anna")) == "let in"


async def test_with_an_overlap_both_count_and_the_former_one_ends_its_tokens(
    world: World, operator: Operator
) -> None:
    former = world.keys[PORTAL]
    async with world.device("anna") as anna:
        world.keys[PORTAL] = await operator.portals.rotate(GROWTH, overlap=60)
        await world.running.relay.hub.access.poll()
        await anna.send(fr.ListEngagements(1))
        await anna.wait_for(fr.Engagements)
    assert await answer_to(world, world.token("anna")) == "let in"
    claims = jwt.decode(world.token("anna"), options={"verify_signature": False})
    old = jwt.encode(claims, secret_text(former.record.token_secret), algorithm="HS256")
    async with Device.connect(world) as device:
        ready = await device.prove(old)
        assert isinstance(ready, fr.Ready)
        assert ready.token_expires <= time.time() + 60


async def test_a_registered_key_lets_in_until_it_is_removed(world: World, operator: Operator) -> None:
    private = Ed25519PrivateKey.generate()
    public = private.public_key().public_bytes_raw()
    claims = jwt.decode(world.token("anna"), options={"verify_signature": False})

    def signed(kid: str, key: Ed25519PrivateKey = private) -> str:
        return jwt.encode(claims, key, algorithm="EdDSA", headers={"kid": kid})

    assert await answer_to(world, signed(key_id(public))) == "token_invalid"
    await operator.portals.add_token_key(GROWTH, public)
    assert await answer_to(world, signed("A" * 43)) == "token_invalid"
    assert await answer_to(world, signed(key_id(public), Ed25519PrivateKey.generate())) == "token_invalid"
    async with Device.connect(world) as device, world.device("anna") as by_secret:
        assert isinstance(await device.prove(signed(key_id(public))), fr.Ready)
        await operator.portals.remove_token_key(GROWTH, key_id(public))
        assert await farewell(device) == "token_invalid"
        await by_secret.send(fr.ListEngagements(1))
        await by_secret.wait_for(fr.Engagements)


async def test_another_portals_registered_key_does_not_count(world: World, operator: Operator) -> None:
    private = Ed25519PrivateKey.generate()
    public = private.public_key().public_bytes_raw()
    await operator.portals.add_token_key(PortalId(OTHER), public)
    claims = jwt.decode(world.token("anna"), options={"verify_signature": False})
    text = jwt.encode(claims, private, algorithm="EdDSA", headers={"kid": key_id(public)})
    assert await answer_to(world, text) == "token_invalid"


async def test_an_unknown_portals_token_is_refused_whatever_signs_it(world: World) -> None:
    """The key that makes an unknown portal take as long as a known one stands in our source."""
    claims = jwt.decode(world.token("anna"), options={"verify_signature": False}) | {"iss": "nobody"}
    assert await answer_to(world, jwt.encode(claims, NO_KEY.secret, algorithm="HS256")) == "token_invalid"
    known = Ed25519PrivateKey.from_private_bytes(
        bytes.fromhex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60")
    )
    text = jwt.encode(claims, known, algorithm="EdDSA", headers={"kid": "A" * 43})
    assert await answer_to(world, text) == "token_invalid"


async def test_what_is_over_is_forgotten_and_revoked_devices_are_not(world: World) -> None:
    hub = world.running.relay.hub
    async with world.device("anna") as device, world.device("ben"):
        await hub.access.revoke_tokens(GROWTH, UserId("ben"))
        await hub.access.revoke_device(GROWTH, UserId("anna"), DeviceId(device.id))
        assert len(await hub.directory.scan("revocations", "", limit=9)) == 2
        await hub.access.sweep(int(time.time()) + 10_000)
        assert [key for key, _ in await hub.directory.scan("revocations", "", limit=9)] == ["growth/anna"]
