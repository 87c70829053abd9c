"""Which missing hosts count as lost, and when so many are missing that replacing their tasks would only do harm."""

import math
from collections.abc import Iterator, Mapping

import msgspec

from reconciler.scheduler.cluster_view import ClusterView


class Outage(msgspec.Struct, frozen=True):
    """For how long hosts with tasks have been ``missing``, in seconds, and when the next may be lost to a service.

    ``brake`` says why no task of theirs is replaced, and no host counts as missing for so long then.
    """

    missing: Mapping[str, float]
    brake: str | None
    next_s: float | None

    def is_lost(self, host: str, after_s: float) -> bool:
        """Whether the tasks there of a service that waits so long are replaced."""
        return self.missing.get(host, -1.0) >= after_s


def judge(view: ClusterView) -> Outage:
    """Tell missing from lost.

    A host is missing when no session holds its record; a service takes it for lost after its own patience. When more
    than one host and more than a third of the occupied ones are missing, the fault is more likely in between than in
    them: nothing is replaced. A host whose record was removed (``hosts forget --gone``) is no sign of that: an operator
    said that it is gone.
    """
    occupied = [host for host in view.hosts.values() if host.issued.tasks]
    missing = [host for host in occupied if not host.present]
    unexplained = [host for host in missing if host.state is not None]
    if len(unexplained) > 1 and len(unexplained) * 3 > len(occupied):
        names = ", ".join(sorted(host.name for host in unexplained)[:5])
        text = f"{len(unexplained)} of {len(occupied)} hosts with tasks are missing ({names}): nothing is replaced"
        forget = "if a host is gone for good, say `reconciler hosts forget HOST --gone`"
        return Outage({}, f"{text} until at most a third is; {forget}", None)
    found = {host.name: host.missing_s for host in missing}
    return Outage(found, None, min(_waits(view, found), default=None))


def patience_s(view: ClusterView, service: str) -> float:
    """For how long a service waits for a missing host; one that is declared no more waits as long as any.

    For ever while it may be declared but could not be read: perhaps it asks to be waited for.
    """
    declared = view.services.get(service)
    if declared is None and service in view.held:
        return math.inf
    own = declared.reschedule_after_s if declared else None
    return view.reschedule_after_s if own is None else own


def _waits(view: ClusterView, missing: Mapping[str, float]) -> Iterator[float]:
    """In how many seconds a host will be lost to a service that has tasks there."""
    for service, tasks in view.tasks.items() if missing else ():
        after_s = patience_s(view, service)
        for host in {task.host for task in tasks} & missing.keys():
            if missing[host] < after_s < math.inf:
                yield after_s - missing[host]
