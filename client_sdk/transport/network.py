"""Whether this machine is still where a connection left it: nobody tells a program of a new network."""

from __future__ import annotations

import errno
import socket
from collections.abc import Sequence
from typing import Final

_GONE: Final = (errno.EADDRNOTAVAIL, errno.ENETUNREACH, errno.EHOSTUNREACH, errno.ENETDOWN)
"""Others mean that something else is wrong, such as rules that forbid UDP: no sign of another network."""


def has_moved(local: Sequence[object], peer: Sequence[object]) -> bool:
    """Whether a connection from ``local`` to ``peer`` (socket addresses) is dead: its address has gone from
    this machine, or no way leads to the peer any more.

    It sends nothing. An address that is merely no longer preferred, as IPv6's temporary ones, does not count.
    """
    family = socket.AF_INET6 if ":" in str(local[0]) else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.bind((local[0], 0, *local[2:]))
            probe.connect(tuple(peer))  # of a datagram socket: only looks for the way
    except OSError as error:  # also where no socket is to be had: out of descriptors
        return error.errno in _GONE
    return False
