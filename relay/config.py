"""The relay's settings: one commented TOML file, `COACH_RELAY_*` in the environment, options of the command,
in rising order.
"""

from __future__ import annotations

import difflib
import ipaddress
import os
import re
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from yarl import URL

from relay.errors import RelayError
from relay.redis_address import RedisAddress, parse_redis_url, parse_redis_wait
from relay.wire.limits import DEFAULT_RETENTION_HOURS, MAX_BLOB_BYTES, MAX_ICE_SERVERS, MAX_RETENTION_HOURS
from relay.wire.turn_uri import parse_turn_uri

ENVIRONMENT_PREFIX: Final = "COACH_RELAY_"
CONFIG_VARIABLE: Final = "COACH_RELAY_CONFIG"
VECTORS_VARIABLE: Final = "COACH_RELAY_VECTORS"  # tells the tests where published test vectors are
MAX_CONFIG_BYTES: Final = 256 * 1024  # a file of settings; anything larger is another file by mistake
MAX_SECRET_BYTES: Final = 1024  # a secret is one line; anything larger is another file by mistake
MAX_LIST: Final = 64  # origins, URLs: more is a mistake

_MIB: Final = 1024 * 1024
_BUCKET: Final = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_REGION: Final = re.compile(r"[a-z0-9-]{1,64}")
_PREFIX: Final = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]*(/[A-Za-z0-9_-][A-Za-z0-9._-]*)*")


class ConfigError(RelayError):
    """A setting is wrong: the message says which, why, and what to do next."""

    code = "config_invalid"


