"""Without the extra "calls": everything imports, it rings, and a call says what is missing."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
WITHOUT = """
import asyncio, importlib.abc, sys

class Fence(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("aiortc", "aioice", "av", "numpy"):
            raise ModuleNotFoundError(name, name=name)
        return None

sys.meta_path.insert(0, Fence())
import client_sdk.calls, client_sdk.demo.media
from client_sdk.calls import Call, CallsUnavailable, Phase
from tests.client_sdk.calls.line import context, lines

async def main():
    annas, bens = lines()
    try:
        await Call.invite(context(caller=True), annas)
    except CallsUnavailable as error:
        print(error.code)
    ben = Call.invited(context(caller=False), bens, seq=1)
    ben.deliver(b"anna's device 01", "call.ringing", {"call": ben.id}, bytes(32))
    print(ben.state.value)
    try:
        await ben.accept()
    except CallsUnavailable as error:
        print(error, ben.state.value)
    await ben.decline()
    print((await ben.ended()).outcome.value)
    await ben.close()

asyncio.run(main())
"""


def test_a_call_says_what_is_missing() -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", WITHOUT],
        capture_output=True,
        text=True,
        timeout=60,
        cwd=ROOT,
        check=False,
    )
    assert done.stderr == ""
    assert done.stdout.splitlines() == [
        "calls_unavailable",
        "ringing",
        'Calls need the extra "calls": pip install "coach-relay[calls]". ringing',
        "declined",
    ]


def test_nothing_loads_webrtc_before_the_first_call() -> None:
    look = (
        "import sys, client_sdk, client_sdk.calls, client_sdk.cli.main;"
        "print({'aiortc', 'av', 'numpy'} & {*sys.modules})"
    )
    done = subprocess.run(
        [sys.executable, "-c", look], capture_output=True, text=True, timeout=60, cwd=ROOT, check=False
    )
    assert (done.stdout, done.stderr) == ("set()\n", "")
