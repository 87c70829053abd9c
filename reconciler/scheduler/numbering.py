"""New task records and their numbers.

Rule 4: a task never changes its host; a move is a new instance, with the smallest number that stands in no record and
in no host's status. So one id is never on two hosts, not even while the older one is still stopping.
"""

from typing import Final

from msgspec import UNSET

from reconciler.model import names, ports
from reconciler.model.task import Task
from reconciler.scheduler.cluster_view import ClusterView, Defined
from reconciler.scheduler.placement import Place

FAILED_ON_LENGTH: Final = 5
"""How many of the hosts on which its predecessors failed a task remembers."""


class Numbering:
    """Hands out instance numbers while a plan is made."""

    def __init__(self, view: ClusterView) -> None:
        self._cluster = view.name
        self._issued = view.issued_ids
        self._leaving = view.leaving_ids
        self._new: set[str] = set()
        self._next: dict[tuple[str, int], int] = {}

    def next_instance(self, service: str, version: int) -> int:
        """The smallest free number; the same one again until it is ``use``d."""
        number = self._next.get((service, version), 0)
        while self._is_taken(names.task_id(self._cluster, service, version, number)):
            number += 1
        self._next[service, version] = number
        return number

    def next_id(self, service: str, version: int) -> str:
        """The id that the next task will have."""
        return names.task_id(self._cluster, service, version, self.next_instance(service, version))

    def task(
        self, service: str, defined: Defined, place: Place, now: float, after: Task | None, *, completes: bool = False
    ) -> Task:
        """The record of a new task; ``after``: the failed one whose place it takes. ``issue`` is filled in later."""
        definition = defined.definition
        port, named_ports = ports.assigned(definition, place.provided_ports)
        instance = self.next_instance(service, definition.version)
        task_id = names.task_id(self._cluster, service, definition.version, instance)
        self._new.add(task_id)
        return Task(
            id=task_id,
            cluster=self._cluster,
            service=service,
            task_name=definition.name,
            task_version=definition.version,
            instance=instance,
            host=place.host,
            port=port,
            ports=named_ports or UNSET,
            published=ports.further(definition) or UNSET,
            memory=definition.memory,
            cpu_units=definition.cpu_units,
            disk=definition.disk,
            completes=completes,
            issue=0,
            digest=defined.digest,
            issued_at=now,
            retries=after.retries + 1 if after else 0,
            failed_on=(*(after.failed_on[-FAILED_ON_LENGTH + 1 :]), after.host) if after else (),
        )

    def _is_taken(self, task_id: str) -> bool:
        return task_id in self._issued or task_id in self._leaving or task_id in self._new
