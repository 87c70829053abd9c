"""What schedulers will do, round by round, if every task that they start becomes healthy. Pure.

It is the scheduler's own planner, called again on what its own plan comes to. ``preview`` asks it; nothing is written.
"""

import math
from collections.abc import Mapping
from typing import Final

import msgspec

from reconciler.model.task import ClusterHead, Health, HostStatus, Phase, Rollout, Task, TaskStatus
from reconciler.queries.fleet import OUR_SCHEDULER
from reconciler.scheduler.decisions import decide
from reconciler.scheduler.plan import plan
from reconciler.scheduler.snapshot import Snapshot, clusters_of, scene, view_of
from reconciler.scheduler.steps import Amend, DropRollout, Issue, Plan, RemoveHead, SaveRollout, Step, Withdraw

MOST_ROUNDS: Final = 500
_ENDED: Final = (Phase.FAILED, Phase.REJECTED, Phase.COMPLETE)


class Move(msgspec.Struct, frozen=True, kw_only=True):
    """What happens in one round, in words."""

    round: int
    cluster: str
    service: str
    what: str
    why: str


class Unplaced(msgspec.Struct, frozen=True, kw_only=True):
    """Tasks for which there is no place in the end, and why."""

    cluster: str
    service: str
    task_name: str
    task_version: int
    count: int
    reason: str


class Forecast(msgspec.Struct, frozen=True, kw_only=True):
    """``unfinished``: why nobody can say how it ends, by cluster. ``starts`` and ``stops`` count tasks."""

    moves: tuple[Move, ...] = ()
    unplaced: tuple[Unplaced, ...] = ()
    unfinished: Mapping[str, str] = {}
    notes: tuple[str, ...] = ()
    starts: int = 0
    stops: int = 0


def forecast(snapshot: Snapshot, now: float) -> Forecast:
    """From what was read to where nothing more is to be done. ``now`` is wall time, for display."""
    snapshot = _fetched(snapshot)
    moves: list[Move] = []
    starts = stops = 0
    plans: list[Plan] = []
    for number in range(1, MOST_ROUNDS + 1):
        steps_done = False
        plans = []
        for name in clusters_of(snapshot.clusters, snapshot.heads, OUR_SCHEDULER):
            made = plan(view_of(scene(snapshot), name, OUR_SCHEDULER), now)
            plans.append(made)
            if not made.steps:
                continue
            steps_done = True
            moves += [
                Move(round=number, cluster=name, service=each.service, what=each.what, why=each.why)
                for each in decide(_visible(made), 0, now)
            ]
            starts += sum(isinstance(action, Issue) for action in made.actions)
            stops += sum(isinstance(action, Withdraw) for action in made.actions)
            snapshot = _after(snapshot, made)
        if not steps_done and number > 1:
            break
        snapshot = _healthy(snapshot)
    else:
        unfinished = {made.cluster: f"it goes on after {MOST_ROUNDS} rounds" for made in plans if made.steps}
        return Forecast(moves=tuple(moves), unfinished=unfinished, starts=starts, stops=stops)
    return Forecast(
        moves=tuple(moves),
        unplaced=tuple(
            Unplaced(
                cluster=made.cluster,
                service=each.service,
                task_name=each.task_name,
                task_version=each.task_version,
                count=each.count,
                reason=each.reason,
            )
            for made in plans
            for each in made.pending
        ),
        unfinished={made.cluster: why for made in plans if (why := made.hold or made.brake)},
        notes=tuple(
            f"cluster {made.cluster}, service {note.service}: {note.reason}" for made in plans for note in made.notes
        ),
        starts=starts,
        stops=stops,
    )


def _fetched(snapshot: Snapshot) -> Snapshot:
    """Nobody waits for what is to be fetched: all of it can be had."""
    states = {name: msgspec.structs.replace(each, prepares=False) for name, each in snapshot.host_states.items()}
    return msgspec.structs.replace(snapshot, host_states=states, preparations=())


def _visible(made: Plan) -> list[Step]:
    """The steps without what is only remembered."""
    kept = [
        msgspec.structs.replace(
            step, actions=tuple(action for action in step.actions if isinstance(action, Issue | Withdraw | Amend))
        )
        for step in made.steps
    ]
    return [step for step in kept if step.actions]


def _after(snapshot: Snapshot, made: Plan) -> Snapshot:
    """What is there once a plan is carried out."""
    tasks = {(task.host, task.id): task for task in snapshot.tasks}
    statuses = {host: dict(status.tasks) for host, status in snapshot.statuses.items()}
    rollouts: dict[tuple[str, str], Rollout] = dict(snapshot.rollouts)
    heads = dict(snapshot.heads)
    head = heads.get(made.cluster) or ClusterHead(cluster=made.cluster, scheduler=OUR_SCHEDULER, seq=0)
    heads[made.cluster] = head = msgspec.structs.replace(head, seq=head.seq + 1)
    for action in made.actions:
        match action:
            case Issue(task=task):
                tasks[task.host, task.id] = msgspec.structs.replace(task, issue=head.seq)
                statuses.setdefault(task.host, {}).pop(task.id, None)
            case Withdraw(task=task):
                tasks.pop((task.host, task.id), None)
                statuses.setdefault(task.host, {}).pop(task.id, None)
            case Amend(task=task):
                tasks[task.host, task.id] = task
            case SaveRollout(rollout=rollout):
                rollouts[rollout.cluster, rollout.service] = rollout
            case DropRollout(service=service):
                rollouts.pop((made.cluster, service), None)
            case RemoveHead():
                heads.pop(made.cluster, None)
    return msgspec.structs.replace(
        snapshot,
        tasks=tuple(tasks.values()),
        statuses={host: HostStatus(host=host, tasks=kept) for host, kept in statuses.items()},
        rollouts=rollouts,
        heads=heads,
    )


def _healthy(snapshot: Snapshot) -> Snapshot:
    """Every task that may still become healthy is; every one that is stopping has stopped."""
    statuses: dict[str, dict[str, TaskStatus]] = {host: {} for host in snapshot.statuses}
    for task in snapshot.tasks:
        old = snapshot.statuses.get(task.host)
        found = old.tasks.get(task.id) if old else None
        if found and found.issue == task.issue and (found.healthy or found.phase in _ENDED):
            statuses.setdefault(task.host, {})[task.id] = found
        elif task.host in snapshot.present:
            statuses.setdefault(task.host, {})[task.id] = _passing(task)
    return msgspec.structs.replace(
        snapshot,
        statuses={host: HostStatus(host=host, tasks=tasks) for host, tasks in statuses.items()},
        healthy_s={task.id: math.inf for task in snapshot.tasks},
        stalled_s={},
    )


def _passing(task: Task) -> TaskStatus:
    return TaskStatus(
        phase=Phase.RUNNING,
        issue=task.issue,
        health=Health.PASSING,
        port=task.port,
        ports=task.ports,
        published=task.published,
        memory=task.memory,
        cpu_units=task.cpu_units,
        disk=task.disk,
    )
