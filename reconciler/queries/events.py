"""``reconciler events``: what schedulers decided and what became of tasks, as far as the store still has it.

Decisions stand in the heads of the clusters, the last state of each task in its host's status; both are bounded, so
this is no archive.
"""

import contextlib
from collections.abc import Iterable, Iterator
from typing import Final, TypeVar

import msgspec

from reconciler.model import keys
from reconciler.model.codec import Undecodable, decode
from reconciler.model.task import ClusterHead, Decision, HostStatus, Task, TaskStatus
from reconciler.model.texts import MORE
from reconciler.store.interface import Store

FEW: Final = 50
"""So many records are read one by one; for more, all of them at once."""

T = TypeVar("T", bound=msgspec.Struct)


class FleetEvent(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that happened. ``kind`` is ``decision`` or ``task``; ``at`` is seconds since 1970, 0 when unknown.

    ``services`` are named where a decision tells of several, with ``…`` for those that found no room.
    What is not known of it is empty: a task without a record says no more than its id and its host.
    """

    at: float
    kind: str
    cluster: str = ""
    service: str = ""
    services: tuple[str, ...] = ()
    task: str = ""
    host: str = ""
    what: str
    why: str = ""


class EventReader:
    """Reads what is there, and after that what is new. Used by one thread."""

    WATCHED = (keys.CLUSTER_HEADS, keys.STATUSES)
    """Under these prefixes there is something new when one of them changes."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._decisions: dict[str, frozenset[Decision]] = {}
        self._states: dict[tuple[str, str], TaskStatus] = {}
        self._tasks: dict[str, Task] = {}
        self._begun = False

    def read(self, now: float) -> list[FleetEvent]:
        """What is new since the last call, all of it in the first one; the newest last. ``now`` is wall time."""
        events = [*self._read_decisions(), *self._read_states(now)]
        self._begun = True
        return sorted(events, key=lambda event: event.at)

    def _read_decisions(self) -> Iterator[FleetEvent]:
        for key, head in self._all(keys.CLUSTER_HEADS, ClusterHead):
            known = self._decisions.get(key, frozenset())
            self._decisions[key] = frozenset(head.decisions)
            for each in head.decisions:
                if each not in known:
                    yield FleetEvent(
                        at=each.at,
                        kind="decision",
                        cluster=head.cluster,
                        service=each.service,
                        services=each.services or (),
                        what=each.what,
                        why=each.why,
                    )

    def _read_states(self, now: float) -> Iterator[FleetEvent]:
        found = {
            (status.host, task_id): state
            for _, status in self._all(keys.STATUSES, HostStatus)
            for task_id, state in status.tasks.items()
        }
        before, self._states = self._states, found
        changed = [each for each in found if not _is_same(found[each], before.get(each))]
        self._look_up({task_id for _, task_id in changed} - self._tasks.keys())
        for host, task_id in changed:
            state = found[host, task_id]
            health = f", {state.health}" if state.healthy or state.phase == "running" else ""
            ended = "" if state.exit_code is None else f", exit code {state.exit_code}"
            what = f"{task_id} on {host} is {state.phase}{health}{ended}"
            yield self._event(state.since, host, task_id, what, state.reason)
        for host, task_id in before.keys() - found.keys() if self._begun else ():
            yield self._event(now, host, task_id, f"{task_id} on {host} is gone", "")
            self._tasks.pop(task_id, None)

    def _look_up(self, task_ids: set[str]) -> None:
        """Learn whose tasks these are, by as few readings as that takes; it stays known while a host lists them."""
        if len(task_ids) > FEW:
            self._tasks |= {task.id: task for _, task in self._all(keys.TASKS_BY_ID, Task)}
            return
        for task_id in sorted(task_ids):
            entry = self._store.get(keys.task_by_id(task_id))
            if entry is not None:
                with contextlib.suppress(Undecodable):
                    self._tasks[task_id] = decode(entry.value, Task, entry.key)

    def _event(self, at: float, host: str, task_id: str, what: str, why: str) -> FleetEvent:
        task = self._tasks.get(task_id)
        cluster, service = (task.cluster, task.service) if task else ("", "")
        return FleetEvent(
            at=at, kind="task", cluster=cluster, service=service, task=task_id, host=host, what=what, why=why
        )

    def _all(self, prefix: str, kind: type[T]) -> Iterator[tuple[str, T]]:
        for entry in self._store.list(prefix).entries:
            try:
                yield entry.key, decode(entry.value, kind, entry.key)
            except Undecodable:
                continue


def chosen(
    events: Iterable[FleetEvent], *, cluster: str | None, service: str | None, since: float | None
) -> list[FleetEvent]:
    """Those of a cluster, of a service, and not older than that; None: any.

    What tells of more services than it names may tell of this one, so it is shown.
    """
    return [
        event
        for event in events
        if cluster in (None, event.cluster)
        and (service in (None, event.service, *event.services) or MORE in event.services)
        and (since is None or event.at >= since)
    ]


def _is_same(state: TaskStatus, before: TaskStatus | None) -> bool:
    return before is not None and _looks(state) == _looks(before)


def _looks(state: TaskStatus) -> tuple[object, ...]:
    return state.issue, state.phase, state.health, state.attempt, state.exit_code
