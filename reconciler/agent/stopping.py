"""When a task may be stopped, and the steps of a graceful stop. Pure; ``plan`` calls it.

Rule 5: nothing is stopped for want of evidence. A task that the listing lacks is stopped only after a consistent read
of the one key that names it said so; a read that failed, was denied, or is not to be trusted says nothing.
"""

import msgspec

from reconciler.agent import lifecycle
from reconciler.agent.actions import Cancel
from reconciler.agent.case import Case, Decision, blindness
from reconciler.agent.host_view import Evidence, Finding
from reconciler.agent.lifecycle import Life, Work
from reconciler.model.task import Phase

ASK_AGAIN_S = 5.0
"""How soon to ask again when the store could not say."""


class Verdict(msgspec.Struct, frozen=True):
    """Whether a task that the listing lacks is to be stopped (``stop`` says why).

    ``life`` None: there is nothing of it here. ``confirm``: somebody should read the one key.
    """

    life: Life | None
    stop: str | None = None
    again_at: float | None = None
    confirm: bool = False


def verdict(case: Case) -> Verdict:
    """What is certain about a task that the listing of this host does not have (with this issue)."""
    life, issued = case.life, case.view.issued
    if issued.problem is not None:
        return Verdict(doubted(life))
    if not case.seen and life.busy is None and blindness(case.view, life) is None:
        return Verdict(None)
    finding = issued.findings.get(case.key)
    if finding is None or (issued.went_back_at is not None and finding.at < issued.went_back_at):
        return Verdict(doubted(life), confirm=True)
    match finding.evidence:
        case Evidence.UNKNOWN:
            again_at = finding.at + ASK_AGAIN_S
            return Verdict(doubted(life), again_at=again_at, confirm=case.now.monotonic >= again_at)
        case Evidence.ISSUED:
            # the listing is wrong, or older than this: go on, and ask again after the next listing
            life = msgspec.structs.replace(doubted(life), record=finding.record or life.record)
            return Verdict(life, confirm=finding.at < issued.began)
        case Evidence.NOT_ISSUED:
            return _not_issued(case, finding)


def _not_issued(case: Case, finding: Finding) -> Verdict:
    """It is certain, unless the store went back lately: then it must stay so for a while."""
    life, issued, doubt_s = case.life, case.view.issued, case.view.settings.doubt_s
    since = finding.at if life.unissued_since is None else life.unissued_since
    life = msgspec.structs.replace(life, unissued_since=since)
    if issued.went_back_at is not None and since < issued.went_back_at + doubt_s:
        believed_at = since + doubt_s
        if finding.at < believed_at:
            return Verdict(life, again_at=believed_at, confirm=case.now.monotonic >= believed_at)
    return Verdict(life, stop=finding.text)


def stop(case: Case) -> Decision:
    """The next step of a task that is stopping: withdrawn, drained, taken down, gone."""
    life, now, settings = case.life, case.now, case.view.settings
    if life.phase is Phase.STOPPED:
        return Decision(life)
    if life.busy is Work.START and not life.cancelled:
        return Decision(msgspec.structs.replace(life, cancelled=True), Cancel(case.key))
    if life.busy is not None or blindness(case.view, life) is not None:
        return Decision(life)
    left = case.seen
    if life.keeps and life.acted_at > life.stop_began:
        # what has ended was told to stop too, which takes its secrets and whatever ran beside it
        left = [each for each in case.seen if each.container.running]
    if not left:
        stopped = lifecycle.step(life, Phase.STOPPED, now, life.reason)
        return Decision(stopped if case.view.ending else None)
    if life.drains and any(each.container.running for each in case.seen):
        if life.drain_until is None:
            patient_until = life.stop_began + settings.withdraw_patience_s
            registered = case.view.health.registered
            if (registered is None or case.key.id in registered) and now.monotonic < patient_until:
                return Decision(life, again_at=patient_until)
            life = msgspec.structs.replace(life, drain_until=now.monotonic + case.tempo.drain_delay_s)
        if life.drain_until is not None and now.monotonic < life.drain_until:
            return Decision(life, again_at=life.drain_until)
    return case.with_life(life).take_down(left, remove=not life.keeps)


def doubted(life: Life) -> Life:
    """Nobody can say that it is not issued (any more)."""
    return life if life.unissued_since is None else msgspec.structs.replace(life, unissued_since=None)
