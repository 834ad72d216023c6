from __future__ import annotations

import pytest

from client_sdk.errors import UsageError
from client_sdk.transport import relay_address


@pytest.mark.parametrize(
    ("url", "origin", "connect", "base"),
    [
        ("https://a.test", "https://a.test", "wss://a.test/v1/connect", "https://a.test"),
        ("https://A.Test:443/", "https://a.test", "wss://a.test/v1/connect", "https://a.test"),
        ("https://a.test:8443/in/", "https://a.test:8443", "wss://a.test:8443/in/v1/connect", "https://a.test:8443/in"),
        ("http://127.0.0.1:8470", "http://127.0.0.1:8470", "ws://127.0.0.1:8470/v1/connect", "http://127.0.0.1:8470"),
        ("http://localhost:8470/", "http://localhost:8470", "ws://localhost:8470/v1/connect", "http://localhost:8470"),
        ("http://[::1]:8470", "http://[::1]:8470", "ws://[::1]:8470/v1/connect", "http://[::1]:8470"),
        ("https://ü.test", "https://xn--tda.test", "wss://xn--tda.test/v1/connect", "https://xn--tda.test"),
    ],
)  # fmt: skip
def test_a_url_gives_origin_websocket_and_base(url: str, origin: str, connect: str, base: str) -> None:
    address = relay_address(url)
    assert (address.origin, address.connect, address.base) == (origin, connect, base)


@pytest.mark.parametrize(
    "url",
    [
        "http://relay.example",
        "http://192.168.1.4:8470",
        "http://127.0.0.1.evil.example",
        "http://localhost.evil.example",
        "ftp://relay.example",
        "relay.example",
        "https://",
        "https://user:secret@relay.example",
        "https://relay.example/?token=1",
        "https://relay.example/#here",
        "https://relay.example:99999",
        "",
    ],
)
def test_other_addresses_are_refused(url: str) -> None:
    with pytest.raises(UsageError):
        relay_address(url)


def test_plain_http_to_another_machine_only_when_told() -> None:
    address = relay_address("http://relay.example:8470", allow_insecure=True)
    assert address.origin == "http://relay.example:8470"
