"""A real Docker engine for tests, with tiny images that need no registry; all of it is cleaned away at the end.

Images are imported from a static busybox. Whatever is made from them carries their label, so containers that the code
under test makes are found and removed too, and what a killed test process left is removed by the next one.
"""

import contextlib
import gc
import io
import os
import re
import subprocess
import tarfile
import uuid
import warnings
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from shutil import which
from typing import Any

import docker
import docker.errors
import docker.utils as docker_utils
import pytest
import yaml

LABEL = "reconciler.test"

SERVE = """\
#!/bin/sh
# Answers every request with its version; ends at once on TERM, though it is process 1.
trap 'kill $server; exit 0' TERM
mkdir -p /www && echo "$VERSION" >/www/index.html && cp /www/index.html /www/health
httpd -f -p "${LISTEN:-80}" -h /www &
server=$!
wait $server
"""


class DockerEngine:
    """An engine that answers, and what this process made on it."""

    def __init__(self, client: docker.APIClient) -> None:
        self.client = client
        self._run = f"{os.getpid()}.{uuid.uuid4().hex[:8]}"
        self._made: dict[str, str] = {}
        self._were: dict[str, str] = {}

    @property
    def run_id(self) -> str:
        """The value of our label on what this process makes."""
        return self._run

    def image(self, version: str = "1", *, port: int = 80) -> str:
        """The tag of an image, this process's own, that serves ``version`` on ``port``; it has a shell, too."""
        return self.import_as(f"reconciler-test/web:{version}-{port}-{self._run}", version, port=port)

    def import_as(self, tag: str, version: str, *, port: int = 80) -> str:
        """The same under a given tag; what had the tag before gets it back in the end."""
        if tag in self._made:
            return tag
        self._were.setdefault(tag, self._id_of(tag))
        repository, _, version_tag = tag.rpartition(":")
        changes = [
            'CMD ["/serve"]',
            f"ENV VERSION={version}",
            f"ENV LISTEN={port}",
            f"LABEL {LABEL}={self._run}",
        ]
        self.client.import_image_from_data(root_filesystem(), repository, version_tag, changes=changes)
        self._made[tag] = self._id_of(tag)
        return tag

    def import_for(self, manifest: Path) -> list[str]:
        """Images under the tags that a manifest names, each serving on its container's port.

        Such tags are everybody's: tests that use them belong into one ``xdist_group``.
        """
        tags = []
        for document in yaml.safe_load_all(manifest.read_text(encoding="utf-8")):
            for definition in (document or {}).get("task_definitions", []):
                for container in definition["containers"]:
                    if container.get("type") == "docker":
                        executor = container["executor"]
                        port = executor.get("container_port") or 80
                        tags.append(self.import_as(executor["image"], str(definition["version"]), port=port))
        return tags

    def containers(self) -> list[dict[str, Any]]:
        """Every container that was made from our images."""
        return list(self.client.containers(all=True, filters={"label": f"{LABEL}={self._run}"}))

    def end_tasks(self) -> None:
        """Remove what agents left running, as they should; their ports are free then."""
        for container in self.containers():
            self.client.remove_container(container["Id"], v=True, force=True)

    def clean(self) -> None:
        """Remove all that this process made, and what test processes left that live no more."""
        self._remove(lambda run: run == self._run or not Path(f"/proc/{run.partition('.')[0]}").exists())
        for tag, before in self._were.items():
            if before:
                repository, _, version_tag = tag.rpartition(":")
                with contextlib.suppress(docker.errors.ImageNotFound):  # it was another test process's own
                    self.client.tag(before, repository, version_tag)
        self._made.clear()

    def _remove(self, ours: Any) -> None:
        for container in self.client.containers(all=True, filters={"label": LABEL}):
            if ours(container["Labels"].get(LABEL, "")):
                with contextlib.suppress(docker.errors.NotFound):
                    self.client.remove_container(container["Id"], v=True, force=True)
        for image in self.client.images(filters={"label": LABEL}):
            if ours((image["Labels"] or {}).get(LABEL, "")):
                with contextlib.suppress(docker.errors.ImageNotFound):
                    self.client.remove_image(image["Id"], force=True)

    def _id_of(self, tag: str) -> str:
        try:
            return str(self.client.inspect_image(tag)["Id"])  # type: ignore[no-untyped-call]  # the stubs lack it
        except docker.errors.ImageNotFound:
            return ""


def connected() -> docker.APIClient | str:
    """A client of the engine that answers, or why none does."""
    try:
        return docker.APIClient(**docker_utils.kwargs_from_env(), version="auto", timeout=60)
    except docker.errors.DockerException as error:
        reason = str(error)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # the SDK leaves the socket open that did not connect
        gc.collect()
    return reason


def unavailable(reason: str) -> None:
    """Skip; but where everything should be there, fail."""
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture(scope="session")
def docker_engine() -> Iterator[DockerEngine]:
    """A Docker engine with images; the test is skipped where none answers."""
    client = connected()
    if isinstance(client, str):
        unavailable(f"no Docker engine answers (scripts/docker-engine start makes one): {client}")
        return
    engine = DockerEngine(client)
    try:
        engine.clean()
        yield engine
    finally:
        engine.clean()
        client.close()


@cache
def root_filesystem() -> bytes:
    """A tar of busybox and the server."""
    busybox = _static_busybox()
    applets = subprocess.run([busybox, "--list"], capture_output=True, text=True, check=True).stdout.split()
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for folder in ("bin", "dev", "etc", "proc", "sys", "tmp", "www"):
            entry = tarfile.TarInfo(folder)
            entry.type, entry.mode = tarfile.DIRTYPE, 0o1777 if folder == "tmp" else 0o755
            tar.addfile(entry)
        _add(tar, "bin/busybox", busybox.read_bytes())
        _add(tar, "serve", SERVE.encode())
        _add(tar, "etc/passwd", b"root:x:0:0:root:/:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/sh\n")
        _add(tar, "etc/group", b"root:x:0:\nnogroup:x:65534:\n")
        for applet in applets:
            if applet != "busybox" and re.fullmatch(r"[\w.\[\]-]+", applet):
                link = tarfile.TarInfo(f"bin/{applet}")
                link.type, link.linkname = tarfile.SYMTYPE, "busybox"
                tar.addfile(link)
    return buffer.getvalue()


def _add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode = len(content), 0o755
    tar.addfile(entry, io.BytesIO(content))


def _static_busybox() -> Path:
    found = which("busybox")
    if found is None or b"/ld-" in Path(found).read_bytes()[:4096]:
        unavailable("images are made from a static busybox, and there is none (Debian: busybox-static)")
    return Path(found or "")
