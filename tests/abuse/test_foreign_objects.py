"""What belongs to others looks, to every device and portal, exactly like what does not exist."""

from __future__ import annotations

from typing import Any

import aiohttp

from relay.wire import frames as fr
from relay.wire.bundle import Bundle
from relay.wire.frames import EntryKind
from relay.wire.ids import BlobId, EngagementId
from tests.support.real_relay import RealRelay
from tests.support.wire_client import OPAQUE, Gone, WireClient, WirePortal

NOWHERE = EngagementId("eng_" + "A" * 22)


async def answers_about(device: WireClient, stream: EngagementId, member: WireClient) -> dict[str, Any]:
    """What a device is told to everything it may ask about an engagement."""
    commit = Bundle(adds=(device.id,), commit=OPAQUE, group_info=OPAQUE).serialize()
    told: dict[str, Any] = {}
    appends: dict[str, fr.Frame] = {
        "append": fr.Append(stream, 1, EntryKind.MESSAGE, 1, b"x"),
        "commit": fr.Append(stream, 1, EntryKind.COMMIT, 1, commit),
        "create": fr.Append(stream, 1, EntryKind.COMMIT, 0, commit),
    }
    for name, frame in appends.items():
        await device.send(frame)
        refused = await device.wait_for(fr.Refused, fr.Appended)
        told[name] = (type(refused).__name__, refused[2:])
    requests: dict[str, fr.Frame] = {
        "open": fr.Open(7, stream, 0),
        "claim": fr.ClaimKeyPackages(7, stream, (member.id,)),
        "blobs": fr.RequestBlobAccess(7, stream),
        "ice": fr.RequestIceServers(7, stream),
    }
    for name, request in requests.items():
        await device.send(request)
        told[name] = await device.wait_for(fr.Error, fr.Opened, fr.KeyPackages, fr.BlobAccess, fr.IceServers)
    await device.send(fr.Ephemeral(stream, b"psst"), fr.Ack(stream, 1), fr.ListEngagements(8))
    told["rest"] = [frame async for frame in until_listed(device)]
    return told


async def until_listed(device: WireClient) -> Any:
    while True:
        frame = await device.wait_for(object)
        yield frame
        if isinstance(frame, fr.Engagements):
            return


async def test_a_stranger_learns_and_does_nothing(relay: RealRelay) -> None:
    portal, other = WirePortal(relay.portal), WirePortal(await relay.add_portal("other"))
    stream = EngagementId(await relay.create_engagement(anna="coach", ben="client"))
    async with (
        WireClient.connect(relay.url, portal, "anna") as anna,
        WireClient.connect(relay.url, portal, "ben") as ben,
        WireClient.connect(relay.url, portal, "mallory") as mallory,
        WireClient.connect(relay.url, other, "anna") as namesake,
    ):
        await anna.send(fr.PublishKeyPackages(1, (b"package",), None))
        await anna.wait_for(fr.Published)
        await anna.create_group(stream, (ben.id,))
        await ben.open(stream)
        for stranger in (mallory, namesake):
            about_theirs = await answers_about(stranger, stream, anna)
            about_nothing = await answers_about(stranger, NOWHERE, anna)
            assert about_theirs == about_nothing
            assert about_theirs["append"] == ("Refused", ("not_found", 0))
            assert [about_theirs[name].code for name in ("open", "claim", "blobs", "ice")] == [
                "not_found"
            ] * 4
            assert about_theirs["rest"][-1].engagements == ()
        assert isinstance(await anna.append(stream, 2, b"still here"), fr.Appended)
        entries = [await ben.wait_for(fr.Entries), await ben.wait_for(fr.Entries)]
        assert [entry.body for frame in entries for entry in frame.entries][-1] == b"still here"
        await anna.send(fr.ClaimKeyPackages(2, stream, (anna.id,)))
        (claimed,) = (await anna.wait_for(fr.KeyPackages)).packages
        assert claimed.package == b"package", "no stranger used it up"


