"""The relay's HTTP application: every route, over the hub, the blob store and the portals."""

from __future__ import annotations

from dataclasses import dataclass

from aiohttp import web

from relay.blobs import BlobStore
from relay.config import Settings
from relay.http.blob_requests import BlobRequests
from relay.http.connect import Connect
from relay.http.cors import OWN_ORIGINS, Cors
from relay.http.downloads import Downloads
from relay.http.element_files import ElementFiles, element_folder
from relay.http.health import Health, commit_check
from relay.http.json_body import MAX_BODY_BYTES
from relay.http.metrics import METRICS, Metrics
from relay.http.middleware import TLS, answer_errors, harden
from relay.http.openapi import OpenApi
from relay.http.portal_access import PortalAccess
from relay.http.portal_api import PortalApi
from relay.http.uploads import Uploads
from relay.http.user_api import UserApi
from relay.hub import Hub
from relay.store import StreamStore


@dataclass(frozen=True, slots=True, kw_only=True)
class Relay:
    """A relay's parts, joined by `create_app`. The hub must be started."""

    hub: Hub
    streams: StreamStore
    blobs: BlobStore
    settings: Settings
    metrics: Metrics | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RelayApp:
    """The application, and what its owner needs to end it in order."""

    app: web.Application
    health: Health
    connect: Connect
    uploads: Uploads
    downloads: Downloads


def create_app(relay: Relay) -> RelayApp:
    """Join the relay's parts to an application; nothing is opened or started here."""
    settings = relay.settings
    requests = BlobRequests(relay.hub)
    # A bucket is everybody's: if it is away, no other node is better, and messages go on without it.
    own_files = () if settings.s3_bucket else (relay.blobs.check,)
    health = Health(commit_check(relay.streams), *own_files)
    connect = Connect(relay.hub, max_connections=settings.max_connections)
    uploads = Uploads(
        requests, relay.blobs, max_bytes=settings.max_upload_bytes, max_at_once=settings.max_uploads
    )
    downloads = Downloads(requests, relay.blobs)
    access = PortalAccess(relay.hub)
    portal_api = PortalApi(relay.hub, access, default_retention_hours=settings.default_retention_days * 24)
    cors = Cors(relay.hub.portals)
    app = web.Application(middlewares=[answer_errors, cors.middleware], client_max_size=MAX_BODY_BYTES)
    app[TLS] = any(origin.startswith("https:") for origin in settings.public_origins) or bool(
        settings.tls_cert
    )
    if relay.metrics is not None:
        app[METRICS] = relay.metrics
        relay.metrics.observe(relay.hub, max_connections=settings.max_connections)
    app.on_response_prepare.append(harden)
    for part in (health, connect, portal_api, UserApi(relay.hub, access), OpenApi(), uploads, downloads):
        app.add_routes(part.routes())
    if settings.serve_element:
        app[OWN_ORIGINS] = relay.hub.settings.origins
        app.add_routes(ElementFiles(element_folder(), cors, relay.hub.settings.origins).routes())
    return RelayApp(app=app, health=health, connect=connect, uploads=uploads, downloads=downloads)
