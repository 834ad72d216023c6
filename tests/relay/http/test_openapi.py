"""The OpenAPI document: what is written down is what is served, and what is served is what the routes do.

`python -m tests.relay.http.test_openapi` writes docs/openapi.json anew.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from relay.http import openapi, problems
from relay.wire.ids import PortalId
from tests.relay.http.support import World

WRITTEN = Path(__file__).resolve().parents[3] / "docs" / "openapi.json"
DOCUMENT = openapi.document()
OPERATIONS = [
    (method.upper(), path, operation)
    for path, methods in DOCUMENT["paths"].items()
    for method, operation in methods.items()
]
PAIR = [{"user": "anna", "role": "coach"}, {"user": "ben", "role": "client"}]


def resolved(schema: Any) -> Any:
    """A schema with its references replaced by what they stand for."""
    if isinstance(schema, list):
        return [resolved(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    if "$ref" in schema:
        found: Any = DOCUMENT
        for name in schema["$ref"].removeprefix("#/").split("/"):
            found = found[name]
        return resolved(found)
    return {name: resolved(value) for name, value in schema.items()}


def fits(schema: Any, value: Any) -> bool:
    """Whether a value is what a schema says, as far as this document's schemas go."""
    kinds = {"object": dict, "array": list, "string": str, "integer": int, "null": type(None)}
    names = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
    if not any(type(value) is kinds[name] for name in names):
        return False
    if isinstance(value, dict):
        known = schema["properties"]
        return (
            set(schema.get("required", ())) <= set(value) <= set(known)
            and len(value) <= schema.get("maxProperties", len(value))
            and all(fits(known[name], one) for name, one in value.items())
        )
    if isinstance(value, list):
        bounds = schema.get("minItems", 0) <= len(value) <= schema.get("maxItems", len(value))
        return bounds and all(fits(schema["items"], one) for one in value)
    if isinstance(value, str):
        pattern = re.search(schema.get("pattern", ""), value) is not None
        return pattern and value in schema.get("enum", [value])
    if isinstance(value, int):
        return bool(schema.get("minimum", value) <= value <= schema.get("maximum", value))
    return True


def check(method: str, path: str, status: int, content_type: str, body: Any) -> None:
    """An answer is one that the document tells of."""
    operation = DOCUMENT["paths"][path][method.lower()]
    assert str(status) in operation["responses"], (method, path, status, body)
    answer = resolved(operation["responses"][str(status)])
    if "content" not in answer:
        assert body is None
        return
    assert content_type in answer["content"], (method, path, status)
    assert fits(answer["content"][content_type]["schema"], body), (method, path, status, body)


async def call(
    world: World, method: str, path: str, named: dict[str, str], **options: Any
) -> tuple[int, Any]:
    """Call an operation, and check its answer."""
    headers = world.bearer() | options.pop("headers", {})
    async with world.http.request(method, path.format(**named), headers=headers, **options) as answer:
        text = await answer.text()
        body = json.loads(text) if text else None
        check(method, path, answer.status, answer.content_type, body)
        return answer.status, body


def test_what_is_written_down_is_what_the_code_says() -> None:
    assert WRITTEN.read_text(encoding="utf-8") == openapi.text()


async def test_it_is_served_to_anybody(world: World) -> None:
    async with world.http.get("/v1/openapi.json") as answer:
        assert (answer.status, answer.content_type) == (200, "application/json")
        assert await answer.json() == DOCUMENT


async def test_every_route_of_the_portal_api_is_told_and_no_other(world: World) -> None:
    real = {
        (route.method, route.resource.canonical)
        for route in world.running.app.app.router.routes()
        if route.resource is not None
    }
    of_others = ("/livez", "/readyz", "/v1/connect", "/v1/blobs", openapi.PATH)
    assert {(method, path) for method, path, _ in OPERATIONS} == {
        (method, path) for method, path in real if not path.startswith(of_others)
    }


