"""What the agent publishes of its tasks: one small record, the same bytes as long as nothing changed. Pure.

Rule 9: a task is listed until nothing of it is left on the host, whether it has a record or not, with the ports, memory
and cpu that it holds: the scheduler gives them to nobody else before.
"""

import enum
from collections.abc import Mapping
from typing import Final

import msgspec
from msgspec import UNSET

from reconciler.agent.host_view import NOT_ENTERED, HostView
from reconciler.agent.lifecycle import NEVER, Life, TaskKey
from reconciler.model.preparation import Prepared
from reconciler.model.task import Health, HostStatus, Phase, Task, TaskStatus

BYTES_PER_TASK: Final = 220
BYTES_OF_A_SMALL_HOST: Final = 16_384
REASON_BYTES: Final = 240
_LEAST_REASON_BYTES: Final = 24
_NOTE_BYTES: Final = 1000
_OUTDATED_BYTES: Final = 120
_MOST_PROBLEMS: Final = 3


def host_status(
    view: HostView,
    statuses: Mapping[TaskKey, TaskStatus],
    unjudged: Mapping[str, Task | None],
    prepared: Mapping[str, Prepared] | None = None,
) -> HostStatus:
    """The status of every task on this host, from those of its issues in order.

    ``unjudged`` are tasks of which nothing can be seen now.
    """
    published = view.published.tasks if view.published else {}
    tasks: dict[str, TaskStatus] = {}
    for key, status in statuses.items():
        # of two issues of one task the older one holds the place
        tasks.setdefault(key.id, status)
    for task_id, record in unjudged.items():
        if task_id not in tasks:
            tasks[task_id] = _unseen(record, published.get(task_id))
    return HostStatus(host=view.settings.host, tasks=_fitted(tasks), notes=_notes(view), prepared=dict(prepared or {}))


class News(enum.IntEnum):
    """What is new in a status, by how much others gain from hearing of it now rather than of a better one soon."""

    STOPS = 0
    """Tasks stop, as they were told. They hold their place, and are listed, either way until they are gone."""
    ON_ITS_WAY = 1
    """Something will be up, or be here, or fail."""
    UP = 2
    """Tasks are up, and others that began with them are still on their way."""
    SETTLED = 3
    """Something came to an end: a task is up, healthy or not, is gone, died, or was given up; what was to be prepared
    is here, or can't be had.
    """


def news(before: HostStatus | None, after: HostStatus) -> News:
    """The most urgent that is new in a status that differs from the one before."""
    known = before.tasks if before else {}
    changed = {task_id: status for task_id, status in after.tasks.items() if status != known.get(task_id)}
    if _is_settled(before, after):
        # as if nothing were said of those that are up
        unsaid = {task_id: known.get(task_id) if status.healthy else status for task_id, status in after.tasks.items()}
        without = {task_id: status for task_id, status in unsaid.items() if status is not None}
        only_up = not _is_settled(before, msgspec.structs.replace(after, tasks=without))
        return News.UP if only_up and any(map(_is_on_its_way, changed.values())) else News.SETTLED
    is_prepared_alike = after.prepared == (before.prepared if before else {})
    stops = is_prepared_alike and all(status.phase is Phase.STOPPING for status in changed.values())
    return News.STOPS if stops and changed else News.ON_ITS_WAY


def _is_settled(before: HostStatus | None, after: HostStatus) -> bool:
    known = before.tasks if before else {}
    if (before.notes if before else ()) != after.notes or known.keys() - after.tasks.keys():
        return True
    fetched = before.prepared if before else {}
    if any(each != fetched.get(name) and (each.ready or each.failed) for name, each in after.prepared.items()):
        return True
    return any(
        status != known.get(task_id) and (not _is_on_its_way(status) or _has_fallen(known.get(task_id), status))
        for task_id, status in after.tasks.items()
    )


def _has_fallen(before: TaskStatus | None, status: TaskStatus) -> bool:
    """Whether a healthy task is no longer so, unasked: until that is known, a rollout counts on it."""
    return before is not None and before.healthy and not status.healthy and status.phase is not Phase.STOPPING


