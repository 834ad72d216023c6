"""deploy/prometheus: each alert rings in a real Prometheus when real relays are in the state that it is for.

Of the rules the times are shortened, and nothing else.
"""

from __future__ import annotations

import asyncio
import re
import resource
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, Final

import aiohttp
import pytest
import yaml

from relay.wire import frames as fr
from relay.wire.frames import EntryKind
from relay.wire.ids import EngagementId
from tests.deploy.programs import program
from tests.deploy.running import started
from tests.deploy.test_monitoring import PROMETHEUS
from tests.support import real_redis as redis
from tests.support.ports import free_port
from tests.support.real_relay import RealRelay
from tests.support.wire_client import WireClient, WirePortal

pytestmark = [
    pytest.mark.skipif(redis.PROGRAM is None, reason=redis.MISSING),
    pytest.mark.timeout(300),
]
PATIENCE: Final = 100.0
WHOLE_SECONDS: Final = 250.0
LOOK_SECONDS: Final = 0.5
MANY: Final = 1_500
CONNECTIONS: Final = 10
TUS: Final = {"Tus-Resumable": "1.0.0"}


class Alarms:
    """What a Prometheus has ringing, or had at any time."""

    def __init__(self, http: aiohttp.ClientSession) -> None:
        self._http = http
        self.rung: set[str] = set()
        self.names: set[str] = set()

    async def look(self) -> None:
        async with self._http.get("/api/v1/rules?type=alert") as answer:
            groups = (await answer.json(content_type=None))["data"]["groups"]
        rules = [rule for group in groups for rule in group["rules"]]
        self.names = {rule["name"] for rule in rules}
        self.rung |= {rule["name"] for rule in rules if rule["state"] == "firing"}

    async def ready(self) -> None:
        """Until its storage is open: before that it answers, but nothing that can be read."""
        async with asyncio.timeout(PATIENCE):
            while True:
                async with self._http.get("/-/ready") as answer:
                    if answer.status == 200:
                        return
                await asyncio.sleep(LOOK_SECONDS)

    async def watch(self) -> None:
        while True:
            await self.look()
            await asyncio.sleep(LOOK_SECONDS)

    async def heard(self, *names: str) -> None:
        """Until these have rung."""
        try:
            async with asyncio.timeout(PATIENCE):
                while not set(names) <= self.rung:  # noqa: ASYNC110  another process
                    await asyncio.sleep(LOOK_SECONDS)
        except TimeoutError:
            raise AssertionError(f"never rang: {set(names) - self.rung}") from None


def hurried(rules: str) -> str:
    """The rules with their times shortened."""
    text = re.sub(r"for: \d+m", "for: 1s", rules)
    text = text.replace("[30m]", "[90s]").replace("queued_operations[2m]", "queued_operations[4s]")
    return re.sub(r"\[\d+[mh]\]", "[20s]", text).replace("seconds > 300", "seconds > 3")


@asynccontextmanager
async def alarms(folder: Path, targets: list[str]) -> AsyncIterator[Alarms]:
    """A Prometheus with the shipped files, which asks these relays."""
    port = free_port()
    config = (PROMETHEUS / "prometheus.yaml").read_text(encoding="utf-8").replace(": 15s", ": 2s")
    written = yaml.safe_load(config)
    written["scrape_configs"][0]["static_configs"][0]["targets"] = targets
    (folder / "prometheus.yaml").write_text(yaml.safe_dump(written), encoding="utf-8")
    rules = (PROMETHEUS / "rules.yaml").read_text(encoding="utf-8")
    (folder / "rules.yaml").write_text(hurried(rules), encoding="utf-8")
    command = [
        program("prometheus"),
        f"--config.file={folder / 'prometheus.yaml'}",
        f"--storage.tsdb.path={folder / 'tsdb'}",
        f"--web.listen-address=127.0.0.1:{port}",
    ]
    async with started(command, port, folder), aiohttp.ClientSession(f"http://127.0.0.1:{port}") as http:
        found = Alarms(http)
        await found.ready()
        async with asyncio.TaskGroup() as group:  # a look that fails ends the test
            watching = group.create_task(found.watch())
            yield found
            watching.cancel()


def relay_in(folder: Path, metrics: int, **settings: str) -> RealRelay:
    folder.mkdir()
    told = {f"COACH_RELAY_{name}": value for name, value in settings.items()}
    return RealRelay(folder, settings={"COACH_RELAY_METRICS_LISTEN": f"127.0.0.1:{metrics}", **told})


async def upload(relay: RealRelay, device: WireClient, stream: EngagementId) -> None:
    """A file, which the bucket does not take."""
    await device.send(fr.RequestBlobAccess(1, stream))
    headers = {**TUS, "Authorization": f"Bearer {(await device.wait_for(fr.BlobAccess)).token}"}
    part = {"Upload-Offset": "0", "Content-Type": "application/offset+octet-stream"}
    async with aiohttp.ClientSession(relay.url) as http:
        async with http.post("/v1/blobs", headers={**headers, "Upload-Length": "1"}) as answer:
            place = answer.headers["Location"]
        async with http.patch(place, data=b"x", headers={**headers, **part}) as answer:
            assert answer.status == 503


async def write(device: WireClient, stream: EngagementId, counters: range) -> None:
    """As many messages at once; nobody waits for the answers."""
    for counter in counters:
        await device.send(fr.Append(stream, counter, EntryKind.MESSAGE, 1, b"x"))


async def listen(device: WireClient) -> None:
    """Take what comes, or the relay lets a device go that does not."""
    while True:
        await device.receive()