@pytest.mark.parametrize(("method", "path", "operation"), OPERATIONS, ids=lambda value: str(value)[:40])
async def test_every_operation_refuses_as_it_says(
    world: World, method: str, path: str, operation: dict[str, Any]
) -> None:
    named = {"id": "eng_" + "A" * 22, "user": "anna", "device": "0" * 32, "list": "0" * 32}
    async with world.http.request(method, path.format(**named), json={}) as answer:
        assert answer.status == 401
        check(method, path, 401, answer.content_type, await answer.json(content_type=None))
    parameters = {one["name"] for one in operation["parameters"] if one["in"] == "path"}
    assert parameters == set(re.findall(r"\{(\w+)\}", path))
    for name in parameters:
        status, _ = await call(world, method, path, named | {name: "x" * 99}, json={})
        assert status == 404
    if "requestBody" in operation:
        bad: list[dict[str, Any]] = [{"data": b"{}"}, {"json": {"nothing": 1}}, {"json": []}]
        for options in bad:
            status, _ = await call(world, method, path, named, **options)
            assert status in (400, 415)
        big = {"participants": "x" * 70_000}
        assert (await call(world, method, path, named, json=big))[0] == 413


async def test_every_good_answer_is_as_it_says(world: World) -> None:
    create = {"participants": PAIR, "retention_days": 7}
    engagements = "/v1/engagements"
    key = {"Idempotency-Key": "k"}
    status, made = await call(world, "POST", engagements, {}, json=create, headers=key)
    assert status == 201
    named = {"id": made["id"]}
    assert (await call(world, "POST", engagements, {}, json={"participants": PAIR}, headers=key))[0] == 422
    assert (await call(world, "GET", engagements + "/{id}", named))[0] == 200
    assert (await call(world, "GET", engagements, {}, params={"limit": 1}))[0] == 200
    assert (await call(world, "GET", engagements, {}, params={"limit": 0}))[0] == 400
    roster = {"participants": PAIR[:1]}
    assert (await call(world, "PUT", engagements + "/{id}/participants", named, json=roster))[0] == 200
    await world.running.relay.hub.portals.set_quotas(
        PortalId("growth"), lambda quotas: quotas._replace(engagements=1)
    )
    assert (await call(world, "POST", engagements, {}, json=create))[0] == 403
    assert (await call(world, "POST", engagements + "/{id}/end", named, json={"x": 1}))[0] == 400
    assert (await call(world, "POST", engagements + "/{id}/end", named))[0] == 200
    assert (await call(world, "PUT", engagements + "/{id}/participants", named, json=roster))[0] == 409
    async with world.device("anna") as device:
        anna = {"user": "anna", "device": device.id.hex()}
        assert (await call(world, "GET", "/v1/users/{user}/devices", anna))[0] == 200
        assert (await call(world, "DELETE", "/v1/users/{user}/devices/{device}", anna))[0] == 204
        for body in ({}, {"jti": "x"}, {"issued_before": 1}):
            assert (await call(world, "POST", "/v1/users/{user}/revoke-tokens", anna, json=body))[0] == 204
    async with world.device("carl") as device:
        await device.put_list("carl")
        status, told = await call(world, "GET", "/v1/users/{user}/devices", {"user": "carl"})
        carl = {"user": "carl", "list": told["device_list"]}
        assert (await call(world, "DELETE", "/v1/users/{user}/device-lists/{list}", carl))[0] == 204
        assert (await call(world, "DELETE", "/v1/users/{user}/device-lists/{list}", carl))[0] == 404
    await world.running.relay.hub.directory.close()
    assert (await call(world, "GET", engagements + "/{id}", named))[0] == 503


def test_the_statuses_are_those_of_the_problems() -> None:
    told = {int(status) for _, _, operation in OPERATIONS for status in operation["responses"]}
    known = {int(status) for status in problems._STATUS.values()} | {415, 429}
    assert told - {200, 201, 204} <= known


def test_a_check_that_checks() -> None:
    engagement = resolved({"$ref": "#/components/schemas/Engagement"})
    good = {
        "id": "eng_" + "A" * 22,
        "status": "active",
        "created": 1,
        "ended": None,
        "retention_hours": 24,
        "participants": PAIR,
    }
    assert fits(engagement, good)
    wrongs: list[dict[str, Any]] = [
        {"id": "x"},
        {"status": "gone"},
        {"created": "1"},
        {"created": -1},
        {"more": 1},
        {"participants": []},
        {"participants": [{"user": "anna"}]},
        {"ended": "never"},
    ]
    for wrong in wrongs:
        assert not fits(engagement, {**good, **wrong}), wrong


if __name__ == "__main__":
    WRITTEN.write_text(openapi.text(), encoding="utf-8")
