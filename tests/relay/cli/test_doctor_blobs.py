"""`coach-relay doctor` and a bucket: a real S3-compatible server, and what may be wrong with one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from obstore.exceptions import GenericError, PermissionDeniedError, UnauthenticatedError

from relay.blobs import BlobStoreUnavailable, S3Blobs
from relay.cli import blob_checks
from relay.cli.blob_checks import check_blobs
from relay.cli.checks import CHECKS
from relay.cli.findings import Finding, Level
from relay.config import Settings, load_settings
from tests.support.ports import free_port
from tests.support.s3 import S3Server, s3_server


@pytest.fixture(scope="module")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    with s3_server(tmp_path_factory.mktemp("s3")) as server:
        yield server


def settings_for(endpoint: str, bucket: str, tmp_path: Path) -> Settings:
    keys = {"s3_access_key_id": "id", "s3_secret_access_key": "secret", "s3_prefix": "relay"}
    given = {"s3_bucket": bucket, "s3_endpoint": endpoint, "data_dir": tmp_path / "data", **keys}
    return load_settings(environ={}, options=given)


def worst(settings: Settings) -> Finding:
    return max(check_blobs(settings), key=lambda finding: list(Level).index(finding.level))


def test_a_bucket_that_works_without_tls(s3: S3Server, tmp_path: Path) -> None:
    without_tls, works = check_blobs(settings_for(s3.endpoint, s3.bucket(), tmp_path))
    assert (without_tls.level, "https" in without_tls.do) == (Level.NOTE, True)
    assert (works.level, "stores, gives back and erases" in works.what) == (Level.OK, True)


def test_nothing_is_left_behind_and_it_may_be_cut_short(s3: S3Server, tmp_path: Path) -> None:
    bucket = s3.bucket()
    for _ in range(2):
        assert worst(settings_for(s3.endpoint, bucket, tmp_path)).level is not Level.FAILED


def test_a_bucket_that_keeps_versions(s3: S3Server, tmp_path: Path) -> None:
    finding = worst(settings_for(s3.endpoint, s3.bucket(versioned=True), tmp_path))
    assert "keeps versions" in finding.what
    assert "versioning off" in finding.do


def test_a_bucket_that_does_not_exist(s3: S3Server, tmp_path: Path) -> None:
    finding = worst(settings_for(s3.endpoint, "no-such-bucket", tmp_path))
    assert (finding.level, "does not exist" in finding.what) == (Level.FAILED, True)


def test_a_server_that_does_not_answer(tmp_path: Path) -> None:
    finding = worst(settings_for(f"http://127.0.0.1:{free_port()}", "bucket", tmp_path))
    assert "does not answer" in finding.what
    assert "s3_endpoint" in finding.do


@pytest.mark.parametrize(
    ("cause", "word"),
    [
        (PermissionDeniedError("no"), "these keys"),
        (UnauthenticatedError("no"), "these keys"),
        (GenericError("<Code>InvalidAccessKeyId</Code>"), "these keys"),
        (GenericError("<Code>NoSuchBucket</Code>"), "Create it"),
        (GenericError("no"), "does not answer"),
        (None, "S3-compatible"),
    ],
)
def test_every_fault_is_put_into_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cause: Exception | None, word: str
) -> None:
    async def fail(store: object) -> None:
        raise BlobStoreUnavailable("the blob store does not answer") from cause

    monkeypatch.setattr(blob_checks, "round_trip", fail)
    finding = worst(settings_for("https://s3.example", "bucket", tmp_path))
    assert finding.level is Level.FAILED
    assert word in finding.what + finding.do


def test_storage_that_loses_what_it_was_given(
    s3: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def nothing(self: S3Blobs, *_: object) -> int:
        return 0

    monkeypatch.setattr(S3Blobs, "size", nothing)
    finding = worst(settings_for(s3.endpoint, s3.bucket(), tmp_path))
    assert (finding.level, "not listed whole" in finding.what) == (Level.FAILED, True)


def test_without_a_bucket_there_is_nothing_to_look_at() -> None:
    assert list(check_blobs(load_settings(environ={}, options={"data_dir": "/x"}))) == []
    assert check_blobs in CHECKS
