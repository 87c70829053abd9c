"""A revision must make the services that it changes healthy, or it is taken back. Pure: ``passes`` decides by it.

Rule 13: the gate blames only what the revision did. Its clock runs while a task of what is new is on its way, sick or
failed; while nobody can know (a host is away, no place is free, nobody schedules) it stands still. It is the clock of
whoever watches, so that no two machines' times are compared; what has passed is stored now and then, for the next one.
"""

from collections.abc import Callable, Mapping
from typing import Final, TypeAlias

import msgspec

from reconciler.model import keys
from reconciler.model.intents import Rollback, SourceIntent
from reconciler.model.manifests import Cluster, Service
from reconciler.model.source_state import SourceState, Trial
from reconciler.model.texts import cut
from reconciler.sync.plan import Wanted

LIMIT_S: Final = 300.0
LOOK_S: Final = 2.0
STEADY_S: Final = 5.0
"""So long all must be healthy, seen again and again: a process that dies at once was healthy for a moment too."""
MOST_QUARANTINED: Final = 20
REASON_CHARACTERS: Final = 400
_STEPS: Final = 20
"""So many times at most is written how much time has passed."""
_UNWATCHED_S: Final = 3 * LOOK_S
"""Of a longer time between two looks no more than this counts: nobody saw what was."""

Pair: TypeAlias = tuple[str, str]
"""A cluster, and a service in it."""


class Look(msgspec.Struct, frozen=True, kw_only=True):
    """How some services are. ``waiting`` says of each that is not healthy how it is.

    ``failed``: why some will not become healthy by themselves. ``is_running``: a task of what is new is on its way or
    sick, so that time counts; otherwise what is missing is nobody's fault.
    """

    failed: tuple[str, ...] = ()
    waiting: tuple[str, ...] = ()
    is_running: bool = False

    @property
    def is_healthy(self) -> bool:
        return not self.failed and not self.waiting


Judge: TypeAlias = Callable[[frozenset[Pair]], Look]
"""Looks at services now; raises StoreError when it can't."""


class Gate(msgspec.Struct, frozen=True):
    """Who looks at services, and how long a new revision has to make them healthy; None: new ones are not tried.

    A trial that was begun goes on all the same, with the limit that it was begun with.
    """

    judge: Judge
    limit_s: float | None = None


class Watch(msgspec.Struct, frozen=True, kw_only=True):
    """A trial as one process sees it, by its own monotonic clock. ``spent_s`` includes what earlier ones saw."""

    trial: Trial
    spent_s: float
    looked_at: float
    healthy_since: float | None = None
    look: Look = Look()

    @property
    def has_passed(self) -> bool:
        """Whether all has been healthy for long enough."""
        return self.healthy_since is not None and self.looked_at - self.healthy_since >= STEADY_S

    @property
    def reasons(self) -> tuple[str, ...]:
        """Why the revision fails; empty if it does not."""
        if self.look.failed or self.look.is_healthy:
            return self.look.failed
        return self.look.waiting if self.spent_s >= self.trial.limit_s else ()

    @property
    def now(self) -> Trial:
        """The trial as it should be stored: in steps, so that it is written rarely."""
        step = self.trial.limit_s / _STEPS
        return msgspec.structs.replace(self.trial, spent_s=max(self.trial.spent_s, self.spent_s // step * step))


def watched(trial: Trial, now: float) -> Watch:
    """Begin to watch a trial, or go on with another process's."""
    return Watch(trial=trial, spent_s=trial.spent_s, looked_at=now)


def looked(watch: Watch, look: Look, now: float) -> Watch:
    """What is known after one more look."""
    passed_s = min(now - watch.looked_at, _UNWATCHED_S)
    healthy_since = watch.healthy_since if watch.healthy_since is not None else now
    return msgspec.structs.replace(
        watch,
        spent_s=min(watch.trial.limit_s, watch.spent_s + passed_s) if look.is_running else watch.spent_s,
        looked_at=now,
        healthy_since=healthy_since if look.is_healthy else None,
        look=look,
    )


def on_trial(own: SourceState | None, revision: str, limit_s: float | None, *, is_change: bool) -> Trial | None:
    """The trial of a revision that is applied now; None if it needs none.

    A newer revision takes over what the one before had not shown yet: it is compared with the last good one, and its
    time begins anew if it changes anything. ``limit_s`` None: a new revision is not tried.
    """
    mark = own.mark if own else None
    applied = "" if mark is None else mark.revision if mark.settled else mark.to or ""
    trial = own.trial if own else None
    if trial is not None and trial.revision == revision:
        return trial
    if trial is None:
        is_news = is_change and revision != applied
        good = mark.revision if mark else ""
        return Trial(revision=revision, good=good, limit_s=limit_s) if is_news and limit_s is not None else None
    if revision == trial.good:
        return None
    if not is_change:
        return msgspec.structs.replace(trial, revision=revision)
    return Trial(revision=revision, good=trial.good, limit_s=limit_s or trial.limit_s)


def in_force(own: SourceState | None, intent: SourceIntent | None, newest: str) -> Rollback | None:
    """The quarantine, if ``newest`` is in it and no operator lifted it."""
    quarantine = own.quarantine if own else None
    if quarantine is None or newest not in quarantine.skips:
        return None
    return None if intent is not None and intent.released == quarantine.since else quarantine


def quarantined(own: SourceState, watch: Watch, now: float) -> Rollback:
    """What takes the place of a revision that failed; ``now`` is wall time."""
    trial, before = watch.trial, own.quarantine
    earlier = before.skips if before is not None and before.revision == trial.good else ()
    skips = (*(each for each in earlier if each != trial.revision), trial.revision)
    return Rollback(
        revision=trial.good, skips=skips[-MOST_QUARANTINED:], by="the gate", reason=reason_of(watch.reasons), since=now
    )


def reason_of(reasons: tuple[str, ...]) -> str:
    """Reasons as one text of bounded length."""
    return cut("; ".join(reasons), REASON_CHARACTERS)


def gated(before: Mapping[str, Wanted], after: Mapping[str, Wanted]) -> frozenset[Pair]:
    """The services that run another task definition after than before, or did not run: whose health shows something.

    A service that keeps its definition is as healthy or sick as it was, whatever a revision does to its counts.
    """
    ran = _runs(before)
    return frozenset(pair for pair, runs in _runs(after).items() if ran.get(pair) != runs)


def _runs(wanted: Mapping[str, Wanted]) -> dict[Pair, tuple[str, int, bytes]]:
    """By cluster and service what runs there: the definition's name, version and content."""
    found = {}
    for cluster in (each.declared for each in wanted.values()):
        for name in cluster.services if isinstance(cluster, Cluster) else ():
            entry = wanted.get(keys.SERVICES + name)
            service = entry.declared if entry else None
            if not isinstance(service, Service) or service.desired == 0:
                continue
            definition = wanted.get(keys.task_definition(service.task_name, service.task_version))
            content = definition.value if definition else b""
            found[cluster.name, name] = (service.task_name, service.task_version, content)
    return found
