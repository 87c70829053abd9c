"""The loop that has others told what became of a source's revisions. ``wiring`` starts it beside the sync loop.

It only reads what sync and schedulers have recorded, in a thread of its own: whatever fails here changes nothing of
what is applied. Of several processes the one that holds the source's lock tells; what was said, and who has heard it,
is in ``state/reports/<source>``, so that the next one goes on with it.
"""

import logging
from collections.abc import Callable, Sequence
from typing import Final, TypeAlias, TypeVar

import msgspec

from reconciler.model import keys
from reconciler.model.codec import Undecodable, decode, encode
from reconciler.model.reports import Declared, Reports, Word
from reconciler.model.source_state import SourceState
from reconciler.notify.answers import Verdict
from reconciler.notify.backlog import gone, past_what_is_not_told
from reconciler.notify.courier import Courier, dropped
from reconciler.notify.receivers import Audience, ReadSecret, Receiver
from reconciler.runtime.clock import Clock, SystemClock
from reconciler.runtime.runner import Loop, Waker
from reconciler.store.interface import Committed, Held, Operation, PutIf, Store
from reconciler.store.watch import Watch
from reconciler.sync import observe, words
from reconciler.sync.gate import LOOK_S, STEADY_S, Look, Pair

log = logging.getLogger(__name__)
T = TypeVar("T", bound=msgspec.Struct)

SELDOM_S: Final = 30.0
"""How often services are looked at that have been on their way, or given up, for long."""
_PATIENCE: Final = 0.05
RESYNC_S: Final = 60.0
_AGAIN_S: Final = 1.0


class Survey(msgspec.Struct, frozen=True, kw_only=True):
    """One reading of a source's services: the source's record then, what each is declared as, and how some are.

    ``doubt`` says why the reading proves nothing.
    """

    own: SourceState | None
    prints: words.Prints
    look: Callable[[frozenset[Pair]], Look]
    doubt: str | None = None


TakeSurvey: TypeAlias = Callable[[], Survey]
"""Raises StoreError when nobody can look now."""


class _Kept(msgspec.Struct, frozen=True):
    """What is stored of a source's reports, with the indexes; 0: not there."""

    reports: Reports
    index: int
    declared: Declared
    declared_index: int


