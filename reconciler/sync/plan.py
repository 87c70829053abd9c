"""What must change so that ``config/*`` holds what a source declares. Pure: called by ``loop``, ``apply -f``, tests.

A source writes and deletes only what says ``managed_by`` it; everything else that stands in its way is a problem that
names both sides. Keys are compared as a whole, never by prefix.
"""

import hashlib
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Final, TypeAlias

import msgspec

from reconciler.model import keys
from reconciler.model.codec import digest, encode
from reconciler.model.intents import UNMANAGED, Adoption
from reconciler.model.locations import environment_of
from reconciler.model.manifests import Cluster, ConfigObject, TaskDefinition
from reconciler.model.names import discovery_name
from reconciler.model.source_state import Contested, SourceCounts
from reconciler.sync import adoption
from reconciler.sync.adoption import Handover
from reconciler.sync.config_view import Stored, View, counts_after, counts_of, label, object_at, rank

MOST_RETIRED: Final = 1000
"""How many definitions at once wait for their late end; more wait their turn to wait (a mark has its size)."""


class Wanted(msgspec.Struct, frozen=True, gc=False):
    """An object that a revision declares, as it is stored, and where it is written."""

    declared: ConfigObject
    value: bytes
    origin: object
    """Its text says where."""


class Goal(msgspec.Struct, frozen=True, kw_only=True):
    """What a source wants to be there.

    ``prunes``: what it manages and no longer declares is deleted. ``is_related`` False: nobody knows what the revision
    has to do with the one that is applied, so it must not delete anything. ``mutable_versions``: a definition may
    change without a new version (during development). ``adoption``: what may be taken over from other sources.
    ``location`` and ``environment``: where the revision was read. The same revision of another folder or environment
    declares other things, so it is a new one; ``location`` None: nobody knows where.
    """

    revision: str
    wanted: Mapping[str, Wanted]
    prunes: bool = True
    is_related: bool = True
    mutable_versions: bool = False
    adoption: Adoption | None = None
    location: str | None = None
    environment: str | None = None


class Create(msgspec.Struct, frozen=True):
    """A key that is not there yet."""

    key: str
    value: bytes


class Update(msgspec.Struct, frozen=True):
    """A key with another value; ``fields`` are those that change, as paths."""

    key: str
    value: bytes
    index: int
    fields: tuple[str, ...]


class Delete(msgspec.Struct, frozen=True):
    """A key that the source manages and no longer declares."""

    key: str
    index: int


Change: TypeAlias = Create | Update | Delete


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """All that must happen, in order; with ``problems``, nothing of it may.

    ``before`` and ``after`` are the source's objects. ``retired`` are its definitions that are no longer declared.
    ``contested`` is what others manage, ``handover`` what of that is taken over.
    """

    changes: tuple[Change, ...] = ()
    unchanged: int = 0
    problems: tuple[str, ...] = ()
    before: SourceCounts
    after: SourceCounts
    retired: Mapping[str, int] = {}
    contested: tuple[Contested, ...] = ()
    handover: Handover | None = None

    @property
    def creates(self) -> tuple[Create, ...]:
        """What is new."""
        return tuple(change for change in self.changes if isinstance(change, Create))

    @property
    def updates(self) -> tuple[Update, ...]:
        """What has another value."""
        return tuple(change for change in self.changes if isinstance(change, Update))

    @property
    def deletes(self) -> tuple[Delete, ...]:
        """What goes."""
        return tuple(change for change in self.changes if isinstance(change, Delete))


def wanted_of(
    source: str, declared: Iterable[tuple[ConfigObject, object]], before: Mapping[str, Wanted] | None = None
) -> dict[str, Wanted]:
    """Objects (and where each is written) as the source stores them, by key.

    ``before``: what was wanted before; what is still the very same object is not encoded again.
    """
    answer = {}
    for thing, origin in declared:
        key = keys.config(thing)
        old = before.get(key) if before else None
        if old is not None and old.declared is thing:
            answer[key] = Wanted(thing, old.value, origin)
        else:
            answer[key] = Wanted(thing, encode(msgspec.structs.replace(thing, managed_by=source)), origin)
    return answer


