"""The ephemeral messages of one conversation: sealed under its present epoch, opened if from a member."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from client_sdk.engine import spaces
from client_sdk.engine.context import Context
from client_sdk.engine.ephemeral import Body, EphemeralBox, EphemeralMessage, EphemeralRefused
from client_sdk.engine.standing import Standing
from client_sdk.errors import UsageError
from client_sdk.identity import Leaf
from client_sdk.transport import Environment
from client_sdk.vault import Vault
from relay.wire.ids import EngagementId

_log = logging.getLogger(__name__)

RESERVED: Final = 1024  # counters taken at once: a program that ends wastes some, and never repeats one


@dataclass(frozen=True, slots=True)
class Whisper:
    """An ephemeral message from a device that is a member now."""

    sender: Leaf
    authenticator: bytes = field(repr=False)
    """The epoch authenticator of the epoch that it is sealed under."""
    kind: str
    body: Body = field(repr=False)


class Whispers:
    """Seals and opens; follows the group from epoch to epoch."""

    def __init__(
        self, engagement: EngagementId, context: Context, vault: Vault, environment: Environment
    ) -> None:
        self._engagement = engagement
        self._context = context
        self._vault = vault
        self._env = environment
        self._box: EphemeralBox | None = None
        self._epoch = -1
        self._standing = Standing()
        self._next = self._end = 0
        self.heard: Callable[[Whisper], None] = lambda _whisper: None
        """Called with each message that opens."""

    def follow(self, standing: Standing) -> None:
        """The conversation went on; messages that waited for this epoch are heard now."""
        self._standing = standing
        before, self._epoch = self._epoch, standing.epoch
        if standing.group is None:
            self._box = None
        elif self._box is None:
            sign = self._context.account.device_key.sign_labelled
            self._box = EphemeralBox(standing.group, self._epoch, sign)
        elif self._epoch != before:
            for message in self._box.enter(standing.group, self._epoch, self._env.monotonic()):
                self._hear(message)

    def seal(self, kind: str, body: Body) -> bytes:
        """A message of ours; raises `UsageError` outside the group, `EphemeralRefused` if it is too long."""
        if self._box is None:
            raise UsageError("This device does not take part in the conversation yet.")
        return self._box.seal(self._counter(), kind, body, self._context.rng)

    def open(self, body: bytes) -> None:
        """A message came; what is not from a member is dropped."""
        if self._box is None:
            return
        try:
            message = self._box.open(body, self._env.monotonic())
        except EphemeralRefused as error:
            _log.info("an ephemeral message was dropped: %s", error.code)
            return
        if message is not None:
            self._hear(message)

    def _hear(self, message: EphemeralMessage) -> None:
        view = self._standing.view
        senders = [leaf for leaf in view.leaves if leaf.device_key == message.device_key] if view else []
        if senders:  # whoever was removed since is not heard any more
            self.heard(Whisper(senders[0], message.authenticator, message.kind, message.body))

    def _counter(self) -> int:
        if self._next >= self._end:
            self._reserve()
        self._next += 1
        return self._next

    def _reserve(self) -> None:
        key = spaces.conversation_key(self._engagement)
        with self._vault.transaction() as tx:
            stored = tx.get(spaces.EPHEMERAL, key)
            self._next = 0 if stored is None else int.from_bytes(stored, "big")
            self._end = self._next + RESERVED
            tx.put(spaces.EPHEMERAL, key, self._end.to_bytes(8, "big"))