def default_data_dir(environ: Mapping[str, str] = os.environ) -> Path:
    """`coach-relay` in the XDG data folder (`~/.local/share` unless `XDG_DATA_HOME` is an absolute path)."""
    base = Path(environ.get("XDG_DATA_HOME", ""))
    return (base if base.is_absolute() else Path.home() / ".local" / "share") / "coach-relay"


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What an operator may set; deploy/coach-relay.toml explains each. Made by `load_settings`, which checks
    them.
    """

    host: str = "127.0.0.1"
    port: int = 8470
    public_origins: tuple[str, ...] = ()
    tls_cert: Path | None = None
    tls_key: Path | None = None
    behind_proxy: bool = False
    data_dir: Path = field(default_factory=default_data_dir)
    log_level: str = "info"
    metrics_listen: tuple[str, int] | None = None
    drain_seconds: int = 15
    serve_element: bool = False
    max_connections: int = 10_000
    max_uploads: int = 32
    max_upload_bytes: int = MAX_BLOB_BYTES
    reserved_disk_bytes: int = 256 * _MIB
    default_retention_days: int = DEFAULT_RETENTION_HOURS // 24
    redis_url: str = field(default="", repr=False)
    redis_password: str = field(default="", repr=False)
    redis_password_file: Path | None = None
    redis_wait: str = "none"
    s3_bucket: str = ""
    s3_endpoint: str = ""
    s3_region: str = "us-east-1"
    s3_prefix: str = ""
    s3_access_key_id: str = ""
    s3_secret_access_key: str = field(default="", repr=False)
    s3_secret_access_key_file: Path | None = None
    stun_urls: tuple[str, ...] = ()
    turn_urls: tuple[str, ...] = ()
    turn_secret: str = field(default="", repr=False)
    turn_secret_file: Path | None = None

    @property
    def blob_dir(self) -> Path:
        return self.data_dir / "blobs"

    @property
    def redis(self) -> RedisAddress | None:
        """Where Redis is, if the relay keeps its streams and records there."""
        return parse_redis_url(self.redis_url, password=self.redis_password) if self.redis_url else None

    def origins(self, port: int) -> tuple[str, ...]:
        """The origins (RFC 6454) that devices may have connected to, when the relay listens on `port`."""
        if self.public_origins:
            return self.public_origins
        scheme = "https" if self.tls_cert else "http"
        return tuple(parse_origin(f"{scheme}://{host}:{port}") for host in ("127.0.0.1", "localhost"))


def parse_origin(text: str, /) -> str:
    """Return an origin in the one form of RFC 6454 section 6.2. Raises ValueError."""
    url = URL(text)
    if url.scheme not in ("http", "https") or not url.host or url != url.origin():
        raise ValueError("an origin is a scheme, a host and perhaps a port, such as https://relay.example")
    return str(url.origin())


def load_settings(
    *,
    config: Path | None = None,
    environ: Mapping[str, str] = os.environ,
    options: Mapping[str, Any] = MappingProxyType({}),
) -> Settings:
    """Read and check the settings; options that are None do not count. Raises `ConfigError`.

    Without `config` the file is what `COACH_RELAY_CONFIG` names, if anything; a file that is named must
    exist.
    """
    path = config or (Path(environ[CONFIG_VARIABLE]) if environ.get(CONFIG_VARIABLE) else None)
    values: dict[str, Any] = {}
    if path is not None:
        values |= _checked(_read_toml(path), f"in {path}")
    values |= _checked(
        _read_environment(environ), "in the environment", shown=lambda k: ENVIRONMENT_PREFIX + k.upper()
    )
    values |= _checked(
        {k: v for k, v in options.items() if v is not None}, "on the command line", shown=_as_option
    )
    if values.get("data_dir") is None:  # also what an empty text in the file means
        values["data_dir"] = _default_data_dir(environ)
    for name in ("turn_secret", "s3_secret_access_key", "redis_password"):
        _take_secret(values, name)
    settings = Settings(**values)
    _check_together(settings)
    return settings


def _default_data_dir(environ: Mapping[str, str]) -> Path:
    try:
        return default_data_dir(environ)
    except RuntimeError:  # an account without a home folder
        raise ConfigError("data_dir is not set and this account has no home folder; set data_dir") from None


# -- one setting -----------------------------------------------------------------------------------


def _whole(low: int, high: int) -> Callable[[Any], int]:
    def check(value: Any) -> int:
        if isinstance(value, str) and value.isascii() and value.isdecimal():
            value = int(value)
        if type(value) is not int or not low <= value <= high:
            raise ValueError(f"it must be a whole number from {low} to {high}")
        return value

    return check


def _text(value: Any) -> str:
    if not isinstance(value, str) or len(value) > 1024 or not value.isprintable():
        raise ValueError("it must be a text of one line")
    return value


def _host(value: Any) -> str:
    host = _text(value)
    if host != "localhost":
        try:
            ipaddress.ip_address(host)
        except ValueError:
            raise ValueError(
                "it must be an IP address of this machine, such as 127.0.0.1 or 0.0.0.0"
            ) from None
    return host


def _listen_address(value: Any) -> tuple[str, int] | None:
    host, colon, port = _text(value).rpartition(":")
    if not value:
        return None
    bare = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    if not colon or (":" in bare) != host.startswith("["):
        raise ValueError("it must be an address and a port, such as 127.0.0.1:9470 or [::1]:9470")
    return _host(bare), _whole(0, 65_535)(port)


def _truth(value: Any) -> bool:
    if isinstance(value, str):
        value = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}.get(
            value.lower()
        )
    if type(value) is not bool:
        raise ValueError("it must be true or false")
    return value


def _path(value: Any) -> Path | None:
    if not value:
        return None
    path = value if isinstance(value, Path) else Path(_text(value))
    try:
        return path.expanduser()
    except RuntimeError:
        raise ValueError(
            f"{path} begins with the home folder of a user whom this machine does not know"
        ) from None


def _folder(value: Any) -> Path | None:
    path = _path(value)
    return path.absolute() if path else None


def _one_of(*choices: str) -> Callable[[Any], str]:
    def check(value: Any) -> str:
        if value not in choices:
            raise ValueError(f"it must be one of {', '.join(choices)}")
        return str(value)

    return check


def _list_of(check_one: Callable[[str], str], limit: int = MAX_LIST) -> Callable[[Any], tuple[str, ...]]:
    def check(value: Any) -> tuple[str, ...]:
        if isinstance(value, str):
            value = [part.strip() for part in value.split(",") if part.strip()]
        if not isinstance(value, list | tuple) or len(value) > limit:
            raise ValueError(f"it must be a list of at most {limit} texts")
        return tuple(check_one(_text(one)) for one in value)

    return check


def _url_of(*schemes: str) -> Callable[[str], str]:
    def check(value: str) -> str:
        scheme, colon, rest = value.partition(":")
        if scheme not in schemes or not colon or not rest or " " in rest:
            raise ValueError(f"each must begin with {' or '.join(f'{s}:' for s in schemes)}")
        return value

    return check


def _matching(form: re.Pattern[str], otherwise: str) -> Callable[[Any], str]:
    def check(value: Any) -> str:
        text = _text(value)
        if text and form.fullmatch(text) is None:
            raise ValueError(otherwise)
        return text

    return check


def _endpoint(value: Any) -> str:
    return parse_origin(value) if _text(value) else ""


def _redis_url(value: Any) -> str:
    url = _text(value)
    if url:
        parse_redis_url(url)
    return url


def _redis_wait(value: Any) -> str:
    parse_redis_wait(_text(value))
    return str(value) or "none"


def _turn_url(value: str) -> str:
    parse_turn_uri(value)
    return value


_CHECKS: Final[dict[str, Callable[[Any], Any]]] = {
    "host": _host,
    "port": _whole(0, 65_535),
    "public_origins": _list_of(parse_origin),
    "tls_cert": _path,
    "tls_key": _path,
    "behind_proxy": _truth,
    "data_dir": _folder,
    "metrics_listen": _listen_address,
    "log_level": _one_of("debug", "info", "warning", "error"),
    "drain_seconds": _whole(1, 300),
    "serve_element": _truth,
    "max_connections": _whole(1, 1_000_000),
    "max_uploads": _whole(1, 1024),
    "max_upload_bytes": _whole(1024, MAX_BLOB_BYTES),
    "reserved_disk_bytes": _whole(0, 2**50),
    "default_retention_days": _whole(1, MAX_RETENTION_HOURS // 24),
    "redis_url": _redis_url,
    "redis_password": _text,
    "redis_password_file": _path,
    "redis_wait": _redis_wait,
    "s3_bucket": _matching(_BUCKET, "it must be a bucket's name: 3 to 63 small letters, digits, . and -"),
    "s3_endpoint": _endpoint,
    "s3_region": _matching(_REGION, "it must be the name of a region, such as eu-central-1"),
    "s3_prefix": _matching(_PREFIX, "it must be names joined by /, such as relay/blobs"),
    "s3_access_key_id": _text,
    "s3_secret_access_key": _text,
    "s3_secret_access_key_file": _path,
    "stun_urls": _list_of(_url_of("stun", "stuns"), MAX_ICE_SERVERS),
    "turn_urls": _list_of(_turn_url, MAX_ICE_SERVERS),
    "turn_secret": _text,
    "turn_secret_file": _path,
}


def _checked(raw: Mapping[str, Any], where: str, shown: Callable[[str], str] = str) -> dict[str, Any]:
    checked = {}
    for key, value in raw.items():
        if key not in _CHECKS:
            nearest = difflib.get_close_matches(key, _CHECKS, n=1, cutoff=0.0)[0]
            raise ConfigError(f"{shown(key)} ({where}) is not a setting; the nearest one is {shown(nearest)}")
        try:
            checked[key] = _CHECKS[key](value)
        except ValueError as error:
            raise ConfigError(
                f"{shown(key)} ({where}) is wrong: {error}; change it, or leave it out for the default"
            ) from None
    return checked


def _as_option(key: str) -> str:
    return "--" + key.replace("_", "-")


def _read_environment(environ: Mapping[str, str]) -> dict[str, str]:
    return {
        name.removeprefix(ENVIRONMENT_PREFIX).lower(): value
        for name, value in environ.items()
        if name.startswith(ENVIRONMENT_PREFIX) and name not in (CONFIG_VARIABLE, VECTORS_VARIABLE)
    }


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            content = file.read(MAX_CONFIG_BYTES + 1)
    except OSError as error:
        raise ConfigError(
            f"the configuration file {path} cannot be read: {error.strerror}; check path and permissions"
        ) from None
    if len(content) > MAX_CONFIG_BYTES:
        raise ConfigError(
            f"the configuration file {path} is over {MAX_CONFIG_BYTES} bytes; is it the right file?"
        )
    try:
        return tomllib.loads(content.decode("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"the configuration file {path} is not TOML: {error}; correct that line") from None


# -- secrets in files ------------------------------------------------------------------------------


def _take_secret(values: dict[str, Any], name: str) -> None:
    """Put what the file `<name>_file` holds in the place of `name`."""
    path = values.get(f"{name}_file")
    if path is None:
        return
    if values.get(name):
        raise ConfigError(f"{name} and {name}_file are both set; leave one of them out")
    values[name] = _read_secret(path, f"{name}_file")


def _read_secret(path: Path, name: str) -> str:
    try:
        with path.open("rb") as file:
            content = file.read(MAX_SECRET_BYTES + 1)
        secret = content.decode("utf-8").rstrip("\r\n")
    except OSError as error:
        raise ConfigError(f"{name} names {path}, which cannot be read: {error.strerror}; check it") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{name} names {path}, which is not text; is it the right file?") from None
    if not secret or len(content) > MAX_SECRET_BYTES or not secret.isprintable():
        raise ConfigError(f"{name} names {path}, which does not hold one line of text; correct the file")
    return secret


# -- settings that depend on each other --------------------------------------------------------------


def _check_together(settings: Settings) -> None:
    if (settings.tls_cert is None) != (settings.tls_key is None):
        raise ConfigError("tls_cert and tls_key belong together, and one is missing; set both or neither")
    for name in ("tls_cert", "tls_key"):
        path = getattr(settings, name)
        if path is not None and not path.is_file():
            raise ConfigError(f"{name} names {path}, which is not a file; check the path")
    if not (is_loopback(settings.host) or settings.tls_cert or settings.behind_proxy):
        raise ConfigError(
            f"host = {settings.host} would carry access tokens unencrypted over a network; set tls_cert and "
            "tls_key, or behind_proxy = true if a proxy in front of it ends TLS, or listen on 127.0.0.1"
        )
    if not settings.public_origins and (settings.behind_proxy or not is_loopback(settings.host)):
        raise ConfigError(
            "public_origins is not set, but devices prove themselves to the address that they connect to, so "
            'the relay must know it; set public_origins = ["https://relay.example"] to your own'
        )
    _check_s3(settings)
    _check_redis(settings)
    if settings.turn_urls and not settings.turn_secret:
        raise ConfigError(
            "turn_urls needs turn_secret, the TURN server's static-auth-secret; set it, or turn_secret_file"
        )


def _check_redis(settings: Settings) -> None:
    if not settings.redis_url and (settings.redis_password or settings.redis_wait != "none"):
        raise ConfigError("redis_url is missing, so everything would stay in the data folder; set it")
    try:
        _ = settings.redis
    except ValueError as error:
        raise ConfigError(f"redis_url is wrong: {error}; change it") from None


def _check_s3(settings: Settings) -> None:
    if bool(settings.s3_access_key_id) != bool(settings.s3_secret_access_key):
        raise ConfigError(
            "s3_access_key_id or s3_secret_access_key is missing; set both, or none for the machine's role"
        )
    if not settings.s3_bucket and (settings.s3_endpoint or settings.s3_prefix or settings.s3_access_key_id):
        raise ConfigError("s3_bucket is missing, so files would stay in the data folder; set it")
    if settings.s3_bucket and not settings.s3_region:
        raise ConfigError("s3_region is empty; leave it out for us-east-1, which other servers accept too")


def is_loopback(host: str, /) -> bool:
    """Whether only this machine can connect to an address."""
    return host == "localhost" or ipaddress.ip_address(host).is_loopback


SETTING_NAMES: Final = tuple(one.name for one in fields(Settings))