def revision_of(wanted: Mapping[str, Wanted]) -> str:
    """A name for what is wanted, where no commit gives it one: the hash of it."""
    content = hashlib.sha256()
    for key in sorted(wanted):
        content.update(f"{len(key)} {len(wanted[key].value)} {key}".encode() + wanted[key].value)
    return f"sha256:{content.hexdigest()[:40]}"


def plan(view: View, goal: Goal, now: float) -> Plan:
    """The way from what is stored to what is wanted."""
    mine = view.mine()
    writes: list[Change] = []
    problems: list[tuple[str, str]] = []
    contested: list[Contested] = []
    taken: dict[str, str] = {}
    for key, wanted in goal.wanted.items():
        stored = view.config.get(key)
        if stored is None:
            writes.append(Create(key, wanted.value))
            continue
        if stored.value == wanted.value:
            continue
        if stored.owner != view.source:
            contested.append(claim := _contested(key, stored, wanted))
            if problem := _claim(view, goal, claim):
                problems.append((key, problem))
                continue
            taken[key] = claim.owner
        if problem := _refusal(view, goal, key, stored):
            problems.append((key, problem))
        else:
            writes.append(Update(key, wanted.value, stored.index, changed_fields(stored.value, wanted.value)))
    passed = adoption.passed_on(view, goal.adoption, goal.wanted.keys())
    writes += [Update(key, value, view.config[key].index, ("managed_by",)) for key, value in passed.items()]
    taken |= {key: view.config[key].owner or UNMANAGED for key in passed}
    undeclared = mine - goal.wanted.keys() if goal.prunes else set()
    definitions = {key for key in undeclared if key.startswith(keys.TASK_DEFINITIONS)}
    deletes = sorted(undeclared - definitions, key=_order, reverse=True)
    before = counts_of(mine)
    return Plan(
        changes=(
            *sorted(writes, key=lambda change: _order(change.key)),
            *(Delete(key, view.config[key].index) for key in deletes),
        ),
        unchanged=len(goal.wanted) - (len(writes) - len(passed)) - len(problems),
        problems=(
            *(problem for _, problem in sorted(problems)),
            *_brakes(view, goal, mine, deletes),
            *_collisions(view, goal, taken),
        ),
        before=before,
        after=counts_after(before, (goal.wanted.keys() | passed.keys()) - mine, deletes),
        retired=_retired(view, definitions, passed, now),
        contested=tuple(sorted(contested, key=lambda each: each.key)),
        handover=adoption.handover_of(view, goal.adoption, taken) if goal.adoption else None,
    )


def changed_fields(before: bytes, after: bytes) -> tuple[str, ...]:
    """The paths of the fields in which two stored values differ; none if one of them is not readable."""
    try:
        return tuple(_differences(msgspec.json.decode(before), msgspec.json.decode(after), ""))
    except (msgspec.DecodeError, UnicodeDecodeError):
        return ()


def _differences(before: object, after: object, path: str) -> Iterator[str]:
    if isinstance(before, dict) and isinstance(after, dict):
        for name in sorted(before.keys() | after.keys()):
            yield from _differences(before.get(name), after.get(name), f"{path}.{name}" if path else name)
    elif isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        for position, (one, other) in enumerate(zip(before, after, strict=True)):
            yield from _differences(one, other, f"{path}[{position}]")
    elif before != after:
        yield path


def _order(key: str) -> tuple[int, str]:
    return rank(key), key


def _contested(key: str, stored: Stored, wanted: Wanted) -> Contested:
    there = object_at(key, stored.value)
    if there is not None and msgspec.structs.replace(there, managed_by=None) == msgspec.structs.replace(
        wanted.declared, managed_by=None
    ):
        return Contested(key=key, owner=stored.owner or UNMANAGED)  # by hand one need not write defaults
    fields = changed_fields(stored.value, wanted.value) or ("all of it",)  # of what is not readable
    return Contested(key=key, owner=stored.owner or UNMANAGED, fields=tuple(f for f in fields if f != "managed_by"))


def _claim(view: View, goal: Goal, claim: Contested) -> str | None:
    """Why a key that another source manages must not be written; None if it may be taken over."""
    # apply -f takes nothing over
    problem = adoption.problem_of(view, goal.adoption, claim, hint=goal.prunes)
    return f"{goal.wanted[claim.key].origin}: {problem}" if problem else None