def _is_on_its_way(status: TaskStatus) -> bool:
    if status.phase is Phase.RUNNING:
        return status.health is Health.UNKNOWN
    return status.phase in (Phase.PENDING, Phase.PREPARING, Phase.STARTING, Phase.STOPPING)


def task_status(key: TaskKey, life: Life, before: TaskStatus | None) -> TaskStatus:
    """The status of one issue of a task; ``before`` is what was published of the task."""
    record = life.record
    same = before if before is not None and before.issue == key.issue else None
    held = record or same
    unchanged = same is not None and (same.phase, same.attempt) == (life.phase, life.attempt)
    return TaskStatus(
        phase=life.phase,
        issue=key.issue,
        health=life.health if life.phase is Phase.RUNNING else Health.UNKNOWN,
        attempt=life.attempt,
        exit_code=life.exit_code,
        reason=life.health_output if life.phase is Phase.RUNNING and life.health_output else life.reason,
        outdated=shortened(life.outdated, _OUTDATED_BYTES),
        since=same.since if same is not None and unchanged else round(life.since, 3),
        port=held.port if held else 0,
        ports=held.ports if held else UNSET,
        published=held.published if held else UNSET,
        memory=held.memory if held else 0,
        cpu_units=held.cpu_units if held else 0,
        disk=held.disk if held else 0,
    )


def _unseen(record: Task | None, before: TaskStatus | None) -> TaskStatus:
    """Nothing can be said now: what was last said stands, but for its health."""
    if before is not None and (record is None or before.issue == record.issue):
        return msgspec.structs.replace(before, health=Health.UNKNOWN)
    if record is None:
        return TaskStatus(phase=Phase.PENDING, issue=0)
    return TaskStatus(
        phase=Phase.PENDING,
        issue=record.issue,
        port=record.port,
        ports=record.ports,
        published=record.published,
        memory=record.memory,
        cpu_units=record.cpu_units,
        disk=record.disk,
    )


def _fitted(tasks: Mapping[str, TaskStatus]) -> dict[str, TaskStatus]:
    """``tasks`` with their reasons cut so far that all of them together take few bytes in the store."""
    with_reason = [task_id for task_id, status in tasks.items() if status.reason]
    if not with_reason:
        return dict(tasks)
    cut = {task_id: _cut(status, REASON_BYTES) for task_id, status in tasks.items()}
    over = _size(cut) - max(BYTES_OF_A_SMALL_HOST, BYTES_PER_TASK * len(cut))
    if over <= 0:
        return cut
    reasons = sum(len(msgspec.json.encode(cut[task_id].reason)) for task_id in with_reason)
    each = max(_LEAST_REASON_BYTES, (reasons - over) // len(with_reason) - 2)
    return {task_id: _cut(status, each) for task_id, status in cut.items()}


def _cut(status: TaskStatus, most_bytes: int) -> TaskStatus:
    reason = shortened(status.reason, most_bytes)
    return status if reason == status.reason else msgspec.structs.replace(status, reason=reason)


def shortened(text: str, most_bytes: int) -> str:
    """``text`` on one line, cut where it gets too long."""
    if not text:
        return text
    line = " ".join(text.split())
    raw = line.encode()
    if len(raw) <= most_bytes:
        return line
    return raw[: most_bytes - len("…".encode())].decode(errors="ignore").rstrip() + "…"


def _size(tasks: Mapping[str, TaskStatus]) -> int:
    return len(msgspec.json.encode(tasks))


def _notes(view: HostView) -> tuple[str, ...]:
    notes = []
    if view.hold not in (None, NOT_ENTERED):
        notes.append(view.hold)
    if view.issued.problem is not None and (view.issued.known or view.issued.remembered):
        notes.append(f"goes on with what was last issued: {view.issued.problem}")
    if view.policy_problem is not None:
        notes.append(shortened(view.policy_problem, _NOTE_BYTES))
    notes.extend(f"{problem}; what runs with it goes on" for problem in view.secrets.problems[:_MOST_PROBLEMS])
    for kind, executor in sorted(view.executors.items()):
        if executor.problem and executor.began != NEVER:  # one that never was here is no news
            notes.append(f"{kind}: {executor.problem}")
    return tuple(notes)
