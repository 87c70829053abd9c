"""What this host fetches before an old task stops here for a new one. Pure; ``plan`` calls it.

It takes no place and starts nothing. It keeps to what a start keeps to, goes on trying as long as it is asked to, and
is broken off when it is not.
"""

from collections.abc import Iterator, Mapping
from typing import Final

import msgspec

from reconciler.agent import isolation, lifecycle
from reconciler.agent.actions import CancelFetch, Fetch
from reconciler.agent.case import Case, usable
from reconciler.agent.host_view import Fetched, Fetching, HostView, Unusable
from reconciler.agent.lifecycle import Now
from reconciler.agent.status import REASON_BYTES, shortened
from reconciler.executors.interface import Ref, Spec
from reconciler.model.events import Event, Level
from reconciler.model.manifests import TaskDefinition
from reconciler.model.preparation import Preparation, Prepared

_EVENT_BYTES: Final = 1000


class Preparing(msgspec.Struct, frozen=True, kw_only=True):
    """What is remembered of each preparation, what is begun now, and when the next is due (monotonic)."""

    fetching: Mapping[str, Fetching] = {}
    actions: tuple[Fetch | CancelFetch, ...] = ()
    again_at: float | None = None
    events: tuple[Event, ...] = ()


def prepare(view: HostView, now: Now) -> Preparing:
    """Decide about everything that this host is asked to prepare."""
    fetched = {(each.name, each.digest): each for each in view.outcomes if isinstance(each, Fetched)}
    fetching: dict[str, Fetching] = {}
    actions: list[Fetch | CancelFetch] = []
    is_held_back = False
    busy = {name for name, each in view.fetching.items() if each.busy}
    for name in sorted(view.issued.preparations.keys() | busy):
        wanted, known = view.issued.preparations.get(name), view.fetching.get(name)
        if known and known.busy and (name, known.digest) in fetched:
            known = _ended(known, fetched[name, known.digest], view, now)
        against = _against(name, view, now)
        if known and known.busy:
            # what is fetched for nobody is broken off first: two at once would fetch the same into one place
            if not known.cancelled and (against or wanted is None or wanted.digest != known.digest):
                known = msgspec.structs.replace(known, cancelled=True)
                actions.append(CancelFetch(name))
        elif wanted is None:
            continue
        else:
            known = known if known and known.digest == wanted.digest else Fetching(digest=wanted.digest)
            if not known.ready and not view.ending:
                is_held_back = is_held_back or against is not None
                known, action = _next(name, known, wanted, against, view, now)
                actions += [action] if action else []
        fetching[name] = known
    waiting = [each.not_before for each in fetching.values() if not each.busy and not each.ready]
    if is_held_back:
        waiting.append(now.monotonic + isolation.LOOK_AGAIN_S)
    return Preparing(
        fetching=fetching,
        actions=tuple(actions),
        again_at=min((at for at in waiting if at > now.monotonic), default=None),
        events=tuple(_events(view.fetching, fetching)),
    )


def _against(name: str, view: HostView, now: Now) -> str | None:
    """Why nothing is fetched for a service now: all of its tasks here are stopped, or nobody knows whose they are."""
    if view.ending:
        return "everything on this host is being stopped"
    for key, life in view.lives.items():
        if life.record is not None and f"{life.record.cluster}/{life.record.service}" == name:
            why = isolation.why_isolated(Case(key, life, (), (), view, now))
            if why is not None:
                return why
    return None


def _next(
    name: str, known: Fetching, wanted: Preparation, against: str | None, view: HostView, now: Now
) -> tuple[Fetching, Fetch | None]:
    """What becomes of one that is neither under way nor here."""
    if against is not None:
        return msgspec.structs.replace(known, reason=against), None
    definition = usable(view, wanted)
    if isinstance(definition, Unusable):
        return msgspec.structs.replace(known, reason=definition.reason), None
    if now.monotonic < known.not_before:
        return known, None
    return msgspec.structs.replace(known, busy=True), Fetch(name, _specs(name, wanted, definition, view))


def prepared(fetching: Mapping[str, Fetching]) -> dict[str, Prepared]:
    """What the status says of them; nothing of those that are being broken off."""
    return {
        name: Prepared(
            digest=each.digest,
            ready=each.ready,
            failed=bool(each.reason),
            reason=shortened(each.reason, REASON_BYTES),
        )
        for name, each in fetching.items()
        if not each.cancelled
    }


def _ended(known: Fetching, fetched: Fetched, view: HostView, now: Now) -> Fetching:
    known = msgspec.structs.replace(known, busy=False, cancelled=False)
    if fetched.cancelled:
        return known
    if fetched.error is None:
        return msgspec.structs.replace(known, ready=True, reason="")
    policy, failures = view.settings.restart, known.failures + 1
    # what will not work by trying again is tried again as well, but seldom: somebody may push the image
    wait_s = policy.most_delay_s if fetched.permanent else lifecycle.delay_s(failures, policy, view.jitter)
    return msgspec.structs.replace(known, failures=failures, not_before=now.monotonic + wait_s, reason=fetched.error)


def _specs(name: str, wanted: Preparation, definition: TaskDefinition, view: HostView) -> tuple[Spec, ...]:
    """As far as they are known before there is a task: enough to fetch by, not to start."""
    return tuple(
        Spec(
            ref=Ref(name, 0, container.name),
            container=container,
            digest=wanted.digest,
            attempt=1,
            environment={},
            address=view.settings.address,
            memory=definition.memory,
            cpu_units=definition.cpu_units,
        )
        for container in definition.containers
    )


def _events(before: Mapping[str, Fetching], after: Mapping[str, Fetching]) -> Iterator[Event]:
    """What changed, for people; a reason once, however often it is tried."""
    for name, each in after.items():
        old = before.get(name)
        if each.ready and not (old and old.ready):
            yield Event(loop="agent", subject=name, message="prepared: all that its next task needs is here")
        elif each.reason and each.reason != (old.reason if old else ""):
            text = f"cannot prepare its next task: {shortened(each.reason, _EVENT_BYTES)}"
            yield Event(loop="agent", subject=name, message=text, level=Level.WARNING)
