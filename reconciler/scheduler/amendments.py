"""What records repeat of their service. Where that changes they are rewritten in place, and nothing is restarted. Pure.

Agents read no services, only records; and what is said here says nothing of how a task runs.
"""

from collections.abc import Iterable
from typing import Final

import msgspec
from msgspec import UNSET, UnsetType

from reconciler.model.durations import format_duration
from reconciler.model.manifests import Service
from reconciler.model.task import Task
from reconciler.scheduler.cluster_view import ClusterView
from reconciler.scheduler.outage import patience_s
from reconciler.scheduler.steps import Amend, Step, Withdraw

ISOLATED_SHARE: Final = 2 / 3
"""Of the time that schedulers wait for a missing host: then an agent without contact begins to stop such a task, which
has the rest of it to end.
"""


class Said(msgspec.Struct, frozen=True):
    """What a service says in the records of its tasks."""

    discovery_name: str | UnsetType
    stop_isolated_after_s: float | UnsetType

    @classmethod
    def by(cls, view: ClusterView, service: Service) -> "Said":
        """What it says now."""
        after_s = round(patience_s(view, service.name) * ISOLATED_SHARE, 3)
        return cls(service.discovery_name or UNSET, after_s if service.when_isolated == "stop" else UNSET)

    @classmethod
    def of(cls, task: Task) -> "Said":
        """What it said when a record was written."""
        return cls(task.discovery_name, task.stop_isolated_after_s)

    def is_in(self, task: Task) -> bool:
        """Whether a record says the same."""
        there = (task.discovery_name, task.stop_isolated_after_s)
        return there == (self.discovery_name, self.stop_isolated_after_s)

    def written_into(self, task: Task) -> Task:
        """The record that says so."""
        return msgspec.structs.replace(
            task, discovery_name=self.discovery_name, stop_isolated_after_s=self.stop_isolated_after_s
        )


def as_said(view: ClusterView, task: Task, replaced: Task | None) -> Task:
    """A new record with what its service says; where that can't be read, with what the record that it replaces says."""
    service = view.services.get(task.service)
    if service is None:
        return task if replaced is None else Said.of(replaced).written_into(task)
    return Said.by(view, service).written_into(task)


def amendments(view: ClusterView, service: Service, steps: Iterable[Step]) -> tuple[Step, ...]:
    """A step for each task that stays and whose record says something else than its service."""
    said = Said.by(view, service)
    others = [task for task in view.tasks.get(service.name, ()) if not said.is_in(task)]
    if not others:
        return ()
    withdrawn = {action.task.id for step in steps for action in step.actions if isinstance(action, Withdraw)}
    amended = ((task, said.written_into(task)) for task in others if task.id not in withdrawn)
    return tuple(
        Step(service=service.name, actions=(Amend(after, _what_changed(before, after)),)) for before, after in amended
    )


def _what_changed(before: Task, after: Task) -> str:
    if before.found_as != after.found_as:
        return f"it is found as {after.found_as}, no longer as {before.found_as}"
    if after_s := after.stop_isolated_after_s:
        return f"its agent stops it after {format_duration(after_s)} without contact with the store"
    return "its agent lets it run without contact with the store"
