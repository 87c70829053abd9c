"""One issue of a task, with all that is known of it, as ``issued`` and ``stopping`` decide about it. Pure."""

from collections.abc import Collection, Iterable, Sequence

import msgspec

from reconciler.agent.actions import Action, TakeDown, Target
from reconciler.agent.host_view import NOT_ENTERED, HostView, Seen, Unusable
from reconciler.agent.lifecycle import Life, Now, TaskKey, Work
from reconciler.agent.tempo import Tempo, tempo_of
from reconciler.model.manifests import TaskDefinition
from reconciler.model.preparation import Preparation
from reconciler.model.task import Task


class Decision(msgspec.Struct, frozen=True):
    """What becomes of it: its life (None: there is nothing to remember any more), at most one action, and when to
    look again. ``confirm``: somebody should read the one key that says whether it is issued.
    """

    life: Life | None
    action: Action | None = None
    again_at: float | None = None
    confirm: bool = False


class Case(msgspec.Struct, frozen=True):
    """``seen`` are its containers on this host, ``older`` the issues of the same task that are still here."""

    key: TaskKey
    life: Life
    seen: Sequence[Seen]
    older: Collection[int]
    view: HostView
    now: Now

    @property
    def record(self) -> Task | None:
        """The task's record, as last known."""
        return self.life.record

    @property
    def definition(self) -> TaskDefinition | None:
        """The task's definition, if it can be used."""
        found = definition_of(self.view, self.life.record)
        return found if isinstance(found, TaskDefinition) else None

    @property
    def tempo(self) -> Tempo:
        """How long its steps may take, and when it is restarted."""
        return tempo_of(self._made_of, self.view.settings)

    @property
    def _made_of(self) -> TaskDefinition | None:
        """What its containers were made of, also when nobody has its record any more."""
        digests = [self.record.digest] if self.record else [each.container.digest for each in self.seen]
        found = (self.view.issued.definitions.get(digest) for digest in digests)
        return next((each for each in found if isinstance(each, TaskDefinition)), None)

    @property
    def stop_isolated_after_s(self) -> float | None:
        """After how long without contact with the store it is stopped; None: never.

        Not before the host's session may end, which nobody notices before either: between two renewals is no isolation.
        """
        after_s = self.record.stop_isolated_after_s if self.record is not None else None
        return max(after_s, self.view.settings.session_ttl_s) if after_s else None

    @property
    def ends_by(self) -> float | None:
        """By when (monotonic) what was stopped for want of contact has ended; None: it stops for another reason."""
        after_s, paused_at = self.stop_isolated_after_s, self.life.paused_at
        if after_s is None or paused_at is None:
            return None
        # a pass that came late gives it no more time
        return min(self.view.contact_at + after_s, paused_at) + after_s / 2

    def with_life(self, life: Life) -> "Case":
        """The same with another life."""
        return self if life is self.life else msgspec.structs.replace(self, life=life)

    def take_down(self, seen: Iterable[Seen], *, remove: bool) -> Decision:
        """Stop containers, the last started first; not at once again if that has just failed."""
        if self.now.monotonic < self.life.stop_not_before:
            return Decision(self.life, again_at=self.life.stop_not_before)
        containers = self._made_of.containers if self._made_of else ()
        order = {container.name: position for position, container in enumerate(containers)}
        known = {container.name: container for container in containers}
        targets = [Target(each.kind, each.container.ref, known.get(each.container.ref.container)) for each in seen]
        targets.sort(key=lambda target: (-order.get(target.ref.container, len(order)), target.ref))
        life = msgspec.structs.replace(self.life, busy=Work.TAKE_DOWN)
        action = TakeDown(self.key, tuple(targets), self.tempo.stop_timeout_s, remove, self.ends_by)
        return Decision(life, action)


def definition_of(view: HostView, record: Task | Preparation | None) -> TaskDefinition | Unusable | None:
    """The definition that a record names; why it can't be used; or None if nobody has looked for it yet."""
    return None if record is None else view.issued.definitions.get(record.digest)


def usable(view: HostView, record: Task | Preparation | None) -> Unusable | TaskDefinition:
    """The definition that a record names, unless something is against starting it here now."""
    if view.hold is not None and not (view.issued.remembered and view.hold == NOT_ENTERED):
        return Unusable(view.hold, permanent=False)
    if view.issued.is_another_stores:
        return Unusable(f"nothing is started: {view.issued.problem}", permanent=False)
    definition = definition_of(view, record)
    if record is None or definition is None:
        return Unusable("its definition has not been read yet", permanent=False)
    if isinstance(definition, Unusable):
        return definition
    refusal = view.refusals.get(record.digest)
    if refusal is not None:
        return Unusable(refusal, permanent=True)
    for kind, why in needs(definition).items():
        executor = view.executors.get(kind)
        if executor is None:
            return Unusable(f"{why} needs the executor {kind}, which this host does not have", permanent=True)
        if executor.unavailable is not None:
            return Unusable(f"{kind}: {executor.unavailable}", permanent=False)
    return definition


def kinds_of(definition: TaskDefinition | None, view: HostView) -> frozenset[str]:
    """The executors that may hold containers of a definition; all of them if it is not known."""
    if definition is None:
        return frozenset(view.executors)
    return frozenset({each.type for each in definition.containers if each.type in view.executors})


def needs(definition: TaskDefinition) -> dict[str, str]:
    """The executors without which it can't run here, and what needs each of them."""
    wanted: dict[str, str] = {}
    for container in definition.containers:
        wanted.setdefault(container.type, f"container {container.name}")
    for position, check in enumerate(definition.checks):
        if check.script and check.container is None:
            wanted.setdefault("bash", f"the script of check {check.name or position}")
    return wanted


def blindness(view: HostView, life: Life) -> str | None:
    """Why the containers of a life can't be judged now; None if they can."""
    for kind in sorted(life.kinds):
        executor = view.executors.get(kind)
        if executor is None:
            continue
        if executor.problem is not None:
            return f"{kind}: {executor.problem}"
        if executor.began <= life.acted_at:
            return f"{kind} was not looked at since the last step"
    return None
