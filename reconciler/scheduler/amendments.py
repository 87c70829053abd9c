"""What records repeat of their service. Where that changes they are rewritten in place, and nothing is restarted. Pure.

Agents read no services, only records; and what is said here says nothing of how a task runs.
"""

from collections.abc import Iterable

import msgspec
from msgspec import UNSET

from reconciler.model.manifests import Service
from reconciler.model.task import Task
from reconciler.scheduler.cluster_view import ClusterView
from reconciler.scheduler.steps import Amend, Step, Withdraw


def as_said_by(service: Service | None, task: Task) -> Task:
    """The record with what its service says."""
    return msgspec.structs.replace(task, discovery_name=(service.discovery_name if service else None) or UNSET)


def amendments(view: ClusterView, service: Service, steps: Iterable[Step]) -> tuple[Step, ...]:
    """A step for each task that stays and whose record says something else than its service."""
    withdrawn = {action.task.id for step in steps for action in step.actions if isinstance(action, Withdraw)}
    found = ((task, as_said_by(service, task)) for task in view.tasks.get(service.name, ()))
    return tuple(
        Step(service=service.name, actions=(Amend(after, _what_changed(before, after)),))
        for before, after in found
        if before != after and before.id not in withdrawn
    )


def _what_changed(before: Task, after: Task) -> str:
    if before.found_as != after.found_as:
        return f"it is found as {after.found_as}, no longer as {before.found_as}"
    return "its service says something else"
