"""What a host does that nobody has heard of for a while, for services with ``when_isolated: stop``. Pure.

Contact is the last renewal of the host's session that succeeded: the very thing by which schedulers tell a missing
host. The time is counted on this machine's monotonic clock (rule 16), and is shorter than they wait; so a task has
ended here before another may take its place. It is the one exception of rule 5: the service asked for it.
"""

from typing import Final

import msgspec

from reconciler.agent import lifecycle
from reconciler.agent.actions import Cancel
from reconciler.agent.case import Case, Decision
from reconciler.agent.lifecycle import Work
from reconciler.model.durations import format_duration
from reconciler.model.task import Phase

LOOK_AGAIN_S: Final = 1.0
"""How often to look whether there is contact again."""
_ACTIVE: Final = (Phase.PREPARING, Phase.STARTING, Phase.RUNNING)
_CONCERNED: Final = (Phase.PENDING, *_ACTIVE)
"""One that waits for its next attempt may not begin it without contact either."""


def pause(case: Case) -> Decision | None:
    """The end of this attempt, if the host is cut off for too long; the next pass stops what runs of it."""
    life, why = case.life, why_isolated(case)
    if life.phase not in _ACTIVE or why is None or life.busy is Work.TAKE_DOWN:
        return None
    paused = lifecycle.pause(life, case.now, why)
    if life.busy is Work.START:
        return Decision(msgspec.structs.replace(paused, cancelled=True), Cancel(case.key), again_at=_soon(case))
    return Decision(paused, again_at=_soon(case))


def why_waits(case: Case) -> str | None:
    """Why it may not be started now; None if that has another reason, or none."""
    paused_at = case.life.paused_at
    if (why := why_isolated(case)) is not None:
        return why
    if case.view.issued.remembered and case.stop_isolated_after_s is not None:
        return "the store has not said since this agent started that it is still issued here"
    if paused_at is not None and (case.view.issued.problem is not None or case.view.issued.began <= paused_at):
        return "it was stopped because this host was isolated, and may be another host's by now"
    return None


def why_isolated(case: Case) -> str | None:
    """That this host has had no contact for as long as the service bears it."""
    after_s = case.stop_isolated_after_s
    if after_s is None or case.now.monotonic < case.view.contact_at + after_s:
        return None
    after = format_duration(after_s)
    return f"this host is isolated: no contact with the store for {after}, and its service says when_isolated: stop"


def with_look(case: Case, decision: Decision) -> Decision:
    """The decision, and a look when the host may have been cut off for too long."""
    after_s, life = case.stop_isolated_after_s, decision.life
    if after_s is None or life is None or life.phase not in _CONCERNED:
        return decision
    due_at = case.view.contact_at + after_s
    again_at = due_at if case.now.monotonic < due_at else _soon(case)
    return msgspec.structs.replace(decision, again_at=min(again_at, decision.again_at or again_at))


def _soon(case: Case) -> float:
    return case.now.monotonic + LOOK_AGAIN_S
