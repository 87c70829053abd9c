"""Everything that a plan may say: the actions, the legal steps that they stand in, and the reasons beside them."""

from collections.abc import Mapping
from typing import TypeAlias

import msgspec

from reconciler.model.preparation import Preparation
from reconciler.model.task import Rollout, Task


class Issue(msgspec.Struct, frozen=True):
    """Write both records of a new task. Its ``issue`` is filled in by the transaction that does it."""

    task: Task
    why: str


class Withdraw(msgspec.Struct, frozen=True):
    """Delete both records of a task; its agent stops it."""

    task: Task
    why: str


class Amend(msgspec.Struct, frozen=True):
    """Rewrite both records of a task in place: the same issue of it, about which its service says something else."""

    task: Task
    why: str


class Prepare(msgspec.Struct, frozen=True):
    """Write both records of a preparation, over what the host prepared for that service before."""

    preparation: Preparation
    why: str


class DropPreparation(msgspec.Struct, frozen=True):
    """Delete both records of a preparation that is not needed any more."""

    preparation: Preparation


class SaveRollout(msgspec.Struct, frozen=True):
    """Store how far a change of version has come."""

    rollout: Rollout


class DropRollout(msgspec.Struct, frozen=True):
    """Forget the rollout of a service that is gone."""

    service: str


class RemoveHead(msgspec.Struct, frozen=True):
    """Forget a removed cluster whose last task is gone."""


Action: TypeAlias = Issue | Withdraw | Amend | Prepare | DropPreparation | SaveRollout | DropRollout | RemoveHead


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """Actions of one service that belong into one transaction. Every step is legal by itself, in the order given.

    ``needs_fresh_health``: it takes away something that may be healthy, so it is only done on a reading that began
    after one's own last transaction.
    """

    service: str
    actions: tuple[Action, ...]
    needs_fresh_health: bool = False


class Refusal(msgspec.Struct, frozen=True, kw_only=True):
    """Why a host does not take a task: the filter that says no, and its explanation with the numbers."""

    host: str
    filter: str
    reason: str


class Pending(msgspec.Struct, frozen=True, kw_only=True):
    """Tasks that should run and have no record, because no host fits. ``hosts``: why each does not, if asked for."""

    service: str
    task_name: str
    task_version: int
    count: int
    reason: str
    hosts: tuple[Refusal, ...] = ()


class Note(msgspec.Struct, frozen=True, kw_only=True):
    """Why a service is not (yet) as it should be. ``is_ordinary``: it will be, if all goes on as it does."""

    service: str
    reason: str
    is_ordinary: bool = False


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What one cluster's scheduler should do now.

    ``hold``: why nothing at all is done. ``release``: another scheduler is named, so the lock is to be given up.
    ``brake``: why lost hosts' tasks are not replaced. ``look_again_s``: when something is due though nothing changes.
    ``hosts``: by system service, how many hosts are to have it.
    """

    cluster: str
    steps: tuple[Step, ...] = ()
    pending: tuple[Pending, ...] = ()
    notes: tuple[Note, ...] = ()
    hold: str | None = None
    brake: str | None = None
    release: bool = False
    look_again_s: float | None = None
    hosts: Mapping[str, int] = {}

    @property
    def actions(self) -> tuple[Action, ...]:
        """All actions, in order."""
        return tuple(action for step in self.steps for action in step.actions)
