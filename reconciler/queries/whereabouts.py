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


def whereabouts(fleet: Fleet, text: str, host: str | None = None) -> Whereabouts:
    """Of the one task that is called so, or whose id begins or ends so; with ``host``, of one gone from there.

    Raises:
        UsageError: there is none, or several; or nothing is known of its host.
    """
    snapshot = fleet.snapshot
    task_id = text if host is not None else find(fleet, text, ("task",)).name
    if host is None:
        issued = {task.id: task.host for task in snapshot.tasks}
        leaving = {each: name for name, status in snapshot.statuses.items() for each in status.tasks}
        host = issued.get(task_id) or leaving[task_id]
    state = snapshot.host_states.get(host)
    if state is None:
        raise UsageError(f"no agent has said anything of host {host}, where {task_id} is", hint="Is one started there?")
    return Whereabouts(task_id, host, state.address, state.machine, state.http)