def _refusal(view: View, goal: Goal, key: str, stored: Stored) -> str | None:
    """Why a key must not have what is wanted as its next value; None if it may."""
    wanted = goal.wanted[key]
    if goal.mutable_versions or not isinstance(wanted.declared, TaskDefinition) or is_accepted(view, goal):
        return None
    there = object_at(key, stored.value)
    if isinstance(there, TaskDefinition) and digest(there) != digest(wanted.declared):
        fields = ", ".join(changed_fields(stored.value, wanted.value))
        return (
            f"{wanted.origin}: {label(key)} is stored with other content ({fields}), and a version never changes; "
            f"give it a new version, at least {_next_version(view, wanted.declared)}"
        )
    return None


def is_accepted(view: View, goal: Goal) -> bool:
    """Whether the revision was found good before: what differs from it now was changed by somebody else."""
    if view.own is None or not view.is_from(goal.location):
        return False
    mark = view.own.mark
    return goal.revision == (mark.revision if mark.settled else mark.to)


def _next_version(view: View, definition: TaskDefinition) -> int:
    prefix = f"{keys.TASK_DEFINITIONS}{definition.name}/"
    numbers = [key.removeprefix(prefix) for key in view.config if key.startswith(prefix)]
    return max([definition.version, *(int(number) for number in numbers if number.isdecimal())]) + 1


def _brakes(view: View, goal: Goal, mine: set[str], deletes: list[str]) -> Iterator[str]:
    known = environment_of(view.own.location) if view.own else None
    if known is not None and goal.environment not in {None, known}:
        yield (
            f"source {view.source} is for environment {known}, and must not become {goal.environment}: "
            "its objects would be overwritten; give the other environment another source name with --name"
        )
    if goal.prunes and not goal.wanted:
        held = f"and {len(mine)} objects are applied; an empty revision never deletes them"
        what = held if mine else "so there is no use"
        yield f"the revision declares nothing, {what}; if that is meant, leave one object in it"
    if not is_accepted(view, goal) and (problem := adoption.promised(view, deletes)):
        yield problem
    if goal.adoption is not None and (problem := adoption.unready(view, goal.adoption)):
        yield problem
    if goal.is_related or view.own is None:
        return
    mark = view.own.mark
    if not mark.settled:
        yield (
            f"revision {mark.to} is applied in part, and nobody knows whether this one comes after it; "
            "it is applied once the repository has that revision again"
        )
    elif deletes:
        yield (
            f"the revision has nothing to do with {mark.revision[:12]}, which is applied as source {view.source}, and "
            f"would delete {len(deletes)} objects ({label(deletes[0])}, …); give another repository another source name"
        )


def _collisions(view: View, goal: Goal, taken: Collection[str]) -> Iterator[str]:
    """Services of other sources' clusters whose tasks would have the ids of ours; ours were checked together."""
    others: dict[str, tuple[str, str]] = {}
    for key, stored in view.config.items():
        if stored.owner != view.source and key.startswith(keys.CLUSTERS) and key not in taken:
            cluster = object_at(key, stored.value)
            if isinstance(cluster, Cluster):
                others |= {
                    discovery_name(cluster.name, each).lower(): (cluster.name, each) for each in cluster.services
                }
    if not others:
        return
    for wanted in goal.wanted.values():
        if not isinstance(wanted.declared, Cluster):
            continue
        for service in wanted.declared.services:
            found = others.get(discovery_name(wanted.declared.name, service).lower())
            if found is not None and found != (wanted.declared.name, service):
                yield (
                    f"{wanted.origin}: service {service} in cluster {wanted.declared.name} would have tasks of the "
                    f"same ids as service {found[1]} in cluster {found[0]}, which another source declares; rename one"
                )


def _retired(view: View, definitions: set[str], passed: Collection[str], now: float) -> dict[str, int]:
    known = view.own.retired if view.own else {}
    for key in passed:
        owner, name = view.config[key].owner or "", key.removeprefix(keys.TASK_DEFINITIONS)
        known = {**known, name: view.sources[owner].retired[name]}
    names = sorted(key.removeprefix(keys.TASK_DEFINITIONS) for key in (*definitions, *passed))
    names.sort(key=lambda name: name not in known)
    return {name: known.get(name, int(now)) for name in names[:MOST_RETIRED]}
