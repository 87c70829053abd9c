"""A Docker engine of a test's own, made by ``scripts/docker-engine``, that may be stopped as everybody's may not."""

import os
import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path
from shutil import which

import docker
import pytest

from tests.support.docker import root_filesystem, unavailable

SCRIPT = Path(__file__).parents[2] / "scripts/docker-engine"


class OwnEngine:
    """An engine beside the one that everybody uses, in a network of its own: two would fight over one bridge."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.url = f"unix:///tmp/reconciler-test-{uuid.uuid4().hex[:8]}.sock"
        self.environment = {
            **os.environ,
            "DOCKER_HOST": self.url,
            "DOCKER_CACHE": str(folder),
        }

    def run(self, verb: str) -> str:
        command = ["unshare", "--net", str(SCRIPT), verb]
        done = subprocess.run(command, env=self.environment, capture_output=True, text=True, timeout=100)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr

    @property
    def pid(self) -> int:
        return int((self.folder / "dockerd.pid").read_text())

    def import_image(self) -> str:
        client = docker.APIClient(self.url, version="auto", timeout=60)
        client.import_image_from_data(root_filesystem(), "web", "1")
        client.close()
        return "web:1"


@pytest.fixture
def own_engine(tmp_path: Path) -> Iterator[OwnEngine]:
    if os.geteuid() != 0 or which("dockerd") is None:
        unavailable("only root can start an engine, and only where dockerd is installed")
    engine = OwnEngine(tmp_path / "docker")
    try:
        yield engine
    finally:
        engine.run("stop")
        Path(engine.url.removeprefix("unix://")).unlink(missing_ok=True)
