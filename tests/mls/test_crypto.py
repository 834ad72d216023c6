"""Primitives as composed here: wrong keys, tags and lengths are refused; secrets do not show."""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import pkgutil
import re

import pytest

import client_sdk.mls as package
from client_sdk import mls
from client_sdk.mls.hpke import AES_128_GCM, CHACHA20_POLY1305, Aead, DhKemX25519, draw, hkdf_expand

from .support import Client, seeded

SUITES = pytest.mark.parametrize("suite", [mls.SUITE_1, mls.SUITE_3], ids=["suite 1", "suite 3"])
KEM = DhKemX25519()


@pytest.mark.parametrize("aead", [AES_128_GCM, CHACHA20_POLY1305])
def test_a_ciphertext_of_any_other_length_is_refused(aead: Aead) -> None:
    key, nonce = bytes(aead.key_length), bytes(12)
    sealed = aead.seal(key, nonce, b"aad", b"text")
    assert aead.open(key, nonce, b"aad", sealed) == b"text"
    for length in range(len(sealed)):
        with pytest.raises(mls.CryptoError):
            aead.open(key, nonce, b"aad", sealed[:length])
    with pytest.raises(mls.CryptoError):
        aead.open(key, nonce, b"aad", sealed + b"\0")
    with pytest.raises(mls.CryptoError):
        aead.open(key, nonce, b"other", sealed)


@SUITES
def test_a_signature_of_any_other_length_or_content_is_refused(suite: mls.CipherSuite) -> None:
    pair = mls.generate_signature_key(suite, seeded("signature"))
    signature = pair.sign(suite, b"L", b"content")
    suite.verify_with_label(pair.public, b"L", b"content", signature, "R")
    wrong = [signature[:length] for length in range(64)] + [signature + b"\0", bytes(64)]
    for bad in wrong:
        with pytest.raises(mls.CryptoError) as caught:
            suite.verify_with_label(pair.public, b"L", b"content", bad, "R")
        assert caught.value.rule == "R"
    for public, label, content in (
        (pair.public, b"M", b"content"),
        (pair.public, b"L", b"other"),
        (b"", b"L", b""),
    ):
        with pytest.raises(mls.CryptoError):
            suite.verify_with_label(public, label, content, signature, "R")


def test_a_small_order_signature_key_signs_nothing() -> None:
    identity_point = b"\1" + bytes(31)
    with pytest.raises(mls.CryptoError):
        mls.SUITE_1.verify_with_label(identity_point, b"L", b"any", identity_point + bytes(32), "R")


@SUITES
def test_a_mac_of_any_other_length_is_refused(suite: mls.CipherSuite) -> None:
    tag = suite.mac(b"key", b"data")
    suite.verify_mac(b"key", b"data", tag, "R")
    for bad in [tag[:length] for length in range(32)] + [tag + b"\0", bytes(32)]:
        with pytest.raises(mls.CryptoError):
            suite.verify_mac(b"key", b"data", bad, "R")


@SUITES
def test_hpke_opens_only_with_the_right_key_label_and_context(suite: mls.CipherSuite) -> None:
    mine, other = KEM.derive_key_pair(b"a" * 32), KEM.derive_key_pair(b"b" * 32)
    sealed = suite.encrypt_with_label(mine.public, b"L", b"context", b"text", seeded("hpke"))
    assert suite.decrypt_with_label(mine.private, b"L", b"context", *sealed) == b"text"
    wrong = (
        (other.private, b"L", b"context", *sealed),
        (mine.private, b"M", b"context", *sealed),
        (mine.private, b"L", b"other", *sealed),
        (mine.private, b"L", b"context", other.public, sealed[1]),
        (mine.private, b"L", b"context", sealed[0][:-1], sealed[1]),
        (mine.private, b"L", b"context", b"", sealed[1]),
        (mine.private, b"L", b"context", sealed[0], b""),
    )
    for arguments in wrong:
        with pytest.raises(mls.CryptoError):
            suite.decrypt_with_label(*arguments)


