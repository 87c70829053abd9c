"""Removes what is of no use any more on this host, at a slow pace. A loop of its own, which ``loop`` makes.

What it may remove is decided in ``remains`` (containers) and in the executors (files that they made themselves). It
never touches what carries another owner's marks.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from reconciler.agent import metrics
from reconciler.agent.host_view import IssuedView, Seen, Unusable
from reconciler.agent.lifecycle import TaskKey
from reconciler.agent.plan import Plan
from reconciler.agent.remains import due
from reconciler.agent.settings import AgentSettings
from reconciler.errors import ExecutorError
from reconciler.executors.interface import Executor, Swept
from reconciler.model.events import Event
from reconciler.model.manifests import Container
from reconciler.runtime.clock import Clock

log = logging.getLogger(__name__)

_SOON_S: Final = 10.0
"""When to look again while the store's word is not known or not to be trusted."""
_MIB: Final = 1 << 20


class Sweeper:
    """``plan`` and ``issued`` give the newest."""

    def __init__(
        self,
        executors: Mapping[str, Executor],
        settings: AgentSettings,
        clock: Clock,
        *,
        plan: Callable[[], Plan],
        issued: Callable[[], IssuedView],
        emit: Callable[[Event], None],
    ) -> None:
        self._executors = executors
        self._settings = settings
        self._clock = clock
        self._plan = plan
        self._issued = issued
        self._emit = emit

    def sweep(self) -> float:
        """One round; returns in how many seconds to come again."""
        issued = self._issued()
        if issued.problem is not None:
            return _SOON_S
        removed = self._remove_containers()
        wanted = _wanted(issued)
        files = [self._sweep_files(executor, wanted) for executor in self._executors.values()]
        freed, count = sum(each.size for each in files), sum(each.count for each in files)
        metrics.SWEPT.labels("containers").inc(removed)
        metrics.SWEPT.labels("files").inc(count)
        metrics.FREED.inc(freed)
        if removed or count:
            text = f"removed {removed} ended containers and {count} old downloads and folders ({freed // _MIB} MiB)"
            self._emit(Event(loop="agent", subject=self._settings.host, message=text))
        return self._settings.sweep_s

    def tasks_due(self) -> Sequence[str]:
        """The tasks whose ended containers would be removed now."""
        return sorted({each.container.ref.task_id for each in self._due()})

    def _due(self) -> Sequence[Seen]:
        return due(self._plan().remains, self._clock.wall(), self._settings.keep)

    def _remove_containers(self) -> int:
        removed = 0
        for each in self._due():
            ref = each.container.ref
            if TaskKey(ref.task_id, ref.issue) not in self._plan().remains:
                continue  # it is issued again
            try:
                self._executors[each.kind].remove(ref)
            except ExecutorError as error:
                log.warning("what %s has left can't be removed: %s", ref.task_id, error.message)
            else:
                removed += 1
        return removed

    def _sweep_files(self, executor: Executor, wanted: Sequence[Container]) -> Swept:
        try:
            return executor.sweep(self._settings.keep, wanted)
        except ExecutorError as error:
            log.warning("%s can't be swept: %s", executor.name, error.message)
            return Swept()


def _wanted(issued: IssuedView) -> list[Container]:
    """The containers of all tasks that are issued to this host."""
    definitions = [issued.definitions.get(digest) for digest in {task.digest for task in issued.tasks.values()}]
    return [
        container
        for definition in definitions
        if definition is not None and not isinstance(definition, Unusable)
        for container in definition.containers
    ]
