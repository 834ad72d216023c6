"""What a program gets that opens a vault it cannot have: a clear error each; the vault stays as it was."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest

from client_sdk import Client
from client_sdk.errors import VaultCorrupt, VaultError, VaultFormatUnknown, VaultInUse, WrongPassphrase
from tests.support.real_relay import RealRelay

ROOT = Path(__file__).resolve().parents[2]
RIGHT = "correct horse battery staple"

SECOND_PROCESS = """
import asyncio, json, sys
from client_sdk import Client
from client_sdk.errors import VaultError
order = json.loads(sys.argv[1])
async def token():
    return order["token"]
async def main():
    try:
        secret = order["passphrase"]
        async with Client.open(order["vault"], passphrase=secret, relay=order["url"], token=token):
            print("opened")
    except VaultError as error:
        print(error.code)
asyncio.run(main())
"""


def opening(relay: RealRelay, vault: Path, passphrase: str) -> AbstractAsyncContextManager[Client]:
    return Client.open(vault, passphrase=passphrase, relay=relay.url, token=relay.token_for("anna"))


async def refusal(relay: RealRelay, vault: Path, passphrase: str) -> VaultError:
    with pytest.raises(VaultError) as refused:
        async with opening(relay, vault, passphrase):
            raise AssertionError("it was opened")
    return refused.value


async def test_wrong_corrupt_and_in_use(relay: RealRelay, tmp_path: Path) -> None:
    vault = tmp_path / "anna.vault"
    async with opening(relay, vault, RIGHT) as client:
        user, number = client.user, client.safety_number
        assert isinstance(await refusal(relay, vault, RIGHT), VaultInUse)
        order = {
            "vault": str(vault),
            "passphrase": RIGHT,
            "url": relay.url,
            "token": await relay.token_for("anna")(),
        }
        second = await asyncio.to_thread(
            subprocess.run,
            [sys.executable, "-c", SECOND_PROCESS, json.dumps(order)],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=True,
            timeout=30,
        )
        assert second.stdout.strip() == VaultInUse.code
    wrong = await refusal(relay, vault, RIGHT + " ")
    assert isinstance(wrong, WrongPassphrase)

    whole = vault.read_bytes()
    for damaged in (whole[: len(whole) // 2], whole[:5000] + bytes(2000) + whole[7000:], b"x" * len(whole)):
        vault.write_bytes(damaged)
        error = await refusal(relay, vault, RIGHT)
        assert isinstance(error, VaultCorrupt | VaultFormatUnknown | WrongPassphrase)
        assert RIGHT not in str(error)
        assert vault.read_bytes() == damaged, "nobody made a new one in its place"
    vault.write_bytes(whole)
    async with opening(relay, vault, RIGHT) as client:
        assert (client.user, client.safety_number) == (user, number)
