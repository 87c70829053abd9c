"""A registry for images on this machine, as small as can be: it serves what a test puts in, or refuses as told.

The engine talks plain HTTP to registries on loopback, so pulls are tested with a real engine and no network.
"""

import gzip
import hashlib
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
_CONFIG = "application/vnd.docker.container.image.v1+json"
_LAYER = "application/vnd.docker.image.rootfs.diff.tar.gzip"


class Registry:
    """Images by name and tag."""

    def __init__(self) -> None:
        self.blobs: dict[str, bytes] = {}
        self.manifests: dict[str, bytes] = {}
        self.refuse_with = 0
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                outer.answer(self)

            do_HEAD = do_GET  # noqa: N815 - as above

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - named by the standard library
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()
        self.host = f"127.0.0.1:{self._server.server_address[1]}"

    def push(self, name: str, layer: bytes, config: dict[str, Any]) -> str:
        """Put an image of one layer (a tar) in; returns how to name it in a pull."""
        packed = gzip.compress(layer, 1)
        described = {
            "architecture": "amd64",
            "os": "linux",
            "config": config,
            "rootfs": {"type": "layers", "diff_ids": [_digest(layer)]},
        }
        manifest = {
            "schemaVersion": 2,
            "mediaType": _MANIFEST,
            "config": self._put(json.dumps(described).encode(), _CONFIG),
            "layers": [self._put(packed, _LAYER)],
        }
        raw = json.dumps(manifest).encode()
        self.manifests[f"/v2/{name}/manifests/latest"] = raw
        self.manifests[f"/v2/{name}/manifests/{_digest(raw)}"] = raw
        return f"{self.host}/{name}:latest"

    def _put(self, content: bytes, kind: str) -> dict[str, Any]:
        self.blobs[_digest(content)] = content
        return {"mediaType": kind, "size": len(content), "digest": _digest(content)}

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        path = request.path
        manifest, blob = self.manifests.get(path), self.blobs.get(path.rpartition("/")[2])
        if self.refuse_with and path != "/v2/":
            _reply(request, self.refuse_with, _REFUSALS.get(self.refuse_with, b"trouble"))
        elif path == "/v2/":
            _reply(request, 200, b"{}")
        elif manifest is not None:
            _reply(request, 200, manifest, _MANIFEST)
        elif blob is not None:
            _reply(request, 200, blob, "application/octet-stream")
        else:
            _reply(request, 404, _error("MANIFEST_UNKNOWN", "manifest unknown"))

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def _digest(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def _error(code: str, message: str) -> bytes:
    return json.dumps({"errors": [{"code": code, "message": message}]}).encode()


_REFUSALS = {
    401: _error("UNAUTHORIZED", "authentication required"),
    403: _error("DENIED", "requested access to the resource is denied"),
}


def _reply(request: BaseHTTPRequestHandler, status: int, body: bytes, content_type: str = "application/json") -> None:
    request.send_response(status)
    request.send_header("Content-Type", content_type)
    request.send_header("Content-Length", str(len(body)))
    request.send_header("Docker-Distribution-Api-Version", "registry/2.0")
    request.send_header("Docker-Content-Digest", _digest(body))
    request.end_headers()
    if request.command != "HEAD":
        request.wfile.write(body)


@pytest.fixture
def registry() -> Iterator[Registry]:
    """A registry of one's own."""
    registry = Registry()
    yield registry
    registry.close()
