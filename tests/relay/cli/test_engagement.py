"""`coach-relay engagement` and `portal set-quota`: beside a relay that runs, and without one."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from io import StringIO
from pathlib import Path

import pytest

from relay.cli.main import main
from relay.http.server import serving
from relay.wire import frames as fr
from tests.relay.http.support import OTHER, PORTAL, Device, World, settings_in, world_in

Run = Callable[..., Awaitable[tuple[int, str, str]]]


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with world_in(tmp_path) as made:
        yield made


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    monkeypatch.setattr(sys, "stdin", StringIO(""))

    async def cli(*args: str) -> tuple[int, str, str]:
        code = await asyncio.to_thread(main, [*args, "--data-dir", str(tmp_path / "data")])
        out, err = capsys.readouterr()
        lines = [line for line in err.splitlines() if not line.startswith("{")]  # the relay's own log
        return code, out, "\n".join(lines)

    return cli


async def test_list_shows_a_portals_own(world: World, run: Run) -> None:
    with_ben, with_cara = await world.engagement("anna", "ben"), await world.engagement("anna", "cara")
    theirs = await world.engagement("anna", portal=OTHER)
    code, out, _ = await run("engagement", "list", PORTAL)
    assert code == 0
    assert {line.split()[0] for line in out.splitlines()} == {with_ben, with_cara}
    assert any("active" in line and "anna (coach), ben (client)" in line for line in out.splitlines())
    assert (await run("engagement", "list", PORTAL, "--user", "cara"))[1].split()[0] == with_cara
    code, out, err = await run("engagement", "list", PORTAL, "--status", "ended")
    assert (code, out) == (0, "")
    assert err == f"No such engagement of {PORTAL}: leave --status out to see all."
    err = (await run("engagement", "list", PORTAL, "--user", "nobody", "--status", "active"))[2]
    assert err == f"No such engagement of {PORTAL}: leave --user and --status out to see all."
    await world.running.relay.hub.portals.add("third")
    assert (await run("engagement", "list", "third"))[1:] == (
        "",
        "third has no engagement yet: the portal's own program opens them.",
    )
    assert (await run("engagement", "list", OTHER))[1].split()[0] == theirs


async def test_list_goes_through_all_pages(world: World, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("relay.hub.engagement_admin.MAX_PAGE", 2)
    made = {await world.engagement("anna") for _ in range(5)}
    _, out, _ = await run("engagement", "list", PORTAL)
    assert [len(out.splitlines()), {line.split()[0] for line in out.splitlines()}] == [5, made]


async def test_show_tells_what_the_relay_knows(world: World, run: Run) -> None:
    engagement = await world.engagement("anna", "ben")
    code, out, _ = await run("engagement", "show", engagement)
    assert code == 0
    for text in (engagement, PORTAL, "active", "30 days at most", "anna (coach), ben (client)"):
        assert text in out
    assert "ended" not in out


async def test_end_reaches_a_relay_that_runs(world: World, run: Run) -> None:
    engagement = await world.engagement("anna", "ben")
    async with world.device("anna") as device:
        await device.create_group(engagement)
        access = await device.blob_access(engagement)
        assert (await run("engagement", "end", engagement, "--yes"))[0] == 0
        status = "active"
        while status != "ended":
            status = (await device.wait_for(fr.EngagementChanged)).engagement.status
        assert (await device.append(engagement, 2)).code in ("ended", "not_found")
        headers = {**access, "Tus-Resumable": "1.0.0", "Upload-Length": "5"}
        async with world.http.post("/v1/blobs", headers=headers) as answer:
            assert answer.status == 404
    hub = world.running.relay.hub
    await hub.settle()
    assert await hub.streams.view(engagement) is None, "its stream is erased"
    async with world.http.get(f"/v1/engagements/{engagement}", headers=world.bearer()) as answer:
        assert (await answer.json())["status"] == "ended"
    assert "ended" in (await run("engagement", "show", engagement))[1]
    assert (await run("engagement", "end", engagement))[0] == 0, "it has ended: nothing is asked"


async def test_end_counts_when_the_relay_starts(tmp_path: Path, run: Run) -> None:
    async with world_in(tmp_path) as world:
        engagement = await world.engagement("anna")
    assert (await run("engagement", "end", engagement, "--yes"))[0] == 0
    async with serving(settings_in(tmp_path)) as running:
        await running.relay.hub.settle()
        assert await running.relay.hub.streams.view(engagement) is None


async def test_end_is_never_done_unasked(world: World, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    engagement = await world.engagement("anna", "ben")
    code, _, err = await run("engagement", "end", engagement)
    assert code == 1
    assert "--yes" in err

    class Terminal(StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setattr(sys, "stdin", Terminal("no\n"))
    code, _, err = await run("engagement", "end", engagement)
    assert code == 1
    assert "This cannot be undone." in err
    assert f"End {engagement} of {PORTAL} (anna (coach), ben (client))? [y/N]" in err
    assert "active" in (await run("engagement", "show", engagement))[1]
    monkeypatch.setattr(sys, "stdin", Terminal("y\n"))
    assert (await run("engagement", "end", engagement))[0] == 0


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (("list", "nobody"), "no such portal"),
        (("list", "No Portal"), "a portal id is"),
        (("list", PORTAL, "--user", "a b"), "--user"),
        (("show", "x"), "eng_ and 22"),
        (("show", "eng_" + "A" * 22), "no such engagement"),
        (("end", "eng_" + "A" * 22, "--yes"), "no such engagement"),
        (("end", "../x", "--yes"), "eng_ and 22"),
    ],
)
async def test_what_is_not_there_is_said(world: World, run: Run, args: tuple[str, ...], said: str) -> None:
    code, out, err = await run("engagement", *args)
    assert (code, out) == (1, "")
    assert said in err


async def test_quotas_are_set_one_by_one_and_shown(world: World, run: Run) -> None:
    async def quotas(*args: str) -> dict[str, str]:
        code, out, _ = await run("portal", "set-quota", PORTAL, *args)
        assert code == 0
        return dict(line.split() for line in out.splitlines())

    assert await quotas() == {"engagements": "none", "stored_bytes": "none", "connections": "none"}
    assert (await quotas("--engagements", "5", "--stored-bytes", "2GiB"))["stored_bytes"] == str(2**31)
    shown = await quotas("--connections", "7", "--engagements", "none")
    assert shown == {"engagements": "none", "stored_bytes": str(2**31), "connections": "7"}
    record = await world.running.relay.hub.portals.read(world.keys[PORTAL].record.id)
    assert tuple(record.quotas) == (0, 2**31, 7)


@pytest.mark.parametrize(
    "args",
    [
        ("--engagements", "0"),
        ("--engagements", "-1"),
        ("--engagements", "many"),
        ("--engagements", "5GiB"),
        ("--connections", "1.5"),
        ("--stored-bytes", "5GB"),
        ("--stored-bytes", ""),
        ("--stored-bytes", "9" * 16),
        ("--stored-bytes", "999999999999999TiB"),
    ],
)
async def test_a_quota_has_its_form(world: World, run: Run, args: tuple[str, ...]) -> None:
    code, _, err = await run("portal", "set-quota", PORTAL, f"{args[0]}={args[1]}")
    assert code == 1
    assert "whole number" in err
    record = await world.running.relay.hub.portals.read(world.keys[PORTAL].record.id)
    assert tuple(record.quotas) == (0, 0, 0)


async def test_origins_are_replaced_and_count_at_once(world: World, run: Run) -> None:
    page, former = "https://app.portal.example", "https://portal.example"
    assert await run("portal", "set-origins", PORTAL, "https://App.Portal.example/") == (0, f"{page}\n", "")
    async with world.device("anna", origin=page):
        pass
    async with Device.connect(world, origin=former) as device:
        assert isinstance(await device.prove(world.token("anna")), fr.Goodbye)
    assert (await run("portal", "set-origins", PORTAL))[1] == "none\n"
    async with Device.connect(world, origin=page) as device:
        assert isinstance(await device.prove(world.token("anna")), fr.Goodbye)
    async with world.device("anna"):
        pass


@pytest.mark.parametrize("origin", ["*", "portal.example", "https://portal.example/page", "null", ""])
async def test_what_is_no_origin_changes_nothing(world: World, run: Run, origin: str) -> None:
    code, _, err = await run("portal", "set-origins", PORTAL, "https://fine.example", origin)
    assert code == 1
    assert "an origin is" in err
    record = await world.running.relay.hub.portals.read(world.keys[PORTAL].record.id)
    assert record.origins == ("https://portal.example",)
