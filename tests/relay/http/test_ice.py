"""STUN and TURN as configured."""

from __future__ import annotations

import base64
import hmac
from pathlib import Path

from relay.http.ice import ice_servers
from relay.wire import frames as fr
from tests.relay.http.support import settings_in, world_in

NOW = 1_800_000_000
TURN = {"stun_urls": ["stun:s.example:3478"], "turn_urls": ["turn:t.example:3478"], "turn_secret": "hunter2"}


def test_nothing_is_configured(tmp_path: Path) -> None:
    servers, expires = ice_servers(settings_in(tmp_path))(NOW)
    assert (list(servers), expires > NOW) == ([], True)


def test_turn_passwords_are_fresh_and_what_coturn_checks(tmp_path: Path) -> None:
    servers_at = ice_servers(settings_in(tmp_path, **TURN))
    (stun, turn), expires = servers_at(NOW)
    assert stun == fr.IceServer(("stun:s.example:3478",), None, None)
    assert turn.urls == ("turn:t.example:3478",)
    assert turn.username is not None
    assert turn.username.startswith(f"{expires}:")
    assert (
        turn.credential == base64.b64encode(hmac.digest(b"hunter2", turn.username.encode(), "sha1")).decode()
    )
    assert servers_at(NOW)[0][1].username != turn.username


async def test_a_device_is_told(tmp_path: Path) -> None:
    async with world_in(tmp_path, **TURN) as world:
        engagement = await world.engagement("anna")
        async with world.device("anna") as device:
            await device.send(fr.RequestIceServers(7, engagement))
            told = await device.wait_for(fr.IceServers)
    assert [server.urls for server in told.servers] == [("stun:s.example:3478",), ("turn:t.example:3478",)]
