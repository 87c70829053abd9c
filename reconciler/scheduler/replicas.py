"""The tasks of one service, each with what is known of it: is it healthy, is it the wanted version, may it be stopped.

``rollout`` decides from these which tasks start and stop.
"""

import enum
import hashlib
from collections import Counter
from collections.abc import Callable, Iterable

import msgspec

from reconciler.model.durations import format_duration
from reconciler.model.manifests import Service
from reconciler.model.task import Health, Phase, Task
from reconciler.scheduler.cluster_view import ClusterView
from reconciler.scheduler.misplaced import misplaced
from reconciler.scheduler.outage import Outage, patience_s
from reconciler.scheduler.proving import proves_s

RETRY_FIRST_S = 10.0
RETRY_MOST_S = 300.0


class Standing(enum.IntEnum):
    """How a task stands, in the order in which tasks are given up."""

    COMPLETE = -1
    """A task of a batch that came to a good end."""
    FAILED = 0
    """Its agent gave it up; nothing of it runs."""
    LOST = 1
    """Its host has been missing for so long that another must take its place."""
    UNHEALTHY = 2
    """It runs, and its checks are critical."""
    STARTING = 3
    """It does not run yet (or not yet that issue of it)."""
    UNKNOWN = 4
    """It runs; nobody knows whether it is healthy."""
    MISSING = 5
    """Its host is missing, perhaps only for a moment."""
    SETTLING = 6
    """It is healthy, but not yet for as long as it has to be (``proving``)."""
    HEALTHY = 7


PERHAPS_HEALTHY = frozenset({Standing.UNKNOWN, Standing.MISSING, Standing.SETTLING, Standing.HEALTHY})
"""Stopping one of these may take away a healthy task."""


class Bounds(msgspec.Struct, frozen=True):
    """How many tasks a service may have.

    Never fewer healthy ones than ``floor`` by the scheduler's doing, never more issued ones than ``ceiling``.
    """

    floor: int
    desired: int
    ceiling: int

    @classmethod
    def of(cls, service: Service) -> "Bounds":
        """What the service says, made consistent (another program may have stored min above desired)."""
        desired = min(service.desired, service.max_issued)
        floor = min(service.min_healthy, desired)
        stops_first = service.policy.order == "stop_first" and floor < desired
        return cls(floor, desired, desired if stops_first else service.max_issued)


class Member(msgspec.Struct, frozen=True, kw_only=True):
    """A task of the service. ``wait_s``: in how many seconds a failed one is replaced, or a young one counts; 0: now.

    ``restarts``: an operator wants another in its place. ``overdue``: it should have left its host by now.
    ``misplaced``: why its service may not have it there. ``outdated``: which value it runs with is another by now.
    """

    task: Task
    standing: Standing
    current: bool
    draining: bool
    reason: str = ""
    wait_s: float = 0.0
    restarts: bool = False
    overdue: bool = False
    misplaced: str = ""
    outdated: str = ""

    @property
    def healthy(self) -> bool:
        """Certainly healthy: its record is there, its host is present, its checks pass."""
        return self.standing is Standing.HEALTHY

    @property
    def dead(self) -> bool:
        """To be replaced now, come what may."""
        return self.standing is Standing.LOST or self.overdue or (self.standing is Standing.FAILED and self.wait_s <= 0)

    @property
    def keeper(self) -> bool:
        """The wanted version, where it may stay."""
        return self.current and not (self.draining or self.misplaced or self.restarts or self.outdated)


