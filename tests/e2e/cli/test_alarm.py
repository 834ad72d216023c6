"""A relay that was restored from an old copy: `coach` says so, sends nothing, and goes on when told to."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from client_sdk import Client
from client_sdk.cli.errors import Exit
from tests.e2e.cli.town import PASSPHRASE, Terminal, Town, open_town


def test_a_relay_that_lost_messages_stops_sending_until_a_person_decides(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with open_town(tmp_path) as town:
        town.join_both()
        coach = Terminal(town, capsys)
        coach("anna", ["send"], "before the copy")
        town.run(town.relay.stop())
        shutil.copytree(town.relay.data, tmp_path / "copy")
        town.run(town.relay.start())
        coach("anna", ["send"], "lost by the relay")
        town.run(town.relay.stop())
        shutil.rmtree(town.relay.data)
        (tmp_path / "copy").rename(town.relay.data)
        town.run(town.relay.start())

        refused = coach("anna", ["send"], "into the void")
        assert refused.code == Exit.FAILED
        assert "lost or withdrawn messages" in refused.err
        assert "coach verify --go-on" in refused.err
        reading = coach("anna", ["read"])
        assert reading.code == Exit.DONE
        assert "SECURITY ALARM" in reading.err
        assert "you: lost by the relay" in reading.out

        assert "Sending goes on." in coach("anna", ["verify"], "--go-on").out
        assert "There is no security alarm." in coach("anna", ["verify"], "--go-on").out


def test_a_changed_key_is_told_with_the_name_also_offline(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with open_town(tmp_path) as town:
        town.join_both()
        coach = Terminal(town, capsys)
        where = ("--relay", town.relay.url, "--token-url", town.portal.token_url("anna"))
        assert coach("anew", ["join"], *where, "--name", "Anna Lindqvist").code == Exit.DONE
        town.run(alarmed(town, "ben"))
        reading = coach("ben", ["read"])
        assert "SECURITY ALARM. Anna Lindqvist appears with a new security key." in reading.err
        town.run(town.relay.stop())
        refused = coach("ben", ["send"], "hello?", "--patience", "1")
        assert refused.code == Exit.FAILED
        assert "SECURITY ALARM. Anna Lindqvist appears with a new security key." in refused.err
        assert "omebody in this conversation" not in refused.err
        assert "coach verify --accept" in refused.err
        town.run(town.relay.start())
        accepted = coach("ben", ["verify"], "--accept")
        assert "The new key of Anna Lindqvist is let in." in accepted.out
        assert coach("ben", ["send"], "welcome back").code == Exit.DONE


async def alarmed(town: Town, user: str) -> None:
    """This user's program runs until it has noticed something."""
    token = town.relay.token_for(user)
    async with Client.open(
        town.vault(user), relay=town.relay.url, token=token, passphrase=PASSPHRASE
    ) as client:
        room = await client.engagement(town.engagement)
        await room.wait_until(lambda: room.alarm is not None)
