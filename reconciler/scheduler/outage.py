"""Which missing hosts count as lost, and when so many are missing that replacing their tasks would only do harm."""

import msgspec

from reconciler.scheduler.cluster_view import ClusterView


class Outage(msgspec.Struct, frozen=True):
    """``lost`` hosts' tasks are replaced. ``brake`` says why none are; ``next_s``: when the next host may be lost."""

    lost: frozenset[str]
    brake: str | None
    next_s: float | None


def judge(view: ClusterView) -> Outage:
    """Tell missing from lost.

    A host is missing when no session holds its record; it is lost after ``reschedule_after_s``. When more than one host
    and more than a third of the occupied ones are missing, the fault is more likely in between than in them: nothing is
    replaced. A host whose record was removed (``hosts forget``) is no sign of that: an operator said that it is gone.
    """
    occupied = [host for host in view.hosts.values() if host.issued.tasks]
    missing = [host for host in occupied if not host.present]
    unexplained = [host for host in missing if host.state is not None]
    if len(unexplained) > 1 and len(unexplained) * 3 > len(occupied):
        names = ", ".join(sorted(host.name for host in unexplained)[:5])
        text = f"{len(unexplained)} of {len(occupied)} hosts with tasks are missing ({names}): nothing is replaced"
        return Outage(frozenset(), f"{text} until at most a third is", None)
    waits = [view.reschedule_after_s - host.missing_s for host in missing]
    lost = frozenset(host.name for host, wait in zip(missing, waits, strict=True) if wait <= 0)
    return Outage(lost, None, min((wait for wait in waits if wait > 0), default=None))
