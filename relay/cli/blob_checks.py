"""What `doctor` looks at for sealed files in S3-compatible storage: it writes, reads, lists and erases."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Iterator
from typing import Final

from obstore.exceptions import PermissionDeniedError, UnauthenticatedError

from relay.blobs import PART_BYTES, BlobStore, S3Blobs, S3Location
from relay.cli.findings import Finding, failed, note, ok
from relay.config import Settings
from relay.errors import RelayError, StoreError
from relay.http.blob_store import s3_location
from relay.wire.ids import BlobId

_NO_KEYS: Final = ("AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch", "InvalidToken")
_NO_BUCKET: Final = ("NoSuchBucket",)
PROBE: Final = BlobId(".doctor-probe")
"""No blob's id, so the relay's sweep leaves it alone."""
SLOW_SECONDS: Final = 5.0
"""For a part of 2 MiB there and back: slower, people notice with every file."""


def check_blobs(settings: Settings) -> Iterator[Finding]:
    """The bucket, if there is one: everything that the relay does to it."""
    location = s3_location(settings)
    if location is None:
        return
    where = f"the bucket {location.bucket}"
    if location.endpoint.startswith("http://"):
        yield note(
            f"{where} is reached without TLS", "Use https, unless nobody else is on the network between."
        )
    try:
        yield from _tried(S3Blobs(location), where)
    except RelayError as error:
        yield _failure(error, location, where)


def _tried(store: S3Blobs, where: str) -> Iterator[Finding]:
    began = time.monotonic()
    asyncio.run(round_trip(store))
    taken = time.monotonic() - began
    what = f"{where} stores, gives back and erases a file of 4 MiB in {taken:.2f} s"
    yield (
        note(what, "That is slow: choose storage nearer to the relay.") if taken > SLOW_SECONDS else ok(what)
    )
    if asyncio.run(store.keeps_versions()):
        yield failed(
            f"{where} keeps versions, so what the relay erases stays there",
            "Switch versioning off for the bucket, and erase the old versions.",
        )


async def round_trip(store: BlobStore) -> None:
    """Store two parts, read across their bound, and erase them. Raises `RelayError`."""
    content = os.urandom(2 * PART_BYTES)
    await store.delete(PROBE)  # of a run that was cut short
    try:
        await store.append(PROBE, content, offset=0)
        if await store.size(PROBE) != len(content):
            raise StoreError("what was stored is not listed whole")
        pieces = [piece async for piece in store.read(PROBE, start=PART_BYTES - 7, end=PART_BYTES + 7)]
        if b"".join(pieces) != content[PART_BYTES - 7 : PART_BYTES + 7]:
            raise StoreError("what is read is not what was stored")
    finally:
        await store.delete(PROBE)
    if await store.size(PROBE):
        raise StoreError("what was erased is still there")


def _failure(error: RelayError, location: S3Location, where: str) -> Finding:
    cause = error.__cause__
    if cause is None:
        return failed(f"{where}: {error}", "This server is not S3-compatible enough: use another.")
    if _says(cause, _NO_KEYS) or isinstance(cause, PermissionDeniedError | UnauthenticatedError):
        return failed(
            f"{where} may not be used with these keys",
            "Correct s3_access_key_id and s3_secret_access_key, and allow them to put, get, list and delete.",
        )
    if _says(cause, _NO_BUCKET) or isinstance(cause, FileNotFoundError):
        return failed(f"{where} does not exist", "Create it, or correct s3_bucket and s3_endpoint.")
    server = location.endpoint or f"AWS ({location.region})"
    return failed(
        f"{where}: {server} does not answer as it should",
        "Correct s3_endpoint and s3_region, and let this machine connect to it.",
    )


def _says(cause: BaseException, codes: tuple[str, ...]) -> bool:
    """Whether the storage gave one of these error codes: obstore has types for a few of them only."""
    return any(f"<Code>{code}</Code>" in str(cause) for code in codes)
