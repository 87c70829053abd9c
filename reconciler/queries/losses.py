"""What would find no place if the hosts that are missing now were lost. Pure; ``fleet`` and ``explain`` ask.

A scheduler knows for how long it has missed a host. Who looks once does not, and would say of a task that could not be
replaced only that nothing is known of it.
"""

import msgspec

from reconciler.scheduler.plan import plan
from reconciler.scheduler.snapshot import Scene, view_of
from reconciler.scheduler.steps import Note, Plan


def with_losses(scene: Scene, made: Plan, scheduler: str, now: float) -> Plan:
    """A cluster's plan with a note for each service of which a task could not be replaced."""
    gone = {name for name, host in scene.hosts.items() if host.issued.tasks and not host.present}
    if not gone or made.hold or made.brake or made.release:
        return made
    view = view_of(scene, made.cluster, scheduler)
    impatient = {name: msgspec.structs.replace(each, reschedule_after=None) for name, each in view.services.items()}
    lost = plan(msgspec.structs.replace(view, services=impatient, reschedule_after_s=0.0), now)
    known = {(each.service, each.task_version): each.count for each in made.pending}
    notes = []
    for each in lost.pending:
        count = each.count - known.get((each.service, each.task_version), 0)
        hosts = sorted({task.host for task in view.tasks.get(each.service, ()) if task.host in gone})
        if count > 0 and hosts:
            stays = f"if {', '.join(hosts)} {'stays' if len(hosts) == 1 else 'stay'} away"
            tasks = "1 task finds" if count == 1 else f"{count} tasks find"
            notes.append(Note(service=each.service, reason=f"{stays}, {tasks} no other place: {each.reason}"))
    return msgspec.structs.replace(made, notes=(*made.notes, *notes)) if notes else made
