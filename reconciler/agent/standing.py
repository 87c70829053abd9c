"""Tasks that stand: nothing that concerns them has changed since it was decided that nothing is to be done. Pure.

``plan`` takes over what it said of them, so that a pass costs as much as has changed. A decision rests on what concerns
all tasks alike, and on the own part of the task. A field of the view counts for all tasks unless ``_alike`` leaves it
out: so one that is forgotten here costs time, and nothing else.
"""

from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from reconciler.agent.case import Case, Decision, blindness, definition_of
from reconciler.agent.host_view import HealthView, HostView, Own, Seen, Standing, Standings
from reconciler.agent.lifecycle import NEVER, Life, Now, TaskKey
from reconciler.model.task import Phase, Task

_MAY_STAND: Final = (Phase.PREPARING, Phase.STARTING, Phase.RUNNING)


def since_last(view: HostView) -> tuple[HostView, Mapping[TaskKey, Standing]]:
    """What concerns all tasks now, and which of them stand unless their own part of the view says otherwise."""
    alike = _alike(view)
    return alike, view.standing.tasks if view.standing.alike == alike else {}


def own(view: HostView, key: TaskKey, record: Task | None, life: Life | None, seen: Sequence[Seen]) -> Own:
    """The part of the view that concerns one task alone."""
    return (
        life,
        record,
        definition_of(view, record),
        seen,
        view.health.entries.get(key.id),
        view.published.tasks.get(key.id) if view.published else None,
    )


def stands(case: Case, decision: Decision, record: Task | None) -> bool:
    """Whether a decision holds for as long as nothing changes, or until it wants to look again.

    Not where it rests on more than ``own``: on the single key of a task that the listing lacks, or on when somebody
    looked.
    """
    return (
        record is not None
        and decision.life == case.life
        and decision.life.phase in _MAY_STAND
        and decision.action is None
        and not decision.confirm
        and blindness(case.view, decision.life) is None
    )


def still(known: Standing, now: Now, now_own: Own) -> bool:
    """Whether what was decided holds."""
    return known.own == now_own and (known.until is None or now.monotonic < known.until)


def _alike(view: HostView) -> HostView:
    """The view without what concerns single tasks, what only grows later, and chance."""
    issued = msgspec.structs.replace(view.issued, began=NEVER, tasks={}, definitions={}, findings={}, preparations={})
    executors = {name: msgspec.structs.replace(each, began=NEVER, observed=()) for name, each in view.executors.items()}
    return msgspec.structs.replace(
        view,
        issued=issued,
        executors=executors,
        health=HealthView(),
        lives={},
        fetching={},
        outcomes=(),
        published=None,
        settled=frozenset(),
        standing=Standings(),
        contact_at=0.0,
        jitter=0.0,
    )
