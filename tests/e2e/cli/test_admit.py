"""Somebody further whom the portal invited: shown, kept out, and let in by a person alone."""

from __future__ import annotations

from pathlib import Path

import aiohttp
import pytest

from client_sdk.cli.errors import Exit
from tests.e2e.cli.town import PATIENCE, Terminal, Town, open_town, read_until, start


async def invite(town: Town, user: str) -> None:
    """The portal puts somebody on the roster."""
    people = {"anna": "coach", "ben": "client", user: "supervisor"}
    roster = [{"user": name, "role": role} for name, role in people.items()]
    key = {"Authorization": f"Bearer {town.relay.portal['PORTAL_API_KEY']}"}
    path = f"/v1/engagements/{town.engagement}/participants"
    async with (
        aiohttp.ClientSession(town.relay.url, headers=key) as http,
        http.put(path, json={"participants": roster}) as answer,
    ):
        answer.raise_for_status()


async def mint(town: Town, user: str, into: list[str]) -> None:
    into.append(await town.relay.token_for(user)())


def test_a_further_person_is_let_in_by_a_person(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with open_town(tmp_path) as town:
        town.join_both()
        coach = Terminal(town, capsys)
        assert "Nobody waits to be let in." in coach("anna", ["admit"]).out
        town.run(invite(town, "cara"))
        tokens: list[str] = []
        town.run(mint(town, "cara", tokens))
        where = ("--relay", town.relay.url, "--token-command", f"echo {tokens[0]}")
        waiting = start("join", "--vault", str(town.vault("cara")), *where, "--name", "Cara")
        try:
            out, _ = waiting.communicate(timeout=PATIENCE)
            assert "With you: " in out
            coach("anna", ["send"], "before Cara")
            assert "before Cara" not in coach("cara", ["read"]).out
            asked = coach("anna", ["admit"])
            assert "Your portal invited cara (supervisor)." in asked.out
            assert "cara was not let in." in asked.out
            let_in = coach("anna", ["admit"], "cara", "--yes")
            assert (let_in.code, let_in.err) == (Exit.DONE, "")
            assert "cara takes part now" in let_in.out
            following = start("read", "--vault", str(town.vault("cara")), "--follow")
            try:
                coach("anna", ["send"], "after Cara came")
                assert "before Cara" not in read_until(following, "after Cara came")
            finally:
                following.kill()
                following.communicate()
        finally:
            waiting.kill()
