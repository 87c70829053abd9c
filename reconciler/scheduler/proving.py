"""For how long a task has to be healthy before it counts as healthy. Pure; ``replicas`` and ``timing`` ask.

A task without a check is healthy as soon as it runs. That would let a version that dies a moment after each start take
the place of all that runs: so, while a version replaces another, such a task has to run for a while first.
"""

from typing import Final

from reconciler.model.manifests import Service
from reconciler.model.task import Rollout, RolloutPhase, Task
from reconciler.scheduler.cluster_view import Defined

UNCHECKED_S: Final = 2.0
"""For a task of a new version that has no check, where its service does not say how long."""
AT_ONCE_S: Final = 0.001
"""A ``healthy_after`` of no more than that asks for no further look, which would take longer."""
GOES_ON: Final = frozenset({RolloutPhase.CANARY, RolloutPhase.ROLLING, RolloutPhase.REVERTING})


def proves_s(service: Service | None, rollout: Rollout | None, defined: Defined | None, task: Task) -> float:
    """In seconds; ``rollout`` is the stored one of the service, ``defined`` what is stored of the task's definition."""
    is_asked = service is not None and (service.policy.healthy_after or (rollout and is_of_goal(rollout, task)))
    return may_have_to_prove_s(service, rollout, defined, task) if is_asked else 0.0


def may_have_to_prove_s(service: Service | None, rollout: Rollout | None, defined: Defined | None, task: Task) -> float:
    """The same if the rollout went to the version of this task: a revert goes to the old one.

    Old tasks are timed from the begin of a rollout, so that they count at once when it is reverted.
    """
    if service is None:
        return 0.0
    if service.policy.healthy_after:
        said_s = service.policy.healthy_after_s
        return said_s if said_s > AT_ONCE_S else 0.0
    if service.kind == "batch" or rollout is None:
        return 0.0
    is_unchecked = defined is not None and defined.is_of(task) and not defined.definition.checks
    return UNCHECKED_S if replaces(rollout) and is_unchecked else 0.0


def replaces(rollout: Rollout) -> bool:
    """Whether it goes on now, and another version ran before."""
    return rollout.phase in GOES_ON and rollout.previous_version is not None


def is_of_goal(rollout: Rollout, task: Task) -> bool:
    """Whether a task is of what a rollout goes to."""
    if rollout.phase is RolloutPhase.REVERTING:
        return (task.task_name, task.task_version) == (rollout.previous_task, rollout.previous_version)
    return task.digest == rollout.target_digest
