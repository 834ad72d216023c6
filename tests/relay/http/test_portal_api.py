"""The portal API: what works, and that everything else is one of a few named problems."""

from __future__ import annotations

import asyncio
import gzip
import json
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from relay.core.limits import Rate
from relay.http import json_body, portal_access
from relay.wire import frames as fr
from tests.relay.http.support import OTHER, World, world_in

PAIR = [{"user": "anna", "role": "coach"}, {"user": "ben", "role": "client"}]
JSON = {"Content-Type": "application/json"}


async def call(
    world: World, method: str, path: str, *, portal: str = "growth", **options: Any
) -> tuple[int, Any]:
    async with world.http.request(method, path, headers=world.bearer(portal), **options) as answer:
        return answer.status, await answer.json(content_type=None)


async def create(world: World, body: Any) -> tuple[int, Any]:
    return await call(world, "POST", "/v1/engagements", json=body)


async def problem(answer: aiohttp.ClientResponse) -> tuple[int, str]:
    """Check that an answer is a problem document; its status and code."""
    body = await answer.json(content_type="application/problem+json")
    assert set(body) == {"type", "title", "status", "code", "detail"}
    assert body["status"] == answer.status
    assert body["type"] == f"urn:coach-relay:problem:{body['code']}"
    return answer.status, body["code"]


# -- what works --------------------------------------------------------------------------------------


async def test_create_and_read(world: World) -> None:
    async with world.http.post(
        "/v1/engagements", json={"participants": PAIR}, headers=world.bearer()
    ) as answer:
        made = await answer.json()
        assert answer.status == 201
        assert answer.headers["Location"] == f"/v1/engagements/{made['id']}"
    assert set(made) == {"id", "status", "created", "ended", "retention_hours", "participants"}
    assert (made["status"], made["ended"], made["retention_hours"]) == ("active", None, 720)
    assert made["participants"] == PAIR
    assert await call(world, "GET", f"/v1/engagements/{made['id']}") == (200, made)


async def test_retention_is_the_portals_choice_within_bounds(world: World) -> None:
    assert (await create(world, {"participants": PAIR, "retention_days": 180}))[1]["retention_hours"] == 4320
    assert (await create(world, {"participants": PAIR, "retention_days": 1}))[1]["retention_hours"] == 24


async def test_the_operator_sets_the_default_retention(tmp_path: Path) -> None:
    async with world_in(tmp_path, default_retention_days=7) as world:
        assert (await create(world, {"participants": PAIR}))[1]["retention_hours"] == 168


async def test_the_roster_changes(world: World) -> None:
    engagement = await world.engagement("anna", "ben")
    roster = [*PAIR, {"user": "carla", "role": "supervisor"}]
    path = f"/v1/engagements/{engagement}/participants"
    status, changed = await call(world, "PUT", path, json={"participants": roster})
    assert (status, changed["participants"]) == (200, roster)
    assert (await call(world, "GET", f"/v1/engagements/{engagement}"))[1] == changed


async def test_who_is_connected_learns_of_a_change(world: World) -> None:
    engagement = await world.engagement("anna", "ben")
    async with world.device("anna") as device:
        await call(
            world, "PUT", f"/v1/engagements/{engagement}/participants", json={"participants": PAIR[:1]}
        )
        users = ["anna", "ben"]
        while users != ["anna"]:  # what is told before is that she has a new device
            changed = await device.wait_for(fr.EngagementChanged)
            users = [one.user for one in changed.engagement.participants]


async def test_an_end_is_for_good_and_may_be_repeated(world: World) -> None:
    engagement = await world.engagement("anna", "ben")
    status, ended = await call(world, "POST", f"/v1/engagements/{engagement}/end")
    assert (status, ended["status"]) == (200, "ended")
    assert ended["ended"] >= ended["created"]
    assert await call(world, "POST", f"/v1/engagements/{engagement}/end", json={}) == (200, ended)
    status, said = await call(
        world, "PUT", f"/v1/engagements/{engagement}/participants", json={"participants": PAIR}
    )
    assert (status, said["code"]) == (409, "ended")


async def test_every_role_of_the_protocol_is_known(world: World) -> None:
    roles = ["coach", "client", "team-member", "supervisor"]
    roster = [{"user": role, "role": role} for role in roles]
    assert (await create(world, {"participants": roster}))[1]["participants"] == roster


