"""TURN addresses (RFC 7065)."""

from __future__ import annotations

import pytest

from relay.wire.turn_uri import TurnUri, parse_turn_uri


@pytest.mark.parametrize(
    ("text", "parsed", "way"),
    [
        ("turn:turn.example", TurnUri("turn.example", 3478, "udp", False), "UDP"),
        ("turn:turn.example:3480?transport=tcp", TurnUri("turn.example", 3480, "tcp", False), "TCP"),
        ("turn:turn.example?transport=UDP", TurnUri("turn.example", 3478, "udp", False), "UDP"),
        ("turns:turn.example", TurnUri("turn.example", 5349, "tcp", True), "TLS"),
        ("turns:turn.example:443?transport=tcp", TurnUri("turn.example", 443, "tcp", True), "TLS"),
        ("turn:[2a00::7]:3478", TurnUri("2a00::7", 3478, "udp", False), "UDP"),
        ("turn:192.0.2.7", TurnUri("192.0.2.7", 3478, "udp", False), "UDP"),
    ],
)
def test_what_an_address_says(text: str, parsed: TurnUri, way: str) -> None:
    assert parse_turn_uri(text) == parsed
    assert parsed.way == way


@pytest.mark.parametrize(
    "text",
    [
        "",
        "turn:",
        "turn://turn.example",
        "stun:turn.example",
        "turn:turn.example:0",
        "turn:turn.example:65536",
        "turn:turn.example:",
        "turn:turn.example?transport=sctp",
        "turns:turn.example?transport=udp",
        "turn:user@turn.example",
        "turn:turn.example:3478\n",
        "turn:2a00::7:3478",
    ],
)
def test_what_is_none(text: str) -> None:
    with pytest.raises(ValueError, match=r"TURN|port"):
        parse_turn_uri(text)
