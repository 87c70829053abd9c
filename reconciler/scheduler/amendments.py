"""What records repeat of their service. Where that changes they are rewritten in place, and nothing is restarted. Pure.

Agents read no services, only records; and what is said here says nothing of how a task runs.
"""

from collections.abc import Iterable
from typing import Final

import msgspec
from msgspec import UNSET

from reconciler.model.durations import format_duration
from reconciler.model.manifests import Service
from reconciler.model.task import Task
from reconciler.scheduler.cluster_view import ClusterView
from reconciler.scheduler.outage import patience_s as patience
from reconciler.scheduler.steps import Amend, Step, Withdraw

ISOLATED_SHARE: Final = 2 / 3
"""Of the time that schedulers wait for a missing host: then an agent without contact begins to stop such a task, which
has the rest of it to end.
"""


def as_said(view: ClusterView, task: Task) -> Task:
    """The record with what its service says."""
    service = view.services.get(task.service)
    if service is None:
        return task
    patience_s = patience(view, task.service)
    return msgspec.structs.replace(
        task,
        discovery_name=service.discovery_name or UNSET,
        stop_isolated_after_s=round(patience_s * ISOLATED_SHARE, 3) if service.when_isolated == "stop" else UNSET,
    )


def amendments(view: ClusterView, service: Service, steps: Iterable[Step]) -> tuple[Step, ...]:
    """A step for each task that stays and whose record says something else than its service."""
    withdrawn = {action.task.id for step in steps for action in step.actions if isinstance(action, Withdraw)}
    found = ((task, as_said(view, task)) for task in view.tasks.get(service.name, ()))
    return tuple(
        Step(service=service.name, actions=(Amend(after, _what_changed(before, after)),))
        for before, after in found
        if before != after and before.id not in withdrawn
    )


def _what_changed(before: Task, after: Task) -> str:
    if before.found_as != after.found_as:
        return f"it is found as {after.found_as}, no longer as {before.found_as}"
    if before.stop_isolated_after_s != after.stop_isolated_after_s:
        after_s = after.stop_isolated_after_s
        if after_s:
            return f"its agent stops it after {format_duration(after_s)} without contact with the store"
        return "its agent lets it run without contact with the store"
    return "its service says something else"
