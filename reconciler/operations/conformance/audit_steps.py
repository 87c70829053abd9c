"""What must be true of every step: between two pictures, what was issued and what was taken away. Pure.

Only the script changes statuses and ``config/*``, and it knows at which index it did. So each step is judged by what
its scheduler could know; where several steps lie between two pictures, the doubt is the scheduler's benefit.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence

import msgspec

from reconciler.model import keys
from reconciler.model.manifests import Service
from reconciler.model.task import HostState, HostStatus, Phase, Task, TaskStatus
from reconciler.operations.conformance.declared import Declared
from reconciler.operations.conformance.picture import Picture
from reconciler.operations.conformance.rules import Ledger

ENDED = frozenset({Phase.FAILED, Phase.REJECTED, Phase.COMPLETE, Phase.STOPPED})
"""Of such a task nothing runs: its place is free though its host still lists it."""


class Moment(msgspec.Struct, frozen=True, kw_only=True):
    """A picture, and what was declared when it was taken."""

    picture: Picture
    declared: Declared


class StepAudit:
    """Judges what happened between two moments."""

    def __init__(self, ledger: Ledger, states: Iterable[HostState]) -> None:
        self._ledger = ledger
        self._states = {state.host: state for state in states}
        self._listed: dict[tuple[str, str, int], int] = {}

    def note(self, picture: Picture) -> None:
        """Remember since which index each host lists each task; called with every picture."""
        self._listed = {
            (host, task_id, task.issue): self._listed.get((host, task_id, task.issue), picture.status_index[host])
            for host, status in picture.statuses.items()
            for task_id, task in status.tasks.items()
        }

    def look(self, before: Moment, after: Moment) -> None:
        """Judge the steps from ``before`` to ``after``."""
        old, new = before.picture.tasks, after.picture.tasks
        issued = [task for key, task in new.items() if key not in old or old[key].issue != task.issue]
        taken = [task for key, task in old.items() if key not in new or new[key].issue != task.issue]
        for task in issued:
            self._issued(before, after, task)
        if issued:
            self._hosts(before.picture, after, {task.host for task in issued})
        for service in sorted({task.service for task in issued}):
            self._most(before, after, service)
        for service in sorted({task.service for task in taken}):
            self._least(before, after, service, [task for task in taken if task.service == service])

    def _issued(self, before: Moment, after: Moment, task: Task) -> None:
        key, index = keys.task_by_id(task.id), after.picture.by_id[task.id].index
        statuses = _statuses_at(before.picture, after.picture, index)
        listed = [(host, status.tasks.get(task.id)) for host, status in statuses.items()]
        holder = next(
            (
                host
                for host, at in listed
                if at is not None
                and at.issue != task.issue
                and self._was_known(before.picture, after.picture, host, task.id, at.issue)
            ),
            None,
        )
        taken = f"{key} was issued at index {index} while {keys.status(holder or '')} still listed that id"
        self._ledger.judge("instances", taken if holder else None, f"{key}: instance {task.instance}")
        state, definition = self._states.get(task.host), after.declared.definition_of(task)
        if state is not None and definition is not None:
            lacks = {container.type for container in definition.containers} - set(state.executors)
            problem = f"{key} needs {', '.join(sorted(lacks))}, {task.host} has {', '.join(state.executors) or 'none'}"
            self._ledger.judge("executors", problem if lacks else None, f"{key} on {task.host}")
        if after.declared.is_draining(task.host) and index > after.declared.index:
            self._ledger.broken(
                "draining",
                f"{key} was issued to {task.host} at index {index}; {keys.host(task.host)} says draining since "
                f"{after.declared.index}",
            )
        if task.host not in before.picture.present | after.picture.present:
            self._ledger.broken("missing-host", f"{key} was issued to {task.host}, which nobody holds")

    def _hosts(self, before: Picture, after: Moment, hosts: set[str]) -> None:
        """Nothing is promised twice on the hosts that got new tasks."""
        newest = max((entry.index for entry in after.picture.by_id.values()), default=0)
        statuses = _statuses_at(before, after.picture, newest)
        for host in sorted(hosts & self._states.keys()):
            held = [
                (task.id, _held(task, after.declared)) for task in after.picture.tasks.values() if task.host == host
            ]
            here = {task_id for task_id, _ in held}
            status = statuses.get(host)
            leaving = [
                (task_id, task)
                for task_id, task in (status.tasks if status else {}).items()
                if task_id not in here
                and task.phase not in ENDED
                and self._was_known(before, after.picture, host, task_id, task.issue)
            ]
            self._sums(host, [*held, *leaving])
            self._ports(host, [*held, *leaving])

    def _was_known(self, before: Picture, after: Picture, host: str, task_id: str, issue: int) -> bool:
        """Whether who wrote last certainly knew that the host has a task.

        The host has listed it since before something was written, after which one reads anew; or it was issued until
        this very transaction. (A host may publish what it took up just before that was withdrawn.)
        """
        listed = self._listed.get((host, task_id, issue))
        was_one_step = before.head is not None and after.head is not None and after.head.seq == before.head.seq + 1
        is_old = listed is not None and listed < before.written
        return is_old or (was_one_step and (task_id, issue) in before.records)

    def _sums(self, host: str, held: Sequence[tuple[str, TaskStatus]]) -> None:
        state = self._states[host]
        for rule, used, there in (
            ("memory", sum(each.memory for _, each in held), state.memory),
            ("cpu", sum(each.cpu_units for _, each in held), state.cpu_units),
        ):
            text = f"{host}: {used} of {there} are promised to {', '.join(sorted(task_id for task_id, _ in held))}"
            if used > there:
                self._ledger.broken(rule, text)
            elif used:
                self._ledger.kept(rule, text)

    def _ports(self, host: str, held: Sequence[tuple[str, TaskStatus]]) -> None:
        by_port: dict[int, list[str]] = defaultdict(list)
        for task_id, each in held:
            for port in dict.fromkeys(each.held_ports):
                by_port[port].append(task_id)
        for port, ids in by_port.items():
            problem = f"{host}: port {port} has {' and '.join(sorted(ids))}" if len(ids) > 1 else None
            self._ledger.judge("ports", problem, f"{host}: {len(by_port)} ports, none twice")

    def _most(self, before: Moment, after: Moment, name: str) -> None:
        """The number of records, wherever new ones came."""
        services = _possible(before, after, name)
        if not services:
            return
        most = max(service.max_issued for service in services)
        there = sorted(task.id for task in after.picture.of_service(name))
        was = len(before.picture.of_service(name))
        text = f"service {name}: {len(there)} issued ({', '.join(there)}), max is {most}"
        self._ledger.judge("max", text if len(there) > max(most, was) else None, text)

    def _least(self, before: Moment, after: Moment, name: str, taken: Sequence[Task]) -> None:
        """The number of healthy tasks, wherever healthy ones were taken away."""
        services = _possible(before, after, name)
        if len(services) < 2:
            return  # it is to go altogether
        statuses = _statuses_at(before.picture, after.picture, after.picture.head_index)
        present = before.picture.present & after.picture.present
        healthy = [task for task in taken if _is_healthy(task, statuses, present)]
        if not healthy:
            return
        left = [task for task in after.picture.of_service(name) if _is_healthy(task, statuses, present)]
        least = min(min(service.min_healthy, service.desired) for service in services)
        ids = sorted(task.id for task in healthy)
        text = (
            f"service {name}: {', '.join(ids)} was healthy and was withdrawn (seq "
            f"{after.picture.head.seq if after.picture.head else 'none'}), {len(left)} healthy ones are left, "
            f"min is {least}"
        )
        self._ledger.judge("min", text if len(left) < least else None, text)


def _possible(before: Moment, after: Moment, name: str) -> list[Service]:
    """What the service may have been to whoever acted in between."""
    found = [before.declared.service(name), after.declared.service(name)]
    return [service for service in found if service is not None]


def _statuses_at(before: Picture, after: Picture, index: int) -> dict[str, HostStatus]:
    """What hosts said when something was written at ``index``."""
    return {
        host: status if after.status_index[host] < index or host not in before.statuses else before.statuses[host]
        for host, status in after.statuses.items()
    }


def _is_healthy(task: Task, statuses: dict[str, HostStatus], present: frozenset[str]) -> bool:
    status = statuses.get(task.host)
    found = status.tasks.get(task.id) if status else None
    return task.host in present and found is not None and found.issue == task.issue and found.healthy


def _held(task: Task, declared: Declared) -> TaskStatus:
    """A record in the form of what a status says of a task. Whoever leaves its needs out means the definition's."""
    definition = declared.definition_of(task)
    memory, cpu_units, disk = task.memory, task.cpu_units, task.disk
    if not (memory or cpu_units or disk) and definition is not None:
        memory, cpu_units, disk = definition.memory, definition.cpu_units, definition.disk
    return TaskStatus(
        phase=Phase.RUNNING,
        issue=task.issue,
        port=task.port,
        ports=task.ports,
        published=task.published,
        memory=memory,
        cpu_units=cpu_units,
        disk=disk,
    )
