"""An S3-compatible server: moto's, as a process of its own."""

from __future__ import annotations

import subprocess
import sys
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from relay.blobs import S3Location
from tests.support.ports import free_port

START_SECONDS = 60.0
XML = {"Content-Type": "application/xml"}
VERSIONED = (
    b'<VersioningConfiguration xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
    b"<Status>Enabled</Status></VersioningConfiguration>"
)


@dataclass(frozen=True, slots=True)
class S3Server:
    """A server that answers at `endpoint`; it lets everybody in."""

    endpoint: str

    def bucket(self, *, versioned: bool = False) -> str:
        """A new bucket's name."""
        name = f"bucket-{uuid.uuid4().hex[:12]}"
        self._put(name, b"")
        if versioned:
            self._put(f"{name}?versioning", VERSIONED)
        return name

    def location(self, bucket: str, *, prefix: str = "relay/blobs") -> S3Location:
        """How the relay is told of a bucket."""
        return S3Location(
            bucket=bucket,
            endpoint=self.endpoint,
            prefix=prefix,
            access_key_id="id",
            secret_access_key="secret",
        )

    def _put(self, path: str, body: bytes) -> None:
        request = urllib.request.Request(f"{self.endpoint}/{path}", data=body, method="PUT", headers=XML)
        with urllib.request.urlopen(request, timeout=10) as answer:
            assert answer.status == 200


@contextmanager
def s3_server(folder: Path) -> Iterator[S3Server]:
    """Run it until the end of the block."""
    port = free_port()
    with (folder / "s3.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)], stdout=log, stderr=log
        )
    try:
        server = S3Server(f"http://127.0.0.1:{port}")
        give_up = time.monotonic() + START_SECONDS
        while not _answers(server.endpoint):
            assert process.poll() is None, (folder / "s3.log").read_text()
            assert time.monotonic() < give_up, "it does not answer"
        yield server
    finally:
        process.terminate()
        process.wait()


def _answers(endpoint: str) -> bool:
    try:
        urllib.request.urlopen(endpoint, timeout=5).close()
    except urllib.error.HTTPError:
        return True
    except OSError:
        time.sleep(0.05)  # between two looks at another process
        return False
    return True
