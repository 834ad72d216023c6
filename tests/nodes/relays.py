"""Several nodes of one relay as real processes, behind one address."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import aiohttp

from tests.support.real_relay import RealRelay
from tests.support.wire_client import WirePortal
from tests.support.wires import Wire


class Relays:
    """Nodes on one Redis; devices know only `url`: a balancer spreads them over those in service."""

    def __init__(self, nodes: Sequence[RealRelay], balancer: Wire) -> None:
        self.nodes = nodes
        self._balancer = balancer
        self.in_service = set(nodes)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._balancer.port}"

    @property
    def portal(self) -> WirePortal:
        return WirePortal(self.nodes[0].portal)

    async def engagement(self, **roster: str) -> str:
        """A new engagement, by way of any node."""
        people = [{"user": user, "role": role} for user, role in roster.items()]
        async with (
            aiohttp.ClientSession(self.url, headers=self.portal.bearer) as http,
            http.post("/v1/engagements", json={"participants": people}) as answer,
        ):
            answer.raise_for_status()
            return str((await answer.json())["id"])

    async def restart(self, node: RealRelay) -> None:
        """As an orchestrator does it: no new connections, SIGTERM, the new one, connections again."""
        self.in_service.discard(node)
        await node.stop()
        await node.start()
        self.in_service.add(node)

    def cut_off(self) -> None:
        """Nothing passes between devices and nodes."""
        self._balancer.cut()

    def mend(self) -> None:
        self._balancer.mend()

    async def kill(self, node: RealRelay) -> None:
        """SIGKILL; the balancer notices because nobody answers."""
        await node.kill()


@asynccontextmanager
async def relays(
    folder: Path,
    urls: Sequence[str],
    *,
    wait: str = "none",
    drain_seconds: int = 6,
    options: Sequence[str] = (),
    codes: Sequence[Path | None] = (),
) -> AsyncIterator[Relays]:
    """As many nodes as there are `redis_url`s, all of which lead to the same Redis.

    `codes` are folders of other versions, for the first of them.
    """
    async with AsyncExitStack() as stack:
        nodes: list[RealRelay] = []
        found: list[Relays] = []

        def ports() -> list[int]:
            return [int(node.url.rpartition(":")[2]) for node in found[0].in_service] if found else []

        balancer = Wire(ports, seed=1)
        await balancer.start()
        stack.push_async_callback(balancer.close)
        for number, url in enumerate(urls):
            settings = {
                "COACH_RELAY_REDIS_URL": url,
                "COACH_RELAY_REDIS_WAIT": wait,
                "COACH_RELAY_PUBLIC_ORIGINS": f"http://127.0.0.1:{balancer.port}",
                "COACH_RELAY_DRAIN_SECONDS": str(drain_seconds),
            }
            place = folder / f"node{number}"
            place.mkdir()
            code = codes[number] if number < len(codes) else None
            node = RealRelay(place, options=options, settings=settings, code=code)
            if nodes:
                node.share_portal(nodes[0])
            else:
                await node.make_portal("growth")
            nodes.append(node)
        await asyncio.gather(*[node.start() for node in nodes])
        for node in nodes:
            stack.push_async_callback(node.kill)
        found.append(Relays(nodes, balancer))
        yield found[0]
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(20):
                await asyncio.gather(*[node.stop() for node in nodes])