class ReporterDaemon:
    """Tells receivers of one source's revisions, as long as this process works on the source."""

    def __init__(
        self,
        store: Store,
        audience: Audience,
        *,
        held: Callable[[], Held | None],
        survey: TakeSurvey,
        read_secret: ReadSecret,
        clock: Clock | None = None,
    ) -> None:
        """``held``: the fence of the source's lock, while this process holds it."""
        self._store = store
        self._audience = audience
        self._about = about = audience.about
        self._held = held
        self._survey = survey
        self._read_secret = read_secret
        self._clock = clock or SystemClock()
        self._seq = 0
        self._look_at = 0.0
        self._since = 0.0
        """When this process began to look at the services of what is applied."""
        self._healthy: tuple[str, float] | None = None
        """Of which revision all is healthy, and since when, by this process's looks."""
        name = f"notify {about.source}"
        self._loop = Loop(name, self._step, clock=self._clock, resync_s=RESYNC_S)
        self._wakers = [
            Waker(f"{name}: {key}", Watch(store, key), [self._loop])
            for key in (keys.source(about.source), keys.sync_lock(about.source))
        ]
        self._couriers = [
            Courier(
                about.source,
                receiver,
                self._send,
                clock=self._clock,
                may_tell=lambda: held() is not None,
                on_heard=self._loop.wake,
            )
            for receiver in audience.receivers
        ]

    @property
    def loops(self) -> Sequence[Loop]:
        """The loop that decides what is said. Receivers that are away are no failure of it."""
        return [self._loop]

    def start(self) -> None:
        """Start all threads; returns at once."""
        for courier in self._couriers:
            courier.start()
        self._loop.start()
        for waker in self._wakers:
            waker.start()

    def stop(self) -> None:
        """Say nothing more, and end all threads."""
        for waker in self._wakers:
            waker.stop()
        self._loop.stop()
        for courier in self._couriers:
            courier.stop()

    def _step(self) -> float | None:
        fence = self._held()
        if fence is None:
            self._stand_by()
            return None
        own = self._own()
        if own is None:
            return None
        kept = self._read()
        if kept.reports.seq < self._seq:  # lost, or restored from a backup: what was heard then says nothing now
            self._stand_by()
        intent, _ = observe.intent_of(self._store, self._about.source)
        now = self._clock.wall()
        said = words.on_the_newest(kept.reports, own, intent, now)
        said, declared = self._on_the_applied(said, kept.declared, own, now)
        said = msgspec.structs.replace(said, heard=self._heard(kept.reports, said))
        if not self._is_written(fence, kept, said, declared):
            return _AGAIN_S
        self._seq = said.seq
        for courier in self._couriers:
            courier.offer(said.words, said.heard[courier.receiver.name])
        is_settled = own.mark.settled and (own.mark.revision == said.applied or not own.mark.revision)
        if is_settled and not words.is_open(said):
            return None
        return max(0.0, self._look_at - self._clock.monotonic())

    def _stand_by(self) -> None:
        self._seq, self._healthy, self._look_at, self._since = 0, None, 0.0, 0.0
        for courier in self._couriers:
            courier.withdraw()

    def _on_the_applied(
        self, said: Reports, declared: Declared, own: SourceState, now: float
    ) -> tuple[Reports, Declared]:
        """What there is to say of the revision that is applied; nothing while that can't be known."""
        if not own.mark.settled or not own.mark.revision:
            return said, declared
        is_new = own.mark.revision != said.applied
        if not is_new and (not words.is_open(said) or self._clock.monotonic() < self._look_at):
            return said, declared
        survey = self._survey()
        if survey.doubt is not None or survey.own is None or survey.own.mark != own.mark:
            self._look_at = self._clock.monotonic() + LOOK_S
            return said, declared
        if is_new:
            said, declared = words.on_another_applied(said, declared, own, survey.prints, now)
            self._healthy, self._since = None, 0.0
        if words.is_open(said):
            said = self._on_health(said, survey.own, survey, words.concerned(declared, survey.prints), now)
        return said, declared

    def _on_health(
        self, said: Reports, own: SourceState, survey: Survey, changed: frozenset[Pair], now: float
    ) -> Reports:
        look, at = survey.look(changed), self._clock.monotonic()
        if not look.is_healthy:
            self._healthy = None
        elif self._healthy is None or self._healthy[0] != said.applied:
            self._healthy = (said.applied, at)
        is_steady = self._healthy is not None and at - self._healthy[1] >= STEADY_S
        said = words.on_how_it_is(said, own, changed, look, now, is_steady=is_steady)
        self._since = self._since or at
        # what takes long is looked at more rarely: each look reads all of the store
        patience_s = min(SELDOM_S, max(LOOK_S, (at - self._since) * _PATIENCE))
        self._look_at = at + (patience_s if self._healthy is None else LOOK_S)
        return said

    def _own(self) -> SourceState | None:
        entry = self._store.get(keys.source(self._about.source))
        return decode(entry.value, SourceState, entry.key) if entry is not None else None

    def _read(self) -> _Kept:
        name = self._about.source
        reports, index = self._get(keys.reports(name), Reports(source=name))
        declared, declared_index = self._get(keys.reported_services(name), Declared())
        return _Kept(reports, index, declared, declared_index)

    def _get(self, key: str, nothing: T) -> tuple[T, int]:
        entry = self._store.get(key)
        if entry is None:
            return nothing, 0
        try:
            return decode(entry.value, type(nothing), key), entry.index
        except Undecodable as error:
            log.warning("%s: %s; it is begun anew", self._loop.name, error.message)
            return nothing, entry.index

    def _heard(self, before: Reports, said: Reports) -> dict[str, int]:
        """Who has heard how much; one that is new is told the last thing."""
        heard = {}
        for courier in self._couriers:
            receiver = courier.receiver
            known = said.heard.get(receiver.name, max(0, min(before.seq, said.seq - 1)))
            known = min(said.seq, max(known, courier.heard or 0))
            if count := gone(receiver, before.words, said.words, known):
                dropped(self._about.source, receiver, count)
            heard[receiver.name] = past_what_is_not_told(receiver, said.words, known)
        return heard

    def _is_written(self, fence: Held, kept: _Kept, said: Reports, declared: Declared) -> bool:
        """Whether all of it is in the store; what is not there is neither told nor known to the next process."""
        name = self._about.source
        operations: list[Operation] = []
        if said != kept.reports:
            operations.append(PutIf(keys.reports(name), encode(said), kept.index))
        if declared != kept.declared:
            operations.append(PutIf(keys.reported_services(name), encode(declared), kept.declared_index))
        return not operations or isinstance(self._store.commit([fence, *operations]), Committed)

    def _send(self, receiver: Receiver, word: Word) -> Verdict:
        return receiver.send(self._audience.message(word), self._read_secret, self._clock.wall())