@pytest.mark.parametrize("low", [bytes(32), b"\1" + bytes(31)])
def test_low_order_points_are_refused(low: bytes) -> None:
    with pytest.raises(mls.CryptoError) as caught:
        KEM.encapsulate(low, seeded("kem"))
    assert caught.value.rule == "KEM-LOW-ORDER"


def test_hpke_export_agrees() -> None:
    pair, hpke = KEM.derive_key_pair(b"s" * 32), mls.SUITE_1.hpke
    kem_output, secret = hpke.send_export(pair.public, b"label", 32, seeded("export"))
    assert hpke.receive_export(pair.private, kem_output, b"label", 32) == secret
    assert hpke.receive_export(pair.private, kem_output, b"other", 32) != secret


def test_private_keys_of_the_wrong_length_are_refused() -> None:
    with pytest.raises(mls.CryptoError):
        KEM.public_key(bytes(31))
    with pytest.raises(mls.CryptoError):
        mls.SignatureKeyPair(bytes(32), bytes(31))


def test_the_halves_of_a_signature_key_must_belong_together() -> None:
    one, other = (mls.generate_signature_key(mls.SUITE_1, seeded(name)) for name in "ab")
    with pytest.raises(mls.CryptoError) as caught:
        mls.SignatureKeyPair(one.public, other.private)
    assert caught.value.rule == "SIGNATURE-KEY"


def test_a_random_source_that_returns_too_little_is_a_local_fault() -> None:
    with pytest.raises(mls.UsageError):
        draw(lambda count: bytes(count - 1), 32)


def test_expansion_has_its_limit() -> None:
    assert len(hkdf_expand(b"k" * 32, b"", 255 * 32)) == 255 * 32
    with pytest.raises(mls.UsageError):
        hkdf_expand(b"k" * 32, b"", 255 * 32 + 1)
    with pytest.raises(mls.UsageError):
        mls.SUITE_1.expand_with_label(b"k" * 32, b"l", b"", 1 << 16)


def test_an_unknown_suite_is_refused() -> None:
    with pytest.raises(mls.ValidationError) as caught:
        mls.cipher_suite(2)
    assert caught.value.rule == "SUITE-UNKNOWN"


SECRET_FIELD = re.compile(r"secret|private|plaintext|skipped|ratchets|^(key|nonce)$")
NOT_SECRET = {
    "EpochState.secrets",  # whose own fields are hidden
    "NextEpoch.secrets",
    "PreSharedKeyID.nonce",
    "UpdatePathNode.encrypted_path_secret",
    "Welcome.secrets",
}


def test_no_field_that_may_be_secret_is_shown() -> None:
    seen = set()
    for found in pkgutil.iter_modules(package.__path__):
        module = importlib.import_module(f"client_sdk.mls.{found.name}")
        for name, kind in inspect.getmembers(module, inspect.isclass):
            if kind.__module__ != module.__name__ or not dataclasses.is_dataclass(kind):
                continue
            for field in dataclasses.fields(kind):
                place = f"{name}.{field.name}"
                if SECRET_FIELD.search(field.name) and place not in NOT_SECRET:
                    seen.add(place)
                    assert not field.repr, place
    assert {"NextEpoch.joiner_secret", "MessageKey.key", "KemKeyPair.private"} <= seen


def test_no_repr_shows_a_secret() -> None:
    client = Client("anna")
    bundle, state = client.bundle(), client.create()
    secrets = [
        client.signer.private,
        bundle.init_private,
        bundle.encryption_private,
        *state.epoch_state.private_keys.values(),
        *(
            getattr(state.epoch_state.secrets, name)
            for name in state.epoch_state.secrets.__dataclass_fields__
        ),
        *state.secret_tree.secrets.values(),
    ]
    shown = repr((client.signer, bundle, state, mls.encrypt(state, b"open words", rng=client.rng)))
    for secret in secrets:
        assert repr(secret)[2:-1] not in shown
        assert secret.hex() not in shown
    assert "open words" not in shown
