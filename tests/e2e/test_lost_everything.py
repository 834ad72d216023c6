"""Every device lost and no recovery kit, against a real relay: an identity anew, and its devices count."""

from __future__ import annotations

from pathlib import Path

import aiohttp
import pytest

from client_sdk import Text
from client_sdk.devices import LinkSecret
from client_sdk.errors import AccessRefused, OtherListHeld
from client_sdk.transport import LinkStatus
from tests.e2e.own_devices import linked, opened, until
from tests.support.real_relay import RealRelay

pytestmark = pytest.mark.timeout(300)


async def ask(relay: RealRelay, method: str, path: str) -> aiohttp.ClientResponse:
    key = {"Authorization": f"Bearer {relay.portal['PORTAL_API_KEY']}"}
    async with aiohttp.ClientSession(relay.url, headers=key) as http:
        answer = await http.request(method, path)
        await answer.read()
        return answer


async def test_a_device_of_the_new_identity_is_revoked_at_once(relay: RealRelay, tmp_path: Path) -> None:
    stream = await relay.create_engagement(anna="coach", ben="client")
    async with opened(relay, tmp_path, "ben", "ben") as ben:
        his = await ben.engagement(stream)
        async with opened(relay, tmp_path, "anna", "lost") as lost:
            hers = await lost.engagement(stream)
            await hers.wait_joined()
            await hers.send("before")
            await hers.wait_sent()

        async with opened(relay, tmp_path, "anna", "anew") as anna:
            await until(lambda: his.alarm is not None)
            await his.accept_identity(his.people.named("anna"))
            room = await anna.engagement(stream)
            await room.wait_joined()
            assert await anna.devices.other_list_held()
            with pytest.raises(OtherListHeld):
                await anna.devices.find(" ".join(LinkSecret(bytes(16)).words))

            told = await (await ask(relay, "GET", "/v1/users/anna/devices")).json()
            ended = await ask(relay, "DELETE", f"/v1/users/anna/device-lists/{told['device_list']}")
            assert ended.status == 204
            await until(lambda: anna.devices.relay_follows)
            assert not await anna.devices.other_list_held()

            async with linked(relay, tmp_path, anna, "laptop") as laptop:
                also = await laptop.engagement(stream)
                await also.wait_joined()
                await his.send("for both of your devices")
                async for item in also.items():
                    if isinstance(item, Text) and item.text == "for both of your devices":
                        break

                await anna.devices.remove(anna.devices.named("laptop"))
                await until(lambda: is_shut_out(laptop.status))
                await anna.devices.wait_removed(laptop.devices.all[1])

            async with opened(relay, tmp_path, "anna", "lost") as lost:
                await until(lambda: is_shut_out(lost.status))


def is_shut_out(status: LinkStatus) -> bool:
    return isinstance(status.error, AccessRefused) and status.error.code == "device_revoked"
