"""Carries plans out: steps cut into transactions, each fenced by the cluster's lock, none on what has moved since.

Rule 1: every transaction compares the head and sets it to ``seq`` + 1. After a conflict or an unknown answer nothing
more is tried: the loop observes again. Rule 8: what rests on health is done on a reading that is not older than the
last transaction of the same service (``chunks``), and not for long.
"""

from collections.abc import Callable, Sequence
from typing import Final, TypeGuard

import msgspec

from reconciler.errors import StoreTooLarge
from reconciler.model import codec, keys
from reconciler.model.preparation import Preparation
from reconciler.model.task import ClusterHead, Decision, PlacementSeq, Task
from reconciler.runtime.clock import Clock, SystemClock
from reconciler.scheduler import chunks, decisions
from reconciler.scheduler.cluster_view import ClusterView
from reconciler.scheduler.snapshot import Reading
from reconciler.scheduler.steps import (
    Action,
    Amend,
    DropPreparation,
    DropRollout,
    Issue,
    Plan,
    Prepare,
    RemoveHead,
    SaveRollout,
    Step,
    Withdraw,
)
from reconciler.store import lease
from reconciler.store.interface import (
    Check,
    CommitResult,
    Committed,
    Conflict,
    DeleteIf,
    Operation,
    PutIf,
    Store,
)

STANDS_S: Final = 1.0
"""How long after a plan is begun its later transactions still rest on what it knew of health."""
STALE: Final = "the rest needs a fresh look at health"
HEARS_S: Final = 1.0
"""How often, while a plan is carried out, it is asked whether operators said something else about services or hosts."""
SAID: Final = "an operator said something else meanwhile"


