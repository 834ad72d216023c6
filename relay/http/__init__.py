"""The relay over HTTP: websocket, portal API, uploads and downloads, health; and the process around it."""

from relay.http.app import Relay, RelayApp, create_app
from relay.http.server import Serving, drain, run_relay, serving

__all__ = ["Relay", "RelayApp", "Serving", "create_app", "drain", "run_relay", "serving"]
