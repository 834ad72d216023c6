"""Tokens of every bad kind at a real relay's websocket: what the device is told; it is not let in."""

from __future__ import annotations

import base64
import hmac
import json
import secrets
import time
from typing import Any

import jwt
from nacl.signing import SigningKey

from relay.wire import frames as fr
from tests.support.real_relay import RealRelay
from tests.support.wire_client import Gone, WireClient, WirePortal

HOUR = 3600


def base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def unsigned(claims: dict[str, Any], algorithm: str) -> str:
    header = base64url(json.dumps({"alg": algorithm, "typ": "JWT"}).encode())
    return f"{header}.{base64url(json.dumps(claims).encode())}."


def by_hmac_sha512(claims: dict[str, Any], secret: str) -> str:
    signed = unsigned(claims, "HS512")[:-1]
    return f"{signed}.{base64url(hmac.digest(secret.encode(), signed.encode(), 'sha512'))}"


def bad_tokens(portal: WirePortal, other: WirePortal) -> dict[str, tuple[str, str]]:
    """What is wrong -> (the token, the code that the device gets)."""
    now = int(time.time())
    claims, secret = portal.claims("anna"), portal.keys["PORTAL_TOKEN_SECRET"]
    good = portal.token("anna")
    head, payload, signature = good.split(".")
    flipped = signature[:-2] + ("A" if signature[-2] != "A" else "B") + signature[-1]
    as_other_user = base64url(json.dumps({**claims, "sub": "ben"}).encode())

    def signed(*, key: str = secret, **header: Any) -> str:
        return jwt.encode(claims, key, algorithm="HS256", headers=header)

    invalid = {
        "of no portal": portal.token("anna", iss="nobody"),
        "in another portal's name": portal.token("anna", iss=other.id),
        "forged under another portal's secret": other.token("anna", iss=portal.id),
        "forged under a guessed secret": signed(key=secrets.token_urlsafe(32)),
        "forged under the API key": signed(key=portal.keys["PORTAL_API_KEY"]),
        "with a changed signature": f"{head}.{payload}.{flipped}",
        "with a cut signature": f"{head}.{payload}.{signature[:-4]}",
        "with another user's claims": f"{head}.{as_other_user}.{signature}",
        "unsigned": unsigned(claims, "none"),
        "unsigned, spelled oddly": unsigned(claims, "nOnE"),
        "without its signature": f"{head}.{payload}.",
        "of another algorithm": by_hmac_sha512(claims, secret),
        "with kid": signed(kid="../../dev/null"),
        "with crit": signed(crit=["exp"]),
        "for another audience": portal.token("anna", aud="somebody-else"),
        "for many audiences": portal.token("anna", aud=["coach-relay", "somebody-else"]),
        "of nobody": portal.token(""),
        "of an odd user": portal.token("anna\n"),
        "without exp": portal.token("anna", exp=None),
        "without nbf": portal.token("anna", nbf=None),
        "without iat": portal.token("anna", iat=None),
        "without jti": portal.token("anna", jti=None),
        "without sub": portal.token("anna", sub=None),
        "not yet valid": portal.token("anna", iat=now + 300, nbf=now + 300, exp=now + 600),
        "made in the future": portal.token("anna", iat=now + 300, exp=now + 600),
        "too long-lived": portal.token("anna", exp=now + 2 * HOUR),
        "no token": "no token",
        "empty": "",
        "long": "a" * 4096,
    }
    expired = portal.token("anna", iat=now - HOUR, nbf=now - HOUR, exp=now - 60)
    forged_and_expired = other.token("anna", iss=portal.id, iat=now - HOUR, nbf=now - HOUR, exp=now - 60)
    return {
        **{what: (token, "token_invalid") for what, token in invalid.items()},
        "expired": (expired, "token_expired"),
        "forged and expired": (forged_and_expired, "token_invalid"),
    }


