"""What an agent counts of its tasks. Called by ``loop`` after each plan, and by ``pages``."""

import collections
from collections.abc import Mapping
from typing import Final

from prometheus_client import Counter, Gauge

from reconciler.agent.host_view import ExecutorView
from reconciler.agent.lifecycle import Life, TaskKey
from reconciler.model.task import Health, HostStatus, Phase

TASKS: Final = Gauge("reconciler_agent_tasks", "Tasks on this host", ["phase"])
CRITICAL: Final = Gauge("reconciler_agent_critical_tasks", "Running tasks whose checks fail")
STARTS: Final = Counter("reconciler_agent_task_starts_total", "Tasks that came up, first starts and restarts alike")
RESTARTS: Final = Counter("reconciler_agent_task_restarts_total", "Attempts that failed and were followed by another")
GIVEN_UP: Final = Counter("reconciler_agent_tasks_given_up_total", "Tasks given back to the scheduler", ["phase"])
EXECUTORS: Final = Gauge("reconciler_agent_executor_available", "Whether it can start something", ["executor"])
SWEPT: Final = Counter("reconciler_agent_swept_total", "What was removed since nothing needs it any more", ["what"])
FREED: Final = Counter("reconciler_agent_freed_bytes_total", "Bytes on disk of files that were removed so")
LOG_READERS: Final = Gauge("reconciler_agent_log_readers", "Requests that read logs now")

_TASKS_IN: Final = {phase: TASKS.labels(phase) for phase in Phase}
_COMING_UP: Final = (Phase.PREPARING, Phase.STARTING)
_GIVEN_UP: Final = (Phase.FAILED, Phase.REJECTED)


def note(before: Mapping[TaskKey, Life], after: Mapping[TaskKey, Life]) -> None:
    """Count what happened between two plans. What an agent finds running when it starts is not a start."""
    for key, life in after.items():
        old = before.get(key)
        if old is life or old is None or (old.phase, old.attempt) == (life.phase, life.attempt):
            continue
        if life.attempt > old.attempt:
            RESTARTS.inc()
        if life.phase is Phase.RUNNING and old.phase in _COMING_UP:
            STARTS.inc()
        if life.phase in _GIVEN_UP and old.phase is not life.phase:
            GIVEN_UP.labels(life.phase).inc()


def show(status: HostStatus | None) -> None:
    """Set how its tasks are now."""
    tasks = status.tasks.values() if status is not None else ()
    phases = collections.Counter(task.phase for task in tasks)
    for phase, gauge in _TASKS_IN.items():
        gauge.set(phases[phase])
    CRITICAL.set(sum(task.phase is Phase.RUNNING and task.health is Health.CRITICAL for task in tasks))


def show_executors(executors: Mapping[str, ExecutorView]) -> None:
    """Set which executors can be used now."""
    for name, view in executors.items():
        EXECUTORS.labels(name).set(view.looked and view.unavailable is None)
