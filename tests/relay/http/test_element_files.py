"""The element's files that a relay serves when told so: to whom, and with which headers."""

from __future__ import annotations

import gzip
import itertools
from pathlib import Path

import aiohttp
import pytest

from relay.config import ConfigError
from relay.http import app, element_files
from relay.http.element_files import NAMES, element_folder, frame_policy
from tests.relay.http.support import OTHER_PAGE, PAGE, PORTAL, Device, World, world_in

SECOND_PAGE = "https://app.portal.example"
ELSEWHERE = "https://elsewhere.example"


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Release files, each of which says its name."""
    folder = tmp_path / "files"
    folder.mkdir()
    for name in NAMES:
        (folder / name).write_text(f"this is {name}")
    monkeypatch.setattr(app, "element_folder", lambda: folder)
    return folder


def told(policy: str) -> dict[str, list[str]]:
    """A Content-Security-Policy by directive."""
    directives = (directive.split() for directive in policy.split(";"))
    return {name: values for name, *values in directives}


async def frame(world: World, parent: str) -> aiohttp.ClientResponse:
    return await world.http.get("/element/frame.html", params={"parent": parent})


async def test_nothing_is_served_unless_told(world: World) -> None:
    for name in NAMES:
        async with world.http.get(f"/element/{name}", params={"parent": PAGE}) as answer:
            assert answer.status == 404
    async with Device.connect(world, origin=world.url) as device:  # no page of ours comes from there
        assert (await device.prove(world.token("anna"))).code == "token_invalid"


async def test_every_file_is_served_to_any_page(tmp_path: Path, files: Path) -> None:
    async with world_in(tmp_path / "relay", serve_element=True) as world:
        for name in NAMES:
            async with world.http.get(f"/element/{name}", params={"parent": PAGE}) as answer:
                assert answer.status == 200
                assert await answer.text() == f"this is {name}"
                assert answer.content_type == NAMES[name]
                assert answer.headers["Access-Control-Allow-Origin"] == "*"
                assert answer.headers["Cross-Origin-Resource-Policy"] == "cross-origin"
                assert answer.headers["X-Content-Type-Options"] == "nosniff"
                kept = {"If-None-Match": answer.headers["ETag"]}
            again = await world.http.get(f"/element/{name}", params={"parent": PAGE}, headers=kept)
            assert (again.status, await again.read()) == (304, b"")
        for other in ("", "frame.htm", "..%2Frelay.db", "frame.js.gz", "FRAME.HTML"):
            async with world.http.get(f"/element/{other}") as answer:
                assert answer.status == 404


async def test_it_is_packed_for_whom_can_unpack(tmp_path: Path, files: Path) -> None:
    (files / "frame.js").write_text("much the same, " * 1000)
    async with (
        world_in(tmp_path / "relay", serve_element=True) as world,
        aiohttp.ClientSession(world.url, auto_decompress=False) as http,
    ):
        packed = await http.get("/element/frame.js", headers={"Accept-Encoding": "gzip, br"})
        plain = await http.get("/element/frame.js", headers={"Accept-Encoding": "identity"})
        assert packed.headers["Content-Encoding"] == "gzip"
        assert gzip.decompress(await packed.read()) == await plain.read()
        assert "Content-Encoding" not in plain.headers


async def test_the_frames_policy_names_the_portals_pages_alone(tmp_path: Path, files: Path) -> None:
    async with world_in(tmp_path / "relay", serve_element=True) as world:
        await world.running.relay.hub.portals.set_origins(world.keys[PORTAL].record.id, [PAGE, SECOND_PAGE])
        answer = await frame(world, PAGE)
        policy = told(answer.headers["Content-Security-Policy"])
        assert set(policy["frame-ancestors"]) == {PAGE, SECOND_PAGE}
        assert policy["default-src"] == policy["base-uri"] == policy["form-action"] == ["'none'"]
        assert policy["script-src"] == ["'self'", "'wasm-unsafe-eval'"]
        assert policy["frame-src"] == ["blob:"], "Firefox saves no file of a frame without it"
        assert policy["require-trusted-types-for"] == ["'script'"]
        assert world.url in policy["connect-src"]
        assert world.url.replace("http", "ws") in policy["connect-src"]
        assert not {"*", "https:", "data:", "'unsafe-inline'"} & set(itertools.chain(*policy.values()))
        assert OTHER_PAGE not in str(answer.headers)
        assert "camera=(self)" in answer.headers["Permissions-Policy"]
        other = await frame(world, OTHER_PAGE)
        assert told(other.headers["Content-Security-Policy"])["frame-ancestors"] == [OTHER_PAGE]


@pytest.mark.parametrize(
    "parent",
    ["", ELSEWHERE, f"{PAGE}/", f"{PAGE} {ELSEWHERE}", "*", "null", PAGE.upper(), f"{PAGE};script-src *"],
)
async def test_no_other_page_gets_the_frame(tmp_path: Path, files: Path, parent: str) -> None:
    async with world_in(tmp_path / "relay", serve_element=True) as world:
        answer = await frame(world, parent)
        assert answer.status == 403
        assert (await answer.json())["code"] == "origin_not_allowed"
        assert answer.headers["Content-Security-Policy"] == "default-src 'none'; frame-ancestors 'none'"
        assert answer.headers["Access-Control-Allow-Origin"] == "*"  # the loader reads why


async def test_the_relays_own_frame_may_connect_for_any_portal(tmp_path: Path, files: Path) -> None:
    async with world_in(tmp_path / "relay", serve_element=True) as world:
        engagement = await world.engagement("anna")
        async with world.device("anna", origin=world.url):
            pass
        access = await world.blob_access(engagement, "anna") | {
            "Origin": world.url,
            "Tus-Resumable": "1.0.0",
            "Upload-Length": "1",
        }
        async with world.http.post("/v1/blobs", headers=access) as answer:
            assert answer.status == 201, await answer.text()
        access["Origin"] = ELSEWHERE
        async with world.http.post("/v1/blobs", headers=access) as answer:
            assert (await answer.json(content_type=None))["code"] == "origin_not_allowed"


async def test_it_does_not_start_without_the_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(element_files, "_PLACES", ("nowhere",))
    with pytest.raises(ConfigError, match="make browser"):
        element_folder()
    with pytest.raises(ConfigError, match="make browser"):
        async with world_in(tmp_path, serve_element=True):
            pytest.fail("it cannot serve what is not there")


def test_the_policy_for_other_servers_is_the_documented_one() -> None:
    policy = told(frame_policy("https://relay.example wss://relay.example", PAGE))
    assert policy["connect-src"] == ["'self'", "https://relay.example", "wss://relay.example"]
