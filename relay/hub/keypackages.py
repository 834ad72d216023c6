"""Key packages in the Directory: each single-use one goes to one claimer; then the one of last resort."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple

from relay.core.keypackages import accept_published, is_low
from relay.hub import spaces
from relay.hub.cache import Cache
from relay.store.interface import Directory
from relay.wire.frames import ClaimedKeyPackage
from relay.wire.ids import DeviceId
from relay.wire.limits import MAX_KEY_PACKAGES

_CACHED: Final = 65_536
_ORDER_BYTES: Final = 4


class Stock(NamedTuple):
    """What the relay holds for a device."""

    single_use: int
    last_resort: bool

    @property
    def any(self) -> bool:
        return self.last_resort or self.single_use > 0


class KeyPackages:
    """Publishes, counts and hands out. `low` is told when a stock runs low, `changed` of each change."""

    def __init__(
        self,
        directory: Directory,
        rng: Callable[[int], bytes],
        clock: Callable[[], float],
        low: Callable[[DeviceId, int], None],
        changed: Callable[[DeviceId], None],
    ) -> None:
        self._directory = directory
        self._rng = rng
        self._clock = clock
        self._low = low
        self._changed = changed
        self._stocks: Cache[DeviceId, Stock] = Cache(_CACHED)

    async def stock(self, device: DeviceId) -> Stock:
        """What there is for a device."""

        async def load() -> Stock | None:
            key = spaces.device_key(device)
            last_resort = await self._directory.get(spaces.LAST_RESORT, key) is not None
            return Stock(await self._directory.count(spaces.KEY_PACKAGES, key + "/"), last_resort)

        return await self._stocks.read(device, load) or Stock(0, False)

    async def left(self, device: DeviceId) -> int:
        """How many single-use packages a device has left."""
        return (await self.stock(device)).single_use

    async def publish(
        self, device: DeviceId, packages: Sequence[bytes], last_resort: bytes | None
    ) -> tuple[int, bool]:
        """Store what there is room for; how many are left, and whether these are the device's first.

        With one of last resort they take the place of all that there was: the device has begun anew, as with
        another device list. Raises `InvalidRequest`.
        """
        before = await self.stock(device)
        key = spaces.device_key(device)
        replaced = last_resort is not None
        old = await self._all(key) if replaced else []
        accepted = accept_published(0 if replaced else before.single_use, packages, last_resort)
        if last_resort is not None:
            await self._directory.put(spaces.LAST_RESORT, key, last_resort)
        if accepted:
            # In the order of publication, so that the oldest is used first; the random part keeps two
            # publications of one millisecond apart.
            start = f"{key}/{int(self._clock() * 1000):013x}{self._rng(_ORDER_BYTES).hex()}"
            records = {f"{start}{number:02x}": package for number, package in enumerate(accepted)}
            await self._directory.put_many(spaces.KEY_PACKAGES, records)
        for outdated in old:
            await self._directory.delete(spaces.KEY_PACKAGES, outdated)
        self._drop(device)
        after = await self.stock(device)
        return after.single_use, after.any and not before.any

    @property
    def caches(self) -> tuple[Cache[Any, Any], ...]:
        """What is kept in memory."""
        return (self._stocks,)

    def _drop(self, device: DeviceId) -> None:
        self._stocks.drop(device)
        self._changed(device)

    def forgotten(self, device: DeviceId) -> None:
        """What there was for a device has been deleted with it."""
        self._stocks.drop(device)

    async def _all(self, key: str) -> list[str]:
        kept = await self._directory.scan(spaces.KEY_PACKAGES, key + "/", limit=MAX_KEY_PACKAGES)
        return [name for name, _ in kept]

    async def claim(self, device: DeviceId) -> tuple[ClaimedKeyPackage, bool]:
        """One key package of a device, and whether it was the last that there is."""
        key = spaces.device_key(device)
        taken = await self._directory.take(spaces.KEY_PACKAGES, key + "/")
        if taken is None:
            last_resort = await self._directory.get(spaces.LAST_RESORT, key)
            self._low(device, 0)
            if last_resort is None:
                return ClaimedKeyPackage(device, None, False), False
            return ClaimedKeyPackage(device, last_resort.value, True), False
        self._drop(device)
        stock = await self.stock(device)
        if is_low(stock.single_use):
            self._low(device, stock.single_use)
        return ClaimedKeyPackage(device, taken[1], False), not stock.any
