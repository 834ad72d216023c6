"""Archives: the sealed history that a user keeps at the relay (PROTOCOL 16), in series of parts."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, NewType

from relay.core.records import pack_record, unpack_record
from relay.errors import InvalidRequest, QuotaExceeded
from relay.wire import fields as f
from relay.wire.limits import ARCHIVE_SERIES_BYTES, MAX_ARCHIVE_BYTES, MAX_ARCHIVE_PARTS, MAX_ARCHIVE_SERIES

_VERSION: Final = 1

Series = NewType("Series", bytes)
"""16 random bytes by which a device names the parts that it writes, one after the other."""


@dataclass(frozen=True, slots=True)
class ArchiveRecord:
    """What a user has in one engagement: each series' number of parts, and their bytes."""

    series: dict[Series, tuple[int, int]] = field(default_factory=dict)

    @property
    def size(self) -> int:
        """All bytes together."""
        return sum(size for _, size in self.series.values())

    def parts(self, series: Series) -> int:
        """How many parts a series has."""
        return self.series.get(series, (0, 0))[0]

    def serialize(self) -> bytes:
        """The record as bytes."""
        return pack_record(_VERSION, ([(name, *counts) for name, counts in self.series.items()],))

    @classmethod
    def parse(cls, value: bytes) -> ArchiveRecord:
        """The record in these bytes; raises `StoreCorrupt`."""
        (found,) = unpack_record(value, _VERSION, (_SERIES,))
        return cls({Series(name): (parts, size) for name, parts, size in found})


def _values(*values: object) -> tuple[object, ...]:
    return values


_SERIES: Final = f.many(
    f.record(_values, f.fixed(ARCHIVE_SERIES_BYTES), f.positive, f.uint), most=MAX_ARCHIVE_SERIES
)


def add_part(record: ArchiveRecord, series: Series, number: int, size: int) -> ArchiveRecord:
    """The record with the series' next part.

    Raises `InvalidRequest` for any other number, `QuotaExceeded` if the user keeps too much.
    """
    parts, total = record.series.get(series, (0, 0))
    if number != parts + 1:
        raise InvalidRequest("not the next part")
    if series not in record.series and len(record.series) >= MAX_ARCHIVE_SERIES:
        raise QuotaExceeded("archive series", MAX_ARCHIVE_SERIES)
    if number > MAX_ARCHIVE_PARTS:
        raise QuotaExceeded("archive parts", MAX_ARCHIVE_PARTS)
    if record.size + size > MAX_ARCHIVE_BYTES:
        raise QuotaExceeded("archive bytes", MAX_ARCHIVE_BYTES)
    return ArchiveRecord({**record.series, series: (number, total + size)})


def without_series(record: ArchiveRecord, series: Series) -> ArchiveRecord:
    """The record without a series."""
    return ArchiveRecord({name: counts for name, counts in record.series.items() if name != series})