async def answer_to(relay: RealRelay, portal: WirePortal, token: str, key: SigningKey | None = None) -> str:
    """What the relay says to a device with this token; then the connection must be over."""
    async with WireClient.dial(relay.url, key) as device:
        answer = await device.prove(portal.id, token)
        if isinstance(answer, fr.Ready):
            return "let in"
        try:
            await device.wait_for(fr.Ready)
        except Gone:
            return answer.code
        return f"{answer.code}, and let in"


async def test_no_bad_token_lets_a_device_in(relay: RealRelay) -> None:
    portal, other = WirePortal(relay.portal), WirePortal(await relay.add_portal("other"))
    cases = bad_tokens(portal, other)
    told = {what: await answer_to(relay, portal, token) for what, (token, _) in cases.items()}
    assert told == {what: code for what, (_, code) in cases.items()}
    assert await answer_to(relay, portal, portal.token("anna")) == "let in"


async def test_a_device_belongs_to_its_first_user(relay: RealRelay) -> None:
    portal, other = WirePortal(relay.portal), WirePortal(await relay.add_portal("other"))
    key = SigningKey.generate()
    assert await answer_to(relay, portal, portal.token("anna"), key) == "let in"
    assert await answer_to(relay, portal, portal.token("ben"), key) == "device_foreign"
    assert await answer_to(relay, other, other.token("anna"), key) == "device_foreign"
    assert await answer_to(relay, portal, portal.token("anna"), key) == "let in"


async def test_a_stolen_token_is_nothing_without_the_devices_key(relay: RealRelay) -> None:
    """The proof of another key, of another challenge and of another portal."""
    portal, other = WirePortal(relay.portal), WirePortal(await relay.add_portal("other"))
    token, owner = portal.token("anna"), SigningKey.generate()
    assert await answer_to(relay, portal, token, owner) == "let in"
    async with WireClient.dial(relay.url) as thief:
        await thief.send(fr.Hello((1,), b"c" * 32))
        challenge = await thief.wait_for(fr.Challenge)
        proof = thief.authenticate(portal.id, token, challenge.relay_nonce)
        await thief.send(proof._replace(device_key=bytes(owner.verify_key)))
        assert (await thief.wait_for(fr.Ready, fr.Goodbye)).__class__ is fr.Goodbye
    async with WireClient.dial(relay.url, owner) as device:
        await device.send(fr.Hello((1,), b"c" * 32))
        await device.wait_for(fr.Challenge)
        await device.send(device.authenticate(portal.id, token, b"an older challenge".ljust(32)))
        goodbye = await device.wait_for(fr.Goodbye)
        assert goodbye.code == "signature_invalid"
    assert await answer_to(relay, other, token, owner) == "signature_invalid"


async def test_a_token_is_renewed_only_by_its_own_user(relay: RealRelay) -> None:
    portal = WirePortal(relay.portal)
    now = int(time.time())
    cases = {
        "another user's": (portal.token("ben"), "token_invalid"),
        "expired": (portal.token("anna", iat=now - HOUR, nbf=now - HOUR, exp=now - 60), "token_expired"),
        "no token": ("x", "token_invalid"),
    }
    told = {}
    for what, (token, _) in cases.items():
        async with WireClient.connect(relay.url, portal, "anna") as device:
            await device.send(fr.Renew(1, token))
            told[what] = (await device.wait_for(fr.Goodbye)).code
    assert told == {what: code for what, (_, code) in cases.items()}
    async with WireClient.connect(relay.url, portal, "anna") as device:
        await device.send(fr.Renew(1, portal.token("anna", exp=now + HOUR)))
        assert (await device.wait_for(fr.Renewed)).token_expires == now + HOUR


async def test_a_connection_ends_with_its_token(relay: RealRelay) -> None:
    """The leeway of 30 s counts against the clock, so this token's last second is now."""
    portal = WirePortal(relay.portal)
    now = int(time.time())
    token = portal.token("anna", iat=now - 60, nbf=now - 60, exp=now - 28)
    async with WireClient.dial(relay.url) as device:
        assert isinstance(await device.prove(portal.id, token), fr.Ready)
        assert (await device.wait_for(fr.Goodbye)).code == "token_expired"
