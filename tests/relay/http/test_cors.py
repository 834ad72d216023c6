"""Pages of a portal may upload and download across origins; no other page, and on no other route."""

from __future__ import annotations

from io import BytesIO
from typing import Any

import pytest

from relay.wire.ids import PortalId
from tests.relay.http.support import OTHER, OTHER_PAGE, PAGE, World

TUS = {"Tus-Resumable": "1.0.0"}
CORS = "Access-Control-"


def told(headers: Any) -> dict[str, str]:
    """What an answer says to the browser about other origins."""
    return {name: value for name, value in headers.items() if name.startswith(CORS)}


async def preflight(world: World, path: str, origin: str, method: str = "PATCH") -> dict[str, str]:
    asked = {"Origin": origin, f"{CORS}Request-Method": method, f"{CORS}Request-Headers": "authorization"}
    async with world.http.options(path, headers=asked) as answer:
        assert answer.status < 500
        assert answer.status != 204 or "Origin" in answer.headers["Vary"]
        return told(answer.headers)


@pytest.mark.parametrize("path", ["/v1/blobs", f"/v1/blobs/{'A' * 22}"])
@pytest.mark.parametrize("page", [PAGE, OTHER_PAGE])
async def test_a_portals_page_may_ask(world: World, path: str, page: str) -> None:
    found = await preflight(world, path, page)
    assert found[f"{CORS}Allow-Origin"] == page
    methods = {method.strip() for method in found[f"{CORS}Allow-Methods"].split(",")}
    assert methods == {"GET", "HEAD", "POST", "PATCH", "DELETE"}
    headers = {name.strip().lower() for name in found[f"{CORS}Allow-Headers"].split(",")}
    needed = {"authorization", "content-type", "range", "tus-resumable", "upload-length", "upload-offset"}
    assert needed | {"upload-checksum"} <= headers
    assert f"{CORS}Allow-Credentials" not in found


@pytest.mark.parametrize(
    "origin",
    [
        "https://elsewhere.example",
        "http://portal.example",
        "https://portal.example:8443",
        "https://portal.example.evil.example",
        "https://evil-portal.example",
        "https://PORTAL.example",
        "https://portal.example/",
        "null",
        "*",
        "",
    ],
)
async def test_another_page_may_not(world: World, origin: str) -> None:
    assert await preflight(world, "/v1/blobs", origin) == {}
    access = await world.blob_access(await world.engagement("anna"), "anna")
    headers = {**TUS, **access, "Upload-Length": "5", "Origin": origin}
    async with world.http.post("/v1/blobs", headers=headers) as answer:
        assert answer.status == 403
        assert (await answer.json(content_type=None))["code"] == "origin_not_allowed"
        assert told(answer.headers) == {}


async def test_without_a_page_nothing_changes(world: World) -> None:
    async with world.http.options("/v1/blobs") as answer:
        assert told(answer.headers) == {}
        assert "Origin" in answer.headers["Vary"], "what a cache keeps of it is not for pages"


async def test_a_page_uploads_and_downloads(world: World) -> None:
    engagement = await world.engagement("anna", "ben")
    access = await world.blob_access(engagement, "anna")
    page = {"Origin": PAGE}
    headers = {**TUS, **access, **page, "Upload-Length": "6"}
    async with world.http.post("/v1/blobs", headers=headers) as answer:
        assert answer.status == 201
        path = answer.headers["Location"]
        found = told(answer.headers)
        assert found[f"{CORS}Allow-Origin"] == PAGE
        exposed = {name.strip() for name in found[f"{CORS}Expose-Headers"].split(",")}
        assert {"Location", "Upload-Offset", "Upload-Length", "Upload-Expires", "Content-Range"} <= exposed
    patch = {**TUS, **access, **page, "Content-Type": "application/offset+octet-stream", "Upload-Offset": "0"}
    async with world.http.patch(path, data=BytesIO(b"sealed"), headers=patch) as answer:
        assert (answer.status, told(answer.headers)[f"{CORS}Allow-Origin"]) == (204, PAGE)
    async with world.http.head(path, headers={**TUS, **access, **page}) as answer:
        assert (answer.status, told(answer.headers)[f"{CORS}Allow-Origin"]) == (200, PAGE)
    async with world.http.get(path, headers={**access, **page, "Range": "bytes=2-"}) as answer:
        assert (answer.status, await answer.read()) == (206, b"aled")
        assert told(answer.headers)[f"{CORS}Allow-Origin"] == PAGE


async def test_a_page_can_read_why_it_was_refused(world: World) -> None:
    """Else it could not tell a token that ran out from a network that is gone."""
    cases = [
        ("GET", f"/v1/blobs/{'A' * 22}", {}, 401),
        ("GET", f"/v1/blobs/{'A' * 22}", {"Authorization": "Bearer x"}, 401),
        ("POST", "/v1/blobs", {}, 412),
    ]
    for method, path, headers, status in cases:
        async with world.http.request(method, path, headers={**headers, "Origin": PAGE}) as answer:
            assert answer.status == status
            assert told(answer.headers)[f"{CORS}Allow-Origin"] == PAGE


async def test_one_portals_page_does_nothing_with_anothers_token(world: World) -> None:
    access = await world.blob_access(await world.engagement("anna", portal=OTHER), "anna", portal=OTHER)
    headers = {**TUS, **access, "Upload-Length": "5"}
    async with world.http.post("/v1/blobs", headers={**headers, "Origin": PAGE}) as answer:
        assert answer.status == 403
        assert told(answer.headers) == {}
    async with world.http.post("/v1/blobs", headers={**headers, "Origin": OTHER_PAGE}) as answer:
        assert answer.status == 201


async def test_a_removed_portals_page_is_forgotten(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("relay.http.cors.REMEMBER_SECONDS", 0.0)
    assert await preflight(world, "/v1/blobs", PAGE)
    await world.running.relay.hub.portals.remove(PortalId("growth"))
    assert await preflight(world, "/v1/blobs", PAGE) == {}


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("OPTIONS", "/v1/engagements"),
        ("GET", "/v1/engagements"),
        ("POST", "/v1/engagements"),
        ("GET", "/v1/users/anna/devices"),
        ("OPTIONS", "/v1/users/anna/revoke-tokens"),
        ("GET", "/livez"),
        ("GET", "/v1/blobsx"),
    ],
)
async def test_no_other_route_is_shared_with_pages(world: World, method: str, path: str) -> None:
    headers = {**world.bearer(), "Origin": PAGE, f"{CORS}Request-Method": "POST"}
    async with world.http.request(method, path, headers=headers) as answer:
        assert told(answer.headers) == {}