async def test_on_the_roster_but_not_in_the_group(relay: RealRelay) -> None:
    """The portal's roster only invites: such a device says and reads nothing until a member adds it."""
    portal = WirePortal(relay.portal)
    stream = EngagementId(await relay.create_engagement(anna="coach", ben="client"))
    async with (
        WireClient.connect(relay.url, portal, "anna") as anna,
        WireClient.connect(relay.url, portal, "ben") as ben,
    ):
        await anna.create_group(stream, ())
        await anna.append(stream, 2, b"before")
        opened = await ben.open(stream)
        assert isinstance(opened, fr.Opened)
        assert not opened.member
        refused = await ben.append(stream, 1, b"hello?")
        assert isinstance(refused, fr.Refused)
        assert refused.code == "not_member"
        bundle = Bundle(adds=(ben.id,), commit=OPAQUE, group_info=OPAQUE).serialize()
        await ben.send(fr.Append(stream, 1, EntryKind.COMMIT, 1, bundle))
        assert (await ben.wait_for(fr.Refused)).code == "not_member", "nobody adds themselves"
        await anna.send(fr.Append(stream, 3, EntryKind.COMMIT, 1, bundle))
        await anna.wait_for(fr.Appended)
        entries = (await ben.wait_for(fr.Entries)).entries
        assert [entry.seq for entry in entries] == [3], "from the bundle on that adds it, nothing before"


async def test_another_portals_key_opens_nothing(relay: RealRelay) -> None:
    other = WirePortal(await relay.add_portal("other"))
    theirs = await relay.create_engagement(anna="coach", ben="client")

    async def told(engagement: str) -> list[tuple[int, str]]:
        found = []
        async with aiohttp.ClientSession(relay.url, headers=other.bearer) as http:
            for method, path, body in (
                ("GET", "", None),
                ("PUT", "/participants", {"participants": [{"user": "mallory", "role": "coach"}]}),
                ("POST", "/end", None),
            ):
                async with http.request(method, f"/v1/engagements/{engagement}{path}", json=body) as answer:
                    found.append((answer.status, await answer.text()))
        return found

    assert await told(theirs) == await told(NOWHERE)
    assert {status for status, _ in await told(theirs)} == {404}
    portal = WirePortal(relay.portal)
    async with (
        aiohttp.ClientSession(relay.url, headers=portal.bearer) as http,
        http.get(f"/v1/engagements/{theirs}") as answer,
    ):
        found = await answer.json()
    assert (found["status"], [who["user"] for who in found["participants"]]) == ("active", ["anna", "ben"])


async def test_another_engagements_file_can_be_neither_fetched_nor_named(relay: RealRelay) -> None:
    portal = WirePortal(relay.portal)
    theirs = EngagementId(await relay.create_engagement(anna="coach", ben="client"))
    ours = EngagementId(await relay.create_engagement(mallory="coach", ben="client"))
    async with (
        WireClient.connect(relay.url, portal, "anna") as anna,
        WireClient.connect(relay.url, portal, "mallory") as mallory,
        aiohttp.ClientSession(relay.url) as http,
    ):

        async def access(device: WireClient, stream: EngagementId) -> dict[str, str]:
            await device.send(fr.RequestBlobAccess(1, stream))
            token = (await device.wait_for(fr.BlobAccess)).token
            return {"Authorization": f"Bearer {token}", "Tus-Resumable": "1.0.0"}

        hers, mine = await access(anna, theirs), await access(mallory, ours)
        async with http.post("/v1/blobs", headers={**hers, "Upload-Length": "6"}) as answer:
            path = answer.headers["Location"]
        patch = {"Content-Type": "application/offset+octet-stream", "Upload-Offset": "0"}
        async with http.patch(path, headers=hers | patch, data=b"sealed") as answer:
            assert answer.status == 204
        missing = "/v1/blobs/" + "A" * 22
        told = []
        for address in (path, missing):
            async with http.get(address, headers=mine) as answer:
                told.append((answer.status, await answer.text()))
        assert told[0] == told[1]
        assert told[0][0] == 404
        await mallory.create_group(ours, ())
        blob = BlobId(path.rpartition("/")[2])
        await mallory.send(fr.Append(ours, 2, EntryKind.MESSAGE, 1, b"x", (blob,)))
        assert (await mallory.wait_for(fr.Refused)).code == "blob_not_found"
        async with http.get(path, headers=hers) as answer:
            assert await answer.read() == b"sealed"


async def test_a_second_connection_of_a_device_replaces_the_first(relay: RealRelay) -> None:
    portal = WirePortal(relay.portal)
    async with (
        WireClient.connect(relay.url, portal, "anna") as first,
        WireClient.connect(relay.url, portal, "anna", first.key) as second,
    ):
        assert (await first.wait_for(fr.Goodbye)).code == "replaced"
        try:
            await first.receive()
        except Gone:
            await second.send(fr.ListEngagements(1))
            assert (await second.wait_for(fr.Engagements)).engagements == ()
        else:
            raise AssertionError("the first connection went on")