class Applier:
    """Carries out one plan of one cluster. ``done`` and ``actions`` say what was certainly carried out."""

    def __init__(
        self,
        store: Store,
        reading: Reading,
        view: ClusterView,
        *,
        session_id: str,
        now: float,
        clock: Clock | None = None,
        note: Callable[[Sequence[Operation], CommitResult], None] = lambda _, __: None,
    ) -> None:
        """``note`` is told of each transaction and of its outcome."""
        self._store = store
        self._note = note
        self._view = view
        self._now = now
        self._clock = clock or SystemClock()
        self._session_id = session_id
        # what a plan rests on, whatever it does: no source applied anything since, nobody pulled the emergency brake
        brakes = (keys.cluster_override(view.name), keys.cluster_override(keys.EVERY))
        self._unmoved = reading.unmoved | {key: reading.indexes.get(key, 0) for key in brakes}
        self._indexes = dict(reading.indexes)
        self._heard = {key: index for key, index in reading.indexes.items() if key.startswith(keys.OVERRIDES)}
        self._heard_at = self._clock.monotonic()
        self._placement_seq = reading.placement_seq
        self._written: dict[str, bytes] = {}
        self.done: list[Decision] = []
        self.actions = 0
        # a new cluster begins above everything that an earlier one of its name may have issued (see _remove_head)
        self._head = view.head or ClusterHead(
            cluster=view.name, scheduler=view.scheduler, seq=reading.placement_seq, decisions=()
        )

    def apply(self, plan: Plan, stopping: Callable[[], bool]) -> str | None:
        """Commit transaction after transaction while nothing else moves; returns why the rest was left, if it was.

        Raises:
            StoreError: the store said certainly that the last transaction was not written.
        """
        fixed = 3 + len(self._unmoved)  # fence, head, placement
        cut = chunks.split(plan.steps, self._store.limits.operations - fixed)
        began = self._clock.monotonic()
        for number, steps in enumerate(cut.transactions):
            if number and self._clock.monotonic() > began + STANDS_S and any(step.needs_fresh_health for step in steps):
                return STALE
            if number and (reason := self._why_no_further(stopping)):
                return reason
            made = decisions.decide(steps, self._head.seq + 1, self._now)
            if refused := self._commit(steps, made):
                return refused
            self.done.extend(made)
            self.actions += sum(len(step.actions) for step in steps)
        return None if cut.is_all else STALE

    def _why_no_further(self, stopping: Callable[[], bool]) -> str | None:
        """Whether the next transaction would rest on what is not so any more; else the indexes it compares are read."""
        if stopping():
            return "this scheduler may not act any longer"
        if self._clock.monotonic() > self._heard_at + HEARS_S:
            if {each.key: each.index for each in self._store.list(keys.OVERRIDES).entries} != self._heard:
                return SAID
            self._heard_at = self._clock.monotonic()
        for key, value in self._written.items():  # those of which the store has not said the index
            entry = self._store.get(key)
            if entry is None or entry.value != value:
                return f"{key} was written by somebody else"
            self._indexes[key] = entry.index
        return None

    def _commit(self, steps: Sequence[Step], made: Sequence[Decision]) -> str | None:
        """One transaction; returns why it was not (certainly) carried out."""
        seq = self._head.seq + 1
        actions = [action for step in steps for action in step.actions]
        operations: list[Operation] = [lease.fence(keys.scheduler_lock(self._view.name), self._session_id)]
        operations += [Check(key, index) for key, index in self._unmoved.items()]
        head = ClusterHead(
            cluster=self._view.name,
            scheduler=self._view.scheduler,
            seq=seq,
            decisions=decisions.append(self._head.decisions, made),
        )
        head_key = keys.cluster_head(self._view.name)
        if any(isinstance(action, RemoveHead) for action in actions):
            operations += self._remove_head(head_key)
        else:
            operations.append(PutIf(head_key, codec.encode(head), self._index(head_key)))
        placement = None
        if any(isinstance(action, Issue) for action in actions):
            placement = PlacementSeq(seq=self._placement_seq + 1)
            operations.append(PutIf(keys.PLACEMENT, codec.encode(placement), self._index(keys.PLACEMENT)))
        for action in actions:
            operations += self._operations(action, seq)
        if len(operations) > self._store.limits.operations:
            raise StoreTooLarge(f"{len(operations)} operations for one step of cluster {self._view.name}")
        outcome = self._commit_noted(operations)
        if isinstance(outcome, Conflict) and (mended := self._with_copies_as_they_are(operations)):
            outcome = self._commit_noted(mended)
        if not isinstance(outcome, Committed):
            return outcome.why
        self._head = head
        written = {head_key: codec.encode(head)}
        if placement:
            self._placement_seq = placement.seq
            written[keys.PLACEMENT] = codec.encode(placement)
        self._indexes |= {key: index for key, index in outcome.indexes.items() if key in written}
        self._written = {key: value for key, value in written.items() if key not in outcome.indexes}
        return None

    def _commit_noted(self, operations: Sequence[Operation]) -> CommitResult:
        outcome = self._store.commit(operations)
        self._note(operations, outcome)
        return outcome

    def _with_copies_as_they_are(self, operations: Sequence[Operation]) -> list[Operation] | None:
        """The same transaction, should the copy of a record for its host have been touched by somebody since it was
        written: whatever it says by now, and also if it is gone, it goes or is written anew. None if that is not what
        was in the way.
        """
        copies = {each.key: each for each in operations if _takes_a_copy(each)}
        found = self._store.get_all(sorted(copies)) if copies else {}
        indexes = {key: found[key].index if key in found else 0 for key in copies}
        touched = {
            key: msgspec.structs.replace(each, index=indexes[key])
            for key, each in copies.items()
            if indexes[key] != each.index and (indexes[key] or isinstance(each, PutIf))
        }
        return [touched.get(each.key, each) for each in operations] if touched else None

    def _operations(self, action: Action, seq: int) -> list[Operation]:
        match action:
            case Issue(task=task):
                issued = msgspec.structs.replace(task, issue=seq)
                value = codec.encode(issued)
                return [PutIf(key, value, 0) for key in _both_keys(issued)]
            case Withdraw(task=task):
                # both were written by one transaction, so that they have one index
                return [DeleteIf(key, self._index(keys.task_by_id(task.id))) for key in _both_keys(task)]
            case Amend(task=task):
                return [
                    PutIf(key, codec.encode(task), self._index(keys.task_by_id(task.id))) for key in _both_keys(task)
                ]
            case Prepare(preparation=wanted):
                ours, copy = _both_keys_of(wanted)
                return [PutIf(key, codec.encode(wanted), self._index(ours)) for key in (ours, copy)]
            case DropPreparation(preparation=over):
                ours, copy = _both_keys_of(over)
                return [DeleteIf(key, self._index(ours)) for key in (ours, copy)]
            case SaveRollout(rollout=rollout):
                key = keys.rollout(rollout.cluster, rollout.service)
                return [PutIf(key, codec.encode(rollout), self._index(key))]
            case DropRollout(service=service):
                key = keys.rollout(self._view.name, service)
                return [DeleteIf(key, self._index(key))]
            case RemoveHead():
                return []

    def _remove_head(self, head_key: str) -> list[Operation]:
        """Forget the cluster, but not how far its ``seq`` came: a later one of its name begins above it.

        So no two tasks ever have the same id and issue, and what still runs of the old one is never taken for the new.
        """
        placement = PlacementSeq(seq=max(self._placement_seq, self._head.seq) + 1)
        lock = self._store.get(keys.scheduler_lock(self._view.name))
        return [
            DeleteIf(head_key, self._index(head_key)),
            PutIf(keys.PLACEMENT, codec.encode(placement), self._index(keys.PLACEMENT)),
            *([DeleteIf(lock.key, lock.index)] if lock else []),
        ]

    def _index(self, key: str) -> int:
        return self._indexes.get(key, 0)


def _takes_a_copy(operation: Operation) -> TypeGuard[DeleteIf | PutIf]:
    """Whether it deletes or overwrites the copy of a record for its host. That of a new task overwrites nothing."""
    is_copy = operation.key.startswith(keys.TASKS) and not operation.key.startswith(keys.TASKS_BY_ID)
    return (
        is_copy
        and isinstance(operation, DeleteIf | PutIf)
        and (operation.index > 0 or keys.is_preparation(operation.key))
    )


def _both_keys(task: Task) -> tuple[str, str]:
    return keys.task_by_id(task.id), keys.task_by_host(task.host, task.id)


def _both_keys_of(each: Preparation) -> tuple[str, str]:
    by_host = keys.preparation_by_host(each.host, each.cluster, each.service)
    return keys.preparation(each.cluster, each.service, each.host), by_host
