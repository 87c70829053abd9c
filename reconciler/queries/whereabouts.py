"""Where a task is, and where the agent of its host can be asked about it. For ``reconciler logs``."""

import msgspec

from reconciler.errors import UsageError
from reconciler.queries.explain import find
from reconciler.queries.fleet import Fleet


class Whereabouts(msgspec.Struct, frozen=True):
    """``url`` is where the agent says that it serves HTTP, "" if it serves none; ``machine`` identifies its machine."""

    task_id: str
    host: str
    address: str
    machine: str
    url: str


def whereabouts(fleet: Fleet, text: str) -> Whereabouts:
    """Of the one task that is called so, or whose id begins or ends so.

    Raises:
        UsageError: there is none, or several; or nothing is known of its host.
    """
    task_id = find(fleet, text, ("task",)).name
    snapshot = fleet.snapshot
    issued = {task.id: task.host for task in snapshot.tasks}
    leaving = {each: host for host, status in snapshot.statuses.items() for each in status.tasks}
    host = issued.get(task_id) or leaving[task_id]
    state = snapshot.host_states.get(host)
    if state is None:
        raise UsageError(f"{task_id} is issued to {host}, of which no agent has said anything", hint="Is one started?")
    return Whereabouts(task_id, host, state.address, state.machine, state.http)