# -- what does not -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"participants": None},
        {"participants": {}},
        {"participants": "anna"},
        {"participants": []},
        {"participants": [PAIR[0]] * 2},
        {"participants": [{"user": f"u{n}", "role": "client"} for n in range(33)]},
        {"participants": ["anna"]},
        {"participants": [["anna", "coach"]]},
        {"participants": [{"user": "anna"}]},
        {"participants": [{"role": "coach"}]},
        {"participants": [{"user": "anna", "role": "coach", "name": "Anna"}]},
        {"participants": [{"user": "anna", "role": "boss"}]},
        {"participants": [{"user": "anna", "role": None}]},
        {"participants": [{"user": "anna", "role": ["coach"]}]},
        {"participants": [{"user": "", "role": "coach"}]},
        {"participants": [{"user": "a b", "role": "coach"}]},
        {"participants": [{"user": "ä", "role": "coach"}]},
        {"participants": [{"user": "a" * 65, "role": "coach"}]},
        {"participants": [{"user": "-a", "role": "coach"}]},
        {"participants": [{"user": "a/b", "role": "coach"}]},
        {"participants": [{"user": 1, "role": "coach"}]},
        {"participants": PAIR, "retention_days": 0},
        {"participants": PAIR, "retention_days": 181},
        {"participants": PAIR, "retention_days": -1},
        {"participants": PAIR, "retention_days": 1.5},
        {"participants": PAIR, "retention_days": True},
        {"participants": PAIR, "retention_days": "30"},
        {"participants": PAIR, "retention_days": None},
        {"participants": PAIR, "retention_days": 10**30},
        {"participants": PAIR, "retention": 30},
        {"Participants": PAIR},
    ],
    ids=lambda body: json.dumps(body)[:60],
)
async def test_a_body_of_another_form_is_refused_and_nothing_made(world: World, body: Any) -> None:
    async with world.http.post("/v1/engagements", json=body, headers=world.bearer()) as answer:
        status, code = await problem(answer)
        assert status == 400
        assert code in ("malformed", "invalid_request")
    assert await world.running.relay.hub.engagements.page("") == []


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[]",
        b"1",
        b'"x"',
        b"{",
        b"{}{}",
        b"\xff",
        b'{"participants": NaN}',
        b'{"participants": [], "participants": []}',
        b'{"participants": [{"user": "a", "user": "b", "role": "coach"}]}',
        b'{"participants": ' + b"[" * 20_000,
        b'{"retention_days": ' + b"9" * 5_000 + b"}",
        '{"participants": []}'.encode("utf-16"),
    ],
    ids=lambda body: repr(body[:30]),
)
async def test_what_is_no_json_object_is_refused(world: World, body: bytes) -> None:
    headers = world.bearer() | JSON
    async with world.http.post("/v1/engagements", data=body, headers=headers) as answer:
        assert await problem(answer) == (400, "malformed")


@pytest.mark.parametrize(
    "kind", ["text/plain", "application/x-www-form-urlencoded", "application/json-seq", ""]
)
async def test_a_body_of_another_type_is_refused(world: World, kind: str) -> None:
    headers = world.bearer() | {"Content-Type": kind}
    async with world.http.post("/v1/engagements", data=b"{}", headers=headers) as answer:
        assert await problem(answer) == (415, "unsupported_media_type")


async def test_a_body_has_a_bound_however_it_is_sent(world: World) -> None:
    body = b'{"participants": "' + b"x" * json_body.MAX_BODY_BYTES + b'"}'

    async def pieces() -> Any:
        yield body

    for data in (body, pieces()):
        async with world.http.post("/v1/engagements", data=data, headers=world.bearer() | JSON) as answer:
            assert await problem(answer) == (413, "too_big")


async def test_a_compressed_body_is_not_unpacked(world: World) -> None:
    bomb = gzip.compress(b'{"participants": []}' + b" " * 50_000_000)
    headers = world.bearer() | JSON | {"Content-Encoding": "gzip"}
    async with world.http.post("/v1/engagements", data=bomb, headers=headers) as answer:
        assert await problem(answer) == (400, "malformed")


async def test_a_body_has_time_bounds(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_body, "BODY_SECONDS", 0.1)
    never = asyncio.Event()

    async def stuck() -> Any:
        yield b'{"participants": '
        await never.wait()

    async with world.http.post("/v1/engagements", data=stuck(), headers=world.bearer() | JSON) as answer:
        assert await problem(answer) == (408, "request_timeout")
    never.set()


@pytest.mark.parametrize("end", [b"what is this?\r\n", b"ffffffffffffffffffff\r\n", None])
async def test_a_body_that_breaks_off_is_a_fault_of_the_peer(world: World, end: bytes | None) -> None:
    host, port = world.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    headers = {**world.bearer(), **JSON, "Host": host, "Transfer-Encoding": "chunked"}
    head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    writer.write(f'POST /v1/engagements HTTP/1.1\r\n{head}\r\n3\r\n{{"p\r\n'.encode())
    if end is None:
        writer.write_eof()
    else:
        writer.write(end)
    async with asyncio.timeout(30):
        answer = await reader.readline()
    assert not answer or answer.split()[1] == b"400"
    writer.close()
    assert (await call(world, "GET", "/v1/engagements/x"))[0] == 404  # it goes on serving


async def test_an_end_takes_no_body(world: World) -> None:
    engagement = await world.engagement("anna")
    body: Any
    for body in ({"participants": []}, {"a": 1}, [1]):
        status, said = await call(world, "POST", f"/v1/engagements/{engagement}/end", json=body)
        assert (status, said["code"]) == (400, "malformed")
    assert (await call(world, "GET", f"/v1/engagements/{engagement}"))[1]["status"] == "active"


