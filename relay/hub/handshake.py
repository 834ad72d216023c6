"""Letting a device in: Hello, Challenge, Authenticate, Ready (PROTOCOL 2.1), and Renew."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Final

from nacl.exceptions import CryptoError
from nacl.signing import VerifyKey

from relay.core.access import AccessToken
from relay.errors import AccessRefused, QuotaExceeded, RelayError, StoreError
from relay.hub.session import Limits, Session, protocol_code
from relay.wire import frames as fr
from relay.wire.errors import ErrorCode, WireError
from relay.wire.ids import PortalId, device_id
from relay.wire.limits import NONCE_BYTES, SUPPORTED_VERSIONS
from relay.wire.proof import connect_proof_bytes

if TYPE_CHECKING:
    from relay.hub.hub import Hub

QUOTA_RETRY_MS: Final = 60_000  # others must leave first, or the operator act


class Handshake:
    """Proves devices and keeps tokens fresh."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub

    def hello(self, session: Session, frame: fr.Hello) -> None:
        """Agree on a version and challenge the device."""
        common = [version for version in SUPPORTED_VERSIONS if version in frame.versions]
        if not common:
            session.end(ErrorCode.UNSUPPORTED_VERSION)
            return
        relay_nonce = self._hub.rng(NONCE_BYTES)
        session.nonces = (relay_nonce, frame.client_nonce)
        session.send(fr.Challenge(max(common), relay_nonce))
        session.flush()

    async def authenticate(self, session: Session, frame: fr.Authenticate) -> None:
        """Let the device in if token, proof, binding and number of devices allow it.

        Raises `WireError` for a second one: frames of one message are allowed by the state before them all.
        """
        nonces, session.nonces = session.nonces, None
        if nonces is None:
            raise WireError(ErrorCode.OUT_OF_ORDER, "a challenge is answered once")
        try:
            await self._authenticate(session, frame, nonces)
        except AccessRefused as error:
            session.end(ErrorCode(error.code))
        except QuotaExceeded:
            self._refuse_quota(session)
        except StoreError as error:
            # Nothing is wrong with the device: it shall come again.
            session.end(ErrorCode.DRAINING, protocol_code(error), reconnect_after_ms=self._hub.jitter_ms())

    def _refuse_quota(self, session: Session) -> None:
        detail = "this portal has no connection left at this relay"
        session.end(
            ErrorCode.QUOTA_EXCEEDED, detail, reconnect_after_ms=QUOTA_RETRY_MS + self._hub.jitter_ms()
        )

    async def _authenticate(
        self, session: Session, frame: fr.Authenticate, nonces: tuple[bytes, bytes]
    ) -> None:
        hub = self._hub
        changes = hub.access.portal_changes
        token = await self._token(frame.token)
        self._check_proof(token.portal, frame, nonces)
        device = device_id(frame.device_key)
        await hub.access.enter(session, token, device, changes)
        is_new = await hub.devices.admit(token.portal, token.user, device, now=int(hub.clock()))
        left = await hub.key_packages.left(device)
        number = await hub.nodes.number()
        if await hub.devices.is_revoked(token.portal, token.user, device):
            # Only a moment ago. Nothing comes between this and entering.
            raise AccessRefused(ErrorCode.DEVICE_REVOKED)
        if session.closed:
            return
        session.portal, session.user, session.device = token.portal, token.user, device
        session.token_expires = token.expires
        session.number = number
        session.limits = Limits(hub, hub.steady())
        settings = hub.settings
        session.send(
            fr.Ready(
                device,
                token.portal,
                token.user,
                token.expires,
                left,
                settings.window_entries,
                settings.window_bytes,
                int(hub.clock()),
            )
        )
        hub.enter(session)
        if is_new:
            hub.spawn(hub.engagements_of_changed(token.portal, token.user))

    async def renew(self, session: Session, frame: fr.Renew) -> None:
        """Take a fresh token of the same user. One that is refused leaves the connection as it was."""
        changes = self._hub.access.portal_changes
        try:
            token = await self._token(frame.token)
            if (token.portal, token.user) != (session.portal, session.user):
                raise AccessRefused(ErrorCode.TOKEN_INVALID)
            await self._hub.access.enter(session, token, session.device, changes)
            if await self._hub.devices.is_revoked(token.portal, token.user, session.device):
                raise AccessRefused(ErrorCode.DEVICE_REVOKED)  # its connection should have ended then
        except AccessRefused as error:
            session.end(ErrorCode(error.code))
            return
        except RelayError as error:
            session.send_error(frame.request, error)
            return
        if session.closed:
            return
        session.token_expires = token.expires
        session.send(fr.Renewed(frame.request, token.expires))

    async def _token(self, token: str) -> AccessToken:
        granted = self._hub.verify_token(token, int(self._hub.clock()))
        return await granted if inspect.isawaitable(granted) else granted

    def _check_proof(self, portal: PortalId, frame: fr.Authenticate, nonces: tuple[bytes, bytes]) -> None:
        """Raise `AccessRefused` unless the signature is the device's, for one of our own origins."""
        device = device_id(frame.device_key)
        key = VerifyKey(frame.device_key)
        for origin in self._hub.settings.origins:
            try:
                key.verify(connect_proof_bytes(origin, portal, device, *nonces), frame.signature)
            except CryptoError:
                continue
            return
        raise AccessRefused(ErrorCode.SIGNATURE_INVALID)
