"""While canaries run: so many tasks of the new version, and the version before makes up the rest. Pure."""

from collections.abc import Sequence

import msgspec

from reconciler.scheduler.cluster_view import ClusterView
from reconciler.scheduler.replicas import Member, giving_up_order
from reconciler.scheduler.rollout import Course


def make_way(view: ClusterView, group: Sequence[Member], course: Course, others: int) -> tuple[Member, ...]:
    """The members, of which no more than ``others`` of the version before may stay: the canaries take their place."""
    staying = [each for each in group if each.keeper and not each.dead and not course.target.is_of(each.task)]
    surplus = max(0, len(staying) - others)
    leaving = {each.task.id for each in giving_up_order(view, staying)[:surplus]}
    return tuple(msgspec.structs.replace(each, current=False) if each.task.id in leaving else each for each in group)
