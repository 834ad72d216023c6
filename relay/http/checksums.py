"""Upload-Checksum (tus checksum extension): a request's bytes are stored if they are what was meant."""

from __future__ import annotations

import base64
import binascii
import hashlib
from dataclasses import dataclass
from typing import Final

from relay.http.problems import Problem, malformed

ALGORITHMS: Final = (
    "sha1",
    "sha256",
)  # tus asks for the first: it finds mistakes, and is trusted for no more
MAX_CHECKED_BYTES: Final = 4 * 1024 * 1024  # held in memory until the checksum is known
CHECKSUM_MISMATCH: Final = 460  # tus's own status


@dataclass(frozen=True, slots=True)
class Checksum:
    """What a request's bytes must hash to."""

    algorithm: str
    digest: bytes

    def check(self, data: bytes | bytearray) -> None:
        """Raise `Problem` (460) unless these are the bytes."""
        if hashlib.new(self.algorithm, data, usedforsecurity=False).digest() != self.digest:
            raise Problem(CHECKSUM_MISMATCH, "checksum_mismatch", "The bytes do not have this checksum.")


def parse_checksum(header: str | None, content_length: int | None) -> Checksum | None:
    """Return what the header asks for, None without one; raises `Problem`."""
    if header is None:
        return None
    algorithm, _, text = header.partition(" ")
    if algorithm not in ALGORITHMS:
        raise malformed(f"Upload-Checksum knows {', '.join(ALGORITHMS)}.")
    try:
        digest = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        digest = b""
    if len(digest) != hashlib.new(algorithm, usedforsecurity=False).digest_size:
        raise malformed("Upload-Checksum is an algorithm, a space, and the digest in Base64.")
    if content_length is None or content_length > MAX_CHECKED_BYTES:
        detail = (
            f"With Upload-Checksum a request tells its length, and has {MAX_CHECKED_BYTES} bytes at most."
        )
        raise Problem(413, "too_big", detail)
    return Checksum(algorithm, digest)
