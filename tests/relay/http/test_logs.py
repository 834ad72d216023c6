"""Logs say what happened and never to whom."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest

from relay.errors import StoreUnavailable
from relay.http import logs
from relay.http.logs import JsonFormatter, log
from relay.wire import frames as fr
from relay.wire.ids import BlobId
from tests.relay.http.support import OTHER_PAGE, PAGE, Device, World


@pytest.fixture
def written() -> Iterator[io.StringIO]:
    """Everything that any logger of the process writes, at every level, in the form that `serve` gives it."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonFormatter())
    root = logging.getLogger()
    before = root.level, logs.logger.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    logs.logger.setLevel(logging.DEBUG)
    try:
        yield stream
    finally:
        root.removeHandler(handler)
        root.setLevel(before[0])
        logs.logger.setLevel(before[1])


def lines(written: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in written.getvalue().splitlines()]


def test_a_line_is_json_of_fields_that_may_be_told(written: io.StringIO) -> None:
    log(logging.INFO, "request", status=200, ms=1.5, user="anna", address="192.0.2.1")
    (line,) = lines(written)
    assert set(line) == {"time", "level", "event", "status", "ms"}
    assert (line["level"], line["event"], line["status"]) == ("info", "request", 200)


def test_an_error_is_told_by_type_and_place_only(written: io.StringIO) -> None:
    try:
        raise StoreUnavailable("anna's disk")
    except StoreUnavailable as error:
        log(logging.ERROR, "store failed", error=error)
    (line,) = lines(written)
    assert line["error"] == "StoreUnavailable"
    assert line["trace"][-1].startswith("tests/relay/http/test_logs.py:")
    assert "anna" not in written.getvalue()


def test_libraries_are_not_quoted(written: io.StringIO) -> None:
    logging.getLogger("aiohttp.server").error("Error handling request from %s", "192.0.2.1")
    logging.getLogger("relayed").warning("not ours: anna")
    assert [line["event"] for line in lines(written)] == ["library aiohttp.server", "library relayed"]
    assert "192.0.2.1" not in written.getvalue()
    assert "anna" not in written.getvalue()


def test_a_field_that_is_no_json_is_named_by_its_type(written: io.StringIO) -> None:
    log(logging.INFO, "odd", code=object())
    assert lines(written)[0]["code"] == "object"


async def test_the_canary(world: World, written: io.StringIO, monkeypatch: pytest.MonkeyPatch) -> None:
    """A relay's whole life, with faults, at the most talkative level: its log tells nothing of anybody."""
    secrets = ["anna", "ben", "growth", "portal.example", "127.0.0.1", "other.example", "plan.pdf", "canary"]
    secrets += [world.keys["growth"].api_key, world.keys["other"].api_key]
    engagement = await world.engagement("anna", "ben")
    async with world.device("anna", origin=PAGE) as device:
        secrets.append(device.id.hex())
        access = await device.blob_access(engagement)
        secrets.append(access["Authorization"].removeprefix("Bearer "))
        tus = {"Tus-Resumable": "1.0.0", **access}
        headers = {**tus, "Upload-Length": "6", "Upload-Metadata": "filename cGxhbi5wZGY="}
        async with world.http.post("/v1/blobs", headers=headers) as answer:
            path = answer.headers["Location"]
        patch = {**tus, "Content-Type": "application/offset+octet-stream", "Upload-Offset": "0"}
        async with world.http.patch(path, data=b"canary", headers=patch) as answer:
            assert answer.status == 204
        blob = BlobId(path.rpartition("/")[2])
        secrets += [blob, engagement]
        await device.create_group(engagement)
        assert isinstance(await device.append(engagement, 2, [blob]), fr.Appended)
        async with world.http.get(path, headers=access) as answer:
            assert answer.status == 200
        async with world.http.get(f"{path}canary?user=anna", headers=access) as answer:
            assert answer.status == 404
        await device.socket.send_str("canary")
        await device.rest()
    token = world.token("anna")
    secrets.append(token)
    async with Device.connect(world, origin=OTHER_PAGE) as device:
        assert (await device.prove(token)).code == "token_invalid"
    async with world.http.get(
        f"/v1/engagements/{engagement}", headers={"Authorization": "Bearer canary"}
    ) as answer:
        assert answer.status == 401

    async def broken(*_args: object) -> None:
        raise RuntimeError(f"canary {engagement}")

    with monkeypatch.context() as patched:
        patched.setattr(world.running.relay.hub.engagements, "read", broken)
        async with world.http.get(f"/v1/engagements/{engagement}", headers=world.bearer()) as answer:
            assert answer.status == 500
    await world.running.relay.streams.close()
    async with world.http.get("/readyz") as answer:
        assert answer.status == 503
    said = written.getvalue()
    assert {line["event"] for line in lines(written)} >= {"request", "connection ends"}
    assert [line["error"] for line in lines(written) if line.get("status") == 500] == ["RuntimeError"]
    assert [secret for secret in secrets if secret in said] == []
