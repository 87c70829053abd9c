"""Whether a service is at rest: all that it should run is there, where it may stay, and healthy. ``service_plan`` asks.

Nothing is to be done or said of such a service, and at most looks that is nearly all of them: so this asks little of
each task, where a plan asks much. It may say no of one for which there is nothing to do, which costs time and nothing
else; where it says yes, the whole plan would be empty (tests compare the two).
"""

from reconciler.model.manifests import Service
from reconciler.model.task import RolloutPhase
from reconciler.scheduler.cluster_view import ClusterView
from reconciler.scheduler.misplaced import misplaced
from reconciler.scheduler.proving import proves_s
from reconciler.scheduler.rollout import Course


def rests(view: ClusterView, service: Service, course: Course) -> bool:
    """Whether nothing is to be done for a service of kind ``service``."""
    name, tasks = service.name, view.tasks.get(service.name, ())
    stored = view.rollouts.get(name)
    if course.phase is not RolloutPhase.COMPLETED or course.record != stored:
        return False
    if not tasks or len(tasks) != min(service.desired, service.max_issued):
        return False
    if name in view.preparations or misplaced(view, name, tasks):
        return False
    restarted, proves = view.restarted.get(name, 0), proves_s(service, stored, course.target, tasks[0])
    for task in tasks:
        host, status = view.hosts[task.host], view.status_of(task)
        if status is None or not status.healthy or status.outdated or not host.present:
            return False
        if (host.config.draining and host.drain_settled) or task.issue <= restarted or task.completes:
            return False
        if not course.target.is_of(task) or (proves and view.healthy_s.get(task.id, 0.0) < proves):
            return False
    return True