async def bad_calls(device: WireClient) -> None:
    for _ in range(5):
        await device.send(fr.CallOutcome("failed"))


async def strangers(relay: RealRelay, alarmed: Alarms) -> None:
    """Somebody with another portal's token, again and again."""
    portal = WirePortal({**relay.portal, "PORTAL_TOKEN_SECRET": "A" * 43})
    while "CoachRelayPeopleShutOut" not in alarmed.rung:
        async with WireClient.dial(relay.url) as stranger:
            assert isinstance(await stranger.prove(portal.id, portal.token("anna")), fr.Goodbye)
        await asyncio.sleep(LOOK_SECONDS)


async def a_store_that_hangs(server: redis.Process, alarmed: Alarms) -> None:
    """Two of every three seconds, until that was noticed."""
    async with asyncio.timeout(PATIENCE):
        while not {"CoachRelayStoreSlow", "CoachRelayDeliveryLate", "CoachRelayQueueGrows"} <= alarmed.rung:
            server.pause()
            await asyncio.sleep(8)
            server.resume()
            await asyncio.sleep(1)


async def without_a_store(
    server: redis.Process, device: WireClient, stream: EngagementId, alarmed: Alarms
) -> None:
    server.kill()
    async with asyncio.timeout(PATIENCE):
        while not {"CoachRelayCannotStore", "CoachRelayRefusesMuch"} <= alarmed.rung:
            await write(device, stream, range(100_000, 100_010))
            await asyncio.sleep(LOOK_SECONDS)


async def unlucky(relay: RealRelay, alarmed: Alarms) -> None:
    """It ends again and again; and somebody uses up what they were given."""
    await relay.start()
    await relay.run("portal", "set-quota", relay.portal["PORTAL_ID"], "--engagements", "1")
    await relay.create_engagement(anna="coach", ben="client")
    async with asyncio.timeout(PATIENCE):
        while "CoachRelayRestarts" not in alarmed.rung:
            await relay.kill()
            await relay.start()
            await asyncio.sleep(4.5)  # for Prometheus to see that it was there
    await alarmed.heard("CoachRelayPortalNearQuota")
    resource.prlimit(relay.pid, resource.RLIMIT_NOFILE, (30, 30))
    await alarmed.heard("CoachRelayOpenFiles")
    await relay.kill()
    await alarmed.heard("CoachRelayDown")


async def test_each_alert_rings_in_the_state_that_it_is_for(tmp_path: Path) -> None:
    ports = [free_port(), free_port()]
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(asyncio.timeout(WHOLE_SECONDS))
        servers = stack.enter_context(redis.real_redis(redis.Standalone))
        bucket = {"S3_BUCKET": "coach-files", "S3_ENDPOINT": "http://127.0.0.1:1", "S3_ACCESS_KEY_ID": "x"}
        busy = relay_in(
            tmp_path / "busy",
            ports[0],
            REDIS_URL=servers.url,
            MAX_CONNECTIONS=str(CONNECTIONS),
            S3_SECRET_ACCESS_KEY="x",
            **bucket,
        )
        other = relay_in(tmp_path / "other", ports[1])
        await busy.start()
        stack.push_async_callback(busy.kill)
        stack.push_async_callback(other.kill)
        targets = [f"127.0.0.1:{port}" for port in ports]
        alarmed = await stack.enter_async_context(alarms(tmp_path, targets))
        unlucky_one = asyncio.create_task(unlucky(other, alarmed))
        stack.callback(unlucky_one.cancel)

        stream = EngagementId(await busy.create_engagement(anna="coach", ben="client"))
        portal = WirePortal(busy.portal)
        ben = await stack.enter_async_context(WireClient.connect(busy.url, portal, "ben"))
        anna = await stack.enter_async_context(WireClient.connect(busy.url, portal, "anna"))
        await anna.create_group(stream, (ben.id,))
        await ben.open(stream, 0)  # and it never acknowledges anything
        await strangers(busy, alarmed)
        for number in range(CONNECTIONS - 2):
            connecting = WireClient.connect(busy.url, portal, f"user{number}")
            await stack.enter_async_context(connecting)
        await bad_calls(anna)
        await upload(busy, anna, stream)
        await alarmed.heard("CoachRelayNearlyFull", "CoachRelayCallsFail", "CoachRelayFilesFail")
        listening = asyncio.create_task(listen(anna))
        stack.callback(listening.cancel)
        hanging = asyncio.create_task(a_store_that_hangs(servers.servers[0], alarmed))
        stack.callback(hanging.cancel)
        counter = 2
        while not hanging.done():
            await write(anna, stream, range(counter, counter + MANY))
            counter += MANY
            await asyncio.wait([hanging], timeout=2)
        hanging.result()
        await alarmed.heard("CoachRelayDeviceStuck")
        await without_a_store(servers.servers[0], anna, stream, alarmed)
        await unlucky_one
        await alarmed.look()
        assert alarmed.rung == alarmed.names


def test_times_are_all_that_is_changed() -> None:
    shipped: Any = yaml.safe_load((PROMETHEUS / "rules.yaml").read_text(encoding="utf-8"))
    changed: Any = yaml.safe_load(hurried((PROMETHEUS / "rules.yaml").read_text(encoding="utf-8")))
    for before, after in zip(shipped["groups"][0]["rules"], changed["groups"][0]["rules"], strict=True):
        without = re.compile(r"\[\w+\]|seconds > \d+")
        assert without.sub("", before["expr"]) == without.sub("", after["expr"])
        assert {**before, "expr": "", "for": ""} == {**after, "expr": "", "for": ""} | (
            {} if "for" in after else {"for": ""}
        )
