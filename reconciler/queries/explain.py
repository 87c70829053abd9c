"""``reconciler explain``: what a name means, and everything behind it. The answers are in ``explain_*``."""

import difflib
from collections.abc import Iterable
from typing import Final, TypeAlias

import msgspec

from reconciler.errors import UsageError
from reconciler.queries.explain_host import HostAnswer, explain_host
from reconciler.queries.explain_service import ServiceAnswer, explain_service
from reconciler.queries.explain_task import TaskAnswer, decisions_about, explain_task
from reconciler.queries.fleet import Fleet
from reconciler.queries.provenance import Provenance

Answer: TypeAlias = ServiceAnswer | TaskAnswer | HostAnswer

KINDS: Final = ("service", "task", "host")
_SHOWN: Final = 5


class Subject(msgspec.Struct, frozen=True):
    """What is asked about."""

    kind: str
    name: str


def explain(fleet: Fleet, provenance: Provenance, text: str) -> Answer:
    """All there is to say about a task, service or host.

    Raises:
        UsageError: there is none of that name, or several things are called so.
    """
    subject = find(fleet, text)
    if subject.kind == "service":
        return explain_service(fleet, provenance, subject.name)
    if subject.kind == "host":
        return explain_host(fleet, provenance, subject.name)
    return explain_task(fleet, provenance, subject.name)


def find(fleet: Fleet, text: str, among: tuple[str, ...] = KINDS) -> Subject:
    """The one thing that a name, ``KIND/NAME``, or the beginning or end of a task's id stands for, ``among`` kinds.

    Raises:
        UsageError: there is none, or more than one.
    """
    kind, slash, name = text.partition("/")
    kinds: tuple[str, ...] = (kind,) if slash else among
    if not slash:
        name = text
    elif kind not in among:
        said = _either(f"{each}/{name}" for each in among)
        raise UsageError(f"{text}: there is no kind {kind!r} here", hint=f"Say {said}.")
    names = {each: _names(fleet, each) for each in kinds}
    found = [Subject(each, name) for each in kinds if name in names[each]]
    if not found and name:
        tasks = names.get("task", set())
        found = [Subject("task", each) for each in sorted(tasks) if each.startswith(name) or each.endswith(name)]
    if len(found) == 1:
        return found[0]
    if found:
        listed = ", ".join(f"{each.kind}/{each.name}" for each in found[:_SHOWN])
        more = f" and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
        raise UsageError(f"{text} may mean {listed}{more}", hint="Say which one, in just these words.")
    hint = _near(name, set().union(*names.values()))
    _, decisions = decisions_about(fleet, name)
    if decisions and name not in _names(fleet, "service"):
        hint = f"The last that was decided of it: {decisions[-1].what} ({decisions[-1].why})."
    raise UsageError(f"there is no {_either(kinds)} called {name}", hint=hint)


def _names(fleet: Fleet, kind: str) -> set[str]:
    """All that is declared, issued or reported."""
    snapshot = fleet.snapshot
    if kind == "host":
        return set(fleet.scene.hosts)
    if kind == "task":
        return {*fleet.scene.issued_ids, *fleet.scene.leaving_ids}
    listed = {name for cluster in snapshot.clusters.values() for name in cluster.services}
    left = {name for services in fleet.scene.tasks.values() for name in services}
    return {*snapshot.services, *listed, *left}


def _either(kinds: Iterable[str]) -> str:
    *others, last = kinds
    return f"{', '.join(others)} or {last}" if others else last


def _near(name: str, names: set[str]) -> str:
    near = difflib.get_close_matches(name, sorted(names), n=_SHOWN, cutoff=0.5)
    near += [each for each in sorted(names) if name and name in each and each not in near][: _SHOWN - len(near)]
    if near:
        return f"Did you mean {_either(near)}?"
    return "`reconciler status`, `tasks` and `hosts` show what there is."
