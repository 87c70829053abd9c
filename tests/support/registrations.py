"""Registrations for tests of health providers."""

from collections.abc import Mapping
from typing import Any

from msgspec import UNSET

from reconciler.health.interface import Registration
from reconciler.model.manifests import BashContainer, BashExecutor, Check, NamedPort, TaskDefinition
from reconciler.model.task import Task


def registration(
    *checks: Check,
    instance: int = 1,
    port: int = 0,
    named: Mapping[str, int] | None = None,
    issue: int = 7,
    attempt: int = 1,
    **fields: Any,
) -> Registration:
    """A running task of service ``web`` with these checks; ``named``: its named ports."""
    ports = tuple(NamedPort(name=name, tags=(f"{name}-tag",)) for name in named or ())
    container = BashContainer(name="main", executor=BashExecutor(start=("true",)))
    task = Task(
        id=f"c-web-1-{instance}",
        cluster="c",
        service="web",
        task_name="web",
        task_version=1,
        instance=instance,
        host="h1",
        port=port,
        ports=dict(named) if named else UNSET,
        issue=issue,
        digest="d",
        issued_at=0.0,
    )
    definition = TaskDefinition(
        **{"name": "web", "version": 1, "containers": (container,), "checks": checks, "ports": ports, **fields}
    )
    return Registration(task=task, definition=definition, address="127.0.0.1", attempt=attempt)


def by_id(*registrations: Registration) -> dict[str, Registration]:
    """As a provider wants them."""
    return {each.task.id: each for each in registrations}
