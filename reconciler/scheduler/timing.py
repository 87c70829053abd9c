"""What only time decides: for how long hosts have been missing, tasks failed or healthy, rollouts without progress.

Kept by the observer between readings, on its own monotonic clock (rule 16); another scheduler begins anew, which only
ever makes it wait longer (rule 6). Nothing of it is stored, so that nothing is written while a rollout goes on.
"""

from collections.abc import Iterator, Mapping

import msgspec

from reconciler.model.manifests import Service
from reconciler.model.task import Phase, Rollout, RolloutPhase, Task, TaskStatus
from reconciler.scheduler.cluster_view import Defined
from reconciler.scheduler.proving import GOES_ON, is_of_goal, may_have_to_prove_s, proves_s, replaces
from reconciler.scheduler.snapshot import Snapshot
from reconciler.scheduler.stopwatch import Stopwatch

_ENDED = (Phase.FAILED, Phase.REJECTED, Phase.COMPLETE)

_RolloutKey = tuple[str, str, int, str, RolloutPhase, float, int, tuple[str, ...]]


class Timing:
    """All the watches of one observer."""

    def __init__(self) -> None:
        self._missing: Stopwatch[str] = Stopwatch()
        self._failed: Stopwatch[tuple[str, int]] = Stopwatch()
        self._healthy: Stopwatch[tuple[str, int, int]] = Stopwatch()
        self._stalled: Stopwatch[tuple[_RolloutKey, int]] = Stopwatch()
        self._most: dict[_RolloutKey, int] = {}

    def read(self, snapshot: Snapshot, now: float) -> Snapshot:
        """The snapshot with all times in it; ``now`` is monotonic."""
        missing = (snapshot.host_states.keys() | {task.host for task in snapshot.tasks}) - snapshot.present
        # of all others no task has to prove itself, whatever it is
        asked = {service.name for service in snapshot.services.values() if service.policy.healthy_after}
        replacing = {pair for pair, rollout in snapshot.rollouts.items() if replaces(rollout)}
        failed, healthy = [], []
        for task in snapshot.tasks:
            status = _status(snapshot, task)
            if status is None:
                continue
            if status.phase in _ENDED:
                failed.append((task.id, task.issue))
            elif (
                (task.service in asked or (task.cluster, task.service) in replacing)
                and status.healthy
                and task.host in snapshot.present
                and may_have_to_prove_s(*_of(snapshot, task))
            ):
                healthy.append((task.id, task.issue, status.attempt))
        snapshot = msgspec.structs.replace(
            snapshot,
            healthy_s={task_id: seconds for (task_id, _, _), seconds in self._healthy.read(healthy, now).items()},
        )
        return msgspec.structs.replace(
            snapshot,
            missing_s=self._missing.read(missing, now),
            failed_s={task_id: seconds for (task_id, _), seconds in self._failed.read(failed, now).items()},
            stalled_s=self._rollouts(dict(_progress(snapshot)), now),
        )

    def _rollouts(self, progress: Mapping[_RolloutKey, int], now: float) -> dict[tuple[str, str], float]:
        """Seconds since each rollout came further than ever before: a task that flaps is no progress."""
        self._most = {key: max(count, self._most.get(key, 0)) for key, count in progress.items()}
        return {key[:2]: seconds for (key, _), seconds in self._stalled.read(self._most.items(), now).items()}


def _progress(snapshot: Snapshot) -> Iterator[tuple[_RolloutKey, int]]:
    """The rollouts that should be going on, and how many tasks each has where it goes to that count as healthy."""
    going = {pair: rollout for pair, rollout in snapshot.rollouts.items() if rollout.phase in GOES_ON}
    if not going:
        return
    tasks: dict[tuple[str, str], list[Task]] = {pair: [] for pair in going}
    for task in snapshot.tasks:
        if (task.cluster, task.service) in tasks:
            tasks[task.cluster, task.service].append(task)
    for (cluster, name), rollout in going.items():
        declared = snapshot.services.get(name)
        if declared is None or snapshot.overrides.paused(cluster) or not _is_settled(snapshot, declared.managed_by):
            continue
        if snapshot.overrides.service(declared).desired == 0:
            continue  # nothing of it is to run, so nothing comes further
        mine = tasks[cluster, name]
        if any(task.host not in snapshot.present for task in mine):
            continue  # nobody knows how those are, so nobody is to blame
        # what an operator wants replaced counts no longer, so that what comes in its place is progress again
        restarted = snapshot.overrides.restarted_at(name, cluster)
        proven = [task for task in mine if is_of_goal(rollout, task) and _has_proven(snapshot, task)]
        wanted = min(declared.policy.canary, snapshot.overrides.service(declared).desired)
        if rollout.phase is RolloutPhase.CANARY and len(proven) >= wanted:
            continue  # it waits for an operator
        # each of these that is replaced is progress, and so is that it is known of
        outdated = tuple(sorted(task.id for task in mine if _is_outdated(snapshot, task)))
        target = (rollout.target_version, rollout.target_digest)
        progress = sum(task.issue > restarted for task in proven)
        yield (cluster, name, *target, rollout.phase, rollout.since, restarted, outdated), progress


def _is_settled(snapshot: Snapshot, source: str | None) -> bool:
    found = snapshot.sources.get(source) if source else None
    return found is None or found.mark.settled


def _of(snapshot: Snapshot, task: Task) -> tuple[Service | None, Rollout | None, Defined | None, Task]:
    return (
        snapshot.services.get(task.service),
        snapshot.rollouts.get((task.cluster, task.service)),
        snapshot.definitions.get((task.task_name, task.task_version)),
        task,
    )


def _has_proven(snapshot: Snapshot, task: Task) -> bool:
    """Whether it has been healthy for as long as it has to be; one that flaps never has."""
    wanted_s = proves_s(*_of(snapshot, task))
    return _is_healthy(snapshot, task) and (not wanted_s or snapshot.healthy_s.get(task.id, 0.0) >= wanted_s)


def _is_healthy(snapshot: Snapshot, task: Task) -> bool:
    status = _status(snapshot, task)
    return status is not None and status.healthy


def _is_outdated(snapshot: Snapshot, task: Task) -> bool:
    status = _status(snapshot, task)
    return status is not None and status.outdated != ""


def _status(snapshot: Snapshot, task: Task) -> TaskStatus | None:
    host = snapshot.statuses.get(task.host)
    status = host.tasks.get(task.id) if host else None
    return status if status is not None and status.issue == task.issue else None