def members(
    view: ClusterView, service: str, outage: Outage, accepts: Callable[[Task, Standing], bool]
) -> tuple[Member, ...]:
    """All issued tasks of a service; ``accepts`` says which are what is wanted now."""
    answer = []
    declared = view.services.get(service)
    rollout = view.rollouts.get(service)
    restarted = view.restarted.get(service, 0)
    lost_after_s = patience_s(view, service)
    is_batch = declared is not None and declared.kind == "batch"
    tasks = view.tasks.get(service, ())
    elsewhere = misplaced(view, service, tasks)
    for task in tasks:
        host = view.hosts[task.host]
        standing, reason = _standing(view, task, present=host.present, lost=outage.is_lost(task.host, lost_after_s))
        wait_s = 0.0
        if standing is Standing.COMPLETE and declared is not None and not is_batch:
            standing = Standing.FAILED  # a service's task that ends, even well, is a death
        if standing is Standing.FAILED:
            wait_s = max(0.0, retry_delay_s(task) - view.failed_s.get(task.id, 0.0))
        elif standing is Standing.HEALTHY:
            proves = proves_s(declared, rollout, view.definition_of(task), task)
            wait_s = max(0.0, proves - view.healthy_s.get(task.id, 0.0))
            if wait_s > 0:
                standing, reason = Standing.SETTLING, f"it has to stay healthy for {format_duration(proves)}"
        draining = host.config.draining and host.drain_settled
        answer.append(
            Member(
                task=task,
                standing=standing,
                current=accepts(task, standing),
                draining=draining,
                reason=reason,
                wait_s=wait_s,
                restarts=task.issue <= restarted or (declared is not None and task.completes != is_batch),
                overdue=draining and host.overdue,
                misplaced=elsewhere.get(task.id, ""),
                outdated="" if is_batch else _outdated(view, task),
            )
        )
    return tuple(answer)


def _outdated(view: ClusterView, task: Task) -> str:
    status = view.status_of(task)
    return status.outdated if status else ""


def _standing(view: ClusterView, task: Task, *, present: bool, lost: bool) -> tuple[Standing, str]:
    if not present:
        return (Standing.LOST if lost else Standing.MISSING), f"host {task.host} is missing"
    status = view.status_of(task)
    if status is None:
        return Standing.STARTING, f"not yet seen by the agent on {task.host}"
    match status.phase:
        case Phase.COMPLETE:
            return Standing.COMPLETE, status.reason or "complete"
        case Phase.FAILED | Phase.REJECTED:
            return Standing.FAILED, status.reason or str(status.phase)
        case Phase.RUNNING if status.healthy:
            return Standing.HEALTHY, status.reason
        case Phase.RUNNING if status.health is Health.UNKNOWN:
            return Standing.UNKNOWN, status.reason or "its health is not known"
        case Phase.RUNNING:
            return Standing.UNHEALTHY, status.reason or "its checks are critical"
        case _:
            return Standing.STARTING, status.reason or str(status.phase)


def retry_delay_s(failed: Task) -> float:
    """How long a failed task waits for its replacement: none for the first, then growing, at most five minutes.

    Up to a fifth sooner, told from its id and issue, so that what failed together is not tried again together.
    """
    if failed.retries <= 0:
        return 0.0
    jitter = hashlib.sha256(f"{failed.id} {failed.issue}".encode()).digest()[0] / 256 / 5
    return min(RETRY_MOST_S, RETRY_FIRST_S * 2.0 ** min(failed.retries - 1, 16)) * (1 - jitter)


def giving_up_order(view: ClusterView, each: Iterable[Member]) -> list[Member]:
    """Who stops first: unhealthy, wrong version, where it may not be, then where most of them are, on the fullest host.

    Most by the tag over which they spread, then by host. A count goes down with each one that stops there, so that what
    is left stays spread; what is packed leaves the emptiest host instead.
    """

    def rank(member: Member) -> tuple[int, bool, bool, int, str]:
        may_stay = member.current and not member.restarts and not member.outdated
        is_right = not member.draining and not member.misplaced
        return member.standing, may_stay, is_right, -member.task.instance, member.task.id

    ranked = sorted(each, key=rank)
    declared = view.services.get(ranked[0].task.service) if ranked else None
    where = declared.placement if declared else None
    tag, packs = (where.spread_over, where.strategy == "binpack") if where else (None, False)
    crowd = Counter(member.task.host for member in ranked)
    values = {host: view.hosts[host].config.tags.get(tag) if tag else None for host in crowd}
    of_value = Counter(values[member.task.host] for member in ranked)
    order = []
    for member in ranked:
        host = member.task.host
        load = view.hosts[host].issued.tasks
        most = (-of_value[values[host]], 0, load) if packs else (-of_value[values[host]], -crowd[host], -load)
        order.append((*rank(member)[:3], *most, -member.task.instance, member.task.id, member))
        crowd[host] -= 1
        if tag:
            of_value[values[host]] -= 1
    return [entry[-1] for entry in sorted(order, key=lambda entry: entry[:-1])]
