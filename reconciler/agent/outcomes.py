"""What work that has ended does to the lives of the tasks that it was done for. Pure; ``plan`` calls it first."""

from typing import Final

import msgspec

from reconciler.agent import lifecycle
from reconciler.agent.case import definition_of
from reconciler.agent.host_view import Fetched, HostView, Outcome, Progress
from reconciler.agent.lifecycle import Life, Now, TaskKey, Work
from reconciler.agent.tempo import tempo_of
from reconciler.model.manifests import TaskDefinition
from reconciler.model.task import Phase

STOP_AGAIN_S: Final = 2.0
"""How soon a stop that failed is tried again."""


def fold(view: HostView, now: Now) -> dict[TaskKey, Life]:
    """The lives after everything that was reported since the last plan, in the order of the reports."""
    lives = dict(view.lives)
    for each in view.outcomes:
        if isinstance(each, Fetched):
            continue
        life = lives.get(each.key)
        if life is None:
            continue
        lives[each.key] = _progressed(life, now) if isinstance(each, Progress) else _ended(life, each, view, now)
    return lives


def _progressed(life: Life, now: Now) -> Life:
    return lifecycle.step(life, Phase.STARTING, now) if life.phase is Phase.PREPARING else life


def _ended(life: Life, outcome: Outcome, view: HostView, now: Now) -> Life:
    life = msgspec.structs.replace(life, busy=None, cancelled=False, acted_at=outcome.at)
    if outcome.work is Work.TAKE_DOWN:
        if outcome.error is None:
            return life
        return msgspec.structs.replace(life, reason=outcome.error, stop_not_before=now.monotonic + STOP_AGAIN_S)
    if outcome.cancelled or life.phase not in (Phase.PREPARING, Phase.STARTING):
        return life
    if outcome.error is None:
        return lifecycle.step(_progressed(life, now), Phase.RUNNING, now)
    if outcome.permanent:
        return lifecycle.step(life, Phase.REJECTED, now, outcome.error)
    if outcome.waits:
        return lifecycle.wait(life, now, outcome.error)
    definition = definition_of(view, life.record)
    tempo = tempo_of(definition if isinstance(definition, TaskDefinition) else None, view.settings)
    return lifecycle.again(life, now, tempo.restart, view.jitter, outcome.error)
