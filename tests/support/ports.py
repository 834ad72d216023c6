"""Free ports for programs that must be told theirs, kept for them until they listen, and between."""

from __future__ import annotations

import os
import socket
from collections import deque
from typing import Final

_HELD_AT_MOST: Final = 512  # the oldest are let go: whoever asked for them is long gone
_held: Final[deque[int]] = deque()  # file descriptors, closed with the process


def free_port(*, bus: int = 0) -> int:
    """A loopback port, for TCP and UDP, where nobody listens; `bus` above it there is another, held as well.

    The system gives it to nobody who lets it choose, neither to listen nor to connect from: it stays bound
    here. Who names it and sets SO_REUSEADDR, as servers do, listens there all the same, and again after its
    end.
    """
    while True:
        port, descriptor = _bind(0)
        held = [descriptor]
        try:
            with socket.socket(type=socket.SOCK_DGRAM) as udp:
                udp.bind(("127.0.0.1", port))
            if bus:
                held.append(_bind(port + bus)[1])
        except (OSError, OverflowError):  # taken, or above the last there is
            os.close(descriptor)
        else:
            _held.extend(held)
            while len(_held) > _HELD_AT_MOST:
                os.close(_held.popleft())
            return port


def _bind(port: int) -> tuple[int, int]:
    """The port, the system's choice for 0, and the descriptor that holds it."""
    with socket.socket() as made:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind(("127.0.0.1", port))
        return int(made.getsockname()[1]), made.detach()
