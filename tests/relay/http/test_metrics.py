"""/metrics: on its own listener, in Prometheus' format, and with nothing in it about anybody."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
from prometheus_client.parser import text_string_to_metric_families

from relay.blobs import BlobStoreUnavailable
from relay.config import ConfigError, load_settings
from relay.wire import frames as fr
from relay.wire.ids import PortalId
from tests.relay.http.support import PORTAL, Device, World, world_in


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with world_in(tmp_path, metrics_listen="127.0.0.1:0") as made:
        yield made


async def scraped(world: World) -> str:
    async with aiohttp.ClientSession() as http, http.get(world.running.metrics_url) as answer:
        assert answer.status == 200
        assert answer.content_type == "text/plain"
        return await answer.text()


async def samples(world: World) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    found = {}
    for family in text_string_to_metric_families(await scraped(world)):
        for sample in family.samples:
            found[sample.name, tuple(sorted(sample.labels.items()))] = sample.value
    return found


async def test_what_is_connected_and_asked_is_counted(world: World) -> None:
    before = await samples(world)
    assert before["coach_relay_devices", ()] == 0
    engagement = await world.engagement("anna", "ben")
    async with world.device("anna") as anna, world.device("ben"):
        await anna.create_group(engagement)
        now = await samples(world)
    assert now["coach_relay_connections", ()] == now["coach_relay_devices", ()] == 2
    created = (("method", "POST"), ("route", "/v1/engagements"), ("status", "2xx"))
    assert now["coach_relay_http_requests_total", created] == 1
    assert now["coach_relay_http_request_seconds_count", (("route", "/v1/engagements"),)] == 1
    assert now["coach_relay_store_operations_total", ()] > before["coach_relay_store_operations_total", ()]
    assert now["coach_relay_store_commit_seconds_count", ()] > 0
    assert now["coach_relay_store_failures_total", ()] == 0
    assert any(name == "coach_relay_build_info" for name, _ in now)
    assert now["process_open_fds", ()] > 0


async def test_how_late_messages_are_is_told(world: World) -> None:
    engagement = await world.engagement("anna", "ben")
    async with world.device("anna") as anna, world.device("ben") as ben:
        await anna.send(fr.Open(1, engagement, 0))
        await anna.wait_for(fr.Opened)
        await anna.create_group(engagement, ben.id)
        await ben.send(fr.Open(1, engagement, 0))
        await ben.wait_for(fr.Opened)
        await ben.wait_for(fr.Entries)
        await anna.append(engagement, 2)
        await ben.wait_for(fr.Entries)
        behind = await samples(world)
        for device in (anna, ben):
            await device.send(fr.Ack(engagement, 2))
        await anna.append(engagement, 4)  # a gap: so the acknowledgement has been taken
        after = await samples(world)
    assert behind["coach_relay_append_seconds_count", ()] == 2
    assert behind["coach_relay_append_seconds_bucket", (("le", "10.0"),)] == 2
    # The group's beginning to Anna, the message to both.
    assert behind["coach_relay_delivery_seconds_count", ()] == 3
    assert behind["coach_relay_streams_behind", ()] == 2
    assert behind["coach_relay_oldest_undelivered_seconds", ()] > 0
    assert after["coach_relay_streams_behind", ()] <= 1  # Ben's acknowledgement may still be on its way
    assert after["coach_relay_refused_total", (("code", "counter_gap"),)] == 1


async def test_connections_are_told_by_what_they_do_and_why_they_ended(world: World) -> None:
    def state(name: str) -> tuple[str, tuple[tuple[str, str], ...]]:
        return "coach_relay_connection_states", (("state", name),)

    async with world.device("anna"), Device.connect(world) as silent:
        now = await samples(world)
        assert (now[state("ready")], now[state("greeting")], now[state("draining")]) == (1, 1, 0)
        await silent.send(fr.Hello((9,), b"c" * 32))
        await silent.rest()
        now = await samples(world)
    assert now["coach_relay_connections_ended_total", (("code", "unsupported_version"),)] == 1


async def test_portals_near_a_quota_are_counted_and_not_named(world: World) -> None:
    near = ("coach_relay_portals_near_quota", (("quota", "engagements"),))
    await world.running.relay.hub.portals.set_quotas(
        PortalId(PORTAL), lambda quotas: quotas._replace(engagements=5, connections=9)
    )
    for number in range(4):
        await world.engagement(f"anna{number}")
    found = await samples(world)
    assert found[near] == 1
    assert found["coach_relay_portals_near_quota", (("quota", "connections"),)] == 0
    assert found["coach_relay_portals_near_quota", (("quota", "stored_bytes"),)] == 0


async def test_turn_credentials_are_counted(tmp_path: Path) -> None:
    turn = {"turn_urls": "turn:turn.example:3478", "turn_secret": "x", "metrics_listen": "127.0.0.1:0"}
    async with world_in(tmp_path, **turn) as world:
        engagement = await world.engagement("anna")
        async with world.device("anna") as anna:
            await anna.send(fr.RequestIceServers(1, engagement))
            await anna.wait_for(fr.IceServers)
        assert (await samples(world))["coach_relay_turn_credentials_total", ()] == 1


async def test_calls_are_counted_by_words_of_ours_alone(world: World) -> None:
    def calls(path: str) -> tuple[str, tuple[tuple[str, str], ...]]:
        return "coach_relay_calls_total", (("path", path),)

    before = await samples(world)
    async with world.device("anna") as anna:
        for path in ("host", "relay", "relay", "anna@203.0.113.7", ""):
            await anna.send(fr.CallOutcome(path))
        await anna.send(fr.ListEngagements(1))
        await anna.wait_for(fr.Engagements)  # and nothing was answered before
        now = await samples(world)
    assert [now[calls(path)] for path in ("host", "srflx", "relay", "failed", "other")] == [1, 0, 2, 0, 2]
    assert {name for name in now if name[0] == "coach_relay_calls_total"} == {
        name for name in before if name[0] == "coach_relay_calls_total"
    }


async def test_refusals_by_quota_are_counted(world: World) -> None:
    await world.running.relay.hub.portals.set_quotas(
        PortalId("growth"), lambda quotas: quotas._replace(engagements=1)
    )
    await world.engagement("anna")
    body = {"participants": [{"user": "ben", "role": "coach"}]}
    async with world.http.post("/v1/engagements", json=body, headers=world.bearer()) as answer:
        assert answer.status == 403
    assert (await samples(world))["coach_relay_quota_refusals_total", ()] == 1


async def test_files_that_cannot_be_stored_are_counted(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    async def away(*_args: object, **_options: object) -> None:
        raise BlobStoreUnavailable("the blob store does not answer")

    engagement = await world.engagement("anna")
    async with world.device("anna") as device:
        await device.create_group(engagement)
        tus = {"Tus-Resumable": "1.0.0", **await device.blob_access(engagement)}
    async with world.http.post("/v1/blobs", headers={**tus, "Upload-Length": "1"}) as answer:
        place = answer.headers["Location"]
    assert (await samples(world))["coach_relay_file_storage_failures_total", ()] == 0
    monkeypatch.setattr(world.running.relay.blobs, "append", away)
    part = {"Content-Type": "application/offset+octet-stream", "Upload-Offset": "0"}
    async with world.http.patch(place, data=b"x", headers=tus | part) as answer:
        assert answer.status == 503
    assert (await samples(world))["coach_relay_file_storage_failures_total", ()] == 1


async def test_nothing_is_told_about_anybody(world: World) -> None:
    engagement = await world.engagement("anna-canary", "ben-canary")
    async with world.device("anna-canary") as device:
        access = await device.blob_access(engagement)
        for path in (f"/v1/blobs/{'C' * 22}", "/canary-path", f"/v1/engagements/{engagement}"):
            async with world.http.get(path, headers=access) as answer:
                assert answer.status in (401, 404)
        async with world.http.request("CANARY", "/v1/blobs", headers={"User-Agent": "canary"}):
            pass
        async with world.http.get("/v1/users/canary-user/devices", headers=world.bearer()):
            pass
        text = await scraped(world)
    for secret in ("canary", "growth", engagement, device.id.hex(), "CANARY", "C" * 22, "127.0.0.1"):
        assert secret not in text, secret


async def test_no_request_makes_a_new_series(world: World) -> None:
    async def ask(number: int) -> None:
        for method, path in (
            ("GET", f"/v{number}"),
            (f"M{number}", "/livez"),
            ("GET", f"/v1/blobs/{number}"),
        ):
            async with world.http.request(method, path) as answer:
                assert answer.status >= 400

    await ask(1)
    series = set(await samples(world))
    for number in range(2, 8):
        await ask(number)
    assert set(await samples(world)) == series


async def test_only_metrics_are_there_and_nowhere_else(world: World) -> None:
    base = world.running.metrics_url.removesuffix("/metrics")
    async with aiohttp.ClientSession() as http:
        for path in ("/", "/livez", "/v1/engagements", "/metrics/x"):
            async with http.get(base + path) as answer:
                assert answer.status == 404
        async with http.post(base + "/metrics", data=b"x" * 100) as answer:
            assert answer.status == 405
    async with world.http.get("/metrics") as answer:
        assert answer.status == 404


async def test_without_being_asked_for_there_are_none(tmp_path: Path) -> None:
    async with world_in(tmp_path) as world:
        assert world.running.metrics_url == ""
        assert world.running.relay.metrics is None


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("127.0.0.1:9470", ("127.0.0.1", 9470)),
        ("[::1]:9470", ("::1", 9470)),
        ("localhost:0", ("localhost", 0)),
        ("", None),
    ],
)
def test_an_address_and_a_port(text: str, address: tuple[str, int] | None) -> None:
    assert load_settings(environ={}, options={"metrics_listen": text}).metrics_listen == address


@pytest.mark.parametrize(
    "text",
    [
        "9470",
        ":9470",
        "127.0.0.1",
        "127.0.0.1:",
        "127.0.0.1:x",
        "127.0.0.1:70000",
        "::1:9470",
        "[::1]",
        "x:1",
    ],
)
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="metrics"):
        load_settings(environ={}, options={"metrics_listen": text})
