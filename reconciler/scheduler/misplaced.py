"""Tasks that are where their service may not or should not be (any more), though their host is well; ``replicas`` asks.

They move as from a draining host: a healthy replacement first, ``min`` and ``max`` held, and they stay where no other
host takes them. Nothing moves on what is not known: a host that is gone, an attribute that no agent reports, a revision
that is being applied.
"""

from collections.abc import Sequence

from reconciler.model.manifests import Placement
from reconciler.model.task import Task
from reconciler.scheduler import constraints
from reconciler.scheduler.cluster_view import ClusterView, HostView
from reconciler.scheduler.overrides import describe

_ANYWHERE = Placement()


def misplaced(view: ClusterView, service: str, tasks: Sequence[Task]) -> dict[str, str]:
    """By id of the task, why it may not stay."""
    declared = view.services.get(service)
    gives_way = view.apart.gives_way.get(service, ())
    placement = declared.placement if declared and declared.placement else _ANYWHERE
    found = _rebalanced(view, service, tasks)
    if declared is None or not (placement.constraints or gives_way):
        return found
    first: set[str] = set()
    for task in sorted(tasks, key=lambda task: (task.issue, task.instance)):
        host = view.hosts[task.host]
        if host.state is None or not host.drain_settled:
            continue
        if constraint := constraints.broken(host, placement.constraints, certainly=True):
            found[task.id] = f"{host.name} may not have it: {constraints.explain(host, constraint)}"
        elif other := _neighbour(host, service, gives_way, is_first=host.name not in first):
            found[task.id] = f"{host.name} may not have it: kept apart from {other}"
        first.add(host.name)
    return found


def _rebalanced(view: ClusterView, service: str, tasks: Sequence[Task]) -> dict[str, str]:
    """What an operator wants elsewhere: those very issues, so that what takes their place stays."""
    said = view.rebalanced.get(service)
    if said is None:
        return {}
    return {task.id: f"rebalanced {describe(said)}" for task in tasks if said.tasks.get(task.id) == task.issue}


def _neighbour(host: HostView, service: str, gives_way: Sequence[str], *, is_first: bool) -> str | None:
    """A service on that host for which a task has to go; of its own, all but the first have to."""
    return next(
        (each for each in gives_way if each in host.issued.services and not (each == service and is_first)), None
    )
