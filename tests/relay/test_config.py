"""Settings: where they come from, and that every wrong one is named with what to do."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest

from relay.config import SETTING_NAMES, ConfigError, Settings, default_data_dir, load_settings, parse_origin

SHIPPED = Path(__file__).resolve().parents[2] / "deploy" / "coach-relay.toml"
HOME = {"XDG_DATA_HOME": "/data"}
NETWORK: dict[str, Any] = {"host": "0.0.0.0", "public_origins": ["https://relay.example"]}


def load(tmp_path: Path, toml: str = "", *, env: dict[str, str] | None = None, **options: Any) -> Settings:
    file = tmp_path / "relay.toml"
    file.write_text(toml)
    return load_settings(config=file, environ=HOME | (env or {}), options=options)


def refusal(tmp_path: Path, toml: str = "", *, env: dict[str, str] | None = None, **options: Any) -> str:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, toml, env=env, **options)
    return str(caught.value)


def test_it_works_with_no_configuration() -> None:
    settings = load_settings(environ=HOME)
    assert (settings.host, settings.port) == ("127.0.0.1", 8470)
    assert settings.data_dir == Path("/data/coach-relay")
    assert settings.origins(8470) == ("http://127.0.0.1:8470", "http://localhost:8470")


@pytest.mark.parametrize("base", ["", "relative/folder"])
def test_the_data_folder_without_a_usable_xdg_folder_is_under_home(base: str) -> None:
    assert default_data_dir({"XDG_DATA_HOME": base}) == Path.home() / ".local/share/coach-relay"


def test_the_file_is_beaten_by_the_environment_and_that_by_options(tmp_path: Path) -> None:
    toml = "port = 1\nmax_uploads = 1\ndrain_seconds = 1"
    env = {"COACH_RELAY_MAX_UPLOADS": "2", "COACH_RELAY_DRAIN_SECONDS": "2"}
    settings = load(tmp_path, toml, env=env, drain_seconds=3, host=None)
    assert (settings.port, settings.max_uploads, settings.drain_seconds) == (1, 2, 3)


def test_the_environment_may_name_the_file(tmp_path: Path) -> None:
    (tmp_path / "x.toml").write_text("port = 99")
    assert load_settings(environ=HOME | {"COACH_RELAY_CONFIG": str(tmp_path / "x.toml")}).port == 99


def test_every_kind_of_value_can_come_from_the_environment(tmp_path: Path) -> None:
    env = {
        "COACH_RELAY_BEHIND_PROXY": "true",
        "COACH_RELAY_PUBLIC_ORIGINS": "https://a.example, https://b.example:8443",
        "COACH_RELAY_DATA_DIR": "~/relay",
        "COACH_RELAY_LOG_LEVEL": "debug",
    }
    settings = load(tmp_path, env=env)
    assert settings.behind_proxy is True
    assert settings.public_origins == ("https://a.example", "https://b.example:8443")
    assert settings.data_dir == Path.home() / "relay"
    assert settings.log_level == "debug"


@pytest.mark.parametrize("name", ["data_dir", "tls_key", "turn_secret_file"])
def test_a_path_that_leads_nowhere_is_a_sentence(tmp_path: Path, name: str) -> None:
    said = refusal(tmp_path, f'{name} = "~nobody-of-this-name/x"')
    assert name in said
    assert (
        "~nobody-of-this-name/x begins with the home folder of a user whom this machine does not know" in said
    )


def test_the_shipped_file_shows_every_setting_with_its_default(tmp_path: Path) -> None:
    text = SHIPPED.read_text(encoding="utf-8")
    assert tomllib.loads(text) == {}
    uncommented = "\n".join(
        line.removeprefix("# ")
        for line in text.splitlines()
        if line.removeprefix("# ").split(" = ")[0] in SETTING_NAMES
    )
    shown = tomllib.loads(uncommented)
    assert tuple(sorted(shown)) == tuple(sorted(SETTING_NAMES))
    shown = {name: value for name, value in shown.items() if value != ""}  # an empty text means: not set
    assert load(tmp_path, uncommented) == load_settings(environ=HOME)
    for name, value in shown.items():
        default = getattr(Settings(), name)
        assert (list(default) if isinstance(default, tuple) else default) == value


def test_the_shipped_file_is_accepted() -> None:
    assert load_settings(config=SHIPPED, environ=HOME) == load_settings(environ=HOME)


def test_an_unknown_setting_is_named_with_the_nearest_one_and_where_it_stands(tmp_path: Path) -> None:
    assert "prot" in (said := refusal(tmp_path, "prot = 1"))
    assert "the nearest one is port" in said
    assert "relay.toml" in said
    said = refusal(tmp_path, env={"COACH_RELAY_DATADIR": "/x"})
    assert "COACH_RELAY_DATADIR (in the environment)" in said
    assert "COACH_RELAY_DATA_DIR" in said
    assert "--port" in refusal(tmp_path, prot=1)


def test_where_tests_find_their_vectors_is_no_setting_and_no_mistake() -> None:
    assert load_settings(environ=HOME | {"COACH_RELAY_VECTORS": "/x"}) == load_settings(environ=HOME)


@pytest.mark.parametrize(
    "line",
    [
        "port = -1",
        "port = 65536",
        "port = true",
        "port = 80.0",
        'port = "eighty"',
        'port = "８０"',
        'host = "relay.example"',
        'host = ""',
        "host = 1",
        "behind_proxy = 1",
        'behind_proxy = "maybe"',
        'log_level = "verbose"',
        "drain_seconds = 0",
        "max_upload_bytes = 2147483649",
        "default_retention_days = 181",
        "default_retention_days = 0",
        'public_origins = ["relay.example"]',
        'public_origins = ["https://relay.example/path"]',
        'public_origins = ["ftp://relay.example"]',
        'public_origins = ["https://user@relay.example"]',
        "public_origins = [1]",
        f"public_origins = {['https://a.example'] * 65}",
        'turn_urls = ["https://turn.example"]',
        'turn_urls = ["turns:turn.example?transport=udp"]',
        f"turn_urls = {['turn:turn.example'] * 17}",
        'stun_urls = ["stun:"]',
        's3_bucket = "UPPER"',
        's3_bucket = "ab"',
        's3_endpoint = "s3.example"',
        's3_endpoint = "https://s3.example/bucket"',
        's3_prefix = "/top"',
        's3_prefix = "a//b"',
        's3_prefix = "../a"',
        's3_region = "eu central"',
        'data_dir = "a\\nb"',
    ],
)
def test_a_value_of_the_wrong_kind_or_range_is_named(tmp_path: Path, line: str) -> None:
    said = refusal(tmp_path, line)
    assert said.startswith(line.split(" = ")[0])
    assert "change it" in said


@pytest.mark.parametrize("text", ["port = ", "[", "port = 1\nport = 2", "\x00"])
def test_a_file_that_is_not_toml_is_named(tmp_path: Path, text: str) -> None:
    assert "relay.toml is not TOML" in refusal(tmp_path, text)


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"missing\.toml cannot be read"):
        load_settings(config=tmp_path / "missing.toml", environ=HOME)
    (tmp_path / "bytes.toml").write_bytes(b"\xff")
    with pytest.raises(ConfigError, match="is not TOML"):
        load_settings(config=tmp_path / "bytes.toml", environ=HOME)
    (tmp_path / "huge.toml").write_bytes(b"#" * 300_000)
    with pytest.raises(ConfigError, match="is it the right file"):
        load_settings(config=tmp_path / "huge.toml", environ=HOME)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1"])
def test_tokens_never_cross_a_network_unencrypted(tmp_path: Path, host: str) -> None:
    said = refusal(tmp_path, host=host, public_origins=["https://relay.example"])
    assert "tls_cert" in said
    assert "behind_proxy" in said
    assert load(tmp_path, **(NETWORK | {"host": host}), behind_proxy=True).host == host


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost", "127.9.9.9"])
def test_loopback_needs_no_tls(tmp_path: Path, host: str) -> None:
    assert load(tmp_path, host=host).host == host


def test_tls_takes_two_files_that_exist(tmp_path: Path) -> None:
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    assert "one is missing" in refusal(tmp_path, **NETWORK, tls_cert=str(cert))
    assert "not a file" in refusal(tmp_path, **NETWORK, tls_cert=str(cert), tls_key=str(key))
    cert.write_text("")
    key.write_text("")
    settings = load(tmp_path, **NETWORK, tls_cert=str(cert), tls_key=str(key))
    assert settings.origins(1) == ("https://relay.example",)
    assert load(tmp_path, tls_cert=str(cert), tls_key=str(key)).origins(1)[0] == "https://127.0.0.1:1"


@pytest.mark.parametrize("options", [{"behind_proxy": True}, {"host": "0.0.0.0", "behind_proxy": True}])
def test_a_relay_that_others_reach_must_know_its_address(tmp_path: Path, options: dict[str, Any]) -> None:
    assert "public_origins is not set" in refusal(tmp_path, **options)


def test_turn_needs_its_secret_and_the_secret_is_never_shown(tmp_path: Path) -> None:
    assert "turn_secret" in refusal(tmp_path, 'turn_urls = ["turn:turn.example"]')
    settings = load(tmp_path, 'turn_urls = ["turn:turn.example"]', env={"COACH_RELAY_TURN_SECRET": "hunter2"})
    assert settings.turn_secret == "hunter2"
    assert "hunter2" not in repr(settings)
    assert "hunter2" not in refusal(tmp_path, env={"COACH_RELAY_TURN_SECRET": "hunter2\n"})


def test_the_turn_secret_may_stand_in_a_file_of_its_own(tmp_path: Path) -> None:
    secret, line = (
        tmp_path / "turn.secret",
        f'turn_urls = ["turn:t.example"]\nturn_secret_file = "{tmp_path}/turn.secret"',
    )
    assert "cannot be read" in refusal(tmp_path, line)
    for content in (b"", b"\n", b"two\nlines\n", b"\xff\n", b"x" * 1025):
        secret.write_bytes(content)
        assert refusal(tmp_path, line).startswith("turn_secret_file names")
    secret.write_bytes(b"hunter2\n")
    settings = load(tmp_path, line)
    assert settings.turn_secret == "hunter2"
    assert "hunter2" not in repr(settings)
    assert "both set" in refusal(tmp_path, line + '\nturn_secret = "x"')


def test_a_bucket_needs_what_belongs_to_it_and_its_key_is_never_shown(tmp_path: Path) -> None:
    keys = 's3_access_key_id = "id"\n'
    assert "s3_bucket is missing" in refusal(tmp_path, 's3_endpoint = "https://s3.example"')
    assert "is missing" in refusal(tmp_path, f's3_bucket = "files"\n{keys}')
    (tmp_path / "s3.secret").write_text("hunter2\n")
    lines = f's3_bucket = "files"\n{keys}s3_secret_access_key_file = "{tmp_path}/s3.secret"'
    settings = load(tmp_path, lines)
    assert (settings.s3_bucket, settings.s3_secret_access_key) == ("files", "hunter2")
    assert "hunter2" not in repr(settings)
    assert load(tmp_path, 's3_bucket = "files"').s3_region == "us-east-1"


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("HTTPS://Relay.Example:443", "https://relay.example"),
        ("http://127.0.0.1:80/", "http://127.0.0.1"),
        ("https://relay.example:8443", "https://relay.example:8443"),
        ("http://[::1]:8470", "http://[::1]:8470"),
    ],
)
def test_an_origin_has_one_form(written: str, meant: str) -> None:
    assert parse_origin(written) == meant
