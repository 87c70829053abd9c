"""What the agent asks of a health provider. Two exist: Consul's own checks, and native ones that our agent runs.

Health flows one way: provider → agent → ``state/status/<host>`` → scheduler and queries. So a reading always stands
beside the issue and host that it belongs to (``docs/decisions`` says why the scheduler asks no provider).
"""

from collections.abc import Callable, Collection, Mapping
from typing import Protocol, TypeAlias

import msgspec

from reconciler.model.manifests import TaskDefinition
from reconciler.model.task import Health, Task


class Registration(msgspec.Struct, frozen=True, kw_only=True):
    """A running task that should be found by others, and checked. Another ``attempt`` starts with unknown health."""

    task: Task
    definition: TaskDefinition
    address: str
    attempt: int = 1


class Reading(msgspec.Struct, frozen=True):
    """What the checks of a task say together (the worst counts), and the output of the worst one."""

    health: Health
    output: str = ""


ScriptRunner: TypeAlias = Callable[[Registration, int, float], Reading]
"""Runs the script of a task's check (by position) with a timeout in seconds; given by the agent. Never raises."""


class HealthProvider(Protocol):
    """Registers tasks and reads their health. Called by one thread, but for ``report`` and ``wait`` (any thread)."""

    def synchronise(self, wanted: Mapping[str, Registration], keep: Collection[str] = ()) -> None:
        """Make what is registered equal to ``wanted`` (by task id); level-triggered, writes only what differs.

        Tasks in ``keep`` are left as they are: running, but not known well enough to register them.
        Raises StoreError when it cannot be done now; the next call does it.
        """

    def withdraw(self, task_id: str) -> None:
        """Take a task out before it stops, so that no new client finds it. Raises StoreError."""

    def readings(self) -> Mapping[str, Reading]:
        """The health now of each task in the last ``synchronise``. One that is missing is ``unknown``.

        Raises StoreError.
        """

    def report(self, check_id: str, health: Health, output: str) -> bool:
        """A task reports its own ``ttl`` check. False: there is no such check here."""

    def wait(self, timeout_s: float) -> bool:
        """Block until a reading may have changed (True), or the time is over (False)."""

    def close(self) -> None:
        """Let go of connections and threads; what is registered stays."""
