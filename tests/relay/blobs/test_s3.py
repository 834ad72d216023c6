"""What only a bucket has to prove: prefixes, other nodes, faults in words, memory."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator

import obstore
import pytest
from obstore.store import S3Store

from relay.blobs import PART_BYTES, BlobStoreUnavailable, S3Blobs, S3Location
from relay.wire.ids import BlobId
from tests.relay.cli.processes import ROOT, environment
from tests.support.ports import free_port
from tests.support.s3 import S3Server

A = BlobId("AAAAAAAAAAAAAAAAAAAAAA")


async def listed(blobs: S3Blobs) -> list[BlobId]:
    return [blob async for blob in blobs.list()]


async def joined(pieces: AsyncIterator[bytes]) -> bytes:
    return b"".join([piece async for piece in pieces])


def everything_in(server: S3Server, bucket: str) -> list[str]:
    raw = S3Store(
        bucket,
        config={
            "endpoint": server.endpoint,
            "access_key_id": "id",
            "secret_access_key": "secret",
            "region": "us-east-1",
        },
        client_options={"allow_http": True},
    )
    return sorted(meta["path"] for batch in obstore.list(raw) for meta in batch)


async def test_what_one_node_began_another_goes_on_with(s3: S3Server) -> None:
    bucket = s3.bucket()
    one, other = S3Blobs(s3.location(bucket)), S3Blobs(s3.location(bucket))
    content = bytes(range(256)) * (PART_BYTES // 200)
    end = await one.append(A, content[: PART_BYTES + 5], offset=0)
    assert await other.size(A) == end
    assert await other.append(A, content[end:], offset=end) == len(content)
    assert await joined(one.read(A, start=0, end=len(content))) == content


async def test_a_prefix_keeps_relays_and_other_things_apart(s3: S3Server) -> None:
    bucket = s3.bucket()
    one, other = S3Blobs(s3.location(bucket, prefix="one")), S3Blobs(s3.location(bucket, prefix="other"))
    bare = S3Blobs(s3.location(bucket, prefix=""))
    await one.append(A, b"first", offset=0)
    assert everything_in(s3, bucket) == [f"one/{A}/000000"]
    assert (await listed(other), await other.size(A)) == ([], 0)
    await other.append(A, b"second", offset=0)
    await other.delete(A)
    assert await joined(one.read(A, start=0, end=5)) == b"first"
    assert await listed(bare) == []  # another's prefix is no blob of its own


async def test_erasing_takes_many_objects_and_leaves_none(s3: S3Server) -> None:
    bucket = s3.bucket()
    blobs = S3Blobs(s3.location(bucket))
    await blobs.append(A, bytes(7 * PART_BYTES + 1), offset=0)
    assert len(everything_in(s3, bucket)) == 8
    await blobs.delete(A)
    assert everything_in(s3, bucket) == []


@pytest.mark.parametrize("versioned", [False, True])
async def test_a_bucket_that_keeps_what_is_erased_is_found(s3: S3Server, versioned: bool) -> None:
    blobs = S3Blobs(s3.location(s3.bucket(versioned=versioned)))
    assert await blobs.keeps_versions() is versioned
    assert await listed(blobs) == []


async def test_a_bucket_that_does_not_exist_is_named_as_a_fault_of_the_storage(s3: S3Server) -> None:
    blobs = S3Blobs(s3.location("no-such-bucket"))
    with pytest.raises(BlobStoreUnavailable):
        await blobs.append(A, b"x", offset=0)
    with pytest.raises(BlobStoreUnavailable):
        await blobs.check()


async def test_a_server_that_does_not_answer_is_given_up_in_time() -> None:
    location = S3Location(
        bucket="bucket", endpoint=f"http://127.0.0.1:{free_port()}", access_key_id="id", secret_access_key="x"
    )
    async with asyncio.timeout(60):
        with pytest.raises(BlobStoreUnavailable):
            await S3Blobs(location).check()


def test_the_key_is_never_shown() -> None:
    assert "hunter2" not in repr(S3Location(bucket="b", access_key_id="id", secret_access_key="hunter2"))


MEASURED = """
import asyncio, os, resource, sys
from relay.blobs import PART_BYTES, S3Blobs, S3Location
from relay.wire.ids import BlobId
async def main(endpoint, bucket, parts):
    blobs = S3Blobs(S3Location(bucket=bucket, endpoint=endpoint, access_key_id="i", secret_access_key="s"))
    blob, offset = BlobId("A" * 22), 0
    for _ in range(parts):
        offset = await blobs.append(blob, bytes(PART_BYTES), offset=offset)
    read = 0
    async for piece in blobs.read(blob, start=0, end=offset):
        read += len(piece)
    assert read == offset == parts * PART_BYTES
    await blobs.delete(blob)
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, flush=True)
    os._exit(0)  # the storage library's threads may abort an interpreter that is taken down
asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3])))
"""


async def peak_kib(s3: S3Server, parts: int) -> int:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", MEASURED, s3.endpoint, s3.bucket(), str(parts)),
        env=environment(),
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
    )
    out, _ = await process.communicate()
    assert process.returncode == 0
    return int(out)


async def test_memory_does_not_depend_on_the_size_of_a_file(s3: S3Server) -> None:
    small, large = await peak_kib(s3, 4), await peak_kib(s3, 64)
    assert large - small < 24 * 1024, f"{small} KiB for 8 MiB, {large} KiB for 128 MiB"
