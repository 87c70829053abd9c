"""Manifests for end-to-end tests, made by what they should say."""

import json
from pathlib import Path
from typing import Any

from tests.support.git import GitRepository

SERVER = """\
exec python3 - <<'PYTHON'
import http.server, os, signal, threading
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = os.environ["RECONCILER_VERSION"].encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *_):
        pass
class Server(http.server.ThreadingHTTPServer):
    daemon_threads = False
server = Server(("127.0.0.1", int(os.environ["PORT"])), Handler)
signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
server.serve_forever()
PYTHON
"""
"""Answers every GET with its version, and finishes what it began before it ends."""

CHECK = {"http": "http://127.0.0.1/", "add_provided_port": True, "interval": "1s", "timeout": "1s"}


def bash_definition(name: str, version: int = 1, **fields: Any) -> dict[str, Any]:
    """A definition of an HTTP server that the bash executor runs."""
    return {
        "name": name,
        "version": version,
        "provide_port": True,
        "containers": [{"name": "server", "type": "bash", "executor": {"start": [SERVER]}}],
        "checks": [CHECK],
        **fields,
    }


def docker_definition(name: str, image: str, version: int = 1, *, container_port: int, **fields: Any) -> dict[str, Any]:
    """A definition of an HTTP server that the docker executor runs."""
    return {
        "name": name,
        "version": version,
        "provide_port": True,
        "containers": [
            {"name": "server", "type": "docker", "executor": {"image": image, "container_port": container_port}}
        ],
        "checks": [CHECK],
        **fields,
    }


def service(name: str, version: int = 1, desired: int = 2, **fields: Any) -> dict[str, Any]:
    """A service whose definition has its own name."""
    return {"name": name, "task_name": name, "task_version": version, "desired": desired, **fields}


def manifest(*, cluster: str, services: list[dict[str, Any]], definitions: list[dict[str, Any]]) -> dict[str, Any]:
    """One whole manifest: a cluster with its services and their definitions."""
    return {
        "clusters": [{"name": cluster, "services": [one["name"] for one in services]}],
        "services": services,
        "task_definitions": definitions,
    }


def write(path: Path, content: dict[str, Any]) -> Path:
    """Write a manifest (JSON is YAML too) in one step, as an editor does."""
    draft = path.with_name(f".{path.name}.draft")
    draft.write_text(json.dumps(content, indent=2) + "\n")
    draft.replace(path)
    return path


def commit(repository: GitRepository, content: dict[str, Any]) -> str:
    """Commit a manifest as the repository's only one."""
    return repository.commit({"manifest.json": json.dumps(content, indent=2) + "\n"})
