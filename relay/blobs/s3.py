"""Blobs in S3-compatible storage: any node reads what any other wrote."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Final

import obstore
from obstore.store import S3Store

from relay.blobs.objects import ObjectBlobs, translated

if TYPE_CHECKING:
    from obstore.store import ClientConfig, RetryConfig, S3Config

CONNECT_SECONDS: Final = 5
REQUEST_SECONDS: Final = 30
"""For one part, 2 MiB, over a slow line; the devices wait meanwhile."""
RETRIES: Final = 3
RETRY_SECONDS: Final = 20
"""After which a device is told to come back: it keeps what it wanted to send."""
_VERSION_PROBE: Final = ".probe/version"


@dataclass(frozen=True, slots=True, kw_only=True)
class S3Location:
    """Where the bucket is. Without `endpoint` it is AWS; without keys, the machine's own role is used.

    `prefix` is put before every object's name.
    """

    bucket: str
    endpoint: str = ""
    region: str = "us-east-1"
    prefix: str = ""
    access_key_id: str = ""
    secret_access_key: str = field(default="", repr=False)


class S3Blobs(ObjectBlobs):
    """A `BlobStore` in a bucket, which must exist. Nothing is asked of it before the first use.

    Each part of a blob is one object, put whole and signed: S3 acknowledges an object when it is durable, and
    never shows half of one.
    """

    def __init__(self, location: S3Location, /) -> None:
        options: ClientConfig = {
            "allow_http": location.endpoint.startswith("http://"),
            "connect_timeout": timedelta(seconds=CONNECT_SECONDS),
            "timeout": timedelta(seconds=REQUEST_SECONDS),
        }
        retry: RetryConfig = {"max_retries": RETRIES, "retry_timeout": timedelta(seconds=RETRY_SECONDS)}
        self._s3 = S3Store(
            location.bucket,
            prefix=location.prefix or None,
            config=_config(location),
            client_options=options,
            retry_config=retry,
        )
        super().__init__(self._s3)

    async def keeps_versions(self) -> bool:
        """Whether the bucket keeps what is erased, as another version. Raises `BlobStoreUnavailable`."""
        with translated():
            put = await obstore.put_async(self._s3, _VERSION_PROBE, b"probe", use_multipart=False)
            await obstore.delete_async(self._s3, _VERSION_PROBE)
        return put["version"] not in (None, "null")

    async def _delete_objects(self, keys: Sequence[str]) -> None:
        await obstore.delete_async(self._s3, list(keys))  # one request; what is gone already is no error


def _config(location: S3Location) -> S3Config:
    config: S3Config = {
        "region": location.region,
        # A name with a dot does not match the certificate of *.s3.amazonaws.com.
        "virtual_hosted_style_request": not location.endpoint and "." not in location.bucket,
    }
    if location.endpoint:
        config["endpoint"] = location.endpoint
    if location.access_key_id:
        config["access_key_id"] = location.access_key_id
        config["secret_access_key"] = location.secret_access_key
    return config
