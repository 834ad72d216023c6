"""Reads a vault's file as a thief with the key would: every page decrypted, the free ones too."""

from __future__ import annotations

import struct
from pathlib import Path

from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import ChaCha20

from client_sdk.vault.header import HEADER_BYTES, Header

PAGE = 4096
RESERVED = 32  # a nonce and a tag at the end of each page
PLAIN = 24  # the first bytes of page 1 are not encrypted


def _xor(data: bytes, key: bytes, nonce: bytes, counter: int) -> bytes:
    start = struct.pack("<I", counter & 0xFFFFFFFF) + nonce[:12]
    return Cipher(ChaCha20(key, start), mode=None).encryptor().update(data)


def decrypted_pages(path: Path, master: bytes) -> list[bytes]:
    """The content of every page (the cipher of SQLite3 Multiple Ciphers, "chacha20", without its tags)."""
    data = path.read_bytes()
    key = Header.parse(data[:HEADER_BYTES]).file_key(master)
    pages = []
    for number in range(1, len(data) // PAGE + 1):
        page = data[(number - 1) * PAGE : number * PAGE]
        nonce = page[PAGE - RESERVED : PAGE - RESERVED + 16]
        counter = struct.unpack("<I", nonce[12:])[0] ^ number
        one_time = _xor(bytes(64), key, nonce, counter)
        start = PLAIN if number == 1 else 0
        body = _xor(page[start : PAGE - RESERVED], one_time[32:], nonce, counter + 1)
        pages.append(page[:start] + body)
    return pages
