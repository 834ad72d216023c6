"""Two hosts that cannot reach each other, and one between them that both can reach: network namespaces.

    anna 11.1.0.2 --- 11.1.0.1 between 11.2.0.1 --- 11.2.0.2 ben
                         11.9.0.1: relay and TURN

The one between forwards nothing. The addresses are public ones: coturn's shipped rules hold as they are.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

import pytest

SERVICE: Final = "11.9.0.1"
_SUBNETS: Final = {"anna": "11.1.0", "ben": "11.2.0"}


@dataclass(frozen=True, slots=True)
class Networks:
    """The names of the namespaces, by who lives in them: anna, ben, between."""

    names: dict[str, str]

    def inside(self, who: str) -> list[str]:
        """What a command is begun with to run there."""
        return ["ip", "netns", "exec", self.names[who]]

    def readdress(self, who: str, number: int) -> None:
        """Give that host another address, as another Wi-Fi would."""
        subnet, name, link = _SUBNETS[who], self.names[who], f"to-{who}"
        _ip("-n", name, "address", "flush", "dev", link)
        _ip("-n", name, "address", "add", f"{subnet}.{number}/24", "dev", link)
        _ip("-n", name, "route", "add", "default", "via", f"{subnet}.1")

    @contextmanager
    def strict(self, *hosts: str) -> Iterator[None]:
        """A hotel's Wi-Fi, for a while: no UDP, and of TCP not TURN's own port."""
        rules = (("ipproto", "udp"), ("ipproto", "tcp", "dport", "3478"))
        each = [(self.names[who], rule) for who in hosts for rule in rules]
        try:
            for name, rule in each:
                _ip("-n", name, "rule", "add", "priority", "100", *rule, "prohibit")
            yield
        finally:
            for name, _ in each:
                subprocess.run(["ip", "-n", name, "rule", "delete", "priority", "100"], check=False)


def why_not() -> str | None:
    """Why namespaces cannot be made here, in words; None if they can."""
    if os.geteuid() != 0:
        return "network namespaces need root"
    if shutil.which("ip") is None:
        return "iproute2 is not installed: apt-get install iproute2"
    name = f"probe{os.getpid()}"
    tries = (("netns", "add", name), ("-n", name, "link", "set", "lo", "up"), ("netns", "exec", name, "true"))
    try:
        for arguments in tries:
            if subprocess.run(["ip", *arguments], capture_output=True, check=False).returncode != 0:
                return "this machine does not let root make and use network namespaces"
    finally:
        subprocess.run(["ip", "netns", "delete", name], capture_output=True, check=False)
    return None


@contextmanager
def networks() -> Iterator[Networks]:
    """The three hosts, until the end of the block; skips the test where they cannot be made."""
    reason = why_not()
    if reason is not None:
        pytest.skip(reason)
    made = Networks({who: f"{who}{os.getpid()}" for who in ("anna", "ben", "between")})
    try:
        for name in made.names.values():
            _ip("netns", "add", name)
            _ip("-n", name, "link", "set", "lo", "up")
        _ip("-n", made.names["between"], "address", "add", f"{SERVICE}/32", "dev", "lo")
        subprocess.run(
            [*made.inside("between"), "sh", "-c", "echo 0 > /proc/sys/net/ipv4/ip_forward"], check=True
        )
        for who in _SUBNETS:
            _join(made, who)
        yield made
    finally:
        for name in made.names.values():
            subprocess.run(["ip", "netns", "delete", name], capture_output=True, check=False)


def _join(made: Networks, who: str) -> None:
    host, between, link, subnet = made.names[who], made.names["between"], f"to-{who}", _SUBNETS[who]
    _ip("-n", between, "link", "add", link, "type", "veth", "peer", "name", link, "netns", host)
    _ip("-n", between, "address", "add", f"{subnet}.1/24", "dev", link)
    _ip("-n", between, "link", "set", link, "up")
    _ip("-n", host, "link", "set", link, "up")
    made.readdress(who, 2)


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True)
