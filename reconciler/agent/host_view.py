"""Everything that the planner looks at, as one immutable value. ``observe`` fills it; tests build it by hand. Pure."""

import enum
import math
from collections.abc import Mapping, Sequence
from typing import Final, TypeAlias

import msgspec

from reconciler.agent.lifecycle import NEVER, Life, TaskKey, Work
from reconciler.agent.outdated import SecretsView
from reconciler.agent.settings import AgentSettings
from reconciler.executors.interface import Observed, Owner
from reconciler.health.interface import Reading, Registration
from reconciler.model.manifests import TaskDefinition
from reconciler.model.preparation import Preparation
from reconciler.model.task import HostStatus, Task, TaskStatus

NOT_LOOKED: Final = "not looked at yet"
NOT_ENTERED: Final = "the host has not been entered in the store yet"
"""Why nothing is started in the first moments of an agent."""


class Evidence(enum.StrEnum):
    """What a consistent read of the one key ``state/tasks/_/<id>`` says about an issue of a task (rule 5)."""

    ISSUED = "issued"
    NOT_ISSUED = "not issued"
    UNKNOWN = "unknown"


class Finding(msgspec.Struct, frozen=True):
    """``at``: monotonic, when the read began. ``text``: what was found. ``record``: the task's, if it is issued."""

    evidence: Evidence
    at: float
    text: str
    record: Task | None = None


class Unusable(msgspec.Struct, frozen=True):
    """Why a task's definition can't be used. ``permanent``: it never will be, for this issue."""

    reason: str
    permanent: bool


class IssuedView(msgspec.Struct, frozen=True, kw_only=True):
    """What is issued to this host: the last reading that could be trusted.

    ``problem`` says why the newest could not. ``remembered``: there was no reading in this process's life, and this is
    what an earlier one knew. ``not_ours``: the last that answered was another store. ``went_back_at``: when it was last
    noticed that the store had gone back to an older state. ``preparations`` are by ``<cluster>/<service>``.
    """

    began: float = NEVER
    tasks: Mapping[str, Task] = {}
    problem: str | None = NOT_LOOKED
    went_back_at: float | None = None
    definitions: Mapping[str, TaskDefinition | Unusable] = {}
    findings: Mapping[TaskKey, Finding] = {}
    remembered: bool = False
    not_ours: bool = False
    preparations: Mapping[str, Preparation] = {}

    @property
    def known(self) -> bool:
        """Whether there was a reading that could be trusted, in this process's life."""
        return self.began != NEVER

    @property
    def is_another_stores(self) -> bool:
        """Whether all that is known comes from an earlier process, and of a store that is another one now."""
        return self.remembered and self.not_ours


class ExecutorView(msgspec.Struct, frozen=True, kw_only=True):
    """What an executor has, of any owner; the last time that it could be seen.

    ``problem`` says why it can't be seen now, ``unavailable`` why nothing can be started.
    """

    began: float = NEVER
    observed: tuple[Observed, ...] = ()
    problem: str | None = NOT_LOOKED
    unavailable: str | None = None

    @property
    def looked(self) -> bool:
        """Whether somebody has tried to look at all."""
        return self.problem != NOT_LOOKED


class HealthEntry(msgspec.Struct, frozen=True):
    """A reading, and what it was made of."""

    issue: int
    attempt: int
    reading: Reading


class HealthView(msgspec.Struct, frozen=True, kw_only=True):
    """Readings by task id. ``registered``: who may still be found by clients; None while nobody can say."""

    entries: Mapping[str, HealthEntry] = {}
    registered: frozenset[str] | None = None


class Progress(msgspec.Struct, frozen=True):
    """All that a task's start needs is here; its containers are being started."""

    key: TaskKey


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """Work on a task has ended at ``at`` (monotonic). ``error`` None: it was done, unless it was ``cancelled``.

    ``waits``: it failed for want of something that is away, which is no fault of the task's.
    """

    key: TaskKey
    work: Work
    at: float
    error: str | None = None
    permanent: bool = False
    waits: bool = False
    cancelled: bool = False


