"""What a transaction did and why, in words, for the cluster's head: bounded, the newest last."""

from collections.abc import Iterable, Sequence
from typing import Final

import msgspec
from msgspec import UNSET

from reconciler.model.task import Decision
from reconciler.model.texts import cut, cut_names
from reconciler.scheduler.steps import (
    Action,
    Amend,
    DropPreparation,
    DropRollout,
    Issue,
    Prepare,
    RemoveHead,
    SaveRollout,
    Step,
    Withdraw,
)

MOST_BYTES: Final = 8 * 1024
"""What all decisions of a head may take together (the promise is 16 KiB for the whole head)."""
MOST_TEXT: Final = 300
MOST_NAMES: Final = 1024
"""How many characters the names of services may take together that one decision tells of."""
FEW: Final = 2
"""So many are named where there are many."""
MANY: Final = 8
"""With more decisions than this, what starts is told host by host if that makes fewer."""


class _Said(msgspec.Struct):
    """Equal things said once: the first of them, how many there are, and of which services.

    ``service`` is empty for what is told of a host, whichever services start there.
    """

    service: str
    kind: str
    what: str
    why: str
    ids: list[tuple[int, str]]
    """Each with its instance's number."""
    host: str = ""
    services: list[str] = []


def decide(steps: Iterable[Step], seq: int, now: float) -> tuple[Decision, ...]:
    """The decisions of one transaction: many alike become one."""
    every = [each for step in steps for each in _say(step)]
    said = _alike(every)
    if len(said) > MANY:
        said = min(said, _alike([_of_host(each) for each in every]), key=len)
    return tuple(_decision(each, seq, now) for each in said)


def _decision(said: _Said, seq: int, now: float) -> Decision:
    services = sorted(set(said.services))
    return Decision(
        seq=seq,
        at=now,
        service=services[0] if len(services) == 1 else said.service,
        services=cut_names(services, MOST_NAMES) if len(services) > 1 else UNSET,
        what=cut(_together(said), MOST_TEXT),
        why=cut(said.why, MOST_TEXT),
    )


def append(old: Sequence[Decision], new: Sequence[Decision]) -> tuple[Decision, ...]:
    """The newest decisions that fit into a head."""
    kept: list[Decision] = []
    room = MOST_BYTES
    for decision in reversed((*old, *new)):
        room -= len(msgspec.json.encode(decision))
        if room < 0:
            break
        kept.append(decision)
    return tuple(reversed(kept))


def _alike(every: Sequence[_Said]) -> list[_Said]:
    """Each thing once, with the ids of all to which it was done."""
    said: dict[tuple[str, str, str], _Said] = {}
    for each in every:
        key = each.service, each.kind, each.why
        same = said.setdefault(key, msgspec.structs.replace(each, ids=[], services=[]))
        same.ids.extend(each.ids)
        same.services.extend(each.services)
    return list(said.values())


def _of_host(said: _Said) -> _Said:
    """What starts on a host as a decision about the host, others as they are."""
    if not said.host:
        return said
    return msgspec.structs.replace(said, service="", services=[said.service], kind=f"start on {said.host}")


def _say(step: Step) -> list[_Said]:
    started = [action for action in step.actions if isinstance(action, Issue)]
    stopped = [action for action in step.actions if isinstance(action, Withdraw)]
    if len(started) == len(stopped) == 1:
        new, old = started[0].task, stopped[0].task
        text = f"replace {old.id} on {old.host} by {new.id} on {new.host}"
        said = [_Said(step.service, f"replace {new.task_version}", text, started[0].why, [(new.instance, new.id)])]
    else:
        said = [_one(step.service, action) for action in step.actions if isinstance(action, Issue | Withdraw)]
    # that a preparation is over follows from what came of it
    unsaid = Issue | Withdraw | DropPreparation
    said.extend(_one(step.service, action) for action in step.actions if not isinstance(action, unsaid))
    return said


def _one(service: str, action: Action) -> _Said:
    match action:
        case Issue(task=task, why=why):
            text = f"start {task.id} on {task.host}"
            return _Said(service, f"start {task.task_version}", text, why, [(task.instance, task.id)], task.host)
        case Withdraw(task=task, why=why):
            text, ids = f"stop {task.id} on {task.host}", [(task.instance, task.id)]
            return _Said(service, f"stop {task.task_version}", text, why, ids)
        case Amend(task=task, why=why):
            text, ids = f"amend the record of {task.id}", [(task.instance, task.id)]
            return _Said(service, f"amend {task.task_version}", text, why, ids)
        case Prepare(preparation=wanted, why=why):
            text = f"prepare version {wanted.task_version} of {service} on {wanted.host}"
            return _Said(service, f"prepare {wanted.task_version}", text, why, [(0, wanted.host)])
        case DropPreparation(preparation=over):
            return _Said(service, "forget", f"forget the preparation of {service} on {over.host}", "", [])
        case SaveRollout(rollout=rollout):
            done = f", {rollout.done} done" if rollout.done else ""
            text = f"rollout of {service} to version {rollout.target_version}: {rollout.phase}{done}"
            return _Said(service, "rollout", text, rollout.reason, [])
        case DropRollout():
            return _Said(service, "forget", f"forget the rollout of {service}", "the service is gone", [])
        case RemoveHead():
            return _Said(
                service, "forget cluster", "forget the cluster", "it was removed and its last task is gone", []
            )


def _together(said: _Said) -> str:
    count = len(said.ids)
    if count < 2:
        return said.what
    verb, _, version = said.kind.partition(" ")
    names = _names(said.ids, of_one_service=bool(said.service))
    if verb == "prepare":
        return f"prepare version {version} of {said.service} on {count} hosts ({names})"
    if not said.service:
        return f"start {count} tasks on {said.host} ({names})"
    which = f"{said.service} by version" if verb == "replace" else f"{said.service} version"
    return f"{verb} {count} tasks of {which} {version} ({names})"


def _names(ids: Iterable[tuple[int, str]], *, of_one_service: bool) -> str:
    """The first and last where their numbers leave nothing out, else the first few and how many more."""
    ordered = sorted(ids)
    (first, first_name), (last, last_name) = ordered[0], ordered[-1]
    if of_one_service and len(ordered) > 2 and [number for number, _ in ordered] == list(range(first, last + 1)):
        return f"{first_name} to {last_name}"
    names = [name for _, name in ordered]
    if len(names) <= FEW + 1:
        return ", ".join(names)
    return f"{', '.join(names[:FEW])} and {len(names) - FEW} more"
