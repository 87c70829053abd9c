"""What a cluster's scheduler should do now: a pure function of one reading.

The daemon carries plans out; ``plan``, ``explain``, ``tasks`` and ``--dry-run`` only show them, from the same call.
"""

from typing import Final

import msgspec

from reconciler.scheduler import outage
from reconciler.scheduler.amendments import amendments
from reconciler.scheduler.batch_plan import plan_batch
from reconciler.scheduler.cluster_view import ClusterView
from reconciler.scheduler.numbering import Numbering
from reconciler.scheduler.placement import Placer
from reconciler.scheduler.service_plan import ServicePlan, hold_service, plan_service, remove_service
from reconciler.scheduler.steps import Plan, RemoveHead, Step
from reconciler.scheduler.system_plan import plan_system, wanted_on

__all__ = ["Plan", "plan"]

PLANNERS: Final = {"service": plan_service, "system": plan_system, "batch": plan_batch}
"""By kind of service."""


def plan(view: ClusterView, now: float, *, explains: bool = False) -> Plan:
    """All that may be done at once, in legal steps, and why the rest is not. ``now`` is wall time, for display.

    ``explains``: what finds no place says so of each host (``Pending.hosts``).
    """
    if view.hold is not None:
        return Plan(cluster=view.name, hold=view.hold)
    named = view.declared.scheduler if view.declared else view.head.scheduler if view.head else view.scheduler
    if named != view.scheduler:
        return Plan(cluster=view.name, release=True)
    found = outage.judge(view)
    placer = Placer(view.hosts, view.head.seq if view.head else 0, explains=explains)
    numbering = Numbering(view)
    names = _most_urgent_first(view, found)
    parts = [_service(view, name, found, placer, numbering, now) for name in names]
    waits = [part.look_again_s for part in parts if part.look_again_s is not None]
    waits += [each for each in (found.next_s, view.overrides_end_s) if each is not None]
    steps = tuple(step for part in parts for step in part.steps)
    if not steps and _is_gone(view):
        steps = (Step(service="", actions=(RemoveHead(),)),)
    return Plan(
        cluster=view.name,
        steps=steps,
        pending=tuple(pending for part in parts for pending in part.pending),
        notes=tuple(note for part in parts for note in part.notes),
        brake=found.brake,
        hosts={name: part.hosts for name, part in zip(names, parts, strict=True) if part.hosts is not None},
        look_again_s=min(waits, default=None),
    )


def _service(
    view: ClusterView, name: str, found: outage.Outage, placer: Placer, numbering: Numbering, now: float
) -> ServicePlan:
    if name in view.held:
        held = hold_service(view, name, view.held[name], found, placer, numbering, now)
        return msgspec.structs.replace(held, hosts=wanted_on(view, name, found, placer))
    if name not in view.services:
        return remove_service(view, name, found, placer, numbering)
    service = view.services[name]
    made = PLANNERS[service.kind](view, service, found, placer, numbering, now)
    amended = amendments(view, service, made.steps)
    return msgspec.structs.replace(made, steps=(*made.steps, *amended)) if amended else made


def _most_urgent_first(view: ClusterView, found: outage.Outage) -> list[str]:
    """Services with dead tasks are planned first: what room there is, is theirs."""
    names = {*(view.declared.services if view.declared else ()), *view.tasks, *view.rollouts, *view.preparations}

    def calm(name: str) -> bool:
        after_s = outage.patience_s(view, name)
        return not any(found.is_lost(task.host, after_s) for task in view.tasks.get(name, ()))

    return sorted(names, key=lambda name: (calm(name), name))


def _is_gone(view: ClusterView) -> bool:
    """Whether nothing is left of a removed cluster, not even a task that is still stopping."""
    if view.declared or view.head is None or view.applying or view.tasks or view.rollouts or view.preparations:
        return False
    # an id is never trusted to act on, only to wait for; a lost host is not waited for
    return not any(
        task_id in view.leaving_ids and task_id.startswith(f"{view.name}-")
        for host in view.hosts.values()
        if host.leaving.tasks and (host.present or host.missing_s < view.reschedule_after_s)
        for task_id in view.statuses[host.name].tasks
    )