async def test_a_portal_may_ask_only_so_often(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(portal_access, "PORTAL_RATE", Rate(per_second=0.001, burst=2))
    codes = []
    for _ in range(3):
        async with world.http.get("/v1/engagements/x", headers=world.bearer(OTHER)) as answer:
            codes.append(await problem(answer))
    assert codes == [(404, "not_found"), (404, "not_found"), (429, "rate_limited")]
    assert (await call(world, "GET", "/v1/engagements/x"))[0] == 404  # another portal has a bound of its own


# -- who may ----------------------------------------------------------------------------------------


async def test_without_a_good_key_nothing_is_told(world: World) -> None:
    engagement = await world.engagement("anna", "ben")
    good = world.keys["growth"].api_key
    wrong = [
        None,
        "",
        "Bearer",
        "Bearer ",
        f"Basic {good}",
        good,
        f"Bearer {good}x",
        f"Bearer {good[:-1]}",
        f"Bearer {good[:-1]}{'A' if good[-1] != 'A' else 'B'}",
        f"Bearer {good.replace('growth', 'other')}",
        f"Bearer {good.replace('growth', 'nobody')}",
        "Bearer " + "x" * 600,
        f"Bearer  {good}",
    ]
    bodies = set()
    for value in wrong:
        headers = {} if value is None else {"Authorization": value}
        async with world.http.get(f"/v1/engagements/{engagement}", headers=headers) as answer:
            assert await problem(answer) == (401, "unauthorized")
            assert answer.headers["WWW-Authenticate"].startswith("Bearer")
            bodies.add(await answer.text())
    assert len(bodies) == 2  # not a bearer; not a key: nothing about which key or why


async def test_a_user_token_is_no_api_key_and_an_api_key_no_user_token(world: World) -> None:
    engagement = await world.engagement("anna", "ben")
    headers = {"Authorization": f"Bearer {world.token('anna')}"}
    async with world.http.get(f"/v1/engagements/{engagement}", headers=headers) as answer:
        assert answer.status == 401


async def test_a_rotated_key_ends_at_once(world: World) -> None:
    old = world.bearer()
    world.keys["growth"] = await world.running.relay.hub.portals.rotate(world.keys["growth"].record.id)
    async with world.http.get("/v1/engagements/x", headers=old) as answer:
        assert answer.status == 401
    assert (await call(world, "GET", "/v1/engagements/x"))[0] == 404


# -- around it -----------------------------------------------------------------------------------------

HARDENED = {
    "Server": "coach-relay",
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
}


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/", 404, "not_found"),
        ("GET", "/v2/engagements", 404, "not_found"),
        ("PUT", "/v1/engagements", 405, "method_not_allowed"),
        ("DELETE", "/v1/engagements/x", 405, "method_not_allowed"),
        ("PATCH", "/v1/engagements/x/participants", 405, "method_not_allowed"),
        ("GET", "/v1/engagements/x/end", 405, "method_not_allowed"),
        ("POST", "/v1/connect", 405, "method_not_allowed"),
        ("POST", "/livez", 405, "method_not_allowed"),
        ("GET", "/v1/engagements/../../etc/passwd", 404, "not_found"),
    ],
)
async def test_other_routes_and_methods(world: World, method: str, path: str, status: int, code: str) -> None:
    async with world.http.request(method, path) as answer:
        assert await problem(answer) == (status, code)
        assert HARDENED.items() <= dict(answer.headers).items()
        if status == 405:
            assert answer.headers["Allow"]


async def test_good_answers_are_hardened_too(world: World) -> None:
    for path in ("/livez", "/readyz"):
        async with world.http.get(path) as answer:
            assert answer.status == 200
            assert HARDENED.items() <= dict(answer.headers).items()
            assert "Strict-Transport-Security" not in answer.headers


async def test_behind_tls_browsers_are_told_to_stay_there(tmp_path: Path) -> None:
    options = {"behind_proxy": True, "public_origins": ["https://relay.example"]}
    async with world_in(tmp_path, **options) as world, world.http.get("/livez") as answer:
        assert answer.headers["Strict-Transport-Security"] == "max-age=31536000"


async def test_a_fault_of_ours_says_nothing(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    async def broken(*_args: object) -> None:
        raise RuntimeError("the secret is hunter2")

    monkeypatch.setattr(world.running.relay.hub.engagements, "read", broken)
    async with world.http.get(f"/v1/engagements/eng_{'A' * 22}", headers=world.bearer()) as answer:
        assert await problem(answer) == (500, "internal")
        assert "hunter2" not in await answer.text()


async def test_storage_that_fails_is_said_to_be_passing(world: World) -> None:
    await world.running.relay.hub.directory.close()
    async with world.http.get(f"/v1/engagements/eng_{'A' * 22}", headers=world.bearer()) as answer:
        assert await problem(answer) == (503, "store_unavailable")
        assert answer.headers["Retry-After"]