class Fetched(msgspec.Struct, frozen=True, kw_only=True):
    """What a preparation fetches is here, or (``error``) could not be had, or was broken off."""

    name: str
    digest: str
    error: str | None = None
    permanent: bool = False
    cancelled: bool = False


Report: TypeAlias = Progress | Outcome | Fetched


class Fetching(msgspec.Struct, frozen=True, kw_only=True):
    """What the agent remembers of a preparation. ``not_before``: when (monotonic) it may be tried again.

    ``cancelled``: what is under way is being broken off.
    """

    digest: str
    busy: bool = False
    cancelled: bool = False
    ready: bool = False
    reason: str = ""
    failures: int = 0
    not_before: float = NEVER


class Seen(msgspec.Struct, frozen=True):
    """A container of ours, and the executor that has it."""

    kind: str
    container: Observed


Own: TypeAlias = tuple[
    Life | None, Task | None, TaskDefinition | Unusable | None, Sequence[Seen], HealthEntry | None, TaskStatus | None
]
"""What a decision about a task rests on, of all that concerns no other task: see ``standing.own``."""


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """A task with which nothing is to be done as long as ``own`` is the same, and not after ``until`` (monotonic).

    ``life``, ``status`` and ``registration`` are what is said of it meanwhile.
    """

    own: Own
    life: Life
    until: float | None
    status: TaskStatus
    registration: Registration | None


class Standings(msgspec.Struct, frozen=True, kw_only=True):
    """The tasks that stand while all that concerns them alike is the same, too."""

    alike: "HostView | None" = None
    tasks: Mapping[TaskKey, Standing] = {}


class HostView(msgspec.Struct, frozen=True, kw_only=True):
    """One look at everything.

    ``hold`` says why nothing may be started (the host's record is not ours), ``ending`` that everything is to be
    stopped because a person asked for it. ``published`` is what ``state/status/<host>`` says.
    ``contact_at``: when it was last certain that the store knows this host as present (monotonic).
    ``settled``: published tasks that this process itself has seen to their end. ``refusals``: what the host's execution
    policy has against definitions, by digest; ``policy_problem``: why its file does not count as it is now.
    """

    owner: Owner
    settings: AgentSettings
    issued: IssuedView
    executors: Mapping[str, ExecutorView]
    health: HealthView = HealthView()
    secrets: SecretsView = SecretsView()
    lives: Mapping[TaskKey, Life] = {}
    standing: Standings = Standings()
    fetching: Mapping[str, Fetching] = {}
    outcomes: tuple[Report, ...] = ()
    published: HostStatus | None = None
    settled: frozenset[TaskKey] = frozenset()
    refusals: Mapping[str, str] = {}
    policy_problem: str | None = None
    hold: str | None = None
    ending: bool = False
    contact_at: float = math.inf
    jitter: float = 0.0


def ours(view: HostView) -> dict[TaskKey, list[Seen]]:
    """Every container of ours, by the issue of the task that it belongs to."""
    found: dict[TaskKey, list[Seen]] = {}
    for kind, executor in view.executors.items():
        for each in executor.observed:
            if each.owner == view.owner:
                found.setdefault(TaskKey(each.ref.task_id, each.ref.issue), []).append(Seen(kind, each))
    return found


def strangers(view: HostView) -> frozenset[Owner]:
    """Who else has containers here: agents of other stores or machines. Theirs are never touched.

    It is not published: what others start and stop on a shared machine must not be written to our store.
    """
    owners = {each.owner for executor in view.executors.values() for each in executor.observed}
    return frozenset(owner for owner in owners if owner != view.owner and not _is_neighbour(view.owner, owner))


def _is_neighbour(owner: Owner, other: Owner) -> bool:
    """Whether the other one is an agent of the same store and machine under another host name."""
    return (owner.store_id, owner.machine.rpartition("@")[2]) == (other.store_id, other.machine.rpartition("@")[2])
