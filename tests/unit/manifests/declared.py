"""Manifests made of plain dicts for the tests of this folder, and what ``load`` says of them."""

import json
from typing import Any

from reconciler.manifests.load import Loaded, load


def docker(name: str = "c", **executor: Any) -> dict[str, Any]:
    return {"name": name, "type": "docker", "executor": {"image": "nginx", **executor}}


def task_definition(name: str = "web", version: int = 1, **fields: Any) -> dict[str, Any]:
    return {"name": name, "version": version, "provide_port": True, "containers": [docker()], **fields}


def service(name: str = "web", **fields: Any) -> dict[str, Any]:
    made = {"name": name, "task_name": "web", "task_version": 1, "desired": 2, **fields}
    return {field: value for field, value in made.items() if value is not None}


def cluster(name: str = "default", *services: str) -> dict[str, Any]:
    return {"name": name, "services": list(services)}


def manifest(
    clusters: list[dict[str, Any]] | None = None,
    services: list[dict[str, Any]] | None = None,
    definitions: list[dict[str, Any]] | None = None,
    hosts: list[dict[str, Any]] | None = None,
) -> dict[str, Any]:
    """A whole manifest; what is not given fits what is."""
    services = [service()] if services is None else services
    return {
        "clusters": [cluster("default", *(one["name"] for one in services))] if clusters is None else clusters,
        "services": services,
        "task_definitions": [task_definition()] if definitions is None else definitions,
        "hosts": hosts or [],
    }


def check(*manifests: dict[str, Any]) -> Loaded:
    return load([(f"{number}.json", json.dumps(one).encode()) for number, one in enumerate(manifests)])


def codes(*manifests: dict[str, Any]) -> list[str]:
    return [problem.code for problem in check(*manifests).problems]
